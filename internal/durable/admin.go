package durable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
)

// RegisterSearchAttributes makes the custom search attributes of contract known
// to the namespace, and returns when the server takes them: it refreshes what it
// knows of a namespace every few seconds, and until then refuses workflows that
// carry them. It may be called at every start; an attribute that exists with
// another type is a Conflict.
func RegisterSearchAttributes(ctx context.Context, c client.Client, namespace string) error {
	wanted, err := missingAttributes(ctx, c, namespace)
	if err != nil {
		return err
	}
	if len(wanted) == 0 {
		return awaitAttributes(ctx, c, namespace)
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: wanted})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) { // another process of ours was quicker
		return fmt.Errorf("adding search attributes: %w", Classify(err))
	}
	return awaitAttributes(ctx, c, namespace)
}

// MissingSearchAttributes names those of contract that the namespace does not know,
// sorted. One that exists with another type is a Conflict.
func MissingSearchAttributes(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	missing, err := missingAttributes(ctx, c, namespace)
	return slices.Sorted(maps.Keys(missing)), err
}

func missingAttributes(ctx context.Context, c client.Client, namespace string) (map[string]enumspb.IndexedValueType, error) {
	wanted := map[string]enumspb.IndexedValueType{
		contract.FlowAttribute.GetName():    contract.FlowAttribute.GetValueType(),
		contract.OutcomeAttribute.GetName(): contract.OutcomeAttribute.GetValueType(),
		contract.RunsAttribute.GetName():    contract.RunsAttribute.GetValueType(),
	}
	known, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, fmt.Errorf("listing search attributes: %w", Classify(err))
	}
	for name, want := range wanted {
		have, ok := known.GetCustomAttributes()[name]
		switch {
		case ok && have == want:
			delete(wanted, name)
		case ok:
			return nil, fault.New(fault.Conflict, "temporal.attribute_type", fmt.Sprintf(
				"the namespace has the search attribute %s as %s, not %s", name, have, want), nil)
		}
	}
	return wanted, nil
}

// attributesWithin bounds the wait for attributes that have just been added.
const attributesWithin = 30 * time.Second

// awaitAttributes asks for workflows by every attribute until the server knows
// all of them.
func awaitAttributes(ctx context.Context, c client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, attributesWithin)
	defer cancel()
	query := fmt.Sprintf("%s = '' OR %s = '' OR %s = ''",
		contract.FlowAttribute.GetName(), contract.OutcomeAttribute.GetName(), contract.RunsAttribute.GetName())
	ticker := time.NewTicker(settle)
	defer ticker.Stop()
	for {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace, Query: query})
		var unknown *serviceerror.InvalidArgument
		if !errors.As(err, &unknown) {
			if err != nil {
				return fmt.Errorf("waiting for search attributes: %w", Classify(err))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "temporal.attributes", "Temporal does not take the search attributes that were registered", err)
		case <-ticker.C:
		}
	}
}

// settle is the pause between two looks at a version that has not polled yet.
const settle = 50 * time.Millisecond

// SetCurrent makes buildID the version that new workflows begin with. It waits
// until a worker of that build has polled queues for workflows (any queue, where none
// are named) or ctx ends, and leaves a build that is Current already as it is. What
// waiting does not mend, such as credentials that Temporal refuses, it returns at once.
func SetCurrent(ctx context.Context, c client.Client, deployment, buildID string, queues ...string) error {
	handle := c.WorkerDeploymentClient().GetHandle(deployment)
	return routed(ctx, buildID, func() error { return setCurrent(ctx, handle, buildID, queues) })
}

// SetRamp has percent of the workflows that are new, 1 to 99, begin with buildID and the
// others with the current build; it waits as SetCurrent does. 0 ends that, whichever build
// it was. Without a current build it is Rejected, "temporal.no_current".
func SetRamp(ctx context.Context, c client.Client, deployment, buildID string, percent int, queues ...string) error {
	handle := c.WorkerDeploymentClient().GetHandle(deployment)
	return routed(ctx, buildID, func() error {
		state, err := handle.Describe(ctx, client.WorkerDeploymentDescribeOptions{})
		if err != nil {
			return err
		}
		options := client.WorkerDeploymentSetRampingVersionOptions{BuildID: buildID, Percentage: float32(percent), ConflictToken: state.ConflictToken, IgnoreMissingTaskQueues: true}
		now := state.Info.RoutingConfig.CurrentVersion
		switch {
		case percent == 0 && state.Info.RoutingConfig.RampingVersion == nil:
			return nil
		case percent == 0:
			options.BuildID = state.Info.RoutingConfig.RampingVersion.BuildID
		case now == nil:
			return fault.New(fault.Rejected, "temporal.no_current", "no build is current yet, so there is none beside which another could begin with a part of the runs; apply without a ramp", nil)
		case now.BuildID == buildID:
			return fault.New(fault.Rejected, "temporal.is_current", "build "+buildID+" is current: all new runs begin with it", nil)
		default:
			if err := polled(ctx, handle, buildID, queues); err != nil {
				return err
			}
		}
		_, err = handle.SetRampingVersion(ctx, options)
		return err
	})
}

