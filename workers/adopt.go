package workers

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/workflows"
)

type (
	// Heir moves the open runs of builds that no process works for any more to this
	// build, where replaying their history shows that this build would have done the
	// same. Without it such a run would wait for ever. It belongs to one goroutine.
	Heir struct {
		temporal client.Client
		gone     Gone
		replayer worker.WorkflowReplayer
		left     map[string]bool // runs, by Temporal's run ID, that this build does not replay
	}

	// Gone reports whether no process works for a build.
	Gone func(ctx context.Context, build string) (bool, error)

	// Estate is what a look of an Heir has found.
	Estate struct {
		Moved int    // runs that go on with this build
		Left  []Left // runs that wait for their own build, however often they were named
	}

	// Left is a run that this build would have carried out otherwise.
	Left struct {
		WorkflowID, Build string
		New               bool // not named by an earlier look
	}
)

// NewHeir builds an Heir.
func NewHeir(temporal client.Client, gone Gone) (*Heir, error) {
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{})
	if err != nil {
		return nil, fmt.Errorf("building the replayer: %w", err)
	}
	workflows.Register(replayer)
	return &Heir{temporal: temporal, gone: gone, replayer: replayer, left: map[string]bool{}}, nil
}

// Look moves what can be moved. It costs one question to Temporal's visibility
// while every open run is of this build, and does nothing unless new runs begin
// on it: an earlier build that is started once more inherits nothing.
func (h *Heir) Look(ctx context.Context) (Estate, error) {
	var estate Estate
	gone, asked := map[string]bool{}, false
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: openRuns("!=")}
	for {
		page, err := h.temporal.ListWorkflow(ctx, request)
		if err != nil {
			return estate, fmt.Errorf("listing open runs of earlier builds: %w", durable.Classify(err))
		}
		if !asked && len(page.GetExecutions()) > 0 {
			if current, err := Current(ctx, h.temporal); err != nil || !current {
				return estate, err
			}
			asked = true
		}
		for _, e := range page.GetExecutions() {
			if err := h.take(ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId(), gone, &estate); err != nil {
				return estate, err
			}
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.GetNextPageToken()) == 0 {
			return estate, nil
		}
	}
}

// take moves one run, or leaves it.
func (h *Heir) take(ctx context.Context, id, run string, gone map[string]bool, estate *Estate) error {
	build, err := buildOf(ctx, h.temporal, id, run)
	if err != nil || build == "" || build == Build() { // visibility is late
		return err
	}
	if _, known := gone[build]; !known {
		if gone[build], err = h.gone(ctx, build); err != nil {
			return err
		}
	}
	if !gone[build] {
		return nil
	}
	if h.left[run] {
		estate.Left = append(estate.Left, Left{WorkflowID: id, Build: build})
		return nil
	}
	events, err := history(ctx, h.temporal, id, run)
	if err != nil {
		return err
	}
	if h.replayer.ReplayWorkflowHistory(quiet{}, events) != nil {
		h.left[run] = true
		estate.Left = append(estate.Left, Left{WorkflowID: id, Build: build, New: true})
		return nil
	}
	if err := move(ctx, h.temporal, id, run); fault.Is(err, fault.NotFound) {
		return nil // it has ended
	} else if err != nil {
		return err
	}
	estate.Moved++
	return nil
}

// openRuns is the query for open runs of this build ("="), or of others ("!=").
// One that no worker has begun has no build yet and is in neither.
func openRuns(relation string) string {
	return fmt.Sprintf("ExecutionStatus = 'Running' AND TaskQueue = '%s' AND TemporalWorkerDeploymentVersion %s '%s:%s'",
		contract.Main, relation, contract.Deployment, Build())
}

// buildOf is the build that a run's next task goes to; "" when there is none yet.
func buildOf(ctx context.Context, temporal client.Client, id, run string) (string, error) {
	d, err := temporal.DescribeWorkflowExecution(ctx, id, run)
	if err = durable.Classify(err); fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("describing a run: %w", err)
	}
	info := d.GetWorkflowExecutionInfo()
	if info.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return "", nil
	}
	if pinned := info.GetVersioningInfo().GetVersioningOverride().GetPinned().GetVersion(); pinned != nil {
		return pinned.GetBuildId(), nil
	}
	return info.GetVersioningInfo().GetDeploymentVersion().GetBuildId(), nil
}

// move pins a run to this build.
func move(ctx context.Context, temporal client.Client, id, run string) error {
	this := worker.WorkerDeploymentVersion{DeploymentName: contract.Deployment, BuildID: Build()}
	_, err := temporal.UpdateWorkflowExecutionOptions(ctx, client.UpdateWorkflowExecutionOptionsRequest{
		WorkflowId: id, RunId: run,
		WorkflowExecutionOptionsChanges: client.WorkflowExecutionOptionsChanges{
			VersioningOverride: &client.VersioningOverrideChange{Value: &client.PinnedVersioningOverride{Version: this}},
		},
	})
	if err != nil {
		return fmt.Errorf("moving a run to this build: %w", durable.Classify(err))
	}
	return nil
}

func history(ctx context.Context, temporal client.Client, id, run string) (*historypb.History, error) {
	events := &historypb.History{}
	for i := temporal.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); i.HasNext(); {
		event, err := i.Next()
		if err != nil {
			return nil, fmt.Errorf("reading a history: %w", durable.Classify(err))
		}
		events.Events = append(events.Events, event)
	}
	return events, nil
}

// quiet drops the replayer's lines: a run that does not replay is an answer, not
// a failure of this process.
type quiet struct{}

func (quiet) Debug(string, ...any)     {}
func (quiet) Info(string, ...any)      {}
func (quiet) Warn(string, ...any)      {}
func (quiet) Error(string, ...any)     {}
func (q quiet) With(...any) log.Logger { return q }
