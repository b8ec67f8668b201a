package flow_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestAChainIsCutWhereItComesBackAndWhereItIsTooLong(t *testing.T) {
	t.Parallel()
	require.Empty(t, flow.ParseChain("engine").Flows, "a tag of somebody else is a cause from outside")
	require.False(t, flow.ParseChain("").Cuts("a"))
	tag := flow.ParseChain("").Then("a", "1f")
	require.Equal(t, "patchbay:a#1f", tag)
	require.True(t, flow.ParseChain(tag).Cuts("a"), "its own write")
	require.False(t, flow.ParseChain(tag).Cuts("b"))
	tag = flow.ParseChain(tag).Then("b", "2e")
	require.Equal(t, flow.Chain{Flows: []string{"a", "b"}, Digest: "2e"}, flow.ParseChain(tag))
	require.True(t, flow.ParseChain(tag).Cuts("a"), "by way of another flow")
	for range flow.MostHops {
		tag = flow.ParseChain(tag).Then("x", "00")
	}
	require.True(t, flow.ParseChain(tag).Cuts("never-before"))
}
