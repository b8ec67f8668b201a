package durable

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"

	"patchbay/internal/fault"
)

func TestNumbersSurviveAnUntypedPlaceExactly(t *testing.T) {
	t.Parallel()
	c := NewDataConverter()
	p, err := c.ToPayload(map[string]any{"price": json.Number("12345678901234567890.10"), "n": 9007199254740993})
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, c.FromPayload(p, &out))
	require.Equal(t, map[string]any{"price": json.Number("12345678901234567890.10"), "n": json.Number("9007199254740993")}, out)
}

func TestPayloadOfTheLimitPassesAndOneByteMoreDoesNot(t *testing.T) {
	t.Parallel()
	c := NewDataConverter()
	fits := strings.Repeat("x", MaxPayload-2) // two quotes
	_, err := c.ToPayloads(1, fits)
	require.NoError(t, err)
	_, err = c.ToPayloads(1, fits+"x")
	require.Equal(t, "durable.payload_too_large", fault.Of(err).Code)
	_, err = c.ToPayload(make([]byte, MaxPayload+1))
	require.Equal(t, "durable.payload_too_large", fault.Of(err).Code)
}

func TestDataAfterAValueIsRefused(t *testing.T) {
	t.Parallel()
	p := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`{"a":1} {"a":2}`)}
	var out map[string]any
	require.Error(t, NewDataConverter().FromPayload(p, &out))
}

func TestActionSamplesAreSummedOverLabels(t *testing.T) {
	t.Parallel()
	const text = `# TYPE action counter
action{action_type="command_ScheduleActivityTask",namespace="default"} 3
action{action_type="grpc_StartWorkflowExecution",namespace="default"} 2
action{action_type="grpc_StartWorkflowExecution",namespace="other"} 7
action_requests{namespace="default"} 99
`
	n, err := sumActions(strings.NewReader(text), "default")
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
}
