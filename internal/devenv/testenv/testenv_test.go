package testenv_test

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/internal/devenv/testenv"
)

func TestTemporalIsSharedAndAnswers(t *testing.T) {
	t.Parallel()
	address, metricsURL := testenv.Temporal(t)
	again, _ := testenv.Temporal(t)
	require.Equal(t, address, again, "one server a test process")
	require.NotEmpty(t, metricsURL)

	c, err := client.DialContext(t.Context(), client.Options{HostPort: address})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.CheckHealth(t.Context(), &client.CheckHealthRequest{})
	require.NoError(t, err)
}

func TestHowManyTestsRunAtATimeIsSaidOnce(t *testing.T) {
	t.Parallel()
	said := flag.Lookup("test.parallel").Value
	want := "7"
	flag.Visit(func(f *flag.Flag) {
		if f.Value == said { // by -parallel, for all packages
			want = said.String()
		}
	})
	testenv.AtATime(7)
	require.Equal(t, want, said.String())
	testenv.AtATime(9)
	require.Equal(t, want, said.String(), "what somebody has said stays")
}
