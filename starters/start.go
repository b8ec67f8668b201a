package starters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

const (
	// startTimeout bounds one start: a Temporal that hangs costs a caller no more.
	startTimeout = 2 * time.Second
	// again is how soon a start that failed is tried again.
	again = time.Second
	// muchLater is the same for a start that Temporal answered and will not take as
	// it is: a person has to put something right first.
	muchLater = 10 * time.Second
)

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

// Page gives the address of a run's page in the console.
type Page func(runID string) string

// marks is where a batch keeps whether Temporal has it.
type marks interface {
	Relayed(ctx context.Context, batchID string) error
	Lapse(ctx context.Context, batchID string, wait time.Duration) error
}

// launch starts the workflow of a batch and marks it; a start that failed is due
// again soon. An error of marking is no error: the relay starts the batch again,
// which changes nothing.
func (l launcher) launch(ctx context.Context, m marks, s run.Start, page Page) error {
	if err := l.start(ctx, s, page); err != nil {
		wait := again
		if !away(err) {
			wait = muchLater
		}
		_ = m.Lapse(ctx, s.BatchID, wait)
		return err
	}
	_ = m.Relayed(ctx, s.BatchID)
	return nil
}

// start starts the workflow of a batch. A workflow that already has the ID is
// this batch, started before: that counts as success.
func (l launcher) start(ctx context.Context, s run.Start, page Page) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var err error
	switch flow.Pattern(s.Pattern) {
	case flow.Instant:
		_, err = contract.Instant.Start(ctx, l.temporal, l.options(s, page), input(s))
	case flow.Event:
		_, err = contract.Event.Start(ctx, l.temporal, l.options(s, page), input(s))
	case flow.Service:
		_, err = contract.Service.Start(ctx, l.temporal, l.options(s, page), input(s))
	case flow.Hybrid:
		_, err = contract.Hybrid.Start(ctx, l.temporal, l.options(s, page), input(s))
	case flow.Consolidation:
		_, err = contract.Consolidation.Start(ctx, l.temporal, l.options(s, page), contract.ConsolidationInput{Batch: input(s).Batch})
	default:
		return fault.New(fault.Bug, "flow.pattern", fmt.Sprintf("no workflow for pattern %q", s.Pattern), nil)
	}
	var taken *serviceerror.WorkflowExecutionAlreadyStarted
	var invalid *serviceerror.InvalidArgument
	switch {
	case err == nil, errors.As(err, &taken):
		return nil
	case errors.As(err, &invalid):
		return fault.New(fault.Bug, "temporal.refused", "Temporal does not take the start of this batch as it is", err)
	}
	return fault.New(fault.Unavailable, unavailable, "Temporal did not take the start", err)
}

// input is what the workflow of a batch gets.
func input(s run.Start) contract.InstantInput {
	return contract.InstantInput{
		Batch:    contract.Batch{BatchID: s.BatchID, Flow: s.Flow, Digest: s.Digest},
		Size:     s.Size,
		Skeleton: s.Skeleton,
	}
}
