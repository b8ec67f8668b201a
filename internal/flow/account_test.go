package flow_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestAdviceEndsWhenADeadLetterIsDecidedOn(t *testing.T) {
	t.Parallel()
	refused := flow.Effect{Target: "dataverse.msx_specification AS54888, Weight", State: flow.Refused}
	run := flow.Run{Status: flow.Failed, Effects: []flow.Effect{refused}}
	dead := flow.AccountOf(run, flow.LetterDead)
	require.True(t, dead.Dead)
	require.Contains(t, dead.Steps[0].Effects[0].Todo, "redrive the run")
	for _, decided := range []flow.LetterState{flow.LetterRedriven, flow.LetterDismissed} {
		account := flow.AccountOf(run, decided)
		require.False(t, account.Dead)
		require.Empty(t, account.Steps[0].Effects[0].Todo, decided)
	}
	require.NotEmpty(t, flow.Todo(refused, flow.Running, flow.LetterRedriven), "the same run goes on, and can be told of")
}
