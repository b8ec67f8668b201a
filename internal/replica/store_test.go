package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestAnEditTravelsOnceAndDoesNotComeBack(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	require.EqualValues(t, 1, de.account("A", "Acme", "1", "2.50").Outcomes[flow.SyncExported])
	require.EqualValues(t, 1, fr.receive("de").Pending)
	require.Equal(t, []string{`create  "A" 0="Acme"() 1=1() 2=2.50()`}, fr.write())
	require.EqualValues(t, 1, fr.account("A", "Acme", "1", "2.5").Outcomes[flow.SyncUnchanged], "it is what was written, in the system's own words")
	require.EqualValues(t, 1, de.account("A", "Acme", "1", "2.50").Outcomes[flow.SyncUnchanged])
	require.Len(t, de.out, 1)
	require.Empty(t, fr.out)

	fr.account("A", "Acme SA", "1", "2.5")
	de.receive("fr")
	require.Equal(t, []string{`update de-A "A" 0="Acme SA"("Acme")`}, de.write(), "what did not change is not written")
	require.Equal(t, []string{"applied", `"Acme SA"`, "1", "2.50"}, de.told("A"))

	de.observe("account", Observed{ID: "de-A", Deleted: true, At: de.tick()})
	fr.receive("de")
	require.Equal(t, []string{`delete fr-A "A"`}, fr.write())
	require.EqualValues(t, 1, fr.observe("account", Observed{ID: "fr-A", Deleted: true, At: fr.tick()}).Outcomes[flow.SyncUnchanged])
	fr.account("A", "Again", "", "")
	de.receive("fr")
	require.Equal(t, []string{`create  "A" 0="Again"() 1=1() 2=2.50()`}, de.write())
	require.Equal(t, de.digests(), fr.digests())
}

func TestABatchThatComesAgainIsNothingNew(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	de.account("A", "Acme", "1", "2")
	fr.receive("de")
	fr.write()
	again := func(upto int64) Counts {
		c, _, err := fr.replica.Receive(t.Context(), fr.Place, "de", "account", de.out, upto)
		require.NoError(t, err)
		return c
	}
	require.Zero(t, again(1).Changes)
	require.Equal(t, map[flow.SyncOutcome]int64{flow.SyncStale: 1}, again(2).Outcomes)
	require.Empty(t, fr.write())
	upto, err := fr.replica.Received(t.Context(), fr.Place, "de", "account")
	require.NoError(t, err)
	require.EqualValues(t, 2, upto)
	c, _, err := de.replica.Receive(t.Context(), de.Place, "fr", "account", de.out, 1)
	require.NoError(t, err)
	require.Equal(t, map[flow.SyncOutcome]int64{flow.SyncStale: 1}, c.Outcomes, "its own writing")
}

func requireCode(t testing.TB, code string, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, fault.Of(err).Code, err)
}

func TestAnAttemptThatWasTakenOverChangesNothing(t *testing.T) {
	t.Parallel()
	de := newBundle(t, "de").regions["de"]
	de.account("A", "Acme", "1", "2")
	late := de.reading["account"]
	next, err := de.replica.Begin(t.Context(), de.Place, "account")
	require.NoError(t, err)
	require.Equal(t, "next", next.Progress.Cursor)
	_, err = de.replica.Observe(t.Context(), de.Place, late, []Observed{{Key: key("A"), Values: values("Other", "", ""), At: de.tick()}}, Progress{Cursor: "late"})
	requireCode(t, CodeFenced, err)
	require.Len(t, de.out, 1)

	w := de.writing("account")
	none, err := de.replica.Write(t.Context(), de.Place, "account", time.Minute)
	require.NoError(t, err)
	require.Nil(t, none, "one writes at a time")
	require.NoError(t, de.replica.Release(t.Context(), de.Place, w))
	de.writing("account")
	_, err = de.replica.Settle(t.Context(), de.Place, w, nil)
	requireCode(t, CodeFenced, err)
}

