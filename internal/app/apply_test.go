package app

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
)

func TestFlowsThatCannotBeAppliedAreNamedByTheDirectoryThatWasGiven(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"connections.yaml": {Data: []byte("connections: {}\n")}, "one.yaml": {Data: []byte("flow: one\n")}}
	_, err := apply(t.Context(), nil, nil, nil, applying{files: files, name: "elsewhere/integrations", speed: 1, by: "test"}) // it fails before there is anything to put in force
	require.Equal(t, "flows.invalid", fault.Of(err).Code)
	require.Contains(t, fault.Of(err).Text, "\nelsewhere/integrations/one.yaml:1:1: pattern is missing")
}
