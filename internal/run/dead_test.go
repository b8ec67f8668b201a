package run_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

// dead is a run that failed while it wrote: Weight is confirmed, Height is as said.
func (b *bundle) dead(key string, height flow.EffectState) flow.Run {
	b.Helper()
	r, s := b.accept(key)
	item := b.begin(s.BatchID, "writing")
	require.NoError(b, b.book.Answer(b.Context(), item, answer(2), "", true, false))
	outcomes := b.attempt(item)
	outcomes[1].State, outcomes[1].Reason = height, "crm said so"
	if height == flow.Attempt { // no answer ever came
		require.NoError(b, b.book.Record(b.Context(), item, "write", outcomes[:1]))
		_, err := b.book.Fail(b.Context(), item, away)
		require.NoError(b, err)
	} else {
		_, err := b.book.Complete(b.Context(), item, "write", outcomes, nil, "")
		require.NoError(b, err)
	}
	require.Equal(b, flow.Failed, b.get(r.RunID).Status)
	return r
}

func (b *bundle) letters(f flow.LetterFilter) []string {
	b.Helper()
	list, _, err := b.book.Letters(b.Context(), f)
	require.NoError(b, err)
	ids := []string{}
	for _, l := range list {
		ids = append(ids, l.RunID)
	}
	return ids
}

func (b *bundle) redrive(r flow.Redrive) flow.Redriven {
	b.Helper()
	r.By = "dev"
	got, err := b.book.Redrive(b.Context(), r)
	require.NoError(b, err)
	return got
}

func TestARedriveSendsNothingAgainThatIsConfirmed(t *testing.T) {
	t.Parallel()
	for height, want := range map[flow.EffectState]struct {
		tally   flow.Tally
		retried bool
	}{
		flow.Refused: {flow.Tally{Done: 1, Refused: 1}, false},
		flow.Attempt: {flow.Tally{Done: 1, InDoubt: 1}, true},
	} {
		t.Run(string(height), func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			r := b.dead("k1", height)
			letter, err := b.book.Letter(t.Context(), r.RunID)
			require.NoError(t, err)
			require.Equal(t, want.tally, letter.Effects)
			require.Equal(t, flow.LetterDead, letter.State)
			require.Equal(t, r.Params["product_id"], letter.Params["product_id"])

			planned := b.redrive(flow.Redrive{RunID: r.RunID, Plan: true})
			require.Equal(t, flow.Failed, b.get(r.RunID).Status, "a plan does nothing")
			got := b.redrive(flow.Redrive{RunID: r.RunID})
			require.Equal(t, planned, got)
			require.Equal(t, flow.Redriven{RunID: r.RunID, Into: r.RunID, Digest: r.Digest, Effects: want.tally}, got)
			again := b.get(r.RunID)
			require.Equal(t, flow.Running, again.Status)
			require.Nil(t, again.Problem)
			require.Nil(t, again.ClosedAt)
			require.True(t, again.DeadlineAt.After(r.DeadlineAt))
			require.Equal(t, 1, again.Redriven)
			require.Equal(t, []string{"accepted"}, names(again.Progress))
			require.Empty(t, b.letters(flow.LetterFilter{}))

			item := b.take(b.claim()[0], "writing")[0]
			require.NotNil(t, item.Answer, "it writes what was answered")
			require.Zero(t, item.Tries)
			open, err := b.book.Attempt(t.Context(), item, "write", "crm.specification", members())
			require.NoError(t, err)
			require.Len(t, open, 1, "Weight is there")
			require.Equal(t, members()[1].Key, open[0].Key)
			require.Equal(t, want.retried, open[0].Retried, "what may be there is read back first")
			status, err := b.book.Complete(t.Context(), item, "write", []ledger.Outcome{{Key: open[0].Key, Fence: open[0].Fence, State: flow.Confirmed}}, nil, "")
			require.NoError(t, err)
			require.Equal(t, flow.Completed, status)
			require.Equal(t, []string{map[flow.EffectState]string{flow.Refused: "rejected", flow.Attempt: "failed"}[height], "delivered"}, b.finals(r.RunID),
				"one final reason each time it was accepted")
			require.Equal(t, []string{r.RunID}, b.letters(flow.LetterFilter{State: flow.LetterRedriven}))
			replayed, s, err := b.book.Accept(t.Context(), press("k1"))
			require.NoError(t, err)
			require.Zero(t, s)
			require.Equal(t, flow.Completed, replayed.Status, "who presses with its key again gets the end of it")
		})
	}
}

