package run

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/flow"
)

// all is more room than any test needs.
var all = room{pattern: flow.Instant, free: mostInFlight, alone: mostAlone, several: 100, most: -1}

func (r room) with(change func(*room)) room { change(&r); return r }

// queue makes n rows of a tier, named by prefix and number.
func queue(prefix string, n, tries int) []waitingRow {
	rows := make([]waitingRow, n)
	for i := range rows {
		rows[i] = waitingRow{runID: fmt.Sprint(prefix, i), digest: "d", tries: tries}
	}
	return rows
}

func sizes(batches []packed) []int {
	var n []int
	for _, b := range batches {
		n = append(n, len(b.rows))
	}
	return n
}

func TestRowsThatWaitAreSpreadOverTheFreeBatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		waiting int
		room    room
		want    []int
	}{
		{0, all, nil},
		{1, all, []int{1}},
		{4, all, []int{1, 1, 1, 1}},
		{5, all, []int{2, 2, 1}},
		{100, all, []int{25, 25, 25, 25}},
		{1000, all, []int{64, 64, 64, 64}},
		{1000, all.with(func(r *room) { r.pattern = flow.Event }), []int{200, 200, 200, 200}},
		{1000, all.with(func(r *room) { r.pattern = flow.Hybrid }), []int{1, 1, 1, 1}},
		{100, all.with(func(r *room) { r.free = 1 }), []int{64}},
		{100, all.with(func(r *room) { r.free = 0 }), nil},
		{100, all.with(func(r *room) { r.rate = 20 }), []int{20, 20, 20, 20}},
		{100, all.with(func(r *room) { r.rate = 1 }), []int{8, 8, 8, 8}},
		{100, all.with(func(r *room) { r.several = 1 }), []int{25, 1, 1, 1}},
		{100, all.with(func(r *room) { r.most = 30 }), []int{25, 5}},
		{100, all.with(func(r *room) { r.most = 0 }), nil},
	} {
		require.Equal(t, c.want, sizes(pack(queue("r", c.waiting, 0), c.room)), "%d waiting, %+v", c.waiting, c.room)
	}
}

// Nobody waits at a button for what an event leads to, and each batch costs the same.
func TestEventsGoInLargeBatchesOneBehindTheOther(t *testing.T) {
	t.Parallel()
	events := all.with(func(r *room) { r.pattern = flow.Event })
	for _, c := range []struct {
		name    string
		waiting int
		room    room
		pace    pace
		want    []int
	}{
		{"one alone", 1, events, pace{}, []int{1}},
		{"a few when nothing is under way", 5, events, pace{rate: 100}, []int{5}},
		{"a few behind one that was claimed just now", 5, events, pace{rate: 100, under: 1, recent: true}, nil},
		{"a few when that is longer ago", 5, events, pace{rate: 100, under: 1}, []int{5}},
		{"a full one behind one that was claimed just now", 100, events, pace{rate: 100, under: 20, recent: true}, []int{80}},
		{"a backlog", 1000, events, pace{rate: 100}, []int{100}},
		{"a backlog while much is under way", 1000, events, pace{rate: 100, under: 26}, nil},
		{"a backlog while little is", 1000, events, pace{rate: 100, under: 25}, []int{75}},
		{"a backlog of a target that takes much", 1000, events, pace{rate: 500}, []int{200, 200, 100}},
		{"a backlog when nothing is known", 1000, events, pace{}, []int{200, 200, 200, 200}},
		{"what a single batch finished, where that is more", 1000, events.with(func(r *room) { r.rate = 150 }), pace{rate: 40}, []int{150}},
		{"a target that takes next to nothing", 1000, events, pace{rate: 1}, []int{8}},
		{"while the flow's share is less", 1000, events.with(func(r *room) { r.most = 30 }), pace{rate: 100}, []int{30}},
	} {
		rows := queue("r", c.waiting, 0)
		require.Equal(t, c.want, sizes(pack(rows, c.room.unhurried(c.pace, rows))), c.name)
	}
	rows := queue("often", 3, 2)
	require.Len(t, pack(rows, events.unhurried(pace{rate: 100, under: 90, recent: true}, rows)), 3, "those that have to be alone wait for nobody")
}

func TestTriesBoundTheBatchThatARowMayJoin(t *testing.T) {
	t.Parallel()
	rows := slices.Concat(queue("once", 20, 1), queue("never", 30, 0), queue("often", 3, 2), queue("always", 1, 6))
	got := pack(rows, all)
	require.Equal(t, []int{8, 8, 4, 13, 1, 1, 1, 1}, sizes(got), "eight at most of those that were in trouble once")
	for _, b := range got {
		for _, id := range b.rows {
			require.Equal(t, strings.TrimRight(b.rows[0], "0123456789"), strings.TrimRight(id, "0123456789"), "no batch mixes them")
		}
	}
	require.Len(t, pack(queue("often", 40, 3), all), mostAlone)
	require.Len(t, pack(queue("often", 40, 3), all.with(func(r *room) { r.free = 0 })), mostAlone, "runs of one have places of their own")
}

