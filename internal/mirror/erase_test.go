package mirror_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/mirror"
)

// erase is what a region does at the end of a comparison; the named ones are there.
func (w *world) erase(region string, peers ...string) int64 {
	w.Helper()
	r := w.regions[region]
	there := map[string]mirror.Comparable{}
	for _, name := range peers {
		there[name] = r.peers[name]
	}
	n, err := r.side.Erase(w.ctx, there, r.border)
	require.NoError(w, err)
	return n
}

// kept counts the rows of all tables of a region's database, its border included, that have
// a text somewhere.
func (w *world) kept(region, text string) (n int) {
	w.Helper()
	c := w.owner(region)
	rows, err := c.Query(w.ctx, `
		select c.oid::regclass::text from pg_class c where c.relkind = 'r' and (c.relnamespace = 'egress'::regnamespace or c.relname like 'replica%')`)
	require.NoError(w, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w, err)
	require.Greater(w, len(tables), 10)
	for _, table := range tables {
		var found int
		require.NoError(w, c.QueryRow(w.ctx, `select count(*) from `+table+` as t where t::text like '%' || $1 || '%'`, text).Scan(&found))
		n += found
	}
	return n
}

// pruned takes from the border what all have.
func (w *world) pruned(names ...string) {
	w.Helper()
	for _, name := range names {
		require.Eventually(w, func() bool {
			_, err := w.regions[name].border.Prune(context.WithoutCancel(w.ctx), w.plan.Flow)
			require.NoError(w, err)
			waiting, err := w.regions[name].border.Backlog(w.ctx, w.plan.Flow)
			require.NoError(w, err)
			for _, x := range waiting {
				if x.Batches > 0 {
					return false
				}
			}
			return true
		}, 30*time.Second, 100*time.Millisecond)
	}
}

// What was deleted is erased when all know of it, and not before; what was known of it is
// enough to tell a record that is made anew from one that is late.
func TestDeletedValuesAreErasedWhenAllKnowOfIt(t *testing.T) {
	t.Parallel()
	names := []string{"ch", "de", "fr"}
	w := newWorld(t, sharing(), names...)
	w.run("de", `insert into account select 'A' || n, 'Telltale ' || n, '0', n, 'x' from generate_series(1, 30) n`)
	w.work(names...)
	w.same(60 * time.Second)
	w.run("fr", `update account set phone = '33' where accountnumber = 'A3'`)
	w.same(60 * time.Second)
	w.halt("ch")
	w.run("de", `delete from account where accountnumber <> 'A30'`)
	require.Eventually(t, func() bool { return strings.Count(w.shared("fr"), "\n") == 1 }, 30*time.Second, 100*time.Millisecond)
	require.Zero(t, w.erase("de", "fr"), "Switzerland is away")
	w.run("ch", `update account set phone = '41' where accountnumber = 'A1'`) // which knows nothing of the deletion, and is later
	w.work("ch")
	require.Contains(t, w.same(60*time.Second), "account A1: Telltale 1, 41, 1\n", "an edit that is later than the deletion")
	w.pruned(names...)

	require.Equal(t, 29+1, w.kept("fr", "Telltale"))
	for _, name := range names {
		require.EqualValues(t, 28, w.erase(name, others(names, name)...), name)
		require.Equal(t, 2, w.kept(name, "Telltale"), "those that are there, of %s", name)
		require.Zero(t, w.erase(name, others(names, name)...), "no more than once")
	}
	w.run("fr", `insert into account values ('A3', 'Anew', null, 7, 'y')`)
	w.run("de", `update account set name = 'Kept' where accountnumber = 'A30'`)
	all := w.same(60 * time.Second)
	require.Equal(t, "account A1: Telltale 1, 41, 1\naccount A3: Anew, , 7\naccount A30: Kept, 0, 30\n", all)
	for _, name := range names {
		held, err := w.regions[name].replica.Status(t.Context(), w.regions[name].side.Place)
		require.NoError(t, err)
		require.Empty(t, held[0].Open, name)
	}
	for _, name := range others(names, "ch") {
		require.Zero(t, w.with("ch", name)["account"].Drift)
	}
}

func others(names []string, but string) (out []string) {
	for _, name := range names {
		if name != but {
			out = append(out, name)
		}
	}
	return out
}
