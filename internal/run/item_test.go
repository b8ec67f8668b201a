package run_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
)

func TestAPressFromAcceptedToCompleted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "reading")
	require.Equal(t, r.RunID, item.RunID)
	require.Equal(t, "AS54888", item.Params["product_id"])
	require.Nil(t, item.Answer)
	require.Equal(t, flow.Running, b.get(r.RunID).Status)

	require.NoError(t, b.book.Answer(t.Context(), item, answer(2), "2 rows from plm", true, false))
	answered := b.get(r.RunID)
	require.Equal(t, flow.Running, answered.Status)
	require.NotNil(t, answered.AnsweredAt)
	require.Equal(t, answer(2), *answered.Result, "decimals and nulls come back as they went in")

	item = b.begin(s.BatchID, "writing")
	require.True(t, item.Answered)
	require.Equal(t, answer(2), *item.Answer, "the write sends what was answered")
	require.NoError(t, b.book.Wait(t.Context(), item, flow.Running, "crm asks for patience"))
	require.Equal(t, "crm asks for patience", b.get(r.RunID).Waiting)
	status, err := b.book.Complete(t.Context(), item, "write", b.attempt(item), []string{"ORDER-7"}, "2 rows in crm")
	require.NoError(t, err)
	require.Equal(t, flow.Completed, status)

	done := b.get(r.RunID)
	require.Equal(t, flow.Completed, done.Status)
	require.Empty(t, done.Waiting)
	require.Equal(t, []string{"accepted", "reading", "answered", "writing", "closed"}, names(done.Progress))
	require.Equal(t, []flow.Effect{
		{Step: "write", Target: "crm.specification AS54888, Weight", State: flow.Confirmed},
		{Step: "write", Target: "crm.specification AS54888, Height", State: flow.Confirmed},
	}, done.Effects)
	require.Equal(t, []string{"delivered"}, b.finals(r.RunID))

	entries, err := b.journal.Explain(t.Context(), "ORDER-7")
	require.NoError(t, err)
	require.Len(t, entries, 2, "the effects and the end are found by the key the write named")
	entries, err = b.journal.Explain(t.Context(), "AS54888, Height")
	require.NoError(t, err)
	require.Len(t, entries, 1, "an effect is found by its own key")
	require.Equal(t, "2", jsonText(entries[0].Detail["count"]), "and shares its entry with those that share its fate")
	entries, err = b.journal.Explain(t.Context(), "AS54888")
	require.NoError(t, err)
	require.Len(t, entries, 4)
	require.Equal(t, "closed", entries[3].What)
	require.Equal(t, json.Number("2").String(), jsonText(entries[3].Detail["confirmed"]))
}

func jsonText(v any) string {
	body, _ := json.Marshal(v)
	return string(body)
}

func TestAFlowThatWritesNothingCompletesWithItsAnswer(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "reading")
	require.NoError(t, b.book.Answer(t.Context(), item, flow.Result{}, "no rows", true, true))
	got := b.get(r.RunID)
	require.Equal(t, flow.Completed, got.Status)
	require.Equal(t, &flow.Result{Rows: []flow.Row{}}, got.Result)
	require.Equal(t, []string{"accepted", "reading", "answered", "closed"}, names(got.Progress))
	require.Equal(t, []string{"delivered"}, b.finals(r.RunID))
}

func TestAnAnswerThatWaitsForTheWriteIsShownWhenTheRunCompletes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "reading")
	require.NoError(t, b.book.Answer(t.Context(), item, answer(1), "", false, false))
	require.Nil(t, b.get(r.RunID).Result)
	item = b.begin(s.BatchID, "writing")
	require.False(t, item.Answered)
	require.NotNil(t, item.Answer)
	_, err := b.book.Complete(t.Context(), item, "write", b.attempt(item), nil, "")
	require.NoError(t, err)
	got := b.get(r.RunID)
	require.Equal(t, answer(1), *got.Result)
	require.NotNil(t, got.AnsweredAt)
}

func TestAVisibleAnswerIsNeverReplaced(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	require.NoError(t, b.book.Answer(t.Context(), b.begin(s.BatchID, "reading"), answer(2), "", true, false))
	first := b.get(r.RunID)
	require.NoError(t, b.book.Answer(t.Context(), b.begin(s.BatchID, "reading"), answer(5), "", true, false))
	again := b.get(r.RunID)
	require.Equal(t, first.Result, again.Result, "the same run gives the same answer")
	require.Equal(t, first.AnsweredAt, again.AnsweredAt)
	entries, err := b.journal.Explain(t.Context(), r.RunID)
	require.NoError(t, err)
	require.Len(t, entries, 2, "accepted and answered, once each")
}

