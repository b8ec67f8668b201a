package dataverse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is a time that a test moves.
type clock struct{ at time.Time }

func newTestLimits(speed float64) (*limits, *clock) {
	c := &clock{at: time.Unix(1_770_000_000, 0)}
	l := newLimits(speed)
	l.now = func() time.Time { return c.at }
	return l, c
}

func TestRequestsAreLimitedPerUserInASlidingWindow(t *testing.T) {
	t.Parallel()
	l, clock := newTestLimits(1)
	for range maxRequests {
		b, _ := l.enter("a")
		require.Equal(t, none, b)
		l.leave("a", 0)
	}
	b, after := l.enter("a")
	require.Equal(t, requestsExceeded, b)
	require.Positive(t, after)
	require.LessOrEqual(t, after, window)
	b, _ = l.enter("b")
	require.Equal(t, none, b, "another user has limits of their own")

	clock.at = clock.at.Add(after)
	b, _ = l.enter("a")
	require.Equal(t, none, b, "who waits as told may go on")
}

func TestExecutionTimeIsLimitedTogether(t *testing.T) {
	t.Parallel()
	l, clock := newTestLimits(1)
	for range 20 {
		_, _ = l.enter("a")
		l.leave("a", time.Minute)
	}
	b, after := l.enter("a")
	require.Equal(t, timeExceeded, b)
	require.Equal(t, "0x80072321", tooMany(b).code)
	clock.at = clock.at.Add(after)
	b, _ = l.enter("a")
	require.Equal(t, none, b)
}

func TestFiftyTwoCallsMayRunTogether(t *testing.T) {
	t.Parallel()
	l, _ := newTestLimits(1)
	for range maxConcurrent {
		b, _ := l.enter("a")
		require.Equal(t, none, b)
	}
	b, after := l.enter("a")
	require.Equal(t, concurrencyExceeded, b)
	require.Equal(t, "1", seconds(after))
	l.leave("a", time.Millisecond)
	b, _ = l.enter("a")
	require.Equal(t, none, b)
}

func TestSpeedDividesTheWindow(t *testing.T) {
	t.Parallel()
	l, clock := newTestLimits(10)
	for range maxRequests {
		_, _ = l.enter("a")
		l.leave("a", 0)
	}
	b, after := l.enter("a")
	require.Equal(t, requestsExceeded, b)
	require.LessOrEqual(t, after, window/10)
	clock.at = clock.at.Add(window / 10)
	b, _ = l.enter("a")
	require.Equal(t, none, b)
}
