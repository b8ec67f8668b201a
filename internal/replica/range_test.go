package replica

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// ranged is 150 accounts that fr has from de in one batch, with the orders that it was given
// for them.
func newRanged(t *testing.T) (de, fr *place, orders []Order) {
	t.Helper()
	b := newBundle(t, "de", "fr")
	de, fr = b.regions["de"], b.regions["fr"]
	rows := make([]Observed, 150)
	for i := range rows {
		rows[i] = Observed{Key: key(numbered(i)), Values: values("Acme", "1", "2"), At: de.tick()}
	}
	de.observe("account", rows...)
	c, orders, err := fr.replica.Receive(t.Context(), fr.Place, "de", "account", de.out, 1)
	require.NoError(t, err)
	require.EqualValues(t, 150, c.Pending)
	require.Len(t, orders, 150)
	fr.sent["de"] = len(de.out)
	return de, fr, orders
}

// open is how many records are to be written, as the console has it, and by rows of their own.
func (p *place) open() (all, rows int64) {
	p.Helper()
	states, err := p.replica.Status(p.Context(), p.Place)
	require.NoError(p, err)
	for _, s := range states {
		all += s.Open[""]
	}
	require.NoError(p, p.store.Read(p.Context(), func(c *pgxpool.Conn) error {
		return c.QueryRow(p.Context(), `select count(*) from replica_pending`).Scan(&rows)
	}))
	return all, rows
}

func TestWhatCameTogetherIsPendingAsOneRange(t *testing.T) {
	t.Parallel()
	_, fr, orders := newRanged(t)
	all, rows := fr.open()
	require.Equal(t, []int64{150, 0}, []int64{all, rows})
	require.Empty(t, fr.told(numbered(70))[0], "it is to be written")
	ids, err := fr.replica.IDs(t.Context(), fr.Place, "account", []string{`"A070"`})
	require.NoError(t, err)
	require.Empty(t, ids, "our system does not have it yet")
	keys, _, err := fr.replica.Settled(t.Context(), fr.Place, "account", "", 1000)
	require.NoError(t, err)
	require.Empty(t, keys)
	keys, _, err = fr.replica.Holds(t.Context(), fr.Place, "account", "", 1000)
	require.NoError(t, err)
	require.Empty(t, keys)

	w := fr.writing("account")
	fr.settle(w, applied(orders, 50)...)
	all, _ = fr.open()
	require.Zero(t, all)
	require.Empty(t, fr.orders(w))
	require.Equal(t, "applied", fr.told(numbered(70))[0])
	keys, _, err = fr.replica.Settled(t.Context(), fr.Place, "account", "", 1000)
	require.NoError(t, err)
	require.Len(t, keys, 150)
	n, err := fr.replica.Wrote(t.Context(), fr.Place, "account", 49, 51)
	require.NoError(t, err)
	require.EqualValues(t, 150, n)
	require.False(t, fr.edit(numbered(9), "late", 50), "an edit from before the write that comes late")
	require.True(t, fr.edit(numbered(9), "after", 51))
}

func TestARangeThatNobodyWroteIsPendingRecordByRecord(t *testing.T) {
	t.Parallel()
	_, fr, orders := newRanged(t)
	w := fr.writing("account") // who received has died
	again, err := fr.replica.Pending(t.Context(), fr.Place, w, 1000)
	require.NoError(t, err)
	require.Len(t, again, 150)
	require.Equal(t, line(orders[3]), line(again[3]))
	all, rows := fr.open()
	require.Equal(t, []int64{150, 150}, []int64{all, rows})
	fr.settle(w, applied(orders[:100], 50)...) // and is alive after all: it wrote these
	fr.settle(w, applied(again[100:], 60)...)
	all, _ = fr.open()
	require.Zero(t, all)
	require.False(t, fr.edit(numbered(120), "late", 60))
	require.True(t, fr.edit(numbered(120), "after", 61))
	require.True(t, fr.edit(numbered(20), "after", 51))
}

