package activities

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"

	"golang.org/x/sync/errgroup"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
	"patchbay/internal/stage"
)

type (
	// Outputs are the rows that a consolidation is to write, frozen chunk by chunk
	// before the first of them leaves.
	Outputs interface {
		Chunks(ctx context.Context, runID string) (chunks, next int, err error)
		Chunk(ctx context.Context, plan *flow.Plan, runID string, n int) (stage.Chunk, error)
		Written(ctx context.Context, runID string, chunk stage.Chunk, refused []stage.Refusal) error
	}

	// Loads writes sheets by key and looks for what was sent without hearing of it.
	Loads interface {
		Load(ctx context.Context, plan *flow.Plan, load Load) ([]stage.Refusal, error)
		LookBack(ctx context.Context, plan *flow.Plan, load Load) (SheetSight, error)
	}

	// Load is one chunk on its way, known to the ledger by its mark.
	Load struct {
		Sheet  flow.Sheet
		Mark   Mark
		Origin string
		Held   func() error
	}

	// SheetSight is what a target has of a sheet that was to be written: Holds says of
	// each row whether it is there as it was sent. The next write of a Conditional target
	// is decided by what it holds then; one that keeps marks writes nothing a second time
	// and says of each row what it said before.
	SheetSight struct {
		Holds       []bool
		Conditional bool
	}

	// Deliverer is the activity consolidation.deliver.v1.
	Deliverer struct {
		Plans   Plans
		Runs    Writes
		Effects Effects
		Outputs Outputs
		Counts  Counts
		Target  Loads
		// Parallel is how many chunks are under way at a time.
		Parallel int
	}

	// delivery is one attempt of the activity.
	delivery struct {
		*Deliverer
		plan *flow.Plan
		item run.Item
		held func() error
	}
)

// Deliver writes what differs, each chunk as one effect in the ledger (promise 2). A
// chunk whose answer was lost is looked for before anything of it is sent again.
func (a *Deliverer) Deliver(ctx context.Context, in contract.Batch) (contract.DeliverResult, error) {
	ctx, held, stop := alive(ctx)
	defer stop()
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.DeliverResult{}, fmt.Errorf("loading the plan: %w", err)
	}
	item, err := alone(ctx, a.Runs, in.BatchID, "writing")
	if err != nil {
		return contract.DeliverResult{}, fmt.Errorf("beginning to write: %w", err)
	}
	chunks, _, err := a.Outputs.Chunks(ctx, item.RunID)
	if err != nil {
		return contract.DeliverResult{}, fmt.Errorf("looking for what is to be written: %w", err)
	}
	d := &delivery{Deliverer: a, plan: plan, item: item, held: held}
	side, within := errgroup.WithContext(ctx)
	side.SetLimit(max(a.Parallel, 1))
	// From the first on: of a chunk that the outputs know to be written the ledger may not
	// have heard, whether an attempt before this wrote it or another workflow of the run.
	for n := 0; n < chunks && within.Err() == nil; n++ {
		side.Go(func() error { return d.carry(within, n) })
	}
	if err := cmp.Or(side.Wait(), ctx.Err()); err != nil {
		tell(ctx, a.Runs, item, flow.Running, plan.Write.Connection, err)
		return contract.DeliverResult{}, fmt.Errorf("writing: %w", err)
	}
	counts, _, err := a.Counts.Completeness(ctx, item.RunID)
	if err != nil {
		return contract.DeliverResult{}, fmt.Errorf("counting what was written: %w", err)
	}
	return contract.DeliverResult{Written: counts.Target.Written, Rejected: counts.Target.Rejected}, nil
}

