package run

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/flow"
)

func TestAUserBelowTheShareHasThePlaceOfTheMoment(t *testing.T) {
	t.Parallel()
	turns, now := newTurns(), time.Now()
	anna := turn{"f", "anna"}
	for range 5 {
		require.Zero(t, turns.take(anna, 2, now))
		now = now.Add(500 * time.Millisecond)
	}
}

func TestManyPressesOfOneUserStandBehindTheNextOfAnother(t *testing.T) {
	t.Parallel()
	turns, now := newTurns(), time.Now()
	anna, ben := turn{"f", "anna"}, turn{"f", "ben"}
	for n := range 50 {
		require.Equal(t, time.Duration(n)*500*time.Millisecond, turns.take(anna, 2, now))
	}
	require.Zero(t, turns.take(ben, 2, now))
	require.Zero(t, turns.take(turn{"g", "anna"}, 2, now), "a share belongs to a flow")
	require.Zero(t, turns.take(anna, 0, now), "a flow without shares spreads nobody")
}

func TestALeadIsBoundedAndKeptInOrder(t *testing.T) {
	t.Parallel()
	turns, now := newTurns(), time.Now()
	anna := turn{"f", "anna"}
	for range 5000 {
		turns.take(anna, 2, now)
	}
	require.Equal(t, longestLead, turns.take(anna, 2, now))
	require.Equal(t, longestLead-500*time.Millisecond, turns.take(anna, 2, now.Add(time.Second)), "half a second behind the press before it")
	require.Zero(t, turns.take(anna, 2, now.Add(longestLead+2*time.Second)), "and then it is over")
}

func TestAPressThatDidNotQueueCostsNothingOfTheShare(t *testing.T) {
	t.Parallel()
	turns, now := newTurns(), time.Now()
	anna := turn{"f", "anna"}
	for range 10 {
		require.Zero(t, turns.take(anna, 2, now))
		turns.back(anna, 2)
	}
	require.Zero(t, turns.take(anna, 2, now))
	require.Equal(t, 500*time.Millisecond, turns.take(anna, 2, now))
}

func TestTheMemoryOfTurnsIsBoundedAndForgetsWhoseLeadIsOver(t *testing.T) {
	t.Parallel()
	turns, now := newTurns(), time.Now()
	turns.most = 2000
	for n := range 5000 {
		turns.take(turn{"f", fmt.Sprint(n)}, 1, now)
	}
	require.Len(t, turns.last, 2000)
	require.Zero(t, turns.take(turn{"f", "late"}, 1, now), "one who finds it full is not spread")
	require.Equal(t, time.Second, turns.take(turn{"f", "7"}, 1, now), "who is remembered is")
	turns.take(turn{"f", "later"}, 1, now.Add(time.Minute))
	require.Len(t, turns.last, 1)
}

// The plain model: a list of the places given to each user.
func TestPlacesOfAUserNeverGoBackAndLieAShareApart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.IntRange(1, 5).Draw(t, "share")
		turns, now := newTurns(), time.Now()
		places := map[string][]time.Time{}
		for _, wait := range rapid.SliceOfN(rapid.IntRange(0, 400), 1, 100).Draw(t, "waits") {
			now = now.Add(time.Duration(wait) * time.Millisecond)
			who := string(rune('a' + wait%3))
			lead := turns.take(turn{"f", who}, share, now)
			if lead < 0 || lead > longestLead {
				t.Fatalf("a lead of %v", lead)
			}
			places[who] = append(places[who], now.Add(lead))
		}
		for who, list := range places {
			if !slices.IsSortedFunc(list, time.Time.Compare) {
				t.Fatalf("places of %s: %v", who, list)
			}
			for i := 1; i < len(list); i++ {
				if list[i].Sub(list[i-1]) < time.Second/time.Duration(share) {
					t.Fatalf("%s got two places %v apart", who, list[i].Sub(list[i-1]))
				}
			}
		}
	})
}

func TestOrderKeysAreEqualExactlyForEqualValues(t *testing.T) {
	t.Parallel()
	plan := &flow.Plan{Order: []string{"a", "b"}}
	key := func(a, b any) string {
		k, err := orderKey(plan, flow.Row{"a": a, "b": b, "c": time.Now()})
		require.NoError(t, err)
		return k
	}
	once, again := key("x", int64(1)), key("x", int64(1))
	require.Equal(t, once, again)
	distinct := []string{key("x", nil), key("x", ""), key(nil, "x"), key("x\x00", "y"), key("x", "\x00y"), key(`x","y`, nil), key("x", "1"), key("x", int64(1))}
	slices.Sort(distinct)
	require.Len(t, slices.Compact(distinct), 8)
	long := strings.Repeat("x", 100_000)
	require.Less(t, len(key(long, nil)), longestOrderKey)
	require.NotEqual(t, key(long, nil), key(long+"x", nil))
	require.NotContains(t, key("\x00", nil), "\x00", "a column of text takes none")
	none, err := orderKey(&flow.Plan{}, flow.Row{"a": 1})
	require.NoError(t, err)
	require.Empty(t, none)
}
