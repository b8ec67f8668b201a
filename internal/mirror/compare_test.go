package mirror_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// secretly changes a system without its log telling of it: in one transaction the
// publications tell of nothing, and then of all again.
func (w *world) secretly(region string, statements ...string) {
	w.Helper()
	tx, err := w.regions[region].erp.Begin(w.ctx)
	require.NoError(w, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(w.ctx)) }()
	rows, err := tx.Query(w.ctx, `select pubname from pg_publication`)
	require.NoError(w, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w, err)
	publish := func(what string) {
		for _, name := range names {
			_, err := tx.Exec(w.ctx, `alter publication `+name+` set (publish = '`+what+`')`)
			require.NoError(w, err)
		}
	}
	publish("truncate")
	for _, sql := range statements {
		_, err = tx.Exec(w.ctx, sql)
		require.NoError(w, err)
	}
	publish("insert, update, delete, truncate")
	require.NoError(w, tx.Commit(w.ctx))
}

// settled compares a region's system until nothing is on its way in it.
func (w *world) settled(region string) []flow.SyncCompared {
	w.Helper()
	for end := time.Now().Add(time.Minute); ; {
		found, trouble, err := w.regions[region].side.Compare(w.ctx)
		require.NoError(w, err)
		require.Empty(w, trouble)
		if !strings.Contains(fmt.Sprintf("%+v", found), "InFlight:0") || len(found) == 0 {
			require.True(w, time.Now().Before(end), "%+v", found)
			continue
		}
		return found
	}
}

// One row in ten thousand of each kind is corrupted where no log tells of it, in one of
// the regions: one comparison finds and repairs all, and nothing else.
func TestRowsThatWereCorruptedBehindOurBackAreFoundAndRepairedInOneCycle(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	w := newWorld(t, sharing(), "de", "fr")
	w.run("de", `insert into account select 'A' || n, 'Account ' || n, '0', n / 8.0, 'x' from generate_series(1, $1::int) n`, rows)
	w.work("de", "fr")
	w.same(5 * time.Minute)
	w.run("de", `insert into contact select 'C' || n, 'Contact ' || n, 'A' || n, 'x' from generate_series(1, 200) n`)
	before := w.same(time.Minute)
	fr := w.regions["fr"]
	for _, c := range w.settled("fr") {
		require.Zero(t, c.Drift, "%+v", c)
	}

	// The log tells of none of it: nothing of it comes to the other region by itself.
	w.secretly("fr",
		`update account set name = 'corrupted', credit = null where accountnumber in ('A1', 'A10001', 'A20001', 'A30001', 'A49999')`,
		`delete from account where accountnumber in ('A1007', 'A11007', 'A21007', 'A31007', 'A50000')`,
		`insert into account select 'new ' || n, 'Added', '7', 1.5, 'y' from generate_series(1, 5) n`)
	var added strings.Builder
	for n := 1; n <= 5; n++ {
		fmt.Fprintf(&added, "account new %d: Added, 7, 1.5\n", n)
	}
	corrupted := w.shared("fr")
	w.run("fr", `update contact set fullname = 'Told' where number = 'C7'`) // what the log tells of comes
	told := strings.Replace(before, "contact C7: Contact 7 ", "contact C7: Told ", 1)
	require.Eventually(t, func() bool { return w.shared("de") == told }, 30*time.Second, 200*time.Millisecond)

	began := time.Now()
	found, trouble, err := fr.side.Compare(t.Context())
	require.NoError(t, err)
	require.Empty(t, trouble)
	require.Len(t, found, 2)
	c := found[0]
	require.Equal(t, []int64{5, 5, 5, 15, 15}, []int64{c.Changed, c.Missing, c.Added, c.Drift, c.Repaired}, "%+v", c)
	require.EqualValues(t, rows+5, c.Records, "those that are there, and those that should be")
	t.Logf("compared in %s: %+v", time.Since(began).Round(time.Millisecond), c)

	want := strings.Replace(told, "contact C1:", added.String()+"contact C1:", 1)
	require.NotEqual(t, want, corrupted)
	require.Equal(t, want, w.same(30*time.Second), "repaired where it was corrupted, and the additions are everywhere")
	for _, region := range []string{"fr", "de"} {
		for _, c := range w.settled(region) {
			require.Zero(t, c.Drift, "%s: %+v", region, c)
		}
	}
	kept, err := fr.replica.Comparisons(t.Context(), fr.side.Place)
	require.NoError(t, err)
	require.Len(t, kept, 2)
}

// A write that carries our own mark is no edit to the reader; it only learns what the
// system holds. Who forges it changes a record behind our back.
func TestARecordThatWasChangedUnderOurMarkIsWrittenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	w.run("de", `insert into account select 'A' || n, 'Account ' || n, '0', n / 8.0, 'x' from generate_series(1, 3000) n`)
	w.work("de", "fr")
	before := w.same(60 * time.Second)
	tx, err := w.regions["fr"].erp.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select pg_logical_emit_message(true, 'patchbay', 'patchbay:account-sync')`)
	require.NoError(t, err)
	for n := range 3 {
		_, err = tx.Exec(t.Context(), `update account set name = 'forged', credit = null where accountnumber = $1`, fmt.Sprintf("A%d", 1+n*700))
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit(t.Context()))
	require.Eventually(t, func() bool { return w.shared("fr") == before }, time.Minute, 200*time.Millisecond, "repaired")
	require.Equal(t, before, w.shared("de"), "and told to nobody")
}