// carry takes one chunk to its outcome. What the target said is kept by the outputs
// before the ledger has it: whoever comes after a crash in between finds the rows that
// were refused.
func (d *delivery) carry(ctx context.Context, n int) error {
	chunk, err := d.Outputs.Chunk(ctx, d.plan, d.item.RunID, n)
	if err != nil {
		return fmt.Errorf("reading what is to be written: %w", err)
	}
	member := ledger.Member{Key: fmt.Sprintf("[%d]", n), Label: fmt.Sprintf("chunk %d, %d rows", n+1, chunk.Sheet.Rows()), SHA256: chunk.SHA256}
	open, err := d.Effects.Attempt(ctx, d.item, writeStep, target(d.plan), []ledger.Member{member})
	if err != nil {
		return fmt.Errorf("asking the ledger: %w", err)
	}
	ctx, done := committed(ctx) // the attempt is on record: it is carried to its end
	defer done()
	switch {
	case len(open) == 0 && chunk.Written:
		return nil
	case len(open) == 0:
		return fault.New(fault.Bug, "deliver.decided", "the ledger knows an outcome of rows that are still to be written", nil)
	}
	outcome := ledger.Outcome{Key: member.Key, Fence: open[0].Fence, State: flow.Confirmed}
	if !chunk.Written {
		err = d.write(ctx, chunk, open[0])
		if f := fault.Of(err); f != nil && f.Class == fault.InDoubt {
			return err // the attempt stays open: the next one looks for it
		} else if f != nil {
			outcome.State = flow.Intent // it certainly did not take effect
		}
	}
	if recorded := d.Effects.Record(ctx, d.item, writeStep, []ledger.Outcome{outcome}); err == nil {
		err = recorded
	}
	return err
}

// write sends a chunk, or what the target does not hold of one that was sent before,
// and keeps what it said.
func (d *delivery) write(ctx context.Context, c stage.Chunk, o ledger.Open) error {
	load := Load{
		Sheet:  c.Sheet,
		Mark:   Mark{Cause: d.item.RunID, Step: writeStep, Key: o.Key, Fence: o.Fence},
		Origin: flow.Chain{}.Then(d.plan.Flow, hex.EncodeToString(c.SHA256[:4])),
		Held:   d.held,
	}
	send := func() ([]stage.Refusal, error) { return d.Target.Load(ctx, d.plan, load) }
	if o.Retried {
		send = func() ([]stage.Refusal, error) { return d.again(ctx, load) }
	}
	refused, err := send()
	if err != nil {
		return err
	}
	if err := d.Outputs.Written(ctx, d.item.RunID, c, refused); err != nil {
		// The target has it: only an attempt that looks for it may decide now.
		return fault.New(fault.InDoubt, fault.Of(err).Code, "keeping what was written: "+fault.Of(err).Text, err)
	}
	return nil
}

// again looks for a chunk that was sent before without hearing of it, and sends what
// is not there.
func (d *delivery) again(ctx context.Context, load Load) ([]stage.Refusal, error) {
	sight, err := d.Target.LookBack(ctx, d.plan, load)
	if err != nil {
		return nil, fault.New(fault.InDoubt, fault.Of(err).Code, "looking for what was sent: "+fault.Of(err).Text, err)
	}
	left, rows := without(load.Sheet, sight.Holds)
	switch {
	case len(rows) == 0:
		return nil, nil
	case !sight.Conditional && !d.plan.Write.Repeat:
		return nil, fault.New(fault.InDoubt, unsettledCode, d.plan.Write.Connection+" does not show what was sent before; sending it again might write it twice", nil)
	}
	load.Sheet = left
	refused, err := d.Target.Load(ctx, d.plan, load)
	for i := range refused {
		refused[i].Row = rows[refused[i].Row]
	}
	return refused, err
}

// without gives the rows of a sheet that are not held, and which they were.
func without(s flow.Sheet, held []bool) (left flow.Sheet, rows []int) {
	left.Columns = s.Columns
	for i := range s.Rows() {
		if i < len(held) && held[i] {
			continue
		}
		left.Cells = append(left.Cells, s.Row(i)...)
		rows = append(rows, i)
	}
	return left, rows
}
