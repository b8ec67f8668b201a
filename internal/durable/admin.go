package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
)

// RegisterSearchAttributes makes the custom search attributes of contract known
// to the namespace. It may be called at every start; an attribute that exists
// with another type is a Conflict.
func RegisterSearchAttributes(ctx context.Context, c client.Client, namespace string) error {
	wanted := map[string]enumspb.IndexedValueType{
		contract.FlowAttribute.GetName():    contract.FlowAttribute.GetValueType(),
		contract.OutcomeAttribute.GetName(): contract.OutcomeAttribute.GetValueType(),
		contract.RunsAttribute.GetName():    contract.RunsAttribute.GetValueType(),
	}
	known, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("listing search attributes: %w", classify(err))
	}
	for name, want := range wanted {
		have, ok := known.GetCustomAttributes()[name]
		switch {
		case ok && have == want:
			delete(wanted, name)
		case ok:
			return fault.New(fault.Conflict, "temporal.attribute-type", fmt.Sprintf(
				"the namespace has the search attribute %s as %s, not %s", name, have, want), nil)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: wanted})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) { // another process of ours was quicker
		return fmt.Errorf("adding search attributes: %w", classify(err))
	}
	return nil
}

// settle is the pause between two looks at a version that has not polled yet.
const settle = 50 * time.Millisecond

// SetCurrent makes buildID the version that new workflows begin with. It waits
// until a worker of that build has polled, and leaves a build that is Current
// already as it is.
func SetCurrent(ctx context.Context, c client.Client, deployment, buildID string) error {
	handle := c.WorkerDeploymentClient().GetHandle(deployment)
	ticker := time.NewTicker(settle)
	defer ticker.Stop()
	for {
		err := setCurrent(ctx, handle, buildID)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "temporal.no-version", "no worker of this build has polled Temporal in time", errors.Join(ctx.Err(), err))
		case <-ticker.C:
		}
	}
}

func setCurrent(ctx context.Context, handle client.WorkerDeploymentHandle, buildID string) error {
	state, err := handle.Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	if err != nil {
		return err
	}
	if v := state.Info.RoutingConfig.CurrentVersion; v != nil && v.BuildID == buildID {
		return nil
	}
	_, err = handle.SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{
		BuildID: buildID,
		// Guards against two processes of different builds that start at once.
		ConflictToken: state.ConflictToken,
		// A queue that the old build served and the new one does not is a rename in
		// progress; its workflows are pinned to the old build.
		IgnoreMissingTaskQueues: true,
	})
	return err
}
