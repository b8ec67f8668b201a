package starters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// startTimeout bounds one start: a Temporal that hangs costs a caller no more.
const startTimeout = 2 * time.Second

// launcher turns a claimed batch into a workflow.
type launcher struct {
	temporal client.Client
	eager    Eager
}

// Eager reports whether the server may hand the first workflow task to this
// process with the answer to the start: a worker runs in it and its build is
// Current. The server does not look at the build itself.
type Eager func() bool

// Never is for a process without a worker.
func Never() bool { return false }

// marks is where a batch keeps whether Temporal has it.
type marks interface {
	Relayed(ctx context.Context, batchID string) error
	Release(ctx context.Context, batchID string, wait time.Duration) error
}

// launch starts the workflow of a batch and marks the rows; a start that failed
// is due again soon. An error of marking is no error: the relay starts the batch
// again, which changes nothing.
func (l launcher) launch(ctx context.Context, m marks, s run.Start) error {
	if err := l.start(ctx, s); err != nil {
		_ = m.Release(ctx, s.BatchID, again)
		return err
	}
	_ = m.Relayed(ctx, s.BatchID)
	return nil
}

// start starts the workflow of a batch. A workflow that already has the ID is
// this batch, started before: that counts as success.
func (l launcher) start(ctx context.Context, s run.Start) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var err error
	switch flow.Pattern(s.Pattern) {
	case flow.Instant:
		_, err = contract.Instant.Start(ctx, l.temporal, l.options(s), contract.InstantInput{
			Batch:    contract.Batch{BatchID: s.BatchID, Flow: s.Flow, Digest: s.Digest},
			Size:     s.Size,
			Skeleton: s.Skeleton,
		})
	default:
		return fault.New(fault.Bug, "flow.pattern", fmt.Sprintf("no workflow for pattern %q", s.Pattern), nil)
	}
	var taken *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &taken) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, unavailable, "Temporal did not take the run", err)
	}
	return nil
}

// options names what the Temporal Web UI shows of a batch: flow, runs and
// counts, no key and no data (promise 5).
func (l launcher) options(s run.Start) client.StartWorkflowOptions {
	attributes := []temporal.SearchAttributeUpdate{contract.FlowAttribute.ValueSet(s.Flow)}
	if len(s.RunIDs) > 0 {
		attributes = append(attributes, contract.RunsAttribute.ValueSet(s.RunIDs))
	}
	presses := "1 press"
	if s.Size != 1 {
		presses = fmt.Sprintf("%d presses", s.Size)
	}
	return client.StartWorkflowOptions{
		ID:                                       s.WorkflowID(),
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		EnableEagerStart:                         l.eager(),
		TypedSearchAttributes:                    temporal.NewSearchAttributes(attributes...),
		StaticSummary:                            presses + " of " + s.Flow,
		StaticDetails:                            s.Summary,
	}
}
