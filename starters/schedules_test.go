package starters_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/slot"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
	"patchbay/starters"
)

// rhythm is a schedule from the ledger to a worker: a database and a Temporal namespace
// of its own, the keeper of slots, and a workflow of the name that schedules start.
type rhythm struct {
	*testing.T
	db        *store.Store
	ledger    *slot.Ledger
	namespace string
	temporal  client.Client
	schedules *starters.Schedules
	shared    bool // runs may overlap

	mu     sync.Mutex
	gates  map[time.Time]chan struct{} // by slot: its run stays open until the channel closes
	closed bool                        // runs without a gate stay open
	begun  []time.Time                 // slots whose run has begun, in order
}

func newRhythm(t *testing.T, s flow.Schedule) *rhythm {
	t.Helper()
	return newRhythmOn(t, temporalAddress(t), s)
}

func newRhythmOn(t *testing.T, address string, s flow.Schedule) *rhythm {
	t.Helper()
	r := &rhythm{T: t, shared: s.Overlap == flow.OverlapAllow, db: storetest.New(t), namespace: newNamespace(t, address), gates: map[time.Time]chan struct{}{}}
	r.ledger = slot.New(r.db)
	var err error
	r.temporal, err = durable.Dial(t.Context(), durable.Options{Address: address, Namespace: r.namespace})
	require.NoError(t, err)
	t.Cleanup(r.temporal.Close)
	r.schedules = starters.NewSchedules(r.ledger, r, r.temporal, r.namespace, zap.NewNop())
	r.work()
	r.apply(s)
	return r
}

func (r *rhythm) apply(s flow.Schedule) {
	r.Helper()
	require.NoError(r, r.ledger.Apply(r.Context(), []slot.Entry{{Flow: "picture", Schedule: s}}, "test", ""))
	require.NoError(r, r.schedules.Make(r.Context()))
}

// keep runs the keeper until the test ends.
func (r *rhythm) keep() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan struct{})
	go func() { defer close(done); r.schedules.Run(ctx) }()
	r.Cleanup(func() { cancel(); <-done })
}

// work runs a worker whose runs tell the ledger as those of a consolidation do.
func (r *rhythm) work() {
	w := worker.New(r.temporal, string(contract.Main), worker.Options{DisableRegistrationAliasing: true})
	w.RegisterWorkflowWithOptions(r.run, workflow.RegisterOptions{Name: contract.Consolidation.Name()})
	w.RegisterActivity(&parts{r})
	require.NoError(r, w.Start())
	r.Cleanup(w.Stop)
}

func (r *rhythm) run(ctx workflow.Context, _ contract.ConsolidationInput) error {
	at, ok := workflow.GetTypedSearchAttributes(ctx).GetTime(contract.ScheduledAttribute)
	if !ok {
		return nil
	}
	options := workflow.ActivityOptions{StartToCloseTimeout: time.Minute, HeartbeatTimeout: 10 * time.Second, WaitForCancellation: true}
	ctx = workflow.WithActivityOptions(ctx, options)
	var p *parts
	if err := workflow.ExecuteActivity(ctx, p.Begin, at).Get(ctx, nil); err != nil {
		return err
	}
	err := workflow.ExecuteActivity(ctx, p.Work, at).Get(ctx, nil)
	status := flow.Completed
	if err != nil {
		status = flow.Cancelled
	}
	outlast, _ := workflow.NewDisconnectedContext(ctx)
	if ended := workflow.ExecuteActivity(outlast, p.End, at, status).Get(outlast, nil); ended != nil {
		return ended
	}
	return err
}

// parts are the activities of a run.
type parts struct{ r *rhythm }

func runOf(at time.Time) string { return "run-" + at.UTC().Format("150405") }

func (p *parts) Begin(ctx context.Context, at time.Time) error {
	p.r.mu.Lock()
	p.r.begun = append(p.r.begun, at.UTC())
	p.r.mu.Unlock()
	opened, err := p.r.schedules.Open(ctx, slot.Opening{Flow: "picture", RunID: runOf(at), WorkflowID: starters.SlotWorkflow("picture", at), At: &at, Shared: p.r.shared})
	if err == nil && opened.Busy != nil {
		err = opened.Busy.Conflict() // it is tried again
	}
	return err
}

func (p *parts) Work(ctx context.Context, at time.Time) error {
	gate := p.r.gate(at)
	if gate == nil {
		return nil
	}
	beat := time.NewTicker(100 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			heartbeat(ctx)
		}
	}
}

