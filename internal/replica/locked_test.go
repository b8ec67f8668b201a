package replica

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// The same records come from two regions at once, where none is known yet: who waited for the
// other sees what it has kept, and brings its own to that.
func TestWhoWaitedForATableSeesWhatWasKeptMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "ch", "de", "fr")
	de, ch, fr := b.regions["de"], b.regions["ch"], b.regions["fr"]
	told := func(p *place, name string) {
		rows := make([]Observed, 700)
		for i := range rows {
			rows[i] = Observed{Key: key(numbered(i)), Values: values(name, "1", "2"), At: p.tick()}
		}
		p.observe("account", rows...)
	}
	told(de, "from de")
	for range 700 {
		ch.tick()
	}
	told(ch, "from ch")
	_, err := fr.replica.Begin(t.Context(), fr.Place, "account") // the table is known, and nothing in it
	require.NoError(t, err)
	waited := make(chan error, 1)
	require.NoError(t, fr.store.Tx(t.Context(), func(tx pgx.Tx) error {
		table, err := fr.replica.open(t.Context(), tx, fr.Place, "account")
		if err != nil {
			return err
		}
		go func() {
			_, _, err := fr.replica.Receive(t.Context(), fr.Place, "ch", "account", ch.out, 1)
			waited <- err
		}()
		require.Eventually(t, func() (waits bool) {
			require.NoError(t, fr.store.Read(t.Context(), func(c *pgxpool.Conn) error {
				return c.QueryRow(t.Context(), `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&waits)
			}))
			return waits
		}, 10*time.Second, 10*time.Millisecond)
		_, err = table.receive(t.Context(), tx, "de", de.out, &Counts{})
		return err
	}))
	require.NoError(t, <-waited)
	var known, twice int
	require.NoError(t, fr.store.Read(t.Context(), func(c *pgxpool.Conn) error {
		return c.QueryRow(t.Context(), `select count(distinct uid), count(*) - count(distinct uid) from `+allKnown).Scan(&known, &twice)
	}))
	require.Equal(t, []int{700, 0}, []int{known, twice})
	require.Contains(t, fr.told(numbered(70)), `"from ch"`, "the later one")
}

// Of what came together, one has another key by then and is written by itself. That others are
// written says nothing of it.
func TestWhatIsWrittenByItselfIsNotAsNewAsTheOthers(t *testing.T) {
	t.Parallel()
	de, fr, orders := newRanged(t)
	w := fr.writing("account")
	fr.settle(w, applied(orders, 20)...)
	rows := make([]Observed, 150)
	for i := range rows {
		rows[i] = Observed{Key: key(numbered(i)), Values: values("Later", "1", "2"), At: de.tick()}
	}
	rows[70].Key, rows[70].Was = key("B070"), key(numbered(70))
	from := len(de.out)
	de.observe("account", rows...)
	_, orders, err := fr.replica.Receive(t.Context(), fr.Place, "de", "account", de.out[from:], 2)
	require.NoError(t, err)
	require.Len(t, orders, 149)
	fr.settle(w, applied(orders, 50)...)
	require.False(t, fr.edit(numbered(71), "late", 40), "an edit from before the write that comes late")
	counts := fr.observe("account", Observed{Key: key(numbered(70)), Was: key(numbered(70)), Deleted: true, At: fr.tick(), Version: 40})
	require.EqualValues(t, 1, counts.Outcomes[flow.SyncExported], "nobody has written this one")
}
