package shadow

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/store/storetest"
)

func TestComparisonsAreKeptOnceAndCounted(t *testing.T) {
	t.Parallel()
	s := New(storetest.Open(t, storetest.URL(t)))
	keep := func(run string, equal bool, fault string, differ ...string) {
		one := flow.ShadowRun{Run: run, Flow: "loan", Step: "score", Live: "risk.score v1", Beside: "risk.score v2", Equal: equal, Differ: differ, Fault: fault}
		require.NoError(t, s.Keep(t.Context(), one, json.RawMessage(`{"points": 1}`)))
	}
	keep("a", true, "")
	keep("b", false, "", "output.points")
	keep("c", false, "calculator.panicked")
	keep("b", true, "") // a second attempt changes nothing
	list, err := s.List(t.Context(), "loan")
	require.NoError(t, err)
	require.Equal(t, []flow.ShadowTotal{{Flow: "loan", Step: "score", Live: "risk.score v1", Beside: "risk.score v2", Compared: 3, Equal: 1, Failed: 1}}, list.Shadows)
	require.Len(t, list.Differing, 2)
	for _, one := range list.Differing {
		switch one.Run {
		case "b":
			require.Equal(t, []string{"output.points"}, one.Differ)
		case "c":
			require.Equal(t, "calculator.panicked", one.Fault)
		}
	}
	other, err := s.List(t.Context(), "other")
	require.NoError(t, err)
	require.Empty(t, other.Shadows)
}
