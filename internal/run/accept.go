package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store/group"
)

type (
	// entry is a press on its way into the book.
	entry struct {
		runID    string
		press    flow.Press
		plan     *flow.Plan
		digest   string
		params   flow.Row
		body     []byte            // of params
		sum      [sha256.Size]byte // of the parameters as they were given
		orderKey string
		share    string        // what identical presses have in common; "" for a press that shares with none
		lead     time.Duration // how far ahead its place in the queue lies
		waits    bool          // what it needs is stopped: it does not claim itself
	}

	// door is where presses come in and their callers ask how they stand.
	door struct {
		accepts *group.Group[*entry, accepted]
		reads   *group.Group[string, flow.Run]
		turns   *turns
	}

	// accepted is what became of an entry.
	accepted struct {
		run     flow.Run
		batchID string // it claimed itself, or the second door claimed it
		made    bool   // by this press; else the run was there, as row says
		others  bool   // waited to be claimed
		read    bool   // more is known than run says: read it
		row     standing
	}
)

const (
	// acceptWithin is how long a press waits for the database at most, whoever else
	// does: its caller is told within two seconds that it is away.
	acceptWithin = 1800 * time.Millisecond
	// commitTimeout bounds the transaction that commits presses. The patience of
	// their callers does not: who hangs up would leave a commit that nobody knows of.
	commitTimeout = 3 * time.Second
	// Presses of one transaction, and transactions of this process at a time: a
	// second one would halve the size of both, and could not count what the first adds
	// to a queue.
	mostPresses     = 256
	pressesInFlight = 1
)

func newDoor(b *Book) door {
	d := door{
		accepts: group.New(mostPresses, pressesInFlight, b.acceptAll),
		reads:   group.New(mostReads, readsInFlight, b.getAll),
		turns:   newTurns(),
	}
	d.accepts.Hurried, d.reads.Hurried = true, true
	return d
}

// Accept makes a run of a press and commits it: what it returns without error is
// kept (promise 1). Presses that come at the same time are committed together, one
// that comes alone at once.
//
// A press of a flow that is idle claims itself: Start is what to start now, and what
// the relay starts when that does not happen. A press of a busy flow waits to be
// claimed, with a zero Start; Waiting ticks for it. One that joins the work of an
// identical press is never started: Shared names the run that answers it, and its
// answer may be there already. A press that a workflow carries (Press.Workflow) has
// no place in the queue. Its Start is filled for a repeat, too, and it is no repeat
// while nobody has begun it: its first acceptance may not have reached the workflow.
//
// The same principal, flow and key with the same parameters gives the run that
// exists, Replayed and with a zero Start; other parameters are Conflict
// "idem.reused". Further faults: NotFound "flow.not_found", Invalid
// "params.invalid", Throttled "queue.full", and within two seconds Unavailable
// "store.…" or, where the press may have been accepted, InDoubt
// "store.commit_unknown". A caller who leaves during the commit does not cut it off.
func (b *Book) Accept(ctx context.Context, press flow.Press) (flow.Run, Start, error) {
	limited, cancel := context.WithTimeout(ctx, acceptWithin)
	defer cancel()
	run, start, err := b.accept(limited, press)
	switch {
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return run, start, err
	case errors.Is(err, group.ErrUnheard):
		return flow.Run{}, Start{}, fault.New(fault.InDoubt, "store.commit_unknown",
			"the database did not answer in time; whether the press was accepted is not known, the same Idempotency-Key finds out", err)
	}
	return flow.Run{}, Start{}, fault.New(fault.Unavailable, "store.unavailable", "the database does not answer", err)
}