func TestAPartOfARangeIsSettledAlone(t *testing.T) {
	t.Parallel()
	_, fr, orders := newRanged(t)
	w := fr.writing("account")
	fr.settle(w, applied(orders[:120], 50)...)
	all, rows := fr.open()
	require.Equal(t, []int64{30, 30}, []int64{all, rows})
	require.True(t, fr.edit(numbered(130), "before", 40), "it was not written")
	require.False(t, fr.edit(numbered(20), "late", 50))
}

func TestWhatIsRefusedOfARangeStandsAlone(t *testing.T) {
	t.Parallel()
	_, fr, orders := newRanged(t)
	w := fr.writing("account")
	settled := applied(orders, 50)
	settled[7] = Settled{Order: orders[7], Outcome: flow.SyncRejected, Code: "postgres.too_long"}
	settled[8] = Settled{Order: orders[8], Outcome: flow.SyncWaiting, Code: CodeUnobserved}
	fr.settle(w, settled...)
	require.Equal(t, "rejected", fr.told(numbered(7))[0])
	require.Equal(t, "waiting", fr.told(numbered(8))[0])
	require.Equal(t, "applied", fr.told(numbered(9))[0])
	require.True(t, fr.edit(numbered(7), "before", 40), "it was not written: an older state than the write's is news of it")
	require.False(t, fr.edit(numbered(9), "late", 50))
	_, rows := fr.open()
	require.EqualValues(t, 2, rows)
}

func TestWhatBecameAnotherThingLeavesItsRange(t *testing.T) {
	t.Parallel()
	de, fr, orders := newRanged(t)
	require.True(t, de.edit(numbered(3), "newer", 0))
	fr.receive("de")
	echo := Observed{Key: key(numbered(4)), Values: values("Acme", "1", "2"), At: fr.tick(), Version: 45, Ours: true}
	fr.observe("account", echo) // before who wrote it has noted so
	all, rows := fr.open()
	require.Equal(t, []int64{149, 1}, []int64{all, rows})
	w := fr.writing("account")
	fr.settle(w, applied(orders, 50)...)
	left := fr.orders(w)
	require.Len(t, left, 1)
	require.Equal(t, `update  "A003" 0="newer"("Acme")`, line(left[0]), "it has what the write has made of it, and no more")
	require.False(t, fr.edit(numbered(3), "late", 50))
	require.Equal(t, "applied", fr.told(numbered(4))[0])
}

func TestWhoBeginsAnewLosesNoRange(t *testing.T) {
	t.Parallel()
	_, fr, orders := newRanged(t)
	reading, err := fr.replica.Begin(t.Context(), fr.Place, "account")
	require.NoError(t, err)
	require.NoError(t, fr.replica.Rewind(t.Context(), fr.Place, reading, Progress{}, fault.New(fault.Conflict, "sync.truncated", "the table was truncated", nil)))
	all, rows := fr.open()
	require.Equal(t, []int64{150, 150}, []int64{all, rows})
	w := fr.writing("account")
	again, err := fr.replica.Pending(t.Context(), fr.Place, w, 1000)
	require.NoError(t, err)
	require.Len(t, again, len(orders))
}

// A person makes the same record, and deletes it, while our write of it is on its way: the
// write makes again what is deleted everywhere, which has to go.
func TestWhatWasDeletedWhileItWasWrittenIsDeletedAgain(t *testing.T) {
	t.Parallel()
	_, fr, orders := newRanged(t)
	deleted := key(numbered(3))
	fr.observe("account", Observed{Key: deleted, Values: values("mine", "1", "2"), At: fr.tick(), Version: 40})
	fr.observe("account", Observed{Key: deleted, Was: deleted, Deleted: true, At: fr.tick(), Version: 45})
	w := fr.writing("account")
	fr.settle(w, applied(orders, 50)...)
	n, err := fr.replica.Wrote(t.Context(), fr.Place, "account", 49, 51)
	require.NoError(t, err)
	require.EqualValues(t, 149, n, "not all that the write made is known: its source is read")
	require.Empty(t, fr.orders(w))
	fr.observe("account", Observed{Key: deleted, Values: values("Acme", "1", "2"), At: fr.tick(), Version: 49, Ours: true})
	w.after = ""
	left := fr.orders(w)
	require.Len(t, left, 1)
	require.True(t, left[0].Delete)
	require.Equal(t, deleted, left[0].Key)
}