func TestABatchSharesPlanAndClass(t *testing.T) {
	t.Parallel()
	rows := queue("r", 12, 0)
	for i := range rows {
		rows[i].digest = []string{"old", "new"}[i%2]
		rows[i].class = flow.Class(i / 6)
	}
	got := pack(rows, all)
	require.Len(t, got, 4)
	for _, b := range got {
		require.Len(t, b.rows, 3)
	}
	require.Equal(t, []flow.Class{0, 0, 1, 1}, []flow.Class{got[0].class, got[1].class, got[2].class, got[3].class})
}

func TestAnOrderKeyIsTakenOnce(t *testing.T) {
	t.Parallel()
	rows := queue("r", 6, 0)
	for i := range rows {
		rows[i].orderKey = []string{"a", "b"}[i%2]
	}
	got := pack(rows, all)
	require.Equal(t, []string{"r0", "r1"}, slices.Concat(got[0].rows, got[len(got)-1].rows)[:2])
	total := 0
	for _, n := range sizes(got) {
		total += n
	}
	require.Equal(t, 2, total)
}

func TestWhateverWaitsIsPackedWithinAllBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var rows []waitingRow
		for i := range rapid.IntRange(0, 300).Draw(t, "rows") {
			rows = append(rows, waitingRow{
				runID:    fmt.Sprint(i),
				digest:   rapid.SampledFrom([]string{"x", "y"}).Draw(t, "digest"),
				class:    flow.Class(rapid.IntRange(0, 1).Draw(t, "class")),
				tries:    rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2, 5}).Draw(t, "tries"),
				orderKey: rapid.SampledFrom([]string{"", "", "", "k1", "k2", "k3"}).Draw(t, "key"),
			})
		}
		slices.SortStableFunc(rows, func(a, b waitingRow) int { return int(a.class - b.class) })
		r := room{
			pattern: rapid.SampledFrom([]flow.Pattern{flow.Instant, flow.Event, flow.Service}).Draw(t, "pattern"),
			free:    rapid.IntRange(0, 4).Draw(t, "free"), alone: rapid.IntRange(0, 16).Draw(t, "alone"),
			several: rapid.IntRange(0, 3).Draw(t, "several"), rate: rapid.IntRange(0, 80).Draw(t, "rate"), most: rapid.IntRange(-1, 100).Draw(t, "most"),
		}
		byID := map[string]waitingRow{}
		for _, row := range rows {
			byID[row.runID] = row
		}
		shared, single, several, total := 0, 0, 0, 0
		seen, keys := map[string]bool{}, map[string]bool{}
		last := map[kind]int{}
		for _, b := range pack(rows, r) {
			if b.tier == alone {
				single++
			} else {
				shared++
			}
			if len(b.rows) > 1 {
				several++
			}
			if len(b.rows) == 0 || len(b.rows) > capOf(r.pattern, b.tier) {
				t.Fatalf("a batch of %d of tier %d", len(b.rows), b.tier)
			}
			if r.rate > 0 && len(b.rows) > max(r.rate, leastByRate) {
				t.Fatalf("a batch of %d where %d were finished in a second", len(b.rows), r.rate)
			}
			for _, id := range b.rows {
				row := byID[id]
				k := kind{row.digest, row.class, tierOf(row.tries)}
				if k != (kind{b.digest, b.class, b.tier}) {
					t.Fatalf("row %+v is in a batch of another kind", row)
				}
				if seen[id] || row.orderKey != "" && keys[row.orderKey] {
					t.Fatalf("row %+v or its order key is taken twice", row)
				}
				at := slices.Index(rows, row)
				if at < last[k] {
					t.Fatalf("row %+v is out of its order", row)
				}
				last[k] = at
				seen[id], keys[row.orderKey] = true, true
				total++
			}
		}
		if shared > r.free || single > r.alone || several > r.several || r.most >= 0 && total > r.most {
			t.Fatalf("%d and %d batches, %d of several, %d rows in %+v", shared, single, several, total, r)
		}
		if total == 0 && r.most != 0 && slices.ContainsFunc(rows, func(w waitingRow) bool {
			return tierOf(w.tries) == alone && r.alone > 0 || tierOf(w.tries) != alone && r.free > 0
		}) {
			t.Fatal("nothing was claimed although there is room")
		}
	})
}
