package activities

import (
	"context"
	"slices"
	"sync"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

// departure is members on their way to a target. Those of a message begin in the ledger
// only right before it leaves, for a mail server shows nothing afterwards: what was not
// on the wire when its worker died is then known not to have been sent, however many
// messages waited for their turn.
type departure struct {
	*Writer
	plan    *flow.Plan
	item    run.Item
	members frozen
	open    []ledger.Open // of the attempt; their fences are those of the departure once it has begun
	held    func() error

	mu    sync.Mutex
	begun bool
	err   error
}

// leave is what a connector asks right before each request leaves (Call.Held).
func (d *departure) leave(ctx context.Context) func() error {
	if d.plan.Send == nil {
		return d.held
	}
	return func() error {
		if d.held != nil {
			if err := d.held(); err != nil {
				return err
			}
		}
		return d.begin(ctx)
	}
}

// begin makes attempts of members that were only intended, once.
func (d *departure) begin(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.begun || d.err != nil {
		return d.err
	}
	var members []ledger.Member
	for _, m := range d.members {
		if slices.ContainsFunc(d.open, func(o ledger.Open) bool { return o.Key == m.Key && !o.Retried }) {
			m.Later = false
			members = append(members, m.Member)
		}
	}
	if len(members) > 0 {
		d.err = d.attempt(ctx, members)
	}
	d.begun = d.err == nil
	return d.err
}

func (d *departure) attempt(ctx context.Context, members []ledger.Member) error {
	begun, err := d.Effects.Attempt(ctx, d.item, d.step(), target(d.plan), members)
	if f := fault.Of(err); f != nil && f.Class == fault.InDoubt { // of the attempt: the write itself stays here
		return fault.New(fault.Unavailable, f.Code, f.Text, err)
	}
	if err != nil {
		return err
	}
	for _, b := range begun {
		for i, o := range d.open {
			if o.Key == b.Key {
				d.open[i].Fence = b.Fence
			}
		}
	}
	if len(begun) != len(members) || slices.ContainsFunc(begun, func(o ledger.Open) bool { return o.Retried }) {
		return fault.New(fault.Unavailable, unsettledCode, "somebody else began the same write; it is looked for again", nil)
	}
	return nil
}

// late begins what was decided before it left, as when a server refuses a recipient:
// only an attempt has an outcome. Its outcomes get the fences of it.
func (d *departure) late(ctx context.Context, outcomes []ledger.Outcome) error {
	decided := slices.ContainsFunc(outcomes, func(o ledger.Outcome) bool { return o.State == flow.Refused || o.State == flow.Confirmed })
	if d.plan.Send == nil || !decided {
		return nil
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	for i := range outcomes {
		for _, o := range d.open {
			if o.Key == outcomes[i].Key {
				outcomes[i].Fence = o.Fence
			}
		}
	}
	return nil
}
