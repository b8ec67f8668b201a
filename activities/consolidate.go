package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/slot"
)

// Kept is how long the figures of a run are kept beside the run's own.
const Kept = 30 * 24 * time.Hour

// SchedulePrincipal is who asks for the runs that a schedule starts.
const SchedulePrincipal = "schedule"

type (
	// Slots is the ledger of schedules and of the one open run that a flow has.
	Slots interface {
		Open(ctx context.Context, o slot.Opening) (slot.Opened, error)
		Close(ctx context.Context, runID string, c slot.Closing) error
		Stopped(ctx context.Context, o slot.Opening, over bool, why string) error
	}

	// Stops knows what is not to be started now; see run.Stops.
	Stops interface {
		Of(flow string, needs []string) (stop *flow.Stop, over bool)
	}

	// Runs is the part of the book of runs that the ends of a consolidation need.
	Runs interface {
		Presses
		Writes
		Closes
		RunID(ctx context.Context, press flow.Press) (string, error)
		// Count keeps what became of every row, for the outside view of the run.
		Count(ctx context.Context, runID string, completeness []byte) error
	}

	// CurrentPlans gives also the plan that is in force.
	CurrentPlans interface {
		Plans
		Current(ctx context.Context, flow string) (*flow.Plan, string, error)
	}

	// Counts is where stages keep what became of every row of a run.
	Counts interface {
		Completeness(ctx context.Context, runID string) (c flow.Completeness, known bool, err error)
		Prune(ctx context.Context, runID string, keep time.Duration) error
	}

	// Consolidator is the activities consolidation.open.v1 and consolidation.finish.v1.
	Consolidator struct {
		Plans  CurrentPlans
		Runs   Runs
		Slots  Slots
		Stops  Stops
		Counts Counts
		// Parallel is how many sources one run reads at a time.
		Parallel int
	}
)

// Open gives the run that the workflow carries, once the flow's place for runs is
// free. What a schedule started has no row yet: it is made here, one for each slot,
// however often the slot is started. A slot that finds the place taken has none.
func (a *Consolidator) Open(ctx context.Context, in contract.ConsolidationInput) (contract.Opened, error) {
	if in.BatchID == "" {
		return a.scheduled(ctx, in)
	}
	item, err := alone(ctx, a.Runs, in.BatchID, "reading")
	if err != nil {
		return skipEnded(err)
	}
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.Opened{}, fmt.Errorf("loading the plan: %w", err)
	}
	got, err := a.place(ctx, plan, item.RunID, nil)
	if err != nil {
		return contract.Opened{}, err
	}
	if got.Busy != nil { // it came between the press and now
		f := fault.New(fault.Unavailable, "run.overlap", "run "+got.Busy.RunID+" of the flow is open", nil)
		tell(ctx, a.Runs, item, flow.Running, plan.Flow, f)
		return contract.Opened{}, f
	}
	return a.opened(plan, in.Batch, item.RunID)
}

// scheduled opens the run of a slot.
func (a *Consolidator) scheduled(ctx context.Context, in contract.ConsolidationInput) (contract.Opened, error) {
	plan, _, err := a.Plans.Current(ctx, in.Flow)
	if err != nil {
		return contract.Opened{}, fmt.Errorf("loading the plan: %w", err)
	}
	press := flow.Press{Flow: in.Flow, Principal: SchedulePrincipal, Class: flow.Background,
		Workflow: activity.GetInfo(ctx).WorkflowExecution.ID}
	press.Key = press.Workflow
	if in.ScheduledAt != nil {
		press.Key = "slot " + in.ScheduledAt.UTC().Format(time.RFC3339)
	}
	runID, err := a.Runs.RunID(ctx, press)
	if err != nil {
		return contract.Opened{}, fmt.Errorf("naming the run of the slot: %w", err)
	}
	if there, err := a.Runs.Get(ctx, runID); err == nil && (there.Status.Final() || there.WorkflowID != press.Workflow) {
		return contract.Opened{RunID: runID, Skipped: "the slot has its run: " + runID}, nil
	}
	if skipped, err := a.stopped(ctx, plan, runID, in.ScheduledAt); skipped != "" || err != nil {
		return contract.Opened{Skipped: skipped}, err
	}
	got, err := a.place(ctx, plan, runID, in.ScheduledAt)
	switch {
	case err != nil:
		return contract.Opened{}, err
	case got.Busy != nil && (got.Waits || plan.Schedule != nil && plan.Schedule.Policy() != flow.OverlapSkip):
		return contract.Opened{}, fault.New(fault.Unavailable, "run.overlap", "run "+got.Busy.RunID+" of the flow is open", nil)
	case got.Busy != nil:
		return contract.Opened{Skipped: "run " + got.Busy.RunID + " is open"}, nil
	}
	_, start, err := a.Runs.Accept(ctx, press)
	if err != nil {
		return contract.Opened{}, fmt.Errorf("making the run of the slot: %w", err)
	}
	batch := contract.Batch{BatchID: start.BatchID, Flow: start.Flow, Digest: start.Digest}
	if _, err := alone(ctx, a.Runs, batch.BatchID, "reading"); err != nil {
		return skipEnded(err)
	}
	if plan, err = a.Plans.ByDigest(ctx, batch.Digest); err != nil { // an attempt before this may have made it of another
		return contract.Opened{}, fmt.Errorf("loading the plan: %w", err)
	}
	return a.opened(plan, batch, runID)
}

// skipEnded is what an opening comes to that cannot take the run.
func skipEnded(err error) (contract.Opened, error) {
	if ended(err) {
		return contract.Opened{Skipped: "the run has ended"}, nil
	}
	return contract.Opened{}, fmt.Errorf("beginning the run: %w", err)
}

