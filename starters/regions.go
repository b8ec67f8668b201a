package starters

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.uber.org/zap"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
)

type (
	// Standings keeps the standing workflows of one region equal to the synchronizations
	// in force: one export and one reconciliation a flow, one import for each other region.
	// Any number may run: a workflow's ID says whose it is, and Temporal has each once.
	Standings struct {
		plans     Applied
		region    string
		temporal  client.Client
		namespace string
		every     time.Duration
		log       *zap.Logger
		told      map[string]string // by workflow ID: the digest it was started with or told of
		failed    bool              // the last look: one line says it, not each
	}

	// Applied lists the flows in force.
	Applied interface {
		List(ctx context.Context) ([]flow.Applied, error)
	}

	// wanted is one workflow that is to stand.
	wanted struct {
		stub    contract.Workflow[contract.SyncInput, contract.SyncResult]
		in      contract.SyncInput
		summary string
	}
)

// lookEvery is how often the standing workflows are compared with what is in force.
const lookEvery = 5 * time.Second

// NewStandings builds the keeper of a region's standing workflows.
func NewStandings(plans Applied, region string, temporal client.Client, namespace string, log *zap.Logger) *Standings {
	return &Standings{plans: plans, region: region, temporal: temporal, namespace: namespace, every: lookEvery, log: log, told: map[string]string{}}
}

// Run looks until ctx ends.
func (s *Standings) Run(ctx context.Context) {
	for {
		if err := s.look(ctx); err != nil && ctx.Err() == nil && !s.failed {
			s.log.Warn("the workflows of a synchronization cannot be looked after", zap.Error(err))
			s.failed = true
		} else if err == nil {
			s.failed = false
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.every):
		}
	}
}

// look starts what does not stand, tells of another plan, and ends what nothing in force
// stands for any more.
func (s *Standings) look(ctx context.Context) error {
	applied, err := s.plans.List(ctx)
	if err != nil {
		return err
	}
	all := map[string]wanted{}
	for _, a := range applied {
		if a.Plan.Sync != nil && a.Plan.Sync.Region(s.region) != nil {
			maps.Copy(all, s.of(a))
		}
	}
	open, err := s.open(ctx)
	if err != nil {
		return err
	}
	var trouble []error
	for _, id := range slices.Sorted(maps.Keys(all)) {
		trouble = append(trouble, s.stand(ctx, id, all[id], slices.Contains(open, id)))
	}
	for _, id := range open {
		if _, ok := all[id]; !ok {
			trouble = append(trouble, s.call(ctx, func(ctx context.Context) error { return s.temporal.CancelWorkflow(ctx, id, "") }))
			delete(s.told, id)
		}
	}
	return errors.Join(trouble...)
}

// of are the workflows of one flow, by ID.
func (s *Standings) of(a flow.Applied) map[string]wanted {
	name := a.Plan.Flow
	in := contract.SyncInput{Flow: name, Digest: a.Digest, Region: s.region}
	id := func(part string) string { return contract.WorkflowID(string(flow.Synchronization), name, part) }
	all := map[string]wanted{id("export"): {contract.Export, in, name + ": what changes in " + s.region}}
	if a.Plan.Sync.Reconcile > 0 {
		all[id("reconcile")] = wanted{contract.Reconcile, in, name + ": " + s.region + " compared with what the regions agree on"}
	}
	for _, r := range a.Plan.Sync.Regions {
		if in.From = r.Name; r.Name == s.region {
			continue
		}
		all[id("import-"+r.Name)] = wanted{contract.Import, in, name + ": what changes in " + r.Name}
	}
	return all
}

// open are the IDs of the standing workflows that Temporal's list has.
func (s *Standings) open(ctx context.Context) (ids []string, err error) {
	names := []string{contract.Export.Name(), contract.Import.Name(), contract.Reconcile.Name()}
	request := &workflowservice.ListWorkflowExecutionsRequest{Namespace: s.namespace,
		Query: "ExecutionStatus = 'Running' and WorkflowType in ('" + strings.Join(names, "', '") + "')"}
	for {
		var page *workflowservice.ListWorkflowExecutionsResponse
		err = s.call(ctx, func(ctx context.Context) error {
			page, err = s.temporal.ListWorkflow(ctx, request)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetExecutions() {
			ids = append(ids, e.GetExecution().GetWorkflowId())
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.GetNextPageToken()) == 0 {
			return ids, nil
		}
	}
}

// stand starts a workflow, or tells the one that stands of its plan. Who has just been
// started may be missing in Temporal's list.
func (s *Standings) stand(ctx context.Context, id string, w wanted, open bool) error {
	if open && s.told[id] == w.in.Digest {
		return nil
	}
	var taken *serviceerror.WorkflowExecutionAlreadyStarted
	err := s.call(ctx, func(ctx context.Context) error {
		_, err := w.stub.Start(ctx, s.temporal, client.StartWorkflowOptions{
			ID:                                       id,
			WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			WorkflowExecutionErrorWhenAlreadyStarted: true,
			TypedSearchAttributes:                    temporal.NewSearchAttributes(contract.FlowAttribute.ValueSet(w.in.Flow)),
			StaticSummary:                            w.summary,
		}, w.in)
		return err
	})
	if errors.As(err, &taken) && s.told[id] != w.in.Digest {
		err = s.call(ctx, func(ctx context.Context) error {
			return s.temporal.SignalWorkflow(ctx, id, "", contract.SupersedeSignal, w.in.Digest)
		})
	} else if errors.As(err, &taken) {
		err = nil
	}
	if err == nil {
		s.told[id] = w.in.Digest
	}
	return err
}

func (s *Standings) call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return do(ctx)
}
