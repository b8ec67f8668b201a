package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// The chunk that export and import work by, and how many records a benchmark has.
const (
	chunk   = 5_000
	records = 200_000
)

// BenchmarkCopy is the limit of the others: a COPY of the same values into a bare table.
func BenchmarkCopy(b *testing.B) {
	de := newBundle(b, "de").regions["de"]
	for range b.N {
		b.StopTimer()
		_, err := de.store.Pool().Exec(b.Context(), `select 1`)
		require.NoError(b, err)
		b.StartTimer()
		for from := 0; from < records; from += chunk {
			rows := make([][]any, chunk)
			for i := range rows {
				rows[i] = []any{int32(1), int32(1), fmt.Sprintf(`"A-%07d"`, from+i), fmt.Sprintf("\"name of %d\"\x1f\"+49 30 %d\"\x1f%d.50", from+i, from+i, from+i), ""}
			}
			_, err := de.store.Pool().CopyFrom(b.Context(), pgx.Identifier{"replica_record"}, []string{"tbl", "layout", "uid", "cells", "ver"}, pgx.CopyFromRows(rows))
			require.NoError(b, err)
		}
	}
	rate(b, records)
}

// BenchmarkShare is what becomes of records that are observed in one region, received in
// another, given as orders and settled: first all of them, new; then an edit of each.
func BenchmarkShare(b *testing.B) {
	for range b.N {
		both := newBundle(b, "de", "fr")
		de, fr := both.regions["de"], both.regions["fr"]
		for _, what := range []string{"load", "edit"} {
			spent := map[string]time.Duration{}
			for from := 0; from < records; from += chunk {
				de.out = nil
				rows := make([]Observed, chunk)
				for i := range rows {
					name := fmt.Sprintf("%s name of %d", what, from+i)
					rows[i] = Observed{Key: key(fmt.Sprintf("A-%07d", from+i)), Values: values(name, fmt.Sprintf("+49 30 %d", from+i), fmt.Sprintf("%d.50", from+i)), At: de.tick()}
				}
				timed(spent, "observe", func() { de.observe("account", rows...) })
				require.Len(b, de.out, chunk)
				timed(spent, "receive", func() {
					_, _, err := fr.replica.Receive(b.Context(), fr.Place, "de", "account", de.out, time.Now().UnixNano())
					require.NoError(b, err)
				})
				w := fr.writing("account")
				var orders []Order
				timed(spent, "pending", func() {
					var err error
					orders, err = fr.replica.Pending(b.Context(), fr.Place, w, chunk)
					require.NoError(b, err)
				})
				require.Len(b, orders, chunk)
				settled := make([]Settled, len(orders))
				for i, o := range orders {
					settled[i] = Settled{Order: o, Outcome: flow.SyncApplied}
				}
				timed(spent, "settle", func() { fr.settle(w, settled...) })
				require.NoError(b, fr.replica.Release(b.Context(), fr.Place, w))
			}
			for name, d := range spent { // each is a figure of its own
				b.ReportMetric(records/d.Seconds(), what+"-"+name+"/s")
			}
		}
	}
}

func timed(spent map[string]time.Duration, name string, fn func()) {
	begun := time.Now()
	fn()
	spent[name] += time.Since(begun)
}

func rate(b *testing.B, n int) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
