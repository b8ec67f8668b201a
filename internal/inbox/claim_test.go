package inbox_test

import (
	"encoding/json"
	"flag"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/inbox"
)

// waiting is how many windows wait: go test ./internal/inbox -run Claiming -waiting 1000000.
var waiting = flag.Int("waiting", 100_000, "windows that wait while a claim is measured")

// An old snapshot keeps every version of every row: what was claimed is still in the
// index, ahead of what waits, and a claim must not step over it. No two neighbours of
// the index are neighbours in the table, which is the worst case.
func TestClaimingABatchReadsNoMoreThanThreeTimesTheBatch(t *testing.T) {
	t.Parallel()
	const batch, claims = 200, 10
	b := newBundle(t)
	old, err := b.store.Pool().BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	defer func() { _ = old.Rollback(t.Context()) }()
	_, err = old.Exec(t.Context(), `set local idle_in_transaction_session_timeout = 0; select count(*) from change_window`)
	require.NoError(t, err)
	owner, err := b.store.Pool().Acquire(t.Context())
	require.NoError(t, err)
	defer owner.Release()
	_, err = owner.Exec(t.Context(), `set statement_timeout = 0`) // a million rows take longer than a claim may
	require.NoError(t, err)
	_, err = owner.Exec(t.Context(), `
		insert into change_window (flow, key, due_at, max_at, net, events, lead)
		select 'cases', 'c' || n, now() - interval '1 hour' + n * interval '1 ms', now(), '{"row": {"id": "c1", "status": 5}}', 1, n
		from generate_series(1, $1::int) as n order by md5(n::text)`, *waiting+batch*claims)
	require.NoError(t, err)
	for range claims {
		require.Len(t, b.freeze(), batch)
	}
	_, err = owner.Exec(t.Context(), `vacuum analyze change_window`)
	require.NoError(t, err)

	mark := b.inbox.Mark("cases")
	require.Greater(t, buffers(b, "", batch, inbox.Beginning), 3*batch, "the dead ones are there, or this test tells nothing")
	require.LessOrEqual(t, buffers(b, "Index Scan", batch, mark), 3*batch)
	require.Len(t, b.freeze(), batch)
}

// buffers is what a claim reads, by PostgreSQL's own account; node is the only kind of
// node that may find its rows.
func buffers(b *bundle, node string, limit int, from time.Time) int {
	b.Helper()
	type plan struct {
		Type  string `json:"Node Type"`
		Hit   int    `json:"Shared Hit Blocks"`
		Read  int    `json:"Shared Read Blocks"`
		Rows  int    `json:"Actual Rows"`
		Plans []plan `json:"Plans"`
	}
	tx, err := b.store.Pool().Begin(b.Context())
	require.NoError(b, err)
	defer func() { _ = tx.Rollback(b.Context()) }()
	var text []byte
	require.NoError(b, tx.QueryRow(b.Context(), `explain (analyze, buffers, format json) `+inbox.ClaimDue, pgx.QueryExecModeSimpleProtocol, "cases", limit, from).Scan(&text))
	var got []struct{ Plan plan }
	require.NoError(b, json.Unmarshal(text, &got))
	at := got[0].Plan
	require.Equal(b, limit, at.Rows)
	all := at.Hit + at.Read
	for ; node != "" && len(at.Plans) > 0; at = at.Plans[0] {
		require.NotContains(b, at.Type, "Sort", string(text))
		require.Len(b, at.Plans, 1, string(text))
	}
	if node != "" {
		require.Equal(b, node, at.Type, string(text))
	}
	return all
}
