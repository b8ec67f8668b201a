package inbox

import (
	"context"
	"errors"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/group"
)

type (
	// Plans gives the plan in force of a flow; NotFound when there is none.
	Plans interface {
		Current(ctx context.Context, flow string) (*flow.Plan, string, error)
	}

	// Judge knows the triggers of one plan. It does no I/O.
	Judge interface {
		// Screen decides by what the event itself says; false when more has to be known.
		Screen(e flow.Occurrence) (flow.Verdict, bool)
		// Judge decides with the record before and after as far as they are known.
		Judge(e flow.Occurrence, was, row flow.Row) flow.Verdict
		// ThrottleKey is what a throttle is kept for.
		ThrottleKey(row flow.Row) (string, error)
		// Recipient is who a message about row goes to.
		Recipient(key string, row flow.Row) (string, error)
	}

	// Judges gives the judge of a plan.
	Judges interface {
		Of(plan *flow.Plan) (Judge, error)
	}

	// Options tune an Inbox.
	Options struct {
		Speed float64 // divides days and months; 0 and 1 are real time
		// Forecast knows of a flow's target how long it is at least until its provider has
		// taken so many runs more, and whether that is what they wait for now. It gives
		// nil, and may be nil, where no limit is stated.
		Forecast func(ctx context.Context, plan *flow.Plan) (func(waiting int64) (d time.Duration, tight bool), error)
	}

	// Inbox takes events and gives windows. It is safe for concurrent use.
	Inbox struct {
		// Wake is called when a window may be due; it must not block. It is set before
		// the first event, or stays nil.
		Wake func()

		store   *store.Store
		plans   Plans
		judges  Judges
		options Options
		accepts *group.Group[*delivery, flow.Receipt]
		spikes  spikes
		marks   marks
	}
)

const (
	// acceptWithin is how long a delivery waits for the database at most.
	acceptWithin = 1800 * time.Millisecond
	// commitTimeout bounds a transaction, whatever its callers do.
	commitTimeout = 5 * time.Second
	// Deliveries of one transaction, and transactions of this process at a time: a
	// second one would wait for the lock of the first.
	mostDeliveries     = 256
	deliveriesInFlight = 1
	// kept is how long events are remembered.
	kept = 30 * 24 * time.Hour
)

// New gives the inbox of a store.
func New(s *store.Store, plans Plans, judges Judges, o Options) *Inbox {
	if o.Speed <= 0 {
		o.Speed = 1
	}
	x := &Inbox{store: s, plans: plans, judges: judges, options: o}
	x.accepts = group.New(mostDeliveries, deliveriesInFlight, x.acceptAll)
	x.accepts.Hurried = true
	return x
}

// Accept commits the events of one delivery to a flow, in their order: what it
// returns without error is kept (promise 1), or counted where the flow only counts.
// Deliveries that come at the same time are committed together.
//
// An ID that is known with the same content is a duplicate and changes nothing; with
// another content it is Conflict "hook.id_conflict", and nothing of the delivery is
// kept. Further faults: NotFound "flow.not_found", "hook.not_found" for a flow that
// reacts to nothing, and within two seconds Unavailable "store.…" or InDoubt
// "store.commit_unknown": whoever sends the delivery again finds out.
func (x *Inbox) Accept(ctx context.Context, name string, events []flow.Occurrence) (flow.Receipt, error) {
	plan, judge, err := x.reacting(ctx, name)
	if err != nil {
		return flow.Receipt{}, err
	}
	d, err := newDelivery(plan, judge, events)
	if err != nil {
		return flow.Receipt{}, err
	}
	return x.commit(ctx, d)
}

func (x *Inbox) commit(ctx context.Context, d *delivery) (flow.Receipt, error) {
	limited, cancel := context.WithTimeout(ctx, acceptWithin)
	defer cancel()
	receipt, err := x.accepts.Do(limited, d)
	switch {
	case err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return receipt, err
	case errors.Is(err, group.ErrUnheard):
		return receipt, fault.New(fault.InDoubt, "store.commit_unknown",
			"the database did not answer in time; whether the events were accepted is not known, sending them again finds out", err)
	}
	return receipt, fault.New(fault.Unavailable, "store.unavailable", "the database does not answer", err)
}

// reacting gives the plan and the judge of a flow that reacts to events.
func (x *Inbox) reacting(ctx context.Context, name string) (*flow.Plan, Judge, error) {
	plan, _, err := x.plans.Current(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if plan.Reaction == nil {
		return nil, nil, fault.NotFoundf("hook.not_found", "the flow %s reacts to no events", name)
	}
	judge, err := x.judges.Of(plan)
	return plan, judge, err
}
