package activities

import (
	"context"
	"fmt"
	"time"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/topic"
)

type (
	// Plans gives the plan a run is bound to (promise 6).
	Plans interface {
		ByDigest(ctx context.Context, digest string) (*flow.Plan, error)
	}

	// Source reads the rows a plan asks for, all pages, at most the plan's limit.
	Source interface {
		Rows(ctx context.Context, plan *flow.Plan, params flow.Row) ([]flow.Row, error)
	}

	// Mapper turns source rows into target rows as the plan says; it does no I/O.
	Mapper interface {
		Map(plan *flow.Plan, params flow.Row, rows []flow.Row) ([]flow.Row, error)
	}

	// Reads is the part of the book of runs that a read reports to.
	Reads interface {
		Take(ctx context.Context, batchID, step string) ([]run.Item, error)
		Answer(ctx context.Context, item run.Item, result flow.Result, note string, visible, final bool) error
		// Tell is an Answer that is final and tells of business events.
		Tell(ctx context.Context, item run.Item, result flow.Result, note string, events []*topic.Prepared) error
		Wait(ctx context.Context, item run.Item, status flow.Status, note string) error
	}

	// Reader is the activity instant.read.v1: it reads and maps the rows of one
	// press and commits them as its answer, and as the business events that they are told
	// as. Mapping is part of it because a mapped row needs no second hop.
	Reader struct {
		Plans  Plans
		Source Source
		Mapper Mapper
		Runs   Reads
		Events Emitted
	}
)

// Read answers the press of a batch of one. A second execution finds the answer
// and returns its count.
func (a *Reader) Read(ctx context.Context, in contract.Batch) (contract.ReadResult, error) {
	ctx, _, stop := alive(ctx)
	defer stop()
	if err := late(ctx); err != nil {
		return contract.ReadResult{}, err
	}
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.ReadResult{}, fmt.Errorf("loading the plan: %w", err)
	}
	item, err := alone(ctx, a.Runs, in.BatchID, "reading")
	if err != nil {
		return contract.ReadResult{}, fmt.Errorf("beginning to read: %w", err)
	}
	if item.Answer != nil {
		return contract.ReadResult{Rows: item.Answer.Count}, nil
	}
	rows, err := a.rows(ctx, plan, item, patience{})
	if err != nil {
		tell(ctx, a.Runs, item, flow.Running, source(plan), err)
		return contract.ReadResult{}, err
	}
	if err := a.answer(ctx, plan, item, rows); err != nil {
		return contract.ReadResult{}, err
	}
	return contract.ReadResult{Rows: len(rows)}, nil
}

// rows reads and maps for one item within the run's own deadline, which a retry
// does not move.
func (a *Reader) rows(ctx context.Context, plan *flow.Plan, item run.Item, p patience) ([]flow.Row, error) {
	if time.Until(item.DeadlineAt) < enough {
		return nil, overdue()
	}
	ctx, done := within(ctx, p.call)
	defer done()
	due, cancel := context.WithDeadline(ctx, item.DeadlineAt)
	defer cancel()
	rows, err := a.Source.Rows(due, plan, item.Params)
	if err != nil {
		if ctx.Err() == nil && due.Err() != nil {
			return nil, fault.New(fault.Unavailable, flow.DeadlineCode, source(plan)+" did not answer within the time the flow allows", err)
		}
		return nil, fmt.Errorf("reading: %w", err)
	}
	mapped, err := a.Mapper.Map(plan, item.Params, rows)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	return mapped, nil
}

// answer commits the rows as the answer of one item.
func (a *Reader) answer(ctx context.Context, plan *flow.Plan, item run.Item, rows []flow.Row) error {
	answer, note, visible := answerOf(plan, rows)
	if plan.Emit != "" {
		return a.tell(ctx, plan, item, answer, note)
	}
	if err := a.Runs.Answer(ctx, item, answer, note, visible, plan.Write == nil); err != nil {
		return fmt.Errorf("committing the answer: %w", err)
	}
	return nil
}

// tell commits the rows of one item as the answer, and as the business events that the flow
// tells of. The ID of an event is that of the run and its place among the rows.
func (a *Reader) tell(ctx context.Context, plan *flow.Plan, item run.Item, answer flow.Result, note string) error {
	emitted := plan.Emitted(plan.Emit)
	if emitted == nil {
		return fault.New(fault.Bug, "event.emit", "the plan does not emit "+plan.Emit, nil)
	}
	events := make([]*topic.Prepared, len(answer.Rows))
	for i, row := range answer.Rows {
		var err error
		if events[i], err = a.Events.Prepare(ctx, *emitted, topic.ToldID(item.RunID, i+1), row, plan.Flow); err != nil {
			return fmt.Errorf("telling of %s: %w", emitted.Name, err)
		}
	}
	if err := a.Runs.Tell(ctx, item, answer, note+", told as "+emitted.Name, events); err != nil {
		return fmt.Errorf("committing what is told: %w", err)
	}
	return nil
}

// answerOf is the answer that rows are, what its progress says, and whether it is
// shown before the rows are written.
func answerOf(plan *flow.Plan, rows []flow.Row) (answer flow.Result, note string, visible bool) {
	return flow.Result{Rows: rows, Count: len(rows)}, fmt.Sprintf("%d rows from %s", len(rows), source(plan)),
		plan.Respond == flow.AfterRead || plan.Write == nil
}

// source is where a plan reads, as people know it: a connection, or the events that
// it was started by.
func source(plan *flow.Plan) string {
	if plan.Read == nil {
		return "its events"
	}
	return plan.Read.Connection
}