func TestOfRedrivesAtOnceOneIsDone(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r := b.dead("k1", flow.Refused)
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			in := flow.Redrive{RunID: r.RunID, By: "dev"}
			if i%2 == 1 {
				in.Set = map[string]any{"product_id": "AS1"}
			}
			_, errs[i] = b.book.Redrive(t.Context(), in)
		})
	}
	all.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
			continue
		}
		requireFault(t, err, fault.Conflict, "dead.redriven")
	}
	require.Equal(t, 1, done)
	require.Equal(t, 1, b.count(`select count(*) from work where state = 'running'`)+b.count(`select count(*) from work where state = 'accepted'`))
	require.Equal(t, 1, b.count(`select count(*) from journal where what = 'redriven'`))
	requireFault(t, b.book.Dismiss(t.Context(), r.RunID, "dev", "too late"), fault.Conflict, "dead.redriven")
}

func TestARedriveKeepsThePlanOfItsRunAndANewRunGetsTheOneInForce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	kept, renewed, edited := b.dead("kept", flow.Refused), b.dead("renewed", flow.Refused), b.dead("edited", flow.Refused)
	same := b.dead("same", flow.Refused)
	require.Equal(t, same.RunID, b.redrive(flow.Redrive{RunID: same.RunID, Set: map[string]any{"product_id": "AS54888"}}).Into, "an edit that changes nothing is none")
	changed := specs(func(p *flow.Plan) { p.Why = "another plan"; p.Limits.Timeout = time.Hour })
	_, err := b.plans.Apply(t.Context(), []*flow.Plan{changed}, nil, "test")
	require.NoError(t, err)

	got := b.redrive(flow.Redrive{RunID: kept.RunID})
	require.Equal(t, flow.Redriven{RunID: kept.RunID, Into: kept.RunID, Digest: b.plan.Digest(), Changed: true, Effects: flow.Tally{Done: 1, Refused: 1}}, got)
	require.Equal(t, b.plan.Digest(), b.get(kept.RunID).Digest)

	got = b.redrive(flow.Redrive{RunID: renewed.RunID, Current: true})
	require.True(t, got.New && got.Changed)
	require.Equal(t, changed.Digest(), got.Digest)
	fresh := b.get(got.Into)
	require.Equal(t, changed.Digest(), fresh.Digest)
	require.Equal(t, renewed.RunID, fresh.RedriveOf)
	require.Equal(t, "dev", fresh.Principal)
	require.Empty(t, fresh.Effects, "its cause is its own")
	require.Nil(t, fresh.Result)
	require.WithinDuration(t, time.Now().Add(time.Hour), fresh.DeadlineAt, time.Minute)
	require.Equal(t, flow.Failed, b.get(renewed.RunID).Status, "the letter keeps its end")
	letter, err := b.book.Letter(t.Context(), renewed.RunID)
	require.NoError(t, err)
	require.Equal(t, got.Into, letter.Into)

	_, err = b.book.Redrive(t.Context(), flow.Redrive{RunID: edited.RunID, By: "dev", Set: map[string]any{"product_id": "no such form"}})
	requireFault(t, err, fault.Invalid, "params.invalid")
	require.Equal(t, []string{edited.RunID}, b.letters(flow.LetterFilter{}), "it is dead still")
	planned := b.redrive(flow.Redrive{RunID: edited.RunID, Set: map[string]any{"depth": json.Number("7")}, Plan: true})
	require.True(t, planned.New)
	require.Empty(t, planned.Into)
	got = b.redrive(flow.Redrive{RunID: edited.RunID, Set: map[string]any{"depth": json.Number("7")}})
	require.Equal(t, json.Number("7"), b.get(got.Into).Params["depth"])
	require.Contains(t, b.texts(`select run from journal where keys @> array['AS54888']`), got.Into, "it is found by its key")

}

func TestALetterOfAConsolidationIsRedrivenAsANewRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Pattern = flow.Consolidation })
	letter := b.dead("picture", flow.Refused)
	got := b.redrive(flow.Redrive{RunID: letter.RunID})
	require.True(t, got.New, "what it read then is older than what the target has by now")
	require.NotEqual(t, letter.RunID, got.Into)
}

