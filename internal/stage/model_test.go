package stage_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/flow"
	"patchbay/internal/join"
	"patchbay/internal/stage"
)

// modelRow is a row of the source, as its system has it.
type modelRow struct {
	key     string // of another source's customer; it may change
	changed int
	bad     bool // its amount is no decimal
}

func (r modelRow) cells(id string) []string {
	amount := strconv.Itoa(r.changed)
	if r.bad {
		amount = `"n/a"`
	}
	return []string{`"` + id + `"`, `"` + r.key + `"`, amount, strconv.Itoa(r.changed)}
}

// Whatever changes between the runs and however each of them reads, what is staged is
// what the source had of the rows that were read last, every row is counted once, and
// the sum is that of the rows.
func TestWhatIsStagedIsWhatTheSourceHad(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	flows := 0
	rapid.Check(t, func(rt *rapid.T) {
		flows++
		b.plan.Flow = fmt.Sprint("flow-", flows)
		s := b.source("orders")
		s.Select, s.Types = []string{"no", "customer", "amount", "changed"}, []flow.Type{flow.String, flow.String, flow.Decimal, flow.Int}
		s.Changed = &flow.Watermark{Column: "changed"}
		source, staged, rejected := map[string]modelRow{}, map[string]modelRow{}, map[string]bool{}
		clock := 0
		for range rapid.IntRange(1, 5).Draw(rt, "runs") {
			for range rapid.IntRange(0, 6).Draw(rt, "changes") {
				id := fmt.Sprint(rapid.IntRange(1, 9).Draw(rt, "id"))
				if clock++; rapid.IntRange(0, 4).Draw(rt, "delete") == 0 {
					delete(source, id)
					continue
				}
				source[id] = modelRow{key: rapid.SampledFrom([]string{"A", "B"}).Draw(rt, "key"), changed: clock, bad: rapid.IntRange(0, 5).Draw(rt, "bad") == 0}
			}
			run := b.run()
			r, err := b.stage.Begin(t.Context(), b.plan, *s, run, rapid.IntRange(0, 3).Draw(rt, "full") == 0)
			require.NoError(rt, err)
			if r.Since == "" {
				staged, rejected = map[string]modelRow{}, map[string]bool{}
			}
			since, _ := strconv.Atoi(r.Since)
			var rows [][]string
			for _, id := range slices.Sorted(maps.Keys(source)) {
				row := source[id]
				if row.changed < since {
					continue
				}
				rows = append(rows, row.cells(id))
				delete(staged, id)
				delete(rejected, id)
				if row.bad {
					rejected[id] = true
				} else {
					staged[id] = row
				}
			}
			for n := 0; !r.Last(); n++ {
				from, next := min(2*n, len(rows)), ""
				if 2*n+2 < len(rows) {
					next = fmt.Sprint(n + 1)
				}
				require.NoError(rt, r.Put(t.Context(), sheet(s.Select, next, rows[from:min(from+2, len(rows))]...)))
			}
			require.NoError(rt, r.Complete(t.Context(), flow.Guard{Zero: true}, false))
			b.requireStaged(rt, staged, rejected)
		}
	})
}

// requireStaged compares the rows of a source with those it should have.
func (b *bundle) requireStaged(rt *rapid.T, staged map[string]modelRow, rejected map[string]bool) {
	ctx := b.Context()
	var generation, count int64
	var sum []byte
	require.NoError(rt, b.store.Pool().QueryRow(ctx, `select generation, rows, sum from stage_source where flow = $1`, b.plan.Flow).Scan(&generation, &count, &sum))
	rows, err := b.store.Pool().Query(ctx, fmt.Sprintf(`select key, ident, cells from stage.g_%d`, generation))
	require.NoError(rt, err)
	defer rows.Close()
	got, of := map[string]string{}, join.Sum{}
	for rows.Next() {
		var key, ident, cells string
		require.NoError(rt, rows.Scan(&key, &ident, &cells))
		require.NotContains(rt, got, ident)
		got[ident] = key + " " + cells
		of = of.Add(join.SumOfRow([]byte(key), []byte(cells)))
	}
	require.NoError(rt, rows.Err())
	want := map[string]string{}
	for id, row := range staged {
		cells := row.cells(id)
		want[cells[0]] = row.key + " " + cells[0] + "\x1f" + cells[1] + "\x1f" + cells[2] + "\x1f" + cells[3]
	}
	require.Equal(rt, want, got)
	require.Equal(rt, int64(len(got)), count)
	require.Equal(rt, of.Bytes(), sum)
	open, err := b.stage.Rejects(ctx, stage.RejectFilter{Flow: b.plan.Flow})
	require.NoError(rt, err)
	bad := map[string]bool{}
	for _, r := range open {
		bad[r.Identity] = true
	}
	require.Equal(rt, rejected, bad)
}
