package egress_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// How fast rows of four values (the key and three others) cross: put in batches by one
// exporter, pulled and acknowledged by one importer, pruned. One iteration is a row.
//
//	go test ./internal/egress -run '^$' -bench . -benchtime 1000000x
func BenchmarkCrossing(t *testing.B) {
	const size = 5000
	b := newBundle(t)
	ctx := t.Context()
	made := make([]flow.Delta, size)
	fill := func(from int) []flow.Delta {
		n := min(size, t.N-from)
		for i := range made[:n] {
			v := flow.Version{Stamp: now.UnixMicro() + int64(from+i), Region: "de", Seen: map[string]int64{"de": 1}}
			made[i] = flow.Delta{Key: []string{fmt.Sprintf(`"A-%07d"`, from+i)}, Cells: []flow.SyncCell{
				{Value: fmt.Appendf(nil, `"Customer number %d"`, from+i), Version: v},
				{Value: fmt.Appendf(nil, `"+49 30 %07d"`, from+i), Version: v},
				{Value: fmt.Appendf(nil, `"customer-%d@example.com"`, from+i), Version: v}}}
		}
		return made[:n]
	}
	fr, ch := b.dial("fr"), b.dial("ch")
	t.ResetTimer()
	var putting, pulling time.Duration
	for from := 0; from < t.N; from += size {
		deltas := fill(from)
		begun := time.Now()
		require.NoError(t, b.store.Tx(ctx, func(tx pgx.Tx) error { return b.egress.Put(ctx, tx, b.plan.Flow, b.table("account"), deltas) }))
		putting += time.Since(begun)
	}
	rows, after := 0, int64(0)
	begun := time.Now()
	for batches := b.pull(fr, "account", after, 4*size); len(batches) > 0; batches = b.pull(fr, "account", after, 4*size) {
		for _, batch := range batches {
			rows, after = rows+len(batch.Deltas), batch.ID
		}
		require.NoError(t, fr.Acknowledge(ctx, b.plan.Flow, "account", after))
	}
	pulling = time.Since(begun)
	require.Equal(t, t.N, rows)
	require.NoError(t, ch.Acknowledge(ctx, b.plan.Flow, "account", after))
	begun = time.Now()
	gone, err := b.egress.Prune(ctx, b.plan.Flow)
	require.NoError(t, err)
	require.Equal(t, int64(t.N), gone)
	t.ReportMetric(float64(t.N)/putting.Seconds(), "put/s")
	t.ReportMetric(float64(t.N)/pulling.Seconds(), "pulled/s")
	t.ReportMetric(float64(t.N)/time.Since(begun).Seconds(), "pruned/s")
}
