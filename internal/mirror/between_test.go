package mirror_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

// with compares what a region knows with another one.
func (w *world) with(region, other string) map[string]flow.SyncCompared {
	w.Helper()
	r := w.regions[region]
	found, trouble, err := r.side.CompareWith(w.ctx, other, r.peers[other], r.border)
	require.NoError(w, err)
	require.Empty(w, trouble)
	out := map[string]flow.SyncCompared{}
	for _, c := range found {
		require.Equal(w, other, c.Peer)
		c.Peer = ""
		out[c.Table] = c
	}
	return out
}

// owner is the database of a region as its owner sees it.
func (w *world) owner(region string) *pgx.Conn {
	w.Helper()
	c, err := pgx.Connect(w.ctx, w.regions[region].database.Owner)
	require.NoError(w, err)
	w.Cleanup(func() { _ = c.Close(context.WithoutCancel(w.ctx)) })
	return c
}

// relation is where a region's border has a table.
func (w *world) relation(c *pgx.Conn, table string) string {
	w.Helper()
	var name string
	require.NoError(w, c.QueryRow(w.ctx, `select relation from egress.border where "table" = $1`, table).Scan(&name))
	return pgx.Identifier{"egress", name}.Sanitize()
}

// exported waits until something of an account lies at the border of a region.
func (w *world) exported(region, number string) {
	w.Helper()
	c := w.owner(region)
	sql := `select exists (select from ` + w.relation(c, "account") + ` where accountnumber = $1)`
	require.Eventually(w, func() (is bool) {
		require.NoError(w, c.QueryRow(w.ctx, sql, number).Scan(&is))
		return is
	}, 30*time.Second, 100*time.Millisecond)
}

// lose takes what nobody has fetched from a region's border.
func (w *world) lose(region string) {
	w.Helper()
	c := w.owner(region)
	for _, from := range []string{w.relation(c, "account"), w.relation(c, "contact"), "egress.batch"} {
		_, err := c.Exec(w.ctx, `delete from `+from)
		require.NoError(w, err)
	}
}

// What a region told and another never got is found by comparing the two, and told again;
// an edit that was made meanwhile is newer, and stays.
func TestWhatWasLostBetweenRegionsIsFoundByComparingThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	w.run("de", `insert into account select 'A' || n, 'Account ' || n, '0', n / 8.0, 'x' from generate_series(1, 5000) n`)
	w.run("de", `insert into contact select 'C' || n, 'Contact ' || n, 'A' || n, 'x' from generate_series(1, 200) n`)
	w.work("de", "fr")
	w.same(60 * time.Second)
	for _, c := range w.with("de", "fr") {
		require.Zero(t, c.Drift+c.InFlight+c.Held+c.Pending, "%+v", c)
	}
	require.EqualValues(t, 5000, w.with("fr", "de")["account"].Records)

	// France is away while Germany edits, deletes and adds, and the batches are lost.
	w.halt("fr")
	w.run("de", `update account set name = 'Edited ' || accountnumber where accountnumber in ('A10', 'A20', 'A30', 'A40', 'A50')`)
	w.run("de", `delete from account where accountnumber in ('A1001', 'A1002')`)
	w.run("de", `insert into account values ('new', 'New', '1', 1, 'x')`)
	w.exported("de", `"new"`)
	w.lose("de")
	w.work("fr")
	w.run("fr", `update account set name = 'Newer' where accountnumber = 'A10'`) // and this is later than what was lost
	w.run("fr", `update account set phone = '33' where accountnumber = 'A20'`)   // which knows nothing of the name
	require.Eventually(t, func() bool { return strings.Contains(w.shared("de"), "account A20: Edited A20, 33, ") }, 30*time.Second, 100*time.Millisecond)
	require.Contains(t, w.shared("fr"), "account A30: Account 30, ", "it is lost")

	c := w.with("de", "fr")["account"]
	require.Equal(t, []int64{4, 1, 2, 7}, []int64{c.Changed, c.Missing, c.Added, c.Drift}, "%+v", c)
	require.EqualValues(t, 7, c.Repaired, "%+v", c)
	all := w.same(30 * time.Second)
	require.Contains(t, all, "account A10: Newer, ")
	require.Contains(t, all, "account A20: Edited A20, 33, ")
	for n := 30; n <= 50; n += 10 {
		require.Contains(t, all, fmt.Sprintf("account A%d: Edited A%d, ", n, n))
	}
	require.Contains(t, all, "account new: New, ")
	require.NotContains(t, all, "account A1001:")
	for _, c := range []flow.SyncCompared{w.with("de", "fr")["account"], w.with("fr", "de")["account"]} {
		require.Zero(t, c.Drift, "%+v", c)
	}
}

// Where a region is on hold what differs is explained by that, and nothing is told again.
func TestWhatIsOnHoldIsNoDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	w.run("de", `insert into account select 'A' || n, 'Account', '0', 0, 'x' from generate_series(1, 20) n`)
	w.work("de", "fr")
	w.same(60 * time.Second)
	fr := w.regions["fr"]
	require.NoError(t, fr.replica.Pause(t.Context(), fr.side.Place, replica.Paused{Table: "account", By: "Anna"}))
	<-time.After(2 * time.Second) // it is heard within one
	w.run("de", `update account set name = 'Edited' where accountnumber in ('A1', 'A10', 'A11', 'A12', 'A2')`)
	w.exported("de", `"A2"`)
	c := w.with("fr", "de")["account"]
	require.Zero(t, c.Drift, "%+v", c)
	require.EqualValues(t, 5, c.Pending, "%+v", c)
}

// A region that does not answer is said, and the others are compared.
func TestARegionThatDoesNotAnswerIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	w.work("fr")
	fr := w.regions["fr"]
	side := *fr.side
	side.Speed = 100
	_, trouble, err := side.CompareWith(t.Context(), "de", fr.peers["de"], fr.border)
	require.NoError(t, err)
	require.Equal(t, fault.Unavailable, trouble["account"].Class)
	require.Equal(t, "sync.unanswered", trouble["account"].Code)
}