func TestConflictsAreDecidedByTheDeclaredRule(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	de.account("A", "Acme", "1", "2")
	b.pump()
	de.account("A", "de", "de", "3")
	fr.at = de.at.Add(time.Second)
	fr.account("A", "fr", "fr", "4")
	require.EqualValues(t, 1, fr.receive("de").Outcomes[flow.SyncHeld])
	de.receive("fr")
	require.Equal(t, []string{`update de-A "A" 0="fr"("de")`}, de.write(), "the later name")
	require.Equal(t, []string{`update fr-A "A" 2=3(4)`}, fr.write(), "the credit of de")
	require.Equal(t, "held", de.told("A")[0])

	held, err := fr.replica.Conflicts(t.Context(), fr.Place, HeldFilter{Table: "account", Open: true})
	require.NoError(t, err)
	require.Len(t, held, 1)
	require.Equal(t, "phone", held[0].Column)
	require.Equal(t, []string{`"fr"`, `"de"`}, []string{string(held[0].Values[0].Value), string(held[0].Values[1].Value)})
	require.Equal(t, 0, held[0].Local, "our system keeps its value")
	all, err := fr.replica.Conflicts(t.Context(), fr.Place, HeldFilter{})
	require.NoError(t, err)
	require.Len(t, all, 3)

	require.NoError(t, fr.replica.Decide(t.Context(), fr.Place, Choice{ID: held[0].ID, Pick: 1, By: "Anna"}))
	requireCode(t, CodeDecided, fr.replica.Decide(t.Context(), fr.Place, Choice{ID: held[0].ID, By: "Anna"}))
	require.Equal(t, []string{`update fr-A "A" 1="de"("fr")`}, fr.write())
	de.receive("fr")
	require.Equal(t, []string{`check de-A "A"`}, de.write(), "it has the value, unless an order was on its way")
	for _, r := range b.regions {
		require.Equal(t, []string{"applied", `"fr"`, `"de"`, "3"}, r.told("A"))
		open, err := r.replica.Conflicts(t.Context(), r.Place, HeldFilter{Open: true})
		require.NoError(t, err)
		require.Empty(t, open)
	}
	require.Equal(t, de.digests(), fr.digests())
}

func TestAnEditReplacesWhatItsAuthorSaw(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	de.account("A", "Acme", "1", "2")
	b.pump()
	fr.at = de.at.Add(time.Minute)
	fr.account("A", "later", "1", "2")
	de.receive("fr")
	de.account("A", "earlier", "1", "2") // while the later name is on its way
	require.Equal(t, []string{`update de-A "A" 0="later"("earlier")`}, de.write())
	b.pump()
	require.Equal(t, []string{"applied", `"later"`, "1", "2"}, fr.told("A"))
}

func TestAnOrderIsSettledOnceWhateverCameMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	de.account("A", "one", "1", "2")
	b.pump()
	de.account("A", "two", "1", "2")
	fr.receive("de")
	w := fr.writing("account")
	order := fr.orders(w)
	require.Len(t, order, 1)
	de.account("A", "three", "1", "2")
	fr.receive("de")
	fr.settle(w, Settled{Order: order[0], Outcome: flow.SyncApplied})
	fr.settle(w, Settled{Order: order[0], Outcome: flow.SyncApplied})
	next := fr.orders(w)
	require.Empty(t, next, "the pass has ended")
	next = fr.orders(w)
	require.Equal(t, `update fr-A "A" 0="three"("two")`, line(next[0]))
	fr.settle(w, Settled{Order: next[0], Outcome: flow.SyncApplied})
	require.Equal(t, []string{"applied", `"three"`, "1", "2"}, fr.told("A"))
}

