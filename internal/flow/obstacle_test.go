package flow_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestAnObstacleIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for text, o := range map[string]flow.Obstacle{
		"waiting for plm: plm is not available (503): gone": {Connection: "plm", Why: "plm is not available (503): gone"},
		"waiting 1m30s for plm: plm asks for a pause":       {Connection: "plm", After: 90 * time.Second, Why: "plm asks for a pause"},
		"waiting for another try: plm asks for a pause":     {Why: "plm asks for a pause"},
	} {
		require.Equal(t, text, o.String())
		require.Equal(t, o, flow.ObstacleOf(text))
	}
	for _, text := range []string{"", "a pause", "waiting soon for plm: a pause", "waiting for plm", "plm: a pause"} {
		require.Equal(t, flow.Obstacle{Why: text}, flow.ObstacleOf(text), "what is not ours is shown as it is")
	}
}
