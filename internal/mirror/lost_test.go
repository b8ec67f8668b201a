package mirror_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/store/storetest"
)

// troubled waits until the export of a region says what a part of it suffers from.
func (w *world) troubled(region, name, code string) {
	w.Helper()
	r := w.regions[region]
	w.eventually(name+" is "+code, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.told[name] != nil && r.told[name].Code == code
	})
}

// listening has a region keep what its export tells of trouble, of each part the last.
func (w *world) listening(region string) {
	r := w.regions[region]
	r.told = map[string]*fault.Fault{}
	side := *r.side
	side.Told = func(trouble map[string]*fault.Fault) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for name, f := range trouble {
			r.told[name] = f
		}
	}
	r.side = &side
}

// anew looks for why accounts of a region were read from the beginning again.
func (w *world) anew(region, code, text string) {
	w.Helper()
	states, err := w.regions[region].replica.Status(w.ctx, w.regions[region].side.Place)
	require.NoError(w, err)
	require.NotNil(w, states[0].Anew)
	require.Equal(w, code, states[0].Anew.Code)
	require.Contains(w, states[0].Anew.Text, text)
}

// A region is away for so long that its system throws away the log that was kept for it.
// The system is read anew, and that is said: of what was edited in two regions meanwhile
// the later stays, whatever was deleted is, and nothing is lost.
func TestASlotThatLostItsLogIsMadeAnewWithoutLoss(t *testing.T) {
	t.Parallel()
	own := storetest.Cluster(t, "max_slot_wal_keep_size = 1MB", "min_wal_size = 32MB", "max_wal_size = 32MB")
	w := newWorldOf(t, map[string]string{"de": own}, sharing(), "de", "fr")
	w.run("de", `insert into account select 'A' || n, 'Account ' || n, '0', n, 'x' from generate_series(1, 50) n`)
	w.work("de", "fr")
	w.same(60 * time.Second)
	w.halt("de")
	w.run("fr", `update account set phone = 'early fr', name = 'French' where accountnumber in ('A1', 'A3')`)
	w.pass(20 * time.Millisecond) // the clocks of two servers are one here
	w.run("de", `update account set phone = 'de' where accountnumber in ('A1', 'A2')`)
	w.run("de", `delete from account where accountnumber = 'A4'`)
	w.run("de", `insert into account values ('B1', 'New', '1', 1, 'x')`)
	w.pass(20 * time.Millisecond)
	w.run("fr", `update account set phone = 'late fr' where accountnumber = 'A2'`)
	w.run("de", `create table ballast (t text)`)
	w.eventually("the log is thrown away", func() bool {
		w.run("de", `insert into ballast select repeat(md5(n::text), 100) from generate_series(1, 3000) n`)
		w.run("de", `select pg_switch_wal()`)
		w.run("de", `checkpoint`)
		return w.count("de", `select count(*) from pg_replication_slots where wal_status = 'lost'`) == 2
	})
	w.work("de")
	all := w.sameAs("account A1: French, de, 1", "account A2: Account 2, late fr, 2", "account A3: French, early fr, 3", "account B1: New, 1, 1")
	require.NotContains(t, all, "account A4:")
	require.Equal(t, 50, strings.Count(all, "\n"))
	w.anew("de", "connector.cursor_expired", "max_slot_wal_keep_size")
	w.eventually("there is a new one", func() bool {
		return w.count("de", `select count(*) from pg_replication_slots where wal_status <> 'lost' and active`) == 2
	})
	w.run("de", `update account set name = 'Goes on' where accountnumber = 'A5'`)
	w.sameAs("account A5: Goes on, 0, 5")
}

// A table is emptied: that is a deletion of all that was there, and what somebody edited
// later in another region is there again.
func TestATableThatWasTruncatedIsEmptiedEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	w.run("de", `insert into account select 'A' || n, 'Account ' || n, '0', n, 'x' from generate_series(1, 500) n`)
	w.run("de", `insert into contact select 'C' || n, 'Contact ' || n, 'A' || n, 'x' from generate_series(1, 5) n`)
	w.work("de", "fr")
	w.same(60 * time.Second)
	w.halt("de", "fr")
	w.run("de", `truncate account, contact`)
	w.run("de", `insert into account values ('A7', 'Anew', '7', 7, 'x')`)
	w.run("fr", `update account set phone = 'later' where accountnumber = 'A9'`)
	w.work("de", "fr")
	all := w.sameAs("account A7: Anew, 7, 7", "account A9: Account 9, later, 9")
	require.Equal(t, 2, strings.Count(all, "\n"), all)
	w.anew("de", "sync.truncated", "read anew")
}

// A table goes by another name for a while: nothing is read of it, which is said, the other
// tables go on, and what happened to it meanwhile is told when it has its name again. One
// that takes its name is another table, and is read when somebody allows it.
func TestATableThatWasRenamedIsSaidAndGoesOnUnderItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	w.run("de", `insert into account values ('A1', 'One', '1', 1, 'x'), ('A2', 'Two', '2', 2, 'x')`)
	w.listening("de")
	w.briskly(10)
	w.work("de", "fr")
	w.same(60 * time.Second)
	w.run("de", `alter table account rename to customer`)
	w.troubled("de", "account", "postgres.unknown_resource")
	w.run("de", `update customer set name = 'Uno' where accountnumber = 'A1'`)
	w.run("de", `delete from customer where accountnumber = 'A2'`)
	w.run("de", `insert into contact values ('C1', 'Goes on', null, 'x')`)
	w.eventually("the other table goes on", func() bool { return strings.Contains(w.shared("fr"), "contact C1: Goes on of \n") })
	require.Contains(t, w.shared("fr"), "account A2: Two, 2, 2\n")
	w.run("de", `alter table customer rename to account`)
	require.Equal(t, "account A1: Uno, 1, 1\ncontact C1: Goes on of \n", w.sameAs("account A1: Uno, 1, 1"))

	w.run("de", `alter table account rename to customer`)
	w.run("de", `create table account (accountnumber text primary key, name varchar(60), phone text, credit numeric(20, 4), diagnosis text)`)
	w.run("de", `insert into account values ('A3', 'Three', '3', 3, 'x'), ('A1', 'Eins', '1', 1, 'x')`)
	w.troubled("de", "account", "sync.key_changed")
	require.NotContains(t, w.shared("fr"), "Three")
	require.NoError(t, w.regions["de"].replica.Bind(t.Context(), w.regions["de"].side.Place, "account", nil)) // resume
	w.sameAs("account A1: Eins, 1, 1", "account A3: Three, 3, 3", "contact C1: Goes on of ")
}