func TestAZombiesOutcomeFindsNoRow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	zombie := b.begin(s.BatchID, "writing")
	stale := b.attempt(zombie)
	item := b.begin(s.BatchID, "writing")
	require.Greater(t, item.Fence, zombie.Fence)

	requireFault(t, b.book.Answer(t.Context(), zombie, answer(1), "", true, false), fault.Unavailable, "run.fenced")
	requireFault(t, b.book.Wait(t.Context(), zombie, flow.Running, "x"), fault.Unavailable, "run.fenced")
	_, err := b.book.Complete(t.Context(), zombie, "write", stale, nil, "")
	requireFault(t, err, fault.Unavailable, "run.fenced")
	got := b.get(r.RunID)
	require.Equal(t, flow.Running, got.Status)
	require.Nil(t, got.Result)
	require.Equal(t, flow.Attempt, got.Effects[0].State, "nothing of a fenced outcome is settled")

	status, err := b.book.Complete(t.Context(), item, "write", b.attempt(item), nil, "")
	require.NoError(t, err)
	require.Equal(t, flow.Completed, status)
	requireFault(t, b.book.Answer(t.Context(), zombie, answer(1), "", true, false), fault.Conflict, "run.closed")
	_, err = b.book.Complete(t.Context(), item, "write", nil, nil, "")
	requireFault(t, err, fault.Conflict, "run.closed")
	_, err = b.book.Take(t.Context(), s.BatchID, "writing")
	requireFault(t, err, fault.Conflict, "run.closed")
	require.Equal(t, []string{"delivered"}, b.finals(r.RunID))
}

func TestAnAttemptThatALateZombieFencedIsRetriedAndCompletesTheRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "reading")
	require.NoError(t, b.book.Answer(t.Context(), item, answer(2), "", true, false))
	live := b.begin(s.BatchID, "writing")
	outcomes := b.attempt(live)
	b.begin(s.BatchID, "reading") // a read that hung since its timeout takes the fence, and does nothing with it
	_, err := b.book.Complete(t.Context(), live, "write", outcomes, nil, "")
	requireFault(t, err, fault.Unavailable, "run.fenced")
	require.True(t, fault.Of(err).Retryable(), "the write is done: the run must not fail for it")

	live = b.begin(s.BatchID, "writing")
	require.Equal(t, answer(2), *live.Answer)
	status, err := b.book.Complete(t.Context(), live, "write", b.attempt(live), nil, "")
	require.NoError(t, err)
	require.Equal(t, flow.Completed, status)
	got := b.get(r.RunID)
	require.Equal(t, []flow.EffectState{flow.Confirmed, flow.Confirmed}, []flow.EffectState{got.Effects[0].State, got.Effects[1].State})
	require.Equal(t, []string{"delivered"}, b.finals(r.RunID))
}

func TestRefusedWritesFailTheRunAndSayHowMany(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	outcomes := b.attempt(item)
	outcomes[1].State, outcomes[1].Reason = flow.Refused, "too long"
	status, err := b.book.Complete(t.Context(), item, "write", outcomes, nil, "")
	require.NoError(t, err)
	require.Equal(t, flow.Failed, status)
	got := b.get(r.RunID)
	require.Equal(t, &flow.Problem{Code: "write.refused", Detail: "the target refused 1 of 2 writes: too long"}, got.Problem)
	require.Equal(t, []string{"rejected"}, b.finals(r.RunID))
	cert, err := b.book.Certificate(t.Context(), r.RunID)
	require.NoError(t, err)
	require.Len(t, cert.Done, 1)
	require.Len(t, cert.Undone, 1)
}

func TestWritesInDoubtFailTheRunAndAreNeverCalledDone(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	outcomes := b.attempt(item)
	outcomes[0].State = flow.Doubtful
	status, err := b.book.Complete(t.Context(), item, "write", outcomes, nil, "")
	require.NoError(t, err)
	require.Equal(t, flow.Failed, status)
	require.Equal(t, "write.in_doubt", b.get(r.RunID).Problem.Code)
}

func TestARunCannotCompleteWhileAWriteIsOpen(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	outcomes := b.attempt(item)
	_, err := b.book.Complete(t.Context(), item, "write", outcomes[:1], nil, "")
	requireFault(t, err, fault.Unavailable, "run.effects_open")
	got := b.get(r.RunID)
	require.Equal(t, flow.Running, got.Status)
	require.Equal(t, flow.Confirmed, got.Effects[0].State, "what is known is kept")
	require.Equal(t, flow.Attempt, got.Effects[1].State)

	item = b.begin(s.BatchID, "writing")
	open, err := b.book.Attempt(t.Context(), item, "write", "crm.specification", members())
	require.NoError(t, err)
	require.Len(t, open, 1, "the next attempt asks for the rest only")
	require.True(t, open[0].Retried)
}

func TestAZombieBeginsNoAttempt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	zombie := b.begin(s.BatchID, "writing") // and is paused before it asks the ledger
	item := b.begin(s.BatchID, "writing")
	outcomes := b.attempt(item)
	_, err := b.book.Attempt(t.Context(), zombie, "write", "crm.specification", members()) // wakes up
	requireFault(t, err, fault.Unavailable, "run.fenced")
	requireFault(t, b.book.Record(t.Context(), zombie, "write", outcomes), fault.Unavailable, "run.fenced")
	status, err := b.book.Complete(t.Context(), item, "write", outcomes, nil, "")
	require.NoError(t, err)
	require.Equal(t, flow.Completed, status)
	require.Equal(t, flow.Confirmed, b.get(r.RunID).Effects[0].State)
}

func TestARunWhoseTargetHadEverythingIsUnchanged(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, s := b.accept("k1")
	item := b.begin(s.BatchID, "writing")
	var outcomes []ledger.Outcome
	for _, o := range b.attempt(item) {
		o.Reason = "unchanged"
		outcomes = append(outcomes, o)
	}
	_, err := b.book.Complete(t.Context(), item, "write", outcomes, nil, "")
	require.NoError(t, err)
	require.Equal(t, []string{"unchanged"}, b.finals(r.RunID))
}