func (p *parts) End(ctx context.Context, at time.Time, status flow.Status) error {
	return p.r.ledger.Close(ctx, runOf(at), slot.Closing{Status: status, Rows: 10, Bytes: 1000})
}

// gate gives what a run waits for; nil: nothing.
func (r *rhythm) gate(at time.Time) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	gate := r.gates[at.UTC()]
	if gate == nil && r.closed {
		gate = make(chan struct{})
		r.gates[at.UTC()] = gate
	}
	return gate
}

// shut makes the runs that begin stay open, release lets all end.
func (r *rhythm) shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

func (r *rhythm) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = false
	for at, gate := range r.gates {
		close(gate)
		delete(r.gates, at)
	}
}

func (r *rhythm) started() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Time(nil), r.begun...)
}

// Get tells how a run stands: the runs of these tests have no row.
func (r *rhythm) Get(_ context.Context, runID string) (flow.Run, error) {
	return flow.Run{}, fault.NotFoundf("run.not_found", "there is no run %s", runID)
}

// until waits until ok says so of the slots whose time has come, the oldest first.
func (r *rhythm) until(what string, ok func(list []flow.Slot) bool) []flow.Slot {
	r.Helper()
	over, ticks := time.After(100*time.Second), time.NewTicker(100*time.Millisecond)
	defer ticks.Stop()
	for {
		list := r.slots()
		if ok(list) {
			return list
		}
		select {
		case <-ticks.C:
		case <-over:
			for _, s := range list {
				r.Logf("%s %s %s %s", s.At.Format(time.TimeOnly), s.Outcome, s.Status, s.Reason)
			}
			r.Fatal("the slots never were: " + what)
		}
	}
}

func (r *rhythm) slots() []flow.Slot {
	r.Helper()
	list, err := r.ledger.Slots(r.Context(), "picture", time.Now().Add(-24*time.Hour), time.Now(), 10_000)
	require.NoError(r, err)
	return list
}

func count(list []flow.Slot, outcomes ...flow.SlotOutcome) int {
	n := 0
	for _, s := range list {
		for _, o := range outcomes {
			if s.Outcome == o {
				n++
			}
		}
	}
	return n
}

// settled holds the schedule and waits until nothing that came before is undecided or
// under way. It gives those slots.
func (r *rhythm) settled() []flow.Slot {
	r.Helper()
	_, err := r.schedules.Hold(r.Context(), "picture", "test", "the story is told")
	require.NoError(r, err)
	held := time.Now().Add(every) // Temporal hears of it a moment later, and may still have decided about the next
	var before []flow.Slot
	r.until("decided", func(list []flow.Slot) bool {
		before = before[:0]
		for _, s := range list {
			if s.At.Before(held) {
				before = append(before, s)
			}
		}
		return time.Now().After(held) && count(before, flow.SlotExpected, flow.SlotRunning) == 0
	})
	return before
}

func (r *rhythm) info() *schedulepb.ScheduleInfo {
	r.Helper()
	d, err := r.temporal.WorkflowService().DescribeSchedule(r.Context(), &workflowservice.DescribeScheduleRequest{Namespace: r.namespace, ScheduleId: starters.ScheduleID("picture")})
	require.NoError(r, err)
	return d.GetInfo()
}

// sameStory compares the ledger with what Temporal says of the schedule.
func (r *rhythm) sameStory(list []flow.Slot, replaced int) {
	r.Helper()
	info := r.info()
	require.EqualValues(r, info.GetActionCount(), count(list, flow.SlotRan, flow.SlotLate), "actions")
	require.EqualValues(r, info.GetOverlapSkipped(), count(list, flow.SlotOverlap)-replaced, "skipped")
	require.EqualValues(r, info.GetMissedCatchupWindow(), count(list, flow.SlotMissed), "missed")
	require.Zero(r, info.GetBufferDropped())
	byTime := map[string]flow.Slot{}
	for i, s := range list {
		byTime[starters.SlotWorkflow("picture", s.At)] = s
		if i > 0 {
			require.Equal(r, list[1].At.Sub(list[0].At), s.At.Sub(list[i-1].At), "no slot is left out")
		}
	}
	for _, a := range info.GetRecentActions() {
		s, known := byTime[a.GetStartWorkflowResult().GetWorkflowId()]
		require.True(r, known, "Temporal started %s", a.GetStartWorkflowResult().GetWorkflowId())
		require.Contains(r, []flow.SlotOutcome{flow.SlotRan, flow.SlotLate}, s.Outcome)
		require.True(r, s.At.Equal(a.GetScheduleTime().AsTime()))
	}
}
