package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

// What check lets a flow write to can be written by key, and read back or marked;
// where it cannot, check lets nothing be written that may not be repeated.
func TestCheckKnowsWhichSystemsCanBeWritten(t *testing.T) {
	t.Parallel()
	for _, name := range registry().Systems() {
		c := connector.Config{Name: "c", System: name, URL: "https://x", Auth: connector.Auth{Kind: "basic"}}
		switch name {
		case "smtp":
			c.Options = map[string]string{"from": "service@example.com"}
		case "ibm":
			c.Options = map[string]string{"repository": "OS1"}
		}
		system, err := registry().Build(c, connector.Deps{})
		require.NoError(t, err)
		_, writes := system.(connector.Upserter)
		_, reads := system.(connector.KeyReader)
		_, marks := system.(connector.Marker)
		require.Equal(t, flowfile.Writes(name), writes, name)
		require.Equal(t, flowfile.Forgets(name), writes && !reads && !marks, name)
	}
	require.False(t, flowfile.Writes("unknown"))
}

func TestAnIdentityNeverHoldsCredentials(t *testing.T) {
	t.Parallel()
	identity := func(url string) (string, error) {
		return Identity(func(string) (string, error) { return url, nil })(flow.Connection{Name: "c", System: "postgres", URL: "${env:DB}"})
	}
	name, err := identity("postgres://db.example.com/billing")
	require.NoError(t, err)
	require.Equal(t, "postgres postgres://db.example.com/billing", name)
	for _, url := range []string{"postgres://me:hunter2@db.example.com/billing", "postgres://db.example.com/billing?password=hunter2"} {
		_, err := identity(url)
		require.Equal(t, "connector.url", fault.Of(err).Code)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
