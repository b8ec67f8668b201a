package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Consolidation carries one run: read every source, join what was read, write what
// differs, and have a model advise. Rows stay in our own database; the workflow sees
// counts and decides what comes next. It stays open as long as the work, so that the
// overlap policies of schedules mean something, and every end is recorded.
func Consolidation(ctx workflow.Context, in contract.ConsolidationInput) (contract.ConsolidationResult, error) {
	if at, scheduled := workflow.GetTypedSearchAttributes(ctx).GetTime(contract.ScheduledAttribute); scheduled {
		in.ScheduledAt = &at
	}
	opened, err := contract.OpenSlot.Run(ctx, in, "open the run of "+in.Flow)
	if err != nil {
		return contract.ConsolidationResult{}, err
	}
	c := &consolidation{Opened: opened}
	if opened.Skipped != "" {
		workflow.SetCurrentDetails(ctx, opened.Skipped)
		return contract.ConsolidationResult{Skipped: opened.Skipped}, nil
	}
	err = c.carry(ctx)
	return c.result, c.finish(ctx, err)
}

// consolidation is the state of one run.
type consolidation struct {
	contract.Opened
	result contract.ConsolidationResult
}

// carry takes the run as far as its last write.
func (c *consolidation) carry(ctx workflow.Context) error {
	if err := c.extract(ctx); err != nil {
		return err
	}
	joined, err := contract.Join.Run(ctx, contract.JoinInput{Batch: c.Batch, Missing: c.missing()}, "join and map")
	if err != nil {
		return err
	}
	c.result.Join = joined
	if joined.Held != nil {
		return contract.ToTemporal(joined.Held)
	}
	workflow.SetCurrentDetails(ctx, c.String())
	if joined.Changed > 0 {
		summary := fmt.Sprintf("write %d rows to %s", joined.Changed, c.Target)
		if c.result.Deliver, err = contract.Deliver.Run(ctx, c.Batch, summary); err != nil {
			return err
		}
		workflow.SetCurrentDetails(ctx, c.String())
	}
	if !c.Advises {
		return nil
	}
	advised, err := contract.Advise.Run(ctx, c.Batch, "propose action plans")
	c.result.Advise = &advised
	return err
}

// extract reads the sources, a few at a time. The first one without which nothing can
// be written ends the others.
func (c *consolidation) extract(ctx workflow.Context) error {
	ctx, stop := workflow.WithCancel(ctx)
	defer stop()
	c.result.Sources = make([]contract.ExtractResult, len(c.Sources))
	turn := workflow.NewSemaphore(ctx, int64(max(c.Parallel, 1)))
	all := workflow.NewWaitGroup(ctx)
	var first error
	for i, source := range c.Sources {
		all.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer all.Done()
			err := turn.Acquire(ctx, 1)
			if err == nil {
				defer turn.Release(1)
				c.result.Sources[i], err = contract.Extract.Run(ctx, contract.ExtractInput{Batch: c.Batch, Source: source}, "read "+source)
			}
			if err != nil && first == nil {
				first = err
				stop()
			}
		})
	}
	// What was begun is heard out, and a cancel of the run comes by way of ctx.
	outlast, _ := workflow.NewDisconnectedContext(ctx)
	all.Wait(outlast)
	return first
}

func (c *consolidation) missing() (list []contract.ExtractResult) {
	for _, s := range c.result.Sources {
		if s.State != flow.Fresh {
			list = append(list, s)
		}
	}
	return list
}

// finish records how the run ended, out of reach of a cancel (promises 3 and 4). A
// run that failed is red, one that was cancelled is cancelled.
func (c *consolidation) finish(ctx workflow.Context, err error) error {
	why := contract.FinishInput{Batch: c.Batch, RunID: c.RunID, Fault: contract.FromTemporal(err), Cancelled: ctx.Err() != nil}
	if why.Cancelled {
		why.Fault = nil // what a cancelled attempt says of itself is not why it ended
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	closed, closeErr := contract.Finish.Run(ctx, why, "record how the run ended")
	if closeErr != nil {
		return closeErr
	}
	c.result.Status = closed.Status
	workflow.SetCurrentDetails(ctx, c.String())
	switch closed.Status {
	case flow.Cancelled:
		return temporal.NewCanceledError()
	case flow.Completed:
		if c.result.Deliver.Rejected+c.result.Join.Rejected == 0 {
			return nil
		}
		return workflow.UpsertTypedSearchAttributes(ctx, contract.OutcomeAttribute.ValueSet(contract.OutcomePartial))
	}
	if saErr := workflow.UpsertTypedSearchAttributes(ctx, contract.OutcomeAttribute.ValueSet(contract.OutcomeFailed)); saErr != nil {
		return saErr
	}
	if err == nil { // the books know of a write that nobody can vouch for
		err = contract.ToTemporal(fault.New(fault.Rejected, "write.in_doubt", "whether "+c.Target+" has rows is not known", nil))
	}
	return err
}

// String is the counts in words.
func (c *consolidation) String() string {
	rows := int64(0)
	for _, s := range c.result.Sources {
		rows += s.Rows
	}
	j, d := c.result.Join, c.result.Deliver
	return fmt.Sprintf("%d rows read from %d sources; of %d keys %d differ, %d unchanged, %d rejected; %d written to %s, %d refused",
		rows, len(c.Sources), j.Keys, j.Changed, j.Unchanged, j.Rejected, d.Written, c.Target, d.Rejected)
}