func TestWhoSharedTheWorkOfADeadLetterIsRedrivenWithIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	leader, s := b.accept("k1")
	follower := b.shared(leader.RunID)
	_, err := b.book.Fail(t.Context(), b.begin(s.BatchID, "reading"), away)
	require.NoError(t, err)
	require.Equal(t, []string{leader.RunID}, b.letters(flow.LetterFilter{}), "one letter for work that is one")
	_, err = b.book.Letter(t.Context(), follower.RunID)
	requireFault(t, err, fault.NotFound, "dead.not_found")
	require.Contains(t, fault.Of(err).Text, leader.RunID)

	b.redrive(flow.Redrive{RunID: leader.RunID})
	require.Equal(t, flow.Running, b.get(follower.RunID).Status)
	item := b.take(b.claim()[0], "reading")[0]
	require.NoError(t, b.book.Answer(t.Context(), item, answer(2), "", true, true))
	require.Equal(t, flow.Completed, b.get(follower.RunID).Status)
	require.Len(t, b.get(follower.RunID).Result.Rows, 2)
	require.Equal(t, []string{"shared", "shared"}, b.finals(follower.RunID))
	require.Equal(t, []string{"failed", "delivered"}, b.finals(leader.RunID))
}

func TestWhatFailedForGoodIsALetterUntilItIsDecided(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	end := func(key string, why *fault.Fault) string {
		_, s := b.accept(key)
		_, err := b.book.Fail(t.Context(), b.begin(s.BatchID, "reading"), why)
		require.NoError(t, err)
		return s.BatchID
	}
	missing := end("missing", fault.NotFoundf(flow.MissingCode, "no such product"))
	late := end("late", fault.New(fault.Unavailable, flow.DeadlineCode, "not in time", nil))
	_, s := b.accept("terminated")
	_, err := b.book.Close(t.Context(), s.BatchID, fault.New(fault.Unavailable, "run.terminated", "somebody terminated it", nil))
	require.NoError(t, err)
	terminated := s.BatchID
	waiting := b.wait(1)[0]
	b.exec(`update work set deadline_at = now() - interval '1 second' where run_id = $1`, waiting)
	require.Empty(t, b.claim())
	cancelled, _ := b.accept("cancelled")
	b.cancel(cancelled.RunID)
	refused := b.dead("refused", flow.Refused).RunID

	require.Equal(t, []string{refused, waiting, terminated, late}, b.letters(flow.LetterFilter{}), "the newest first")
	require.Equal(t, []string{late, terminated, waiting, refused}, b.letters(flow.LetterFilter{Oldest: true}))
	require.ElementsMatch(t, []string{late, waiting}, b.letters(flow.LetterFilter{Reason: "deadline"}))
	require.Equal(t, []string{refused}, b.letters(flow.LetterFilter{Reason: "write.refused"}), "by code, too")
	require.Empty(t, b.letters(flow.LetterFilter{Flow: "another"}))
	require.Empty(t, b.letters(flow.LetterFilter{Until: time.Now().Add(-time.Hour)}))
	for _, oldest := range []bool{false, true} {
		all, cursor := []string{}, ""
		for {
			page, next, err := b.book.Letters(t.Context(), flow.LetterFilter{Limit: 3, Cursor: cursor, Oldest: oldest})
			require.NoError(t, err)
			for _, l := range page {
				all = append(all, l.RunID)
			}
			if cursor = next; next == "" {
				break
			}
		}
		require.Equal(t, b.letters(flow.LetterFilter{Oldest: oldest}), all, "pages meet without a gap")
	}
	for _, id := range []string{missing, cancelled.RunID} {
		_, err := b.book.Letter(t.Context(), id)
		requireFault(t, err, fault.NotFound, "dead.not_found")
		_, err = b.book.Redrive(t.Context(), flow.Redrive{RunID: id})
		requireFault(t, err, fault.NotFound, "dead.not_found")
	}
	_, _, err = b.book.Letters(t.Context(), flow.LetterFilter{Cursor: "x"})
	requireFault(t, err, fault.Invalid, "dead.cursor")

	require.NoError(t, b.book.Dismiss(t.Context(), late, "dev", "it was pressed again"))
	require.NoError(t, b.book.Dismiss(t.Context(), late, "dev", "again"))
	letter, err := b.book.Letter(t.Context(), late)
	require.NoError(t, err)
	require.Equal(t, []string{"dismissed", "dev", "it was pressed again"}, []string{string(letter.State), letter.DecidedBy, letter.Note})
	require.Equal(t, late, b.redrive(flow.Redrive{RunID: late}).Into, "who dismissed it may think again")
	require.Equal(t, []string{"redriven", "dismissed"}, b.texts(`select reason from journal where run = $1 and reason in ('redriven', 'dismissed') order by id desc`, late))

	item := b.take(b.claim()[0], "reading")[0]
	_, err = b.book.Fail(t.Context(), item, away)
	require.NoError(t, err)
	letter, err = b.book.Letter(t.Context(), late)
	require.NoError(t, err)
	require.Equal(t, 2, letter.Times)
	require.Equal(t, flow.LetterDead, letter.State)
	require.Empty(t, letter.DecidedBy)
	require.Equal(t, late, b.letters(flow.LetterFilter{})[0])
}

