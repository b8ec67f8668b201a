package paid

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/store/storetest"
)

func TestAnOutputIsUsedAgainForTheSameInputFunctionVersionModelAndSeedOnly(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	c := NewComputed(storetest.Open(t, url))
	one := Calculation{Function: "risk.score", Version: "v1", Model: "m", Seed: 7, Input: json.RawMessage(`{"income":2500.10}`), Reuse: time.Hour, Run: "a"}
	_, found, err := c.Find(t.Context(), one)
	require.NoError(t, err)
	require.False(t, found)
	require.NoError(t, c.Keep(t.Context(), one, json.RawMessage(`{"pd": 0.10}`)))
	other := one
	other.Run = "b"
	got, found, err := c.Find(t.Context(), other)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, `{"pd": 0.10}`, string(got.Body), "byte for byte")
	require.Equal(t, "a", got.Run)

	for name, change := range map[string]func(*Calculation){
		"function": func(q *Calculation) { q.Function = "risk.score2" }, "version": func(q *Calculation) { q.Version = "v2" },
		"model": func(q *Calculation) { q.Model = "n" }, "seed": func(q *Calculation) { q.Seed = 8 },
		"input": func(q *Calculation) { q.Input = json.RawMessage(`{"income":2500.1}`) }, "window": func(q *Calculation) { q.Reuse = 0 },
	} {
		q := other
		change(&q)
		_, found, err := c.Find(t.Context(), q)
		require.NoError(t, err)
		require.False(t, found, name)
	}
	require.Equal(t, "computed.differs", fault.Of(c.Keep(t.Context(), other, json.RawMessage(`{"pd": 0.11}`))).Code)

	p := New(c.store, Options{})
	require.Zero(t, read[int](t, p, `select count(*)::int from computed k where (to_jsonb(k) - 'output')::text like '%2500%'`), "no input is in a key")
}