func (b *Book) accept(ctx context.Context, press flow.Press) (flow.Run, Start, error) {
	e, err := b.entry(ctx, press)
	if err != nil {
		return flow.Run{}, Start{}, err
	}
	if e.params, err = e.plan.Validate(e.press.Params); err != nil {
		// The press may be a repeat from before the flow's parameters changed.
		if e.press.Key != "" {
			if rows, found := b.standings(ctx, []string{e.runID}); found == nil && len(rows) == 1 {
				if run, start, replayed := b.replay(ctx, e, rows[e.runID]); replayed == nil {
					return run, start, nil
				}
			}
		}
		return flow.Run{}, Start{}, err
	}
	if err := e.place(time.Now()); err != nil {
		return flow.Run{}, Start{}, err
	}
	if err := b.reserve(ctx, e); err != nil {
		return flow.Run{}, Start{}, err
	}
	who, perUser := turn{e.press.Flow, e.press.Principal}, e.perUser()
	stop, _ := b.stops.Of(e.press.Flow, e.plan.Needs(false))
	e.waits = stop != nil
	e.lead = b.turns.take(who, perUser, time.Now())
	got, err := b.accepts.Do(ctx, e)
	if err != nil || !got.made || got.batchID != "" && !got.others || got.run.Shared != "" {
		b.turns.back(who, perUser)
	}
	switch {
	case err != nil:
		return flow.Run{}, Start{}, err
	case !got.made:
		return b.replay(ctx, e, got.row)
	case got.read:
		if got.run, err = b.Get(ctx, e.runID); err != nil {
			return flow.Run{}, Start{}, err
		}
	}
	if got.batchID == "" {
		return got.run, Start{}, nil
	}
	return got.run, e.start(), nil
}

// entry prepares a press as far as it can be before its parameters are known to be
// right.
func (b *Book) entry(ctx context.Context, press flow.Press) (*entry, error) {
	plan, digest, err := b.plans.Current(ctx, press.Flow)
	if err != nil {
		return nil, err
	}
	if plan.Reaction != nil && press.Principal != EventPrincipal {
		return nil, fault.Invalidf("flow.started_by_events", "%s is started by events; they come by POST /v1/hooks/%s", press.Flow, press.Flow)
	}
	if plan.Sync != nil {
		return nil, fault.Invalidf("flow.started_by_regions", "%s stands as long as it is in force, in each region that shares records; nobody starts it", press.Flow)
	}
	if press.Params == nil {
		press.Params = flow.Row{} // the same press as one with an empty object
	}
	if press.Key == "" {
		press.Key = press.Workflow
	}
	body, err := encode(press.Params)
	if err != nil {
		return nil, err
	}
	e := &entry{press: press, plan: plan, digest: digest, sum: sha256.Sum256(body)}
	e.runID, err = b.runID(ctx, press)
	return e, err
}

// place fills in what follows from complete parameters.
func (e *entry) place(now time.Time) (err error) {
	if e.body, err = encode(e.params); err != nil {
		return err
	}
	if e.orderKey, err = orderKey(e.plan, e.params); err != nil {
		return err
	}
	e.share = shareOf(e, now)
	return nil
}

// perUser is the share of one user, 0 where places are not spread: what has an
// order of its own keeps it, and what a workflow carries does not queue.
func (e *entry) perUser() int {
	if len(e.plan.Order) > 0 || e.press.Workflow != "" {
		return 0
	}
	return e.plan.Limits.PerUser
}

// start is the start of a run that is a batch by itself.
func (e *entry) start() Start {
	batchID := e.runID
	if e.press.Workflow != "" {
		batchID = e.press.Workflow
	}
	s := start(e.plan, e.digest, batchID, e.runID)
	s.Class, s.Workflow = e.press.Class, e.press.Workflow
	return s
}

