package workers

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"patchbay/internal/contract"
	"patchbay/workflows"
)

// Adopt moves the open runs of earlier builds to this one, where replaying their
// history shows that this build would have done the same. It is for an
// environment in which nobody polls for an earlier build any more: a run would
// wait for ever. It returns how many it moved and the workflow IDs of those it
// must leave; they go on when their build is started again.
func Adopt(ctx context.Context, temporal client.Client, namespace string) (moved int, left []string, err error) {
	this := worker.WorkerDeploymentVersion{DeploymentName: contract.Deployment, BuildID: Build()}
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{})
	if err != nil {
		return 0, nil, fmt.Errorf("building the replayer: %w", err)
	}
	workflows.Register(replayer)
	request := &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: namespace,
		Query:     fmt.Sprintf("ExecutionStatus = 'Running' AND TaskQueue = '%s'", contract.Main),
	}
	for {
		page, err := temporal.ListWorkflow(ctx, request)
		if err != nil {
			return moved, left, fmt.Errorf("listing open runs: %w", err)
		}
		for _, e := range page.GetExecutions() {
			id, run := e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId()
			build, err := buildOf(ctx, temporal, id, run)
			if err != nil {
				return moved, left, err
			}
			if build == "" || build == this.BuildID {
				continue // not begun yet, or ours
			}
			if replays(ctx, temporal, replayer, id, run) != nil {
				left = append(left, id)
				continue
			}
			if _, err := temporal.UpdateWorkflowExecutionOptions(ctx, client.UpdateWorkflowExecutionOptionsRequest{
				WorkflowId: id, RunId: run,
				WorkflowExecutionOptionsChanges: client.WorkflowExecutionOptionsChanges{
					VersioningOverride: &client.VersioningOverrideChange{Value: &client.PinnedVersioningOverride{Version: this}},
				},
			}); err != nil {
				return moved, left, fmt.Errorf("moving a run to this build: %w", err)
			}
			moved++
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.GetNextPageToken()) == 0 {
			return moved, left, nil
		}
	}
}

// buildOf is the build that a run's next task goes to; "" when there is none yet.
func buildOf(ctx context.Context, temporal client.Client, id, run string) (string, error) {
	d, err := temporal.DescribeWorkflowExecution(ctx, id, run)
	if err != nil {
		return "", fmt.Errorf("describing a run: %w", err)
	}
	info := d.GetWorkflowExecutionInfo().GetVersioningInfo()
	if pinned := info.GetVersioningOverride().GetPinned().GetVersion(); pinned != nil {
		return pinned.GetBuildId(), nil
	}
	return info.GetDeploymentVersion().GetBuildId(), nil
}

func replays(ctx context.Context, temporal client.Client, replayer worker.WorkflowReplayer, id, run string) error {
	events := &history.History{}
	for i := temporal.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); i.HasNext(); {
		event, err := i.Next()
		if err != nil {
			return fmt.Errorf("reading a history: %w", err)
		}
		events.Events = append(events.Events, event)
	}
	return replayer.ReplayWorkflowHistory(quiet{}, events)
}

// quiet drops the replayer's lines: a run that does not replay is an answer, not
// a failure of this process.
type quiet struct{}

func (quiet) Debug(string, ...any)     {}
func (quiet) Info(string, ...any)      {}
func (quiet) Warn(string, ...any)      {}
func (quiet) Error(string, ...any)     {}
func (q quiet) With(...any) log.Logger { return q }
