package starters

import (
	"context"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/flow"
	"patchbay/internal/run"
)

const (
	// resumeEvery is how often runs that sleep are looked for while something is stopped,
	// and resumePage how many are woken at a time: they all want the same system.
	resumeEvery = time.Second
	resumePage  = 50
	// wokenFor is how long a run that was woken may take to begin.
	wokenFor = 30 * time.Second
)

type (
	// Resumer wakes open runs that sleep because a connection rested, or was held: all when
	// it is in use again, and one that tries it when its rest is over. Any number may run.
	Resumer struct {
		runs      sleepers
		stops     stopped
		temporal  client.Client
		namespace string
		log       *zap.Logger

		looked time.Time            // at last
		busy   bool                 // some slept then
		woken  map[string]time.Time // by batch and connection
	}

	sleepers interface {
		Asleep(ctx context.Context, limit int) ([]run.Sleeper, error)
	}

	// stopped is what a Resumer asks of package stop.
	stopped interface {
		Any() bool
		Of(name string, needs []string) (stop *flow.Stop, over bool)
		Allow(ctx context.Context, name string, needs []string) (int, error)
	}
)

// NewResumer builds a Resumer.
func NewResumer(runs sleepers, stops stopped, temporal client.Client, namespace string, log *zap.Logger) *Resumer {
	return &Resumer{runs: runs, stops: stops, temporal: temporal, namespace: namespace, log: log, woken: map[string]time.Time{}}
}

// Run wakes until ctx ends. What fails is tried again.
func (r *Resumer) Run(ctx context.Context) {
	tick := time.NewTicker(resumeEvery)
	defer tick.Stop()
	for {
		if err := r.round(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("waking runs", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *Resumer) round(ctx context.Context) error {
	now := time.Now()
	if !r.busy && !r.stops.Any() && now.Sub(r.looked) < sweepEvery {
		return nil
	}
	const most = 1000 // of a connection
	list, err := r.runs.Asleep(ctx, most)
	if err != nil {
		return err
	}
	r.looked, r.busy = now, len(list) > 0
	for key, at := range r.woken {
		if now.Sub(at) > wokenFor {
			delete(r.woken, key)
		}
	}
	allowed := map[string]int{}
	left := resumePage
	for _, s := range list {
		if _, just := r.woken[s.BatchID+" "+s.Connection]; just || left == 0 {
			continue
		}
		n, known := allowed[s.Connection]
		if !known {
			if n, err = r.stops.Allow(ctx, "", []string{s.Connection}); err != nil {
				return err
			}
		}
		allowed[s.Connection] = max(n-1, min(n, 0))
		if n == 0 {
			continue
		}
		left--
		r.woken[s.BatchID+" "+s.Connection] = now
		if err := r.wake(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// wake has the activities of a workflow begin that wait for their next attempt for long.
func (r *Resumer) wake(ctx context.Context, s run.Sleeper) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d, err := r.temporal.DescribeWorkflowExecution(ctx, s.WorkflowID, "")
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, a := range d.GetPendingActivities() {
		const long = time.Minute
		if a.GetState() != enums.PENDING_ACTIVITY_STATE_SCHEDULED || time.Until(a.GetNextAttemptScheduleTime().AsTime()) < long {
			continue
		}
		_, err := r.temporal.WorkflowService().ResetActivity(ctx, &workflowservice.ResetActivityRequest{
			Namespace: r.namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: s.WorkflowID, RunId: d.GetWorkflowExecutionInfo().GetExecution().GetRunId()},
			Identity: "patchbay", Activity: &workflowservice.ResetActivityRequest_Id{Id: a.GetActivityId()},
		})
		if err != nil && !gone(err) {
			return err
		}
	}
	return nil
}
