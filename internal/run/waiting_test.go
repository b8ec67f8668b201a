package run_test

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// waiting is how many rows wait: go test ./internal/run -run Waiting -waiting 1000000.
var waiting = flag.Int("waiting", 20_000, "rows that wait while a claim is measured")

// scan is what PostgreSQL says of a node of a plan and of those below it.
type scan struct {
	Type  string `json:"Node Type"`
	Index string `json:"Index Name"`
	Hit   int    `json:"Shared Hit Blocks"`
	Read  int    `json:"Shared Read Blocks"`
	Rows  int    `json:"Actual Rows"`
	Plans []scan `json:"Plans"`
}

// nodes are the types of all nodes, with their indexes.
func (s scan) nodes() []string {
	all := []string{strings.TrimSpace(s.Type + " " + s.Index)}
	for _, p := range s.Plans {
		all = append(all, p.nodes()...)
	}
	return all
}

func (b *bundle) candidates(limit int) scan {
	b.Helper()
	var text []byte
	require.NoError(b, b.store.Pool().QueryRow(b.Context(), `explain (analyze, buffers, format json) `+run.Candidates,
		pgx.QueryExecModeSimpleProtocol, b.plan.Flow, limit, false, false).Scan(&text))
	var got []struct{ Plan scan }
	require.NoError(b, json.Unmarshal(text, &got))
	return got[0].Plan
}

// However many rows wait, and whether PostgreSQL has looked at them since they came or
// not: a claim walks the index of what waits, and looks each order key up in that of the
// keys. It sorts nothing and reads no table.
func TestAClaimReadsWhatItTakesHoweverManyRowsWait(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		order []string
		key   string // of the n-th row
		most  int    // buffers for each row: its index entry, itself and what deleted entries are on the way, and the steps to its key
	}{
		{"without an order", nil, `null`, 4},
		{"each of a key of its own", []string{"product_id"}, `'["K' || n || '"]'`, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const claims, limit = 3, 816 // what four batches of events and sixteen that have to be alone ask for
			b := newBundle(t, func(p *flow.Plan) { p.Pattern, p.Order = flow.Event, c.order })
			b.accept("")
			// No two neighbours of the index are neighbours in the table.
			b.alone(`
				insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, order_at, class, order_key)
				select md5(n::text), flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at + interval '1 day', now() + n * interval '1 ms', 0, `+c.key+`
				from work, generate_series(1, $1::int) as n order by md5(n::text)`, *waiting)
			walk := `^Limit, Index Scan work_waiting, (Index Scan|Bitmap Heap Scan, Bitmap Index Scan) work_ordered$`
			require.Regexp(t, walk, strings.Join(b.candidates(limit).nodes(), ", "), "without statistics of what has just come")
			b.exec(`update batch set settled_at = now()`)
			for range claims {
				require.Len(t, runIDs(b.claim()), 800)
				b.exec(`update batch set settled_at = now()`)
			}
			b.alone(`vacuum analyze work`)
			got := b.candidates(limit)
			t.Logf("%d rows wait: %d buffers for %d rows", *waiting, got.Hit+got.Read, limit)
			require.Regexp(t, walk, strings.Join(got.nodes(), ", "))
			require.Equal(t, limit, got.Rows)
			require.LessOrEqual(t, got.Hit+got.Read, c.most*limit)
		})
	}
}

// alone executes a statement that may take longer than the pool lets one.
func (b *bundle) alone(sql string, args ...any) {
	b.Helper()
	conn, err := b.store.Pool().Acquire(b.Context())
	require.NoError(b, err)
	defer conn.Release()
	_, err = conn.Exec(b.Context(), `set statement_timeout = 0`)
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), sql, args...)
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), `reset statement_timeout`)
	require.NoError(b, err)
}