// acceptAll commits presses in one transaction.
func (b *Book) acceptAll(ctx context.Context, in []*entry) ([]group.Reply[accepted], error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	replies := make([]group.Reply[accepted], len(in))
	// Of presses with one key the first makes the run, the others find it.
	var todo, repeats []int
	first := map[string]int{}
	for i, e := range in {
		if _, twice := first[e.runID]; twice {
			repeats = append(repeats, i)
			continue
		}
		first[e.runID] = i
		todo = append(todo, i)
	}
	doubtful, contended := false, false
	for round := 1; len(todo) > 0; round++ {
		made, unsure, err := b.insert(ctx, pick(in, todo), contended)
		switch {
		case err == nil:
			doubtful = doubtful || unsure
		case round == mostRounds:
			return nil, err
		case fault.Is(err, fault.InDoubt):
			// The rows name themselves, so asking again is safe: either they are there,
			// or this makes them.
			doubtful = true
			continue
		case fault.Of(err).Code == "store.contended":
			continue
		default:
			return nil, err
		}
		var left []int
		for n, i := range todo {
			replies[i] = made[n]
			if made[n].Err == nil && !made[n].Out.made {
				left = append(left, i)
			}
		}
		// What is missing was there before, or lost a race for its share or its order.
		if todo, err = b.find(ctx, in, replies, left, doubtful); err != nil {
			return nil, err
		}
		if round == mostRounds {
			for _, i := range todo {
				replies[i].Err = fault.New(fault.Unavailable, "store.contended", "the database is too contended at the moment", nil)
			}
			break
		}
		contended = true
	}
	if lost, err := b.find(ctx, in, replies, repeats, false); err != nil || len(lost) > 0 {
		// The rows of the others are committed. These fared as the first of their key.
		for _, i := range repeats {
			if replies[i].Err = replies[first[in[i].runID]].Err; replies[i].Err == nil {
				replies[i].Err = err
			}
		}
	}
	return replies, nil
}

// mostRounds bounds how often presses are tried that others stood in the way of.
const mostRounds = 4

func pick(in []*entry, places []int) []*entry {
	out := make([]*entry, len(places))
	for n, i := range places {
		out[n] = in[i]
	}
	return out
}

// find gives presses that made no row the one that is there, and the places of
// those that have none. After a commit in doubt a row that nobody has begun is what
// the press made, or an equal one that waits like it.
func (b *Book) find(ctx context.Context, in []*entry, replies []group.Reply[accepted], places []int, doubtful bool) (none []int, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	ids := make([]string, len(places))
	for n, e := range pick(in, places) {
		ids[n] = e.runID
	}
	rows, err := b.standings(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, i := range places {
		e := in[i]
		row, there := rows[e.runID]
		if !there {
			none = append(none, i)
			continue
		}
		got := accepted{row: row}
		// A workflow whose acceptance was lost on its way asks again, and goes on.
		mine := doubtful || e.press.Workflow != ""
		if mine && !row.begun && row.digest == e.digest && bytes.Equal(row.sum, e.sum[:]) {
			got.made, got.read = true, true
			if row.batchID == e.start().BatchID {
				got.batchID = row.batchID
			}
		}
		replies[i] = group.Reply[accepted]{Out: got}
	}
	return none, nil
}

// replay gives the run that the same press had made before.
func (b *Book) replay(ctx context.Context, e *entry, row standing) (flow.Run, Start, error) {
	if !bytes.Equal(row.sum, e.sum[:]) {
		return flow.Run{}, Start{}, fault.New(fault.Conflict, "idem.reused",
			"this Idempotency-Key was used with other parameters, for run "+e.runID+"; use another key for another press", nil)
	}
	run, err := b.Get(ctx, e.runID)
	if err != nil {
		return flow.Run{}, Start{}, err
	}
	run.Replayed = true
	if e.press.Workflow == "" {
		return run, Start{}, nil
	}
	// Under the plan it was accepted with (promise 6).
	then := *e
	if then.plan, err = b.plans.ByDigest(ctx, row.digest); err != nil {
		return flow.Run{}, Start{}, err
	}
	then.digest = row.digest
	return run, then.start(), nil
}

func notFound() error {
	return fault.New(fault.NotFound, "run.not_found", "there is no such run", nil)
}
