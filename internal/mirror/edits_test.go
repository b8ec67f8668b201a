package mirror_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// sharingAlso is sharing with more columns of account.
func sharingAlso(columns ...flow.SyncColumn) *flow.Sync {
	s := sharing()
	s.Tables[0].Columns = append(s.Tables[0].Columns, columns...)
	return s
}

// count is a number of the ERP of a region.
func (w *world) count(region, sql string, args ...any) (n int) {
	w.Helper()
	require.NoError(w, w.regions[region].erp.QueryRow(w.ctx, sql, args...).Scan(&n))
	return n
}

// texts are the rows of a query of one text each.
func (w *world) texts(region, sql string, args ...any) []string {
	w.Helper()
	rows, err := w.regions[region].erp.Query(w.ctx, sql, args...)
	require.NoError(w, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w, err)
	return all
}

func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	for end := time.Now().Add(3 * time.Minute); !is(); w.pass(100 * time.Millisecond) {
		if time.Now().Before(end) {
			continue
		}
		for name, r := range w.regions {
			status, err := r.replica.Status(w.ctx, r.side.Place)
			r.mu.Lock()
			w.Logf("%s: status %+v %v\ntold %+v", name, status, err, r.told)
			r.mu.Unlock()
		}
		w.Fatalf("not after three minutes: %s", what)
	}
}

// What is there crosses where the edit says so, beside what changes, from where it was
// interrupted, and over nothing newer; of a column without a backfill only what changes
// does. A column that is not allowed any more leaves the border, and what others have stays.
func TestAnEditOfTheAllowListIsCarriedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	for _, r := range []string{"de", "fr"} {
		w.run(r, `alter table account add column city text, add column nick text`)
	}
	w.run("de", `insert into account select 'A' || n, 'Account', '0', 0, 'x', 'City ' || n, 'Nick ' || n from generate_series(1, 9000) n`)
	w.work("de", "fr")
	w.same(60 * time.Second)
	require.Zero(t, w.count("fr", `select count(*) from account where city is not null or nick is not null`))
	w.run("fr", `update account set city = 'French ' || accountnumber where accountnumber in ('A8', 'A9')`)
	w.run("fr", `update account set nick = 'French' where accountnumber in ('A7', 'A8', 'A9')`)

	city, nick := flow.SyncColumn{Name: "city", Type: flow.String, Backfill: true}, flow.SyncColumn{Name: "nick", Type: flow.String}
	w.apply("fr", sharingAlso(city, nick))
	w.apply("de", sharingAlso(city, nick))
	var editing sync.WaitGroup
	editing.Go(func() { // beside the ranges, and newer than them
		for n := range 60 {
			w.run("de", `update account set city = $2 where accountnumber = $1`, fmt.Sprintf("A%d", 1+n*149), fmt.Sprint("Live ", n))
			w.run("fr", `update account set city = $2 where accountnumber = $1`, fmt.Sprintf("A%d", 2+n*149), fmt.Sprint("Vive ", n))
		}
	})
	for range 4 {
		w.halt("de")
		w.work("de")
		w.pass(150 * time.Millisecond)
	}
	editing.Wait()
	cities := `select accountnumber || ' ' || coalesce(city, '-') from account order by 1`
	w.eventually("equal", func() bool {
		return w.count("fr", `select count(*) from account where city is null`) == 0 && fmt.Sprint(w.texts("de", cities)) == fmt.Sprint(w.texts("fr", cities))
	})
	require.Equal(t, 60, w.count("fr", `select count(*) from account where city like 'Live %'`), "what is newer stays")
	require.Equal(t, 60, w.count("de", `select count(*) from account where city like 'Vive %'`))
	require.Equal(t, 2, w.count("de", `select count(*) from account where city like 'French %'`), "of two that nobody knows the age of, one stays, the same everywhere")
	require.Equal(t, 9000-120-2, w.count("fr", `select count(*) from account where city = 'City ' || substr(accountnumber, 2)`))
	changed := w.count("fr", `select count(*) from account where nick like 'Nick %'`)
	require.LessOrEqual(t, changed, 60+60, "of nick what changed, and whatever changed with it")
	require.Equal(t, 3, w.count("fr", `select count(*) from account where nick = 'French'`), "and it is kept")
	require.Zero(t, w.count("de", `select count(*) from account where nick = 'French'`))
	w.run("de", `update account set nick = 'New' where accountnumber = 'A5000'`)
	w.eventually("a change of nick crosses", func() bool { return w.count("fr", `select count(*) from account where nick = 'New'`) == 1 })

	// Neither the other region nor our own memory has what is not allowed any more.
	w.apply("de", sharingAlso(nick))
	w.apply("fr", sharingAlso(nick))
	w.run("de", `update account set city = 'Secret', name = 'Renamed' where accountnumber = 'A5001'`)
	w.eventually("the other columns flow", func() bool { return w.count("fr", `select count(*) from account where name = 'Renamed'`) == 1 })
	require.Equal(t, 1, w.count("fr", `select count(*) from account where accountnumber = 'A5001' and city = 'City 5001'`), "what it had stays")
	for _, region := range []string{"de", "fr"} {
		owner, err := pgx.Connect(t.Context(), w.regions[region].database.Owner)
		require.NoError(t, err)
		var found int
		require.NoError(t, owner.QueryRow(t.Context(), `
			select (select count(*) from pg_attribute where attrelid in (select oid from pg_class where relnamespace = 'egress'::regnamespace) and attname = 'city')
			     + (select count(*) from replica_record where cells ~ 'City|Live|Vive|Secret')
			     + (select count(*) from replica_page where cells ~ 'City|Live|Vive|Secret')`).Scan(&found))
		require.NoError(t, owner.Close(t.Context()))
		require.Zero(t, found, region)
	}

	// Allowed once more, what is there is told again, and is one in the end.
	w.apply("de", sharingAlso(city, nick))
	w.apply("fr", sharingAlso(city, nick))
	w.eventually("equal again", func() bool { return fmt.Sprint(w.texts("de", cities)) == fmt.Sprint(w.texts("fr", cities)) })
	require.Zero(t, w.count("de", `select count(*) from account where city is null`))
	w.run("de", `update account set city = 'Open' where accountnumber = 'A5001'`)
	w.eventually("edits cross again", func() bool { return w.count("fr", `select count(*) from account where city = 'Open'`) == 1 })
}

// pass lets some time go by, in which there is nothing to wait for.
func (w *world) pass(d time.Duration) {
	select {
	case <-w.ctx.Done():
	case <-time.After(d):
	}
}
