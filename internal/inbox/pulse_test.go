package inbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/inbox"
)

func TestAPulseTellsWhatCameAndWhatWaits(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Reaction.Expect.PerDay = 1440 })
	b.accept(b.event("c1", 1), b.event("c2", 1), b.keyless("c3"))
	list, err := b.inbox.Freeze(t.Context(), "cases", 1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	p, err := b.inbox.Pulse(t.Context(), b.plan)
	require.NoError(t, err)
	require.Equal(t, []int64{3, 1, 1}, []int64{p.Stages["received"], p.Stages["rejected:key"], p.Troubles})
	require.Equal(t, []int64{1, 1}, []int64{p.Open, p.Runs[flow.Accepted]})
	require.InDelta(t, 1, p.Expected, 1e-9)
	require.Len(t, p.Ticks, 60)
	received := int64(0)
	for _, tick := range p.Ticks {
		received += tick.Received
	}
	require.Equal(t, int64(3), received)
	require.NotNil(t, p.Sources[0].Last)
	require.NotNil(t, p.Oldest)
}

func TestAPulseForecastsByTheSlowestOfWhatLetsWindowsGo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		throttle bool
		provider time.Duration // 0: it states nothing
		tight    bool
		want     time.Duration
		by       string
	}{
		{name: "nothing is known", want: 0},
		{name: "the provider alone", provider: time.Minute, want: time.Minute, by: "what its provider takes"},
		{name: "the throttle alone", throttle: true, want: 4 * time.Minute, by: "the throttle"},
		{name: "the throttle, which is slower", throttle: true, provider: time.Minute, tight: true, want: 4 * time.Minute, by: "the throttle"},
		{name: "the provider, which is slower", throttle: true, provider: time.Hour, tight: true, want: time.Hour, by: "what its provider takes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, func(p *flow.Plan) {
				if c.throttle {
					p.Reaction.Throttle = &flow.Throttle{Rate: 1, Per: time.Minute, Burst: 1}
				}
			})
			var asked int64
			b.inbox = inbox.New(b.store, b, b, inbox.Options{Forecast: func(context.Context, *flow.Plan) (func(int64) (time.Duration, bool), error) {
				if c.provider == 0 {
					return nil, nil
				}
				return func(n int64) (time.Duration, bool) { asked = n; return c.provider, c.tight }, nil
			}})
			if c.throttle {
				b.accept(b.event("first", 1))
				require.Len(t, b.freeze(), 1)
			}
			b.accept(b.event("c1", 1), b.event("c2", 1), b.event("c3", 1), b.event("c4", 1))
			if c.throttle {
				require.Empty(t, b.freeze(), "held back")
			}
			p, err := b.inbox.Pulse(t.Context(), b.plan)
			require.NoError(t, err)
			require.Equal(t, c.by, p.Limited)
			if c.want == 0 {
				require.Nil(t, p.Drained)
				return
			}
			require.NotNil(t, p.Drained)
			require.WithinDuration(t, time.Now().Add(c.want), *p.Drained, 10*time.Second)
			if c.provider > 0 {
				require.Equal(t, int64(4), asked)
			}
		})
	}
}