func TestWhatTheTargetDoesNotTakeHasAName(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	for _, n := range []string{"A", "B", "C"} {
		de.account(n, "Acme", "1", "2")
	}
	fr.receive("de")
	w := fr.writing("account")
	o := fr.orders(w)
	fr.settle(w, Settled{Order: o[0], Outcome: flow.SyncRejected, Code: "crm.refused", Text: "it does not like it"},
		Settled{Order: o[1], Outcome: flow.SyncWaiting, Code: CodeParent, Retry: time.Hour},
		Settled{Order: o[2], Outcome: flow.SyncTruncated, ID: "fr-C", Kept: values("Acm", "", "")})
	require.Empty(t, fr.orders(w))
	require.Empty(t, fr.orders(w))
	require.Equal(t, "rejected", fr.told("A")[0])
	require.Equal(t, "waiting", fr.told("B")[0])
	require.Equal(t, "truncated", fr.told("C")[0])
	require.EqualValues(t, 1, fr.account("C", "Acm", "1", "2").Outcomes[flow.SyncUnchanged], "it is not taken for an edit")
	status, err := fr.replica.Status(t.Context(), fr.Place)
	require.NoError(t, err)
	require.Equal(t, map[flow.SyncOutcome]int64{flow.SyncRejected: 1, flow.SyncWaiting: 1, flow.SyncTruncated: 1}, status[0].Open)
	require.EqualValues(t, 3, status[0].Records)
	require.EqualValues(t, 3, status[0].Peers["de"].Upto)

	n, err := fr.replica.Wake(t.Context(), fr.Place, "account")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	n, err = fr.replica.Retry(t.Context(), fr.Place, "account", key("A"))
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	de.account("C", "Ac", "1", "2") // something new
	fr.receive("de")
	require.NoError(t, fr.replica.Release(t.Context(), fr.Place, w))
	require.Len(t, fr.write(), 3)
	require.Equal(t, de.digests(), fr.digests())
}

func TestAKeyThatChangesStaysItsRecord(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	de.account("A", "Acme", "1", "2")
	b.pump()
	fr.account("A", "Acme SA", "1", "2") // does not know of the new key
	de.observe("account", Observed{ID: "de-A", Key: key("B"), Values: values("Acme", "1", "2"), At: de.tick()})
	fr.receive("de")
	de.receive("fr")
	require.Equal(t, []string{`update fr-A "B" was "A"`}, fr.write())
	require.Equal(t, []string{`update de-A "B" 0="Acme SA"("Acme")`}, de.write())
	require.Equal(t, []string{"applied", `"Acme SA"`, "1", "2"}, fr.told("B"))
	refs, err := fr.replica.Refs(t.Context(), fr.Place, "account", []string{"fr-A", "fr-X"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"fr-A": `"A"`}, refs, "by the key that it had first")
	ids, err := de.replica.IDs(t.Context(), de.Place, "account", []string{`"A"`, `"X"`})
	require.NoError(t, err)
	require.Equal(t, map[string]string{`"A"`: "de-A"}, ids)

	de.observe("account", Observed{ID: "de-2", Key: key("A"), Values: values("Another", "", ""), At: de.tick()})
	fr.receive("de")
	require.Equal(t, []string{`create  "A" 0="Another"()`}, fr.write(), "the key is free for another record")
	require.Equal(t, []string{"applied", `"Acme SA"`, "1", "2"}, fr.told("B"))
	require.Equal(t, de.digests(), fr.digests())
}

func TestAKeyThatAnotherRecordHasIsNotWritten(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	de.account("A", "Acme", "1", "2")
	b.pump()
	fr.account("B", "Best", "1", "2")
	de.observe("account", Observed{ID: "de-A", Key: key("B"), Values: values("Acme", "1", "2"), At: de.tick()})
	fr.receive("de")
	require.Empty(t, fr.write())
	a, err := fr.replica.Account(t.Context(), fr.Place, "account", key("A"))
	require.NoError(t, err)
	require.Equal(t, CodeKeyTaken, a.Code)
	require.Equal(t, flow.SyncRejected, a.Outcome)
}

