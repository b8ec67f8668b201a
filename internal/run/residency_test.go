package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestEachDeployThatLetsSomethingCrossHasItsReport(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	report := func(name, digest, by string, columns ...string) {
		t.Helper()
		r := flow.ResidencyReport{Flow: name, Digest: digest, By: by, Crossings: []flow.Crossing{}}
		if len(columns) > 0 {
			r.Crossings = append(r.Crossings, flow.Crossing{From: "de", To: "fr", Source: "crm-de.account", Target: "crm-fr.account", Columns: columns})
		}
		require.NoError(t, b.plans.Report(t.Context(), []flow.ResidencyReport{r, {Flow: "stays", Digest: digest, By: by, Crossings: []flow.Crossing{}}}))
	}
	report("shares", "one", "ann", "name")
	report("shares", "one", "bob", "name")
	report("shares", "two", "bob", "name", "phone")
	report("shares", "three", "ann")
	all, err := b.plans.Reports(t.Context(), "shares", 10)
	require.NoError(t, err)
	require.Len(t, all, 3, "the same again is no deploy")
	require.Equal(t, []string{"three", "two", "one"}, []string{all[0].Digest, all[1].Digest, all[2].Digest})
	require.Empty(t, all[0].Crossings, "that nothing crosses any more is said")
	require.Equal(t, []string{"name", "phone"}, all[1].Crossings[0].Columns)
	require.Equal(t, "ann", all[2].By, "who deployed it")
	require.NotZero(t, all[2].At)
	all, err = b.plans.Reports(t.Context(), "stays", 10)
	require.NoError(t, err)
	require.Empty(t, all, "nothing of it ever crossed a border")
}