// stoppedAgain is how long a slot waits before it is looked again whether what it needs is
// still stopped, where nothing says when it is tried.
const stoppedAgain = time.Minute

// stopped has a slot wait that needs what a person holds, or what answers nobody; when its
// catch-up window is over it has no run, and why.
func (a *Consolidator) stopped(ctx context.Context, plan *flow.Plan, runID string, at *time.Time) (skipped string, err error) {
	stop, try := a.Stops.Of(plan.Flow, plan.Needs(false))
	if stop == nil || try {
		return "", nil
	}
	if there, err := a.Runs.Get(ctx, runID); err == nil && !there.Status.Final() {
		return "", nil // an attempt before this one has made it: it sleeps where it needs it
	}
	window := flow.DefaultCatchUp
	if plan.Schedule != nil {
		window = plan.Schedule.Window()
	}
	over := time.Since(activity.GetInfo(ctx).ScheduledTime) > window
	why := stop.Obstacle()
	if err := a.Slots.Stopped(ctx, slot.Opening{Flow: plan.Flow, RunID: runID, At: at}, over, why); err != nil {
		return "", fmt.Errorf("noting why a slot does not begin: %w", err)
	}
	if over {
		return why, nil
	}
	again := stoppedAgain
	if stop.Until != nil {
		again = max(time.Until(*stop.Until), time.Second)
	}
	return "", fault.ThrottledFor(min(again, window/4+time.Second), "slot.stopped", why, nil)
}

// place asks for the flow's place for runs.
func (a *Consolidator) place(ctx context.Context, plan *flow.Plan, runID string, at *time.Time) (slot.Opened, error) {
	got, err := a.Slots.Open(ctx, slot.Opening{
		Flow: plan.Flow, RunID: runID, WorkflowID: activity.GetInfo(ctx).WorkflowExecution.ID, At: at,
		Shared: plan.Schedule != nil && plan.Schedule.Policy() == flow.OverlapAllow,
	})
	if err != nil {
		return got, fmt.Errorf("asking for the place of the run: %w", err)
	}
	return got, nil
}

func (a *Consolidator) opened(plan *flow.Plan, batch contract.Batch, runID string) (contract.Opened, error) {
	if plan.Gather == nil || plan.Write == nil {
		return contract.Opened{}, fault.New(fault.Bug, "consolidation.plan", "the plan of a consolidation reads or writes nothing", nil)
	}
	o := contract.Opened{Batch: batch, RunID: runID, Target: plan.Write.Connection, Advises: plan.Advise != nil, Parallel: a.Parallel}
	for _, s := range plan.Gather.Sources {
		o.Sources = append(o.Sources, s.Name)
	}
	return o, nil
}

// Finish closes the run with the figures of what it read, and tells whoever has to
// know. Again it gives the status that the run has.
func (a *Consolidator) Finish(ctx context.Context, in contract.FinishInput) (contract.CloseResult, error) {
	counts, known, err := a.Counts.Completeness(ctx, in.RunID)
	if err != nil {
		return contract.CloseResult{}, fmt.Errorf("reading the figures: %w", persist(err))
	}
	if err := a.count(ctx, in.RunID, counts, known); err != nil {
		return contract.CloseResult{}, fmt.Errorf("keeping the figures: %w", persist(err))
	}
	status, err := a.end(ctx, in, counts, known)
	if err != nil {
		return contract.CloseResult{}, fmt.Errorf("closing the run: %w", persist(err))
	}
	if err := a.tell(ctx, in, status, counts); err != nil {
		return contract.CloseResult{}, fmt.Errorf("telling how the run ended: %w", persist(err))
	}
	return contract.CloseResult{Status: status}, nil
}

func (a *Consolidator) count(ctx context.Context, runID string, counts flow.Completeness, known bool) error {
	if !known { // it ended before anything was read
		return nil
	}
	body, err := json.Marshal(counts)
	if err != nil {
		return fault.New(fault.Bug, "consolidation.figures", "the figures of a run cannot be encoded", err)
	}
	return a.Runs.Count(ctx, runID, body)
}

func (a *Consolidator) end(ctx context.Context, in contract.FinishInput, counts flow.Completeness, known bool) (flow.Status, error) {
	if in.Fault != nil || in.Cancelled {
		return a.Runs.Close(ctx, in.BatchID, in.Fault)
	}
	item, err := alone(ctx, a.Runs, in.BatchID, "closing")
	if ended(err) {
		return a.Runs.Close(ctx, in.BatchID, nil) // says how
	}
	if err != nil {
		return "", err
	}
	note := ""
	if known {
		t := counts.Target
		note = fmt.Sprintf("%d keys, %d written, %d unchanged, %d rejected", t.Keys, t.Written, t.Unchanged, t.Rejected)
	}
	return a.Runs.Complete(ctx, item, writeStep, nil, nil, note)
}

// tell closes the slot and drops what only this run needed; each does nothing the
// second time. A run whose write was held has failed, and is told of as such.
func (a *Consolidator) tell(ctx context.Context, in contract.FinishInput, status flow.Status, counts flow.Completeness) error {
	var rows, bytes int64
	for _, s := range counts.Sources {
		rows, bytes = rows+s.Fresh, bytes+s.Bytes
	}
	if err := a.Slots.Close(ctx, in.RunID, slot.Closing{Status: status, Rows: rows, Bytes: bytes}); err != nil {
		return err
	}
	return a.Counts.Prune(ctx, in.RunID, Kept)
}