func TestRecordsThatCannotBeSharedStay(t *testing.T) {
	t.Parallel()
	de := newBundle(t, "de").regions["de"]
	de.account("A", "Acme", "1", "2")
	long := string(make([]byte, 1001))
	c := de.observe("account",
		Observed{ID: "1", Key: key("L"), Values: values("x"+long, "", ""), At: de.tick()},
		Observed{ID: "2", Key: key("A"), Values: values("Other", "", ""), At: de.tick()},
		Observed{ID: "3", Key: []string{"null"}, Values: values("None", "", ""), At: de.tick()},
		Observed{ID: "4", Key: key("Z"), Values: values("Good", "", ""), At: time.Now().Add(time.Hour)})
	require.Equal(t, map[flow.SyncOutcome]int64{flow.SyncOversize: 1, flow.SyncRejected: 2, flow.SyncExported: 1}, c.Outcomes)
	require.EqualValues(t, 1, c.Skewed)
	require.InDelta(t, time.Hour, c.Ahead, float64(time.Minute))
	require.WithinDuration(t, time.Now(), time.UnixMicro(de.out[1].Cells[0].Version.Stamp), time.Minute, "its clock was brought back")
	require.Equal(t, []string{"oversize"}, de.told("L"))
	de.observe("account", Observed{ID: "1", Key: key("L"), Values: values("short", "", ""), At: de.tick()})
	require.Equal(t, "applied", de.told("L")[0])
	_, err := de.replica.Account(t.Context(), de.Place, "account", key("nobody"))
	requireCode(t, CodeRecord, err)
}

func TestWhatIsNotNewerInTheSystemIsNothingNew(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	de.account("A", "one", "1", "2")
	b.pump()
	de.account("A", "two", "1", "2")
	fr.receive("de")
	w := fr.writing("account")
	fr.settle(w, Settled{Order: fr.orders(w)[0], Outcome: flow.SyncApplied, Version: 7})
	page := Observed{ID: "fr-A", Key: key("A"), Values: values("one", "1", "2"), At: fr.tick(), Version: 6}
	require.EqualValues(t, 1, fr.observe("account", page).Outcomes[flow.SyncUnchanged], "a page that was read before we wrote")
	page.Version = 8
	require.EqualValues(t, 1, fr.observe("account", page).Outcomes[flow.SyncExported])
}

func TestAnEditOfTheAllowListKeepsTheRest(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	de.account("A", "Acme", "secret", "2")
	b.pump()
	b.sync.Tables[0].Columns = []flow.SyncColumn{{Name: "credit", Type: flow.Decimal}, {Name: "city", Type: flow.String}, {Name: "name", Type: flow.String}}
	for _, r := range b.regions {
		require.NoError(t, r.replica.Bind(t.Context(), r.Place, "account", []Bound{{Column: "city", ID: "7", Type: "text"}}))
		var found int
		require.NoError(t, r.store.Pool().QueryRow(t.Context(), `select count(*) from replica_record r where r::text like '%secret%'`).Scan(&found))
		require.Zero(t, found, "what may not cross any more is not kept")
	}
	bound, err := de.replica.Bindings(t.Context(), de.Place, "account")
	require.NoError(t, err)
	require.Equal(t, "7", bound[0].ID)
	require.Equal(t, []string{"applied", "2", "", `"Acme"`}, de.told("A"))
	require.Equal(t, de.digests(), fr.digests())
	de.account("A", "2", "Bonn", "Acme")
	fr.receive("de")
	require.Equal(t, []string{`update fr-A "A" 1="Bonn"()`}, fr.write())
	require.Equal(t, de.digests(), fr.digests())
}

func TestPausesStandUntilTheyEnd(t *testing.T) {
	t.Parallel()
	de := newBundle(t, "de").regions["de"]
	require.NoError(t, de.replica.Pause(t.Context(), de.Place, Paused{Table: "account", By: "Anna", Why: "a migration"}))
	require.NoError(t, de.replica.Pause(t.Context(), de.Place, Paused{Peer: "fr", By: "Anna"}))
	requireCode(t, CodeTable, de.replica.Pause(t.Context(), de.Place, Paused{Table: "nothing", By: "Anna"}))
	found, err := de.replica.Pauses(t.Context(), de.Place)
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.NoError(t, de.replica.Resume(t.Context(), de.Place, "account", ""))
	found, err = de.replica.Pauses(t.Context(), de.Place)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "fr", found[0].Peer)
}