// routed tries until a worker of the build has polled.
func routed(ctx context.Context, buildID string, try func() error) error {
	ticker := time.NewTicker(settle)
	defer ticker.Stop()
	var heard error // the latest that is more than the end of ctx
	for {
		err := try()
		if err == nil {
			return nil
		}
		if said := (*fault.Fault)(nil); errors.As(err, &said) {
			return err
		}
		if ctx.Err() == nil {
			if heard = Classify(err); lasting(heard) {
				return heard
			}
		}
		select {
		case <-ctx.Done():
			switch {
			case heard == nil:
				return Classify(errors.Join(ctx.Err(), err))
			case fault.Is(heard, fault.NotFound), fault.Is(heard, fault.Conflict):
				return fault.New(fault.Unavailable, NoVersion, "no worker of build "+buildID+" has polled Temporal in time", errors.Join(ctx.Err(), heard))
			}
			return errors.Join(heard, ctx.Err())
		case <-ticker.C:
		}
	}
}

// NoVersion is the code of a build that no worker has polled for.
const NoVersion = "temporal.no_version"

// lasting reports whether a failure stays as it is however long one waits. A
// build that is not known yet, or that another process has just moved, may be.
func lasting(err error) bool {
	f := fault.Of(err)
	return f.Class == fault.Unauthorized || f.Class == fault.Bug || f.Code == noNamespace
}

func setCurrent(ctx context.Context, handle client.WorkerDeploymentHandle, buildID string, queues []string) error {
	state, err := handle.Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	if err != nil {
		return err
	}
	if v := state.Info.RoutingConfig.CurrentVersion; v != nil && v.BuildID == buildID {
		return nil
	}
	if err := polled(ctx, handle, buildID, queues); err != nil {
		return err
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

// polled reports by its error that a worker of the build has not asked for workflows of all
// queues yet: one that only computes makes a build known, too.
func polled(ctx context.Context, handle client.WorkerDeploymentHandle, buildID string, queues []string) error {
	if len(queues) == 0 {
		return nil
	}
	version, err := handle.DescribeVersion(ctx, client.WorkerDeploymentDescribeVersionOptions{BuildID: buildID})
	if err != nil {
		return err
	}
	for _, queue := range queues {
		asked := client.WorkerDeploymentTaskQueueInfo{Name: queue, Type: client.TaskQueueTypeWorkflow}
		if !slices.Contains(version.Info.TaskQueuesInfos, asked) {
			return serviceerror.NewNotFound("no worker of the build takes tasks of " + queue)
		}
	}
	return nil
}

// Ramp is the build that a part of new workflows begins with, and which, in percent; "" when
// none does.
func Ramp(ctx context.Context, c client.Client, deployment string) (buildID string, percent int, err error) {
	state, err := c.WorkerDeploymentClient().GetHandle(deployment).Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	var unknown *serviceerror.NotFound
	switch {
	case errors.As(err, &unknown):
		return "", 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("asking for the build that ramps: %w", Classify(err))
	case state.Info.RoutingConfig.RampingVersion == nil || state.Info.RoutingConfig.RampingVersionPercentage == 0:
		return "", 0, nil
	}
	return state.Info.RoutingConfig.RampingVersion.BuildID, int(state.Info.RoutingConfig.RampingVersionPercentage), nil
}

// Current is the build that new workflows begin with, or "" when none is.
func Current(ctx context.Context, c client.Client, deployment string) (string, error) {
	state, err := c.WorkerDeploymentClient().GetHandle(deployment).Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	var unknown *serviceerror.NotFound
	switch {
	case errors.As(err, &unknown):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("asking for the current build: %w", Classify(err))
	case state.Info.RoutingConfig.CurrentVersion == nil:
		return "", nil
	}
	return state.Info.RoutingConfig.CurrentVersion.BuildID, nil
}
