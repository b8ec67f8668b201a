package mirror_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What was there before, in each region something else, is everywhere afterwards; edits,
// deletions and new records follow, with their parents first.
func TestRegionsComeToHoldTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "ch", "de", "fr")
	for _, r := range []string{"ch", "de", "fr"} {
		for n := range 30 {
			key := fmt.Sprintf("%s-%02d", r, n)
			w.run(r, `insert into account values ($1, $2, '1', 10.50, 'a diagnosis')`, key, "Account "+key)
			w.run(r, `insert into contact values ($1, 'Somebody', $1, 'a patient')`, key)
		}
	}
	w.work("ch", "de", "fr")
	require.Contains(t, w.same(30*time.Second), "account fr-29: Account fr-29, 1, 10.5\n")

	w.run("de", `update account set phone = '49' where accountnumber = 'fr-03'`)
	w.run("fr", `update account set credit = credit + 1`)
	w.run("ch", `delete from contact where number like 'de-%'`)
	w.run("ch", `insert into account values ('new', 'New', null, null, 'x')`)
	w.run("ch", `insert into contact values ('new', 'New', 'new', 'x')`)
	all := w.same(30 * time.Second)
	t.Log(all)
	require.Contains(t, all, "account fr-03: Account fr-03, 49, 11.5\n")
	require.Contains(t, all, "account new: New, , \n")
	require.Contains(t, all, "contact new: New of new\n")
	require.NotContains(t, all, "contact de-")
	var diagnoses int
	require.NoError(t, w.regions["de"].erp.QueryRow(t.Context(), `select count(*) from account where diagnosis is not null`).Scan(&diagnoses))
	require.Equal(t, 30, diagnoses, "each region has its own alone")
}

// Everybody edits at once, one region is away for a while, and attempts are cut short:
// all hold the same in the end, and a value that only one region edits is its last.
func TestConcurrentEditsConvergeWhoeverIsAway(t *testing.T) {
	t.Parallel()
	names := []string{"ch", "de", "fr"}
	w := newWorld(t, sharing(), names...)
	w.run("de", `insert into account select 'A' || n, 'Account', '0', 0 from generate_series(1, 40) n`)
	w.work(names...)
	w.same(30 * time.Second)
	r := rand.New(rand.NewPCG(7, 7))
	last := map[string]string{}
	for n := range 300 {
		if n%60 == 30 {
			w.halt(names[n/60%3])
		}
		if n%60 == 59 {
			w.work(names[n/60%3])
		}
		region, key := names[r.IntN(3)], fmt.Sprintf("A%d", 1+r.IntN(40))
		w.run(region, `update account set name = $2 where accountnumber = $1`, key, fmt.Sprintf("%s %d", region, n)) // contended
		key = fmt.Sprintf("A%d", 1+r.IntN(40))
		owner := names[len(key)%3]
		last[key] = fmt.Sprint(n)
		w.run(owner, `update account set phone = $2 where accountnumber = $1`, key, last[key]) // one region alone
	}
	all := w.same(60 * time.Second)
	for key, phone := range last {
		require.Regexp(t, fmt.Sprintf(`account %s: \w\w \d+, %s, 0\n|account %s: Account, %s, 0\n`, key, phone, key, phone), all)
	}
}
