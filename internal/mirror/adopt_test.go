package mirror_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

// briskly has the sides of regions wait less.
func (w *world) briskly(speed float64) {
	for _, r := range w.regions {
		r.side.Speed = speed
	}
}

// Records refer to one that is not known for longer than anybody waits: it is too large to
// be shared. They cross without that, it is said of them, and when the other one is known
// the lookup follows, wherever the reader was started anew in between.
func TestALookupWhoseRecordComesLateIsToldWhenItIsThere(t *testing.T) {
	t.Parallel()
	sync := sharing()
	sync.MaxRow = 1000
	w := newWorld(t, sync, "de", "fr")
	w.briskly(20)
	w.run("de", `insert into account values ('A1', 'Small', '1', 1, 'x'), ('A2', 'Other', '2', 2, 'x'), ('big', 'Big', repeat('1', 2000), 3, 'x')`)
	w.run("de", `insert into contact select 'C' || n, 'Contact ' || n, 'big', 'x' from generate_series(1, 5) n`)
	w.work("de", "fr")
	w.eventually("they cross without it", func() bool { return strings.Count(w.shared("fr"), "contact") == 5 })
	require.Contains(t, w.shared("fr"), "contact C1: Contact 1 of \n")
	account, err := w.regions["de"].replica.Account(t.Context(), w.regions["de"].side.Place, "contact", []string{`"C1"`})
	require.NoError(t, err)
	require.Equal(t, flow.SyncWaiting, account.Outcome)
	require.Equal(t, replica.CodeParent, account.Code)

	w.halt("de")
	w.work("de")
	w.run("de", `update contact set account = 'A1' where number = 'C2'`)                       // nothing is awaited any more
	w.run("de", `update contact set fullname = 'Renamed', number = 'C33' where number = 'C3'`) // it still is
	w.run("de", `delete from contact where number = 'C4'`)
	w.eventually("what is known goes on", func() bool {
		all := w.shared("fr")
		return strings.Contains(all, "contact C2: Contact 2 of A1\n") && strings.Contains(all, "contact C33: Renamed of \n") && !strings.Contains(all, "contact C4")
	})
	w.run("fr", `update contact set account = 'A2' where number = 'C5'`) // nobody there knew of big

	w.run("de", `update account set phone = '3' where accountnumber = 'big'`)
	require.Equal(t, strings.Join([]string{
		"account A1: Small, 1, 1", "account A2: Other, 2, 2", "account big: Big, 3, 3",
		"contact C1: Contact 1 of big", "contact C2: Contact 2 of A1", "contact C33: Renamed of big", "contact C5: Contact 5 of A2", "",
	}, "\n"), w.sameAs("contact C1: Contact 1 of big", "contact C33: Renamed of big", "contact C5: Contact 5 of A2"))
	states, err := w.regions["de"].replica.Status(t.Context(), w.regions["de"].side.Place)
	require.NoError(t, err)
	require.Zero(t, states[1].Refused, "nothing waits any more")
}

// sameAs waits until all regions hold the same, and some lines of it.
func (w *world) sameAs(lines ...string) (all string) {
	w.Helper()
	w.eventually("the regions hold it", func() bool {
		all = w.shared(w.plan.Sync.Regions[0].Name)
		for _, r := range w.plan.Sync.Regions {
			if w.shared(r.Name) != all {
				return false
			}
		}
		for _, line := range lines {
			if !strings.Contains(all, line+"\n") {
				return false
			}
		}
		return true
	})
	return all
}
