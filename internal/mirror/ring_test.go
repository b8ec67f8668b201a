package mirror_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// audited has each system count the writes to its accounts, whoever makes them.
func (w *world) audited() {
	w.Helper()
	for name := range w.regions {
		w.run(name, `create table audit (n bigint generated always as identity, at timestamptz default clock_timestamp())`)
		w.run(name, `create function audit() returns trigger language plpgsql as $$ begin insert into audit default values; return null; end $$`)
		w.run(name, `create trigger audit after insert or update or delete on account for each row execute function audit()`)
	}
}

func (w *world) writes() map[string]int {
	w.Helper()
	n := map[string]int{}
	for name, r := range w.regions {
		var count int
		require.NoError(w, r.erp.QueryRow(w.ctx, `select count(*) from audit`).Scan(&count))
		n[name] = count
	}
	return n
}

// quiet lets a while pass in which nobody edits, and no system may be written to.
func (w *world) quiet(d time.Duration) {
	w.Helper()
	before := w.writes()
	select {
	case <-w.ctx.Done():
	case <-time.After(d):
	}
	require.Equal(w, before, w.writes(), "nobody edited anything")
}

// idle waits until no region has anything to write any more, and knows it.
func (w *world) idle() {
	w.Helper()
	require.Eventually(w, func() bool {
		for _, r := range w.regions {
			states, err := r.replica.Status(w.ctx, r.side.Place)
			require.NoError(w, err)
			for _, s := range states {
				if len(s.Open) > 0 {
					return false
				}
			}
		}
		return true
	}, 60*time.Second, 50*time.Millisecond)
}

// Each region edits what came from the one before it, round and round: an edit is written
// once in each other region, and ends there, also where a side is started anew.
func TestAnEditThatGoesRoundTheRegionsIsWrittenOnceInEach(t *testing.T) {
	t.Parallel()
	ring := []string{"de", "fr", "ch"}
	w := newWorld(t, sharing(), ring...)
	w.audited()
	w.run("de", `insert into account values ('A1', '', '0', 0, 'x'), ('A2', '', '-', 0, 'x')`)
	w.work(ring...)
	w.same(60 * time.Second)
	text := ""
	for turn := range 9 {
		region := ring[turn%3]
		text += fmt.Sprintf("%s%d ", region, turn)
		w.run(region, `update account set name = name || $1 where accountnumber = 'A1'`, fmt.Sprintf("%s%d ", region, turn))
		w.run(region, `update account set phone = $1 where accountnumber = 'A2'`, fmt.Sprint(turn))
		want := fmt.Sprintf("account A1: %s, 0, 0\naccount A2: , %d, 0\n", text, turn)
		for _, name := range ring {
			require.Eventually(t, func() bool { return w.shared(name) == want }, 60*time.Second, 50*time.Millisecond, "turn %d in %s", turn, name)
		}
		if turn%3 == 2 {
			w.idle() // a write that is cut short is repeated
			w.halt(region)
			w.work(region)
		}
	}
	w.idle()
	edits := 2 + 2*9 // the rows that were made, and edited: as often in each, by a person or by us
	require.Equal(t, map[string]int{"de": edits, "fr": edits, "ch": edits}, w.writes())
	for _, name := range ring { // each is started anew in turn
		w.halt(name)
		w.work(name)
		w.quiet(2 * time.Second)
	}
	for _, name := range ring {
		for _, other := range others(ring, name) {
			require.Zero(t, w.with(name, other)["account"].Drift)
		}
	}
	w.quiet(2 * time.Second)
}

// The way from one region to another is cut for good. What they cannot tell each other
// comes by a third one that compares with both.
func TestWhatHasNoWayOfItsOwnComesByComparing(t *testing.T) {
	t.Parallel()
	ring := []string{"de", "fr", "ch"}
	w := newWorld(t, sharing(), ring...)
	w.audited()
	fr, ch := w.regions["fr"], w.regions["ch"]
	delete(fr.peers, "de")
	w.run("de", `insert into account values ('A1', 'Made in Germany', '0', 0, 'x')`)
	w.work(ring...)
	require.Eventually(t, func() bool { return w.shared("ch") != "" }, 60*time.Second, 100*time.Millisecond)
	require.Empty(t, w.shared("fr"), "nobody passes on what was told to it")
	side := *ch.side
	side.Speed = 20 // what cannot come is not waited for long
	require.Eventually(t, func() bool {
		found, _, err := side.CompareWith(t.Context(), "fr", ch.peers["fr"], ch.border) // one that does not answer in time is asked again
		require.NoError(t, err)
		return len(found) > 0 && found[0].Missing == 1 && found[0].Repaired == 1
	}, time.Minute, 100*time.Millisecond)
	require.Equal(t, "account A1: Made in Germany, 0, 0\n", w.same(60*time.Second))
	require.Equal(t, map[string]int{"de": 1, "fr": 1, "ch": 1}, w.writes())
}
