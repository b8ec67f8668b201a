package app

import (
	"context"
	"fmt"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
	"patchbay/internal/replica"
)

// judges gives the triggers of plans to the inbox.
type judges struct{ mappers *mappers }

// Of implements inbox.Judges.
func (j judges) Of(plan *flow.Plan) (inbox.Judge, error) {
	c, err := j.mappers.of(plan)
	return c.matcher, err
}

// hooks takes deliveries: it proves who sent them, reads the events, and keeps them.
type hooks struct {
	flows interface {
		Current(ctx context.Context, name string) (*flow.Plan, string, error)
	}
	systems *systems
	inbox   *inbox.Inbox
	replica *replica.Replica
	region  string
}

// Receive commits the events of a delivery (promise 1). A flow that is not there and
// one that reacts to nothing are the same to who asks.
func (h *hooks) Receive(ctx context.Context, d flow.Delivery) (flow.Receipt, error) {
	plan, _, err := h.flows.Current(ctx, d.Flow)
	if fault.Is(err, fault.NotFound) || err == nil && len(sourcesOf(plan, h.region)) == 0 {
		return flow.Receipt{}, fault.NotFoundf("hook.not_found", "there is no hook of this name")
	}
	if err != nil {
		return flow.Receipt{}, err
	}
	delivery := connector.Delivery{Header: d.Header, Query: d.Query, Body: d.Body, At: d.At, From: d.From}
	name, receiver, err := h.receiver(ctx, plan, d.Connection, delivery)
	if err != nil {
		return flow.Receipt{}, err
	}
	if hinter, ok := receiver.(connector.Hinter); ok {
		return h.hinted(ctx, plan, name, hinter, delivery)
	}
	events, err := receiver.Receive(ctx, delivery)
	if err != nil {
		return flow.Receipt{}, fmt.Errorf("receiving from %s: %w", name, err)
	}
	if plan.Sync != nil {
		return h.wake(ctx, plan, events)
	}
	list := make([]flow.Occurrence, len(events))
	for i := range events {
		list[i] = occurrence(name, events[i])
	}
	return h.inbox.Accept(ctx, d.Flow, list)
}

// renewWithin is how long a sender may wait while what it asks for is renewed: it wants
// its answer within three seconds, and what fails is done again by the clock.
const renewWithin = 2 * time.Second

// hinted takes a delivery that says only that there is something to read: the sweeps that
// read it are made due before the sender has its answer (promise 1).
func (h *hooks) hinted(ctx context.Context, plan *flow.Plan, name string, from connector.Hinter, d connector.Delivery) (flow.Receipt, error) {
	hint, err := from.Hint(ctx, d)
	if err != nil {
		return flow.Receipt{}, fmt.Errorf("receiving from %s: %w", name, err)
	}
	if hint.Answer != "" {
		return flow.Receipt{Answer: hint.Answer}, nil
	}
	n, err := h.inbox.Look(ctx, plan, name, hint.Tables)
	if err != nil {
		return flow.Receipt{}, err
	}
	if renewer, ok := from.(connector.Renewer); ok && hint.Renew {
		limited, cancel := context.WithTimeout(ctx, renewWithin)
		defer cancel()
		_ = renewer.Renew(limited) // else by the clock
	}
	return flow.Receipt{Accepted: n}, nil
}

// wake has the export look at the tables that events are of, but for what our own writes
// caused. Nothing is kept: what changed is in the source until the export has observed it.
func (h *hooks) wake(ctx context.Context, plan *flow.Plan, events []connector.Event) (flow.Receipt, error) {
	var tables []string
	for _, e := range events {
		if e.Origin != "patchbay:"+plan.Flow && plan.Sync.Table(e.Table) != nil {
			tables = union(tables, e.Table)
		}
	}
	if len(tables) == 0 {
		return flow.Receipt{Accepted: len(events)}, nil
	}
	return flow.Receipt{Accepted: len(events)}, h.replica.Tell(ctx, plan.Flow, tables)
}

// receiver finds the connection of the flow that a delivery is of: the one it names,
// the only one, or the one that recognises it.
func (h *hooks) receiver(ctx context.Context, plan *flow.Plan, named string, d connector.Delivery) (string, connector.Receiver, error) {
	var names []string
	for _, name := range sourcesOf(plan, h.region) {
		if named == "" || name == named {
			names = append(names, name)
		}
	}
	for _, name := range names {
		system, err := h.systems.open(ctx, plan, name)
		if err != nil {
			return "", nil, err
		}
		receiver, ok := system.(connector.Receiver)
		switch {
		case !ok && len(names) == 1:
			return "", nil, lacking(name, "deliver events")
		case ok && (len(names) == 1 || receiver.Recognises(d)):
			return name, receiver, nil
		}
	}
	return "", nil, fault.New(fault.Unauthorized, "hook.unsigned", "nothing in this request says which source of the flow it comes from; "+
		"sign it as one of them does, or name one with ?connection=", nil)
}

func occurrence(connection string, e connector.Event) flow.Occurrence {
	return flow.Occurrence{
		ID: e.ID, Connection: connection, Table: e.Table, Record: e.Record, Change: flow.ChangeType(e.Change), Version: e.Version, At: e.At,
		After: e.After, Before: e.Before, Whole: e.Whole, Sent: e.Sent, Trimmed: e.Trimmed, Origin: e.Origin,
	}
}