func TestDigestsNameTheRecordOfADifference(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	for _, n := range []string{"A", "B", "C", "D", "E"} {
		de.account(n, "Acme", "1", "2")
	}
	b.pump()
	require.Equal(t, de.digests(), fr.digests())
	fr.account("C", "Acme SA", "1", "2")
	ours, theirs := de.digests(), fr.digests()
	differ := 0
	for i := range ours {
		if ours[i].Digest == theirs[i].Digest {
			require.Equal(t, ours[i], theirs[i])
			continue
		}
		differ++
		require.Equal(t, ours[i].Rows, theirs[i].Rows)
		known, ok := EntriesOf(theirs[i].Entries)
		require.True(t, ok)
		entries, err := de.replica.Entries(t.Context(), de.Place, "account", 16, []int{i})
		require.NoError(t, err)
		require.Len(t, known, len(entries))
		for _, e := range entries {
			require.Equal(t, e.UID == `"C"`, e.Digest != known[e.Name])
		}
	}
	require.Equal(t, 1, differ)
	_, ok := EntriesOf(make([]byte, 17))
	require.False(t, ok)
}

func TestWhatIsToBeWrittenIsCountedOnceByWhereItWasWritten(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "ch", "de", "fr")
	ch, de, fr := b.regions["ch"], b.regions["de"], b.regions["fr"]
	for _, number := range []string{"A", "B", "C"} {
		de.account(number, "Of de", "1", "2")
	}
	ch.account("D", "Of ch", "1", "2")
	fr.receive("de")
	fr.receive("ch")
	status, err := fr.replica.Status(t.Context(), fr.Place)
	require.NoError(t, err)
	require.EqualValues(t, 4, status[0].Open[""])
	require.EqualValues(t, 3, status[0].Peers["de"].Rows)
	require.EqualValues(t, 1, status[0].Peers["ch"].Rows)
	require.WithinDuration(t, time.Now(), status[0].Peers["ch"].Oldest, time.Minute)
	fr.write()
	status, err = fr.replica.Status(t.Context(), fr.Place)
	require.NoError(t, err)
	require.Zero(t, status[0].Peers["de"].Rows)
	require.Zero(t, status[0].Peers["de"].Oldest)
}

func TestConflictsThatWaitAreCountedWithTheOldest(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de", "fr")
	de, fr := b.regions["de"], b.regions["fr"]
	n, oldest, err := fr.replica.Waiting(t.Context(), fr.Place)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, oldest)
	de.account("A", "Same", "1", "2")
	fr.account("A", "Same", "3", "2") // phone is held
	fr.receive("de")
	n, oldest, err = fr.replica.Waiting(t.Context(), fr.Place)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.WithinDuration(t, time.Now(), oldest, time.Minute)
}

func TestTroubleThatIsOverGoes(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "de")
	de := b.regions["de"]
	names := func() (all []string) {
		t.Helper()
		list, err := de.replica.Troubles(t.Context(), de.Place)
		require.NoError(t, err)
		for _, x := range list {
			all = append(all, x.Table)
		}
		return all
	}
	away := fault.New(fault.Unavailable, "x.away", "it does not answer", nil)
	report := func(found map[string]*fault.Fault) {
		t.Helper()
		require.NoError(t, de.replica.Report(t.Context(), de.Place, PartImport, "fr", found))
	}
	report(map[string]*fault.Fault{"account": away, "contact": away})
	require.Equal(t, []string{"account", "contact"}, names())
	report(map[string]*fault.Fault{"contact": away})
	require.Equal(t, []string{"contact"}, names())
	report(nil)
	require.Empty(t, names(), "the last one, too")
}
