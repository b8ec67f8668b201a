package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// together is 200 accounts that fr has from de in one batch, of which the first 120 were
// given to be written.
func newTogether(t *testing.T) (de, fr *place, w *Writing, orders []Order) {
	t.Helper()
	b := newBundle(t, "de", "fr")
	de, fr = b.regions["de"], b.regions["fr"]
	rows := make([]Observed, 200)
	for i := range rows {
		rows[i] = Observed{Key: key(numbered(i)), Values: values("Acme", "1", "2"), At: de.tick()}
	}
	de.observe("account", rows...)
	fr.receive("de")
	w = fr.writing("account")
	orders, err := fr.replica.Pending(t.Context(), fr.Place, w, 120)
	require.NoError(t, err)
	require.Len(t, orders, 120)
	return de, fr, w, orders
}

func numbered(i int) string { return fmt.Sprintf("A%03d", i) }

// edit observes what a person of the region has written, and tells whether it was news.
func (p *place) edit(number, name string, version int64) bool {
	p.Helper()
	return p.observe("account", Observed{Key: key(number), Values: values(name, "1", "2"), At: p.tick(), Version: version}).Outcomes[flow.SyncExported] == 1
}

func applied(orders []Order, version int64) []Settled {
	settled := make([]Settled, len(orders))
	for i, o := range orders {
		settled[i] = Settled{Order: o, Outcome: flow.SyncApplied, Version: version}
	}
	return settled
}

func TestWhatOneWriteMadeIsAsNewAsTheWrite(t *testing.T) {
	t.Parallel()
	_, fr, w, orders := newTogether(t)
	settled := applied(orders, 50)
	settled[7] = Settled{Order: orders[7], Outcome: flow.SyncWaiting, Code: CodeParent}
	settled[8] = Settled{Order: orders[8], Outcome: flow.SyncRejected, Code: "postgres.too_long"}
	fr.settle(w, settled...)
	require.True(t, fr.edit(numbered(7), "before", 40), "it was not written: an older state than the write's is news of it")
	require.True(t, fr.edit(numbered(8), "before", 40))
	require.True(t, fr.edit(numbered(150), "before", 40), "nor was what comes later")
	require.False(t, fr.edit(numbered(9), "late", 50), "an edit from before the write that comes late")
	require.True(t, fr.edit(numbered(9), "after", 51))
	require.False(t, fr.edit(numbered(9), "late", 50))

	rest, err := fr.replica.Pending(t.Context(), fr.Place, w, 120)
	require.NoError(t, err)
	fr.settle(w, applied(rest, 60)...)
	require.False(t, fr.edit(numbered(151), "late", 60))
	require.True(t, fr.edit(numbered(151), "after", 61))
	require.False(t, fr.edit(numbered(10), "late", 50), "the second write was not of what the first has made")
	require.True(t, fr.edit(numbered(10), "after", 55))
}

func TestEchoesOfWhatWasSettledTogetherAreNothingNew(t *testing.T) {
	t.Parallel()
	_, fr, w, orders := newTogether(t)
	fr.settle(w, applied(orders, 50)...)
	sent := len(fr.out)
	echoes := make([]Observed, 100)
	for i := range echoes {
		echoes[i] = Observed{Key: key(numbered(i)), Values: values("Acme", "1", "2"), At: fr.tick(), Version: int64(10 + i%40), Ours: true}
	}
	echoes[99] = Observed{Key: key(numbered(99)), Values: values("person", "1", "2"), At: fr.tick(), Version: 90}
	echoes[98].Key = key(numbered(180)) // of a write that nobody has settled
	c := fr.observe("account", echoes...)
	require.Equal(t, map[flow.SyncOutcome]int64{flow.SyncUnchanged: 98, flow.SyncExported: 1, flow.SyncEcho: 1}, c.Outcomes)
	require.Len(t, fr.out, sent+1)
	require.Equal(t, []string{"applied", `"person"`, "1", "2"}, fr.told(numbered(99)))
	require.Equal(t, "applied", fr.told(numbered(180))[0], "the echo settles it")
}

func TestWhatChangedWhileItWasWrittenStaysToBeWritten(t *testing.T) {
	t.Parallel()
	de, fr, w, orders := newTogether(t)
	require.True(t, de.edit(numbered(3), "newer", 0))
	fr.receive("de")
	fr.settle(w, applied(orders, 50)...)
	var left []string
	for _, o := range fr.orders(w) {
		left = append(left, line(o))
	}
	require.NotContains(t, left, `update  "A002"`)
	w.after = ""
	o := fr.orders(w)[0]
	require.Equal(t, `update  "A003" 0="newer"("Acme")`, line(o), "it has what the write has made of it, and no more")
	require.False(t, fr.edit(numbered(3), "late", 50))
}
