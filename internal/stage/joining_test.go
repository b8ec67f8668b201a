package stage_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/join"
	"patchbay/internal/stage"
)

func TestTheStateOfATargetStaysFewLevels(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	names := map[string]string{}
	for n := range 12 {
		run := b.run()
		id := fmt.Sprint("C", n%5)
		names[id] = fmt.Sprintf(`"Name %d"`, n)
		var rows [][]string
		for i := range 5 {
			if id := fmt.Sprint("C", i); names[id] != "" {
				rows = append(rows, []string{`"` + id + `"`, names[id], `null`})
			}
		}
		b.read(run, "customer", rows...)
		b.read(run, "orders", orders...)
		require.Equal(t, stage.Joined{Keys: int64(len(rows)), Changed: 1, Unchanged: int64(len(rows)) - 1}, b.join(run))
		require.Equal(t, map[string]string{id: `id="` + id + `" name=` + names[id] + ` orders=0 first=null `}, b.deliver(run))
	}
	var levels int
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `select count(distinct level) from stage_level`).Scan(&levels))
	require.LessOrEqual(t, levels, 8)
}

// An attempt that was given up may still be at it when the next one begins.
func TestTwoAttemptsAtAJoinAreOne(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	run := b.run()
	b.read(run, "customer", customers...)
	b.read(run, "orders", orders...)
	j, err := join.NewPlan(b.plan)
	require.NoError(t, err)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			out, err := b.stage.Join(t.Context(), b.plan, j, run, stage.JoinOptions{Rows: 1})
			if err != nil || out.Changed != 4 {
				t.Error(out, err)
			}
		})
	}
	both.Wait()
	require.Len(t, b.deliver(run), 4)
	require.Equal(t, int64(4), b.completeness(run).Target.Written)
}

// What is to be written is frozen: rows that are read anew meanwhile change nothing.
func TestAChunkNeverChanges(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.run()
	b.read(first, "customer", customers...)
	b.read(first, "orders", orders...)
	b.join(first)
	before, err := b.stage.Chunk(t.Context(), b.plan, first, 0)
	require.NoError(t, err)
	second := b.run()
	b.read(second, "customer", []string{`"A"`, `"Another"`, `null`})
	b.read(second, "orders", orders...)
	b.join(second)
	after, err := b.stage.Chunk(t.Context(), b.plan, first, 0)
	require.NoError(t, err)
	require.Equal(t, before.SHA256, after.SHA256)
	require.Equal(t, before.Sheet, after.Sheet)
	chunks, next, err := b.stage.Chunks(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, []int{2, 0}, []int{chunks, next})
	require.NoError(t, b.stage.Written(t.Context(), first, before, nil))
	_, next, err = b.stage.Chunks(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, 1, next)
	_, err = b.stage.Chunk(t.Context(), b.plan, first, 7)
	requireCode(t, "bug.stage", err)
}
