package mirror_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"patchbay/internal/residency"
)

// altered is a table of a system that somebody alters while it is followed.
type altered struct {
	*world
	r       *rand.Rand
	set     *residency.Set
	next    int      // of the values that are planted
	extras  []string // columns that nobody allowed
	names   int
	stolen  string // how the allowed column phone is to be put back; "": it is there
	refused int    // alterations that PostgreSQL did not let happen
}

// alter carries out statements as one. PostgreSQL may refuse them for the sake of whoever
// follows the table.
func (a *altered) alter(statements ...string) bool {
	a.Helper()
	err := pgx.BeginFunc(a.ctx, a.regions["de"].erp, func(tx pgx.Tx) error {
		for _, sql := range statements {
			if _, err := tx.Exec(a.ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "0A000" || pg.Code == "2BP01") {
		a.refused++
		return false
	}
	require.NoError(a, err)
	return true
}

func (a *altered) fresh() string { a.names++; return fmt.Sprint("x", a.names) }

// plant puts values that may not leave into a column of some records.
func (a *altered) plant(column string) {
	a.Helper()
	for range 2 {
		a.run("de", `update account set `+column+` = $1 where accountnumber = $2`, a.set.Text(a.next%a.set.Len()), fmt.Sprint("A", 1+a.r.IntN(20)))
		a.next++
	}
}

// step is one alteration.
func (a *altered) step() string {
	a.Helper()
	kind := a.r.IntN(10)
	if len(a.extras) == 0 && kind < 4 {
		kind = 4
	}
	switch kind {
	case 0, 1:
		i := a.r.IntN(len(a.extras))
		a.alter(`alter table account drop column ` + a.extras[i])
		a.extras = append(a.extras[:i], a.extras[i+1:]...)
		return "drop"
	case 2:
		i, to := a.r.IntN(len(a.extras)), a.fresh()
		a.alter(`alter table account rename column ` + a.extras[i] + ` to ` + to)
		a.extras[i] = to
		a.plant(to)
		return "rename"
	case 3:
		a.alter(`alter table account alter column ` + a.extras[a.r.IntN(len(a.extras))] + ` type varchar(300)`)
		return "retype"
	case 4, 5:
		name := a.fresh()
		a.alter(`alter table account add column ` + name + ` text`)
		a.extras = append(a.extras, name)
		a.plant(name)
		return "add"
	case 6:
		a.alter(`alter table account alter column phone type varchar(200)`)
		return "retype an allowed one"
	case 7:
		a.alter(`alter table account drop column credit`)
		return "drop an allowed one"
	}
	if a.stolen != "" {
		back := a.stolen
		a.stolen = ""
		a.alter(`alter table account rename column phone to `+back, `alter table account rename column kept to phone`)
		if back != "diagnosis" {
			a.extras = append(a.extras, back)
		}
		return "put back"
	}
	from := "diagnosis"
	if len(a.extras) > 0 && kind == 8 {
		from = a.extras[len(a.extras)-1]
		a.extras = a.extras[:len(a.extras)-1]
	}
	a.stolen = from
	a.alter(`alter table account rename column phone to kept`, `alter table account rename column `+from+` to phone`)
	a.plant("phone")
	return "take the name of an allowed one"
}

// A table is altered two hundred times while it is followed: columns come and go, change
// their names and types, and take the names of those that may cross. What may not leave is
// nowhere outside, and what may goes on.
func TestAlterationsLetNothingOutAndStopNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	w.run("de", `insert into account select 'A' || n, 'Account ' || n, '0', n from generate_series(1, 20) n`)
	a := &altered{world: w, r: rand.New(rand.NewPCG(200, 7)), set: residency.New(400)}
	for n := range 20 {
		w.run("de", `update account set diagnosis = $1 where accountnumber = $2`, a.set.Text(n), fmt.Sprint("A", n+1))
		a.next++
	}
	w.briskly(10)
	w.work("de", "fr")
	w.same(60 * time.Second)
	done := map[string]int{}
	for n := range 200 {
		done[a.step()]++
		if n%4 > 0 {
			continue
		}
		key, name := fmt.Sprint("A", 1+a.r.IntN(20)), fmt.Sprint("Name ", n)
		w.run("de", `update account set name = $2, credit = $3 where accountnumber = $1`, key, name, n)
		w.eventually("an allowed value of "+key+" arrives", func() bool {
			return w.count("fr", `select count(*) from account where accountnumber = $1 and name = $2 and credit = $3`, key, name, n) == 1
		})
	}
	if a.stolen != "" {
		a.alter(`alter table account rename column phone to stolen`, `alter table account rename column kept to phone`)
	}
	w.run("de", `update account set phone = 'after all' where accountnumber = 'A1'`)
	w.sameAs()
	w.eventually("the column goes on that had another name", func() bool { return w.count("fr", `select count(*) from account where phone = 'after all'`) == 1 })
	t.Logf("%v, %d refused", done, a.refused)

	scanner := a.set.Scanner()
	for name, url := range map[string]string{"system of fr": w.regions["fr"].url, "Patchbay of fr": w.regions["fr"].database.Owner, "Patchbay of de": w.regions["de"].database.Owner} {
		require.NoError(t, scanner.Database(t.Context(), name, url))
		a.files(scanner, url)
	}
	report := scanner.Report()
	require.Zero(t, report.Total(), "%s", report)
	there := a.set.Scanner()
	require.NoError(t, there.Database(t.Context(), "system of de", w.regions["de"].url))
	require.Positive(t, there.Report().Found(), "the scanner finds what there is")
}

// files scans the pages and the write-ahead log of a database.
func (a *altered) files(scanner *residency.Scanner, url string) {
	a.Helper()
	conn, err := pgx.Connect(a.ctx, url)
	require.NoError(a, err)
	defer func() { _ = conn.Close(a.ctx) }()
	_, err = conn.Exec(a.ctx, `checkpoint`)
	require.NoError(a, err)
	var oid uint32
	var data string
	require.NoError(a, conn.QueryRow(a.ctx, `select oid, current_setting('data_directory') from pg_database where datname = current_database()`).Scan(&oid, &data))
	require.NoError(a, scanner.Dir(filepath.Join(data, "base", fmt.Sprint(oid))))
	require.NoError(a, scanner.WriteAhead(data, oid))
}
