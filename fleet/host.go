package fleet

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"patchbay/calculator"
	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/workflows"
)

type (
	// Host takes computations from queues. It belongs to one process.
	Host struct {
		workers  map[string]worker.Worker // by lane
		runaways *runaways
		slots    int
		log      *zap.Logger
	}

	// Tuning is how much a Host takes. The zero value fits the machine.
	Tuning struct {
		// Slots is how many computations that somebody waits for a queue may have here at a
		// time; 0: as many as the process has processors.
		Slots int
		// Batch is the same for those that nobody waits for; 0: half as many, but one.
		Batch int
		// Runaways is how many functions may go on in the process after their time; 0: half of Slots,
		// negative: any number, where the process is more than a Host.
		Runaways int
		// Grace is how long computations may go on in a process that is asked to end, before they
		// are given back to begin elsewhere; 0: 20 s. A supervisor grants 10 s more.
		Grace time.Duration
	}
)

// NewHost builds a Host of queues. It polls nothing before Run.
func NewHost(temporal client.Client, queues []contract.Queue, calculators *calculator.Registry, t Tuning, log *zap.Logger) *Host {
	if t.Slots <= 0 {
		t.Slots = runtime.GOMAXPROCS(0)
	}
	if t.Batch <= 0 {
		t.Batch = max(t.Slots/2, 1)
	}
	if t.Runaways == 0 {
		t.Runaways = t.Slots / 2
	}
	if t.Grace <= 0 {
		t.Grace = grace
	}
	h := &Host{workers: map[string]worker.Worker{}, runaways: newRunaways(t.Runaways), slots: t.Slots, log: log}
	c := &computer{calculators: calculators, runaways: h.runaways, grace: t.Grace}
	for _, q := range queues {
		h.lane(temporal, q, t.Slots, c)
		h.lane(temporal, q.Batch(), t.Batch, c)
	}
	return h
}

func (h *Host) lane(temporal client.Client, queue contract.Queue, slots int, c *computer) {
	options := durable.WorkerOptions(Build(), h.log)
	options.MaxConcurrentActivityExecutionSize = slots
	options.MaxConcurrentActivityTaskPollers = min(slots, 2)
	options.DisableWorkflowWorker = true
	options.WorkerStopTimeout = c.grace + handBack
	w := worker.New(temporal, string(queue), options)
	contract.RegisterCompute(w, c.Compute)
	h.workers[string(queue)] = w
}

// handBack is how long it may take to give back what was not done within the grace.
const handBack = 5 * time.Second

// Run takes computations until ctx ends, then lets those under way end, or gives them back.
// It ends with an error when Temporal refuses the worker for good, and with
// compute.runaways when more functions run on than the process bears.
func (h *Host) Run(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	for queue, w := range h.workers {
		parts.Go(func() error {
			interrupt := make(chan any)
			defer context.AfterFunc(ctx, func() { close(interrupt) })()
			if err := w.Run(interrupt); err != nil && ctx.Err() == nil {
				f := fault.Of(durable.Classify(err))
				return fault.New(f.Class, "worker.stopped", fmt.Sprintf("the worker of %s has stopped: %s", queue, f.Text), err)
			}
			return nil
		})
	}
	parts.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-h.runaways.over:
			return fault.New(fault.Bug, "compute.runaways", fmt.Sprintf(
				"more than %d calculators go on after their time; the process ends, so that its supervisor begins it anew", h.runaways.most), nil)
		}
	})
	return parts.Wait()
}

// Build is the build ID of this process: runs that began with a build compute with it.
func Build() string { return durable.BuildID(workflows.Sources, contract.Sources) }