// What its owner was told when he cancelled stays true, whatever becomes of the work
// for those who share it.
func TestARedriveKeepsTheCertificateOfWhoHasLeft(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r := b.dead("left", flow.Refused)
	b.exec(`update work set detached_at = accepted_at, certificate = '{"run_id": "left behind", "status": "cancelled", "detached": true}' where run_id = $1`, r.RunID)
	_, err := b.book.Redrive(t.Context(), flow.Redrive{RunID: r.RunID, By: "dev", Current: true})
	requireFault(t, err, fault.Conflict, "dead.detached")
	b.redrive(flow.Redrive{RunID: r.RunID})
	require.Equal(t, []string{"left behind"}, b.texts(`select certificate->>'run_id' from work where run_id = $1`, r.RunID))
}

func TestARedriveLeavesHalfOfTheQueueToPresses(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.Queue = 4 })
	first, second, third := b.dead("1", flow.Refused), b.dead("2", flow.Refused), b.dead("3", flow.Refused)
	b.busy()
	b.redrive(flow.Redrive{RunID: first.RunID, Bulk: true})
	b.redrive(flow.Redrive{RunID: second.RunID, Bulk: true})
	_, err := b.book.Redrive(t.Context(), flow.Redrive{RunID: third.RunID, By: "dev"})
	requireFault(t, err, fault.Throttled, "queue.full")
	r, start, err := b.book.Accept(t.Context(), press("press"))
	require.NoError(t, err)
	require.Equal(t, r.RunID, start.BatchID, "many that are redriven stand behind people")
}

func TestWhoHeldADeadLetterHasNoSayInItsNextRound(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, s := b.accept("k1")
	zombie := b.begin(s.BatchID, "writing")
	require.NoError(t, b.book.Answer(t.Context(), zombie, answer(2), "", true, false))
	outcomes := b.attempt(zombie)
	_, err := b.book.Close(t.Context(), s.BatchID, fault.New(fault.Unavailable, "run.terminated", "somebody terminated it", nil))
	require.NoError(t, err)
	first, err := b.book.Certificate(t.Context(), s.BatchID)
	require.NoError(t, err)
	require.Equal(t, flow.Failed, first.Status)
	b.redrive(flow.Redrive{RunID: s.BatchID})
	for range 2 { // while it waits, and while another has it
		_, err = b.book.Complete(t.Context(), zombie, "write", outcomes, nil, "")
		requireFault(t, err, fault.Unavailable, "run.fenced")
		b.claim()
	}
	require.Equal(t, flow.Doubtful, b.get(s.BatchID).Effects[0].State)
	_, err = b.book.Close(t.Context(), s.BatchID, away)
	requireFault(t, err, fault.NotFound, "run.not_found")
	var batch string
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `select batch_id from work where run_id = $1`, s.BatchID).Scan(&batch))
	item := b.take(run.Start{BatchID: batch}, "writing")[0]
	_, err = b.book.Seal(t.Context(), item.RunID, "dev")
	require.NoError(t, err)
	_, err = b.book.Fail(t.Context(), item, nil)
	require.NoError(t, err)
	cert, err := b.book.Certificate(t.Context(), item.RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, cert.Status, "the certificate is of the last round")
	require.Empty(t, b.letters(flow.LetterFilter{}))
}
