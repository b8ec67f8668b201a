package web_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

// workshop is what people put right, offer again and hold.
type workshop struct{ *world }

func (s workshop) Repairs(_ context.Context, f flow.RepairFilter) ([]flow.Repair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.repairs), func(r flow.Repair) bool {
		return (r.Settled != nil) != f.Settled || f.RunID != "" && r.RunID != f.RunID || f.Flow != "" && r.Flow != f.Flow
	}), nil
}

func (s workshop) Repaired(_ context.Context, runID, step, by, note string) (steps []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.repairs {
		if r.RunID == runID && r.Step == step {
			s.repairs[i].Settled = &flow.Settlement{By: by, At: time.Now(), Note: note}
			steps = append(steps, step)
		}
	}
	return steps, nil
}

func (s workshop) Post(context.Context, string, string, flow.Row, string) (flow.TopicEvent, error) {
	return flow.TopicEvent{}, nil
}

func (s workshop) List(context.Context, flow.TopicFilter) ([]flow.TopicEvent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.business), nil
}

func (s workshop) Redrive(_ context.Context, _ string, f flow.TopicFilter) ([]flow.TopicEvent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.business = slices.DeleteFunc(s.business, func(e flow.TopicEvent) bool { return slices.Contains(f.IDs, e.ID) })
	return nil, nil
}

func (s workshop) Dismiss(ctx context.Context, _, why string, f flow.TopicFilter) (int, error) {
	s.settled = append(s.settled, "dismissed: "+why)
	_, err := s.Redrive(ctx, "", f)
	return len(f.IDs), err
}

func (s workshop) Stopped(context.Context) ([]flow.Stopped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.stopped), nil
}

func (s workshop) Hold(_ context.Context, kind flow.StopKind, name, by, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = append(s.stopped, flow.Stopped{Stop: flow.Stop{Kind: kind, Name: name, Cause: flow.StopHeld, Since: time.Now(), By: by, Reason: reason}, Flows: []string{"product-specs"}, Runs: 3})
	return nil
}

func (s workshop) Resume(_ context.Context, kind flow.StopKind, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = slices.DeleteFunc(s.stopped, func(one flow.Stopped) bool {
		return one.Kind == kind && one.Name == name && one.Cause == flow.StopHeld
	})
	return nil
}

// broken is a world in which things stand, events are over and systems are stopped.
func (w *world) broken() {
	now := time.Now()
	until, drains := now.Add(24*time.Second), 754.0
	w.stopped = []flow.Stopped{
		{Stop: flow.Stop{Kind: flow.StopConnection, Name: "sap", Cause: flow.StopResting, Since: now.Add(-12 * time.Minute), Until: &until, Reason: "sap did not answer 5 requests in a row; the last: no answer within 10 s"},
			Flows: []string{"order-to-shipment", "customer-360", "contract-distribution"}, Runs: 1284, Drains: &drains},
		{Stop: flow.Stop{Kind: flow.StopFlow, Name: "product-specs", Cause: flow.StopHeld, Since: now.Add(-2 * time.Hour), By: "ann", Reason: "wrong units since the last deploy"}, Flows: []string{"product-specs"}, Runs: 1},
	}
	stand := flow.Problem{Code: "write.refused", Detail: "oracle refused it: the reservation is locked by the auditor"}
	w.repairs = []flow.Repair{
		{RunID: "stands", Flow: "order-to-shipment", Step: "reservation", Target: "oracle.reservations", Keys: []string{"SO-4711"}, Problem: stand, Since: now.Add(-3 * time.Hour)},
		{RunID: "ended", Flow: "order-to-shipment", Step: "sale", Target: "sap.A_SalesOrder", Keys: []string{"A-1", "A-2", "A-3", "A-4", "A-5", "A-6", "A-7"}, InDoubt: true, Goes: true,
			Problem: flow.Problem{Code: "undo.none", Detail: "nothing was taken back: the workflow of this run was terminated in Temporal"}, Since: now.Add(-time.Hour)},
		{RunID: "older", Flow: "order-to-shipment", Step: "booking", Target: "maersk.bookings", Keys: []string{"B-9"}, Problem: stand, Since: now.Add(-30 * time.Hour),
			Settled: &flow.Settlement{By: "ann", At: now.Add(-20 * time.Hour), Note: "cancelled by telephone"}},
	}
	w.business = []flow.TopicEvent{
		{Topic: "shipped.v1", ID: "MSK-77", Key: "4711", From: "maersk", State: flow.TopicExpired, Why: "no run awaited it before 2026-11-30 10:00:00 UTC", ReceivedAt: now.Add(-40 * time.Hour)},
		{Topic: "placed.v1", ID: "r1/placed", Key: "4712", From: "shop", State: flow.TopicKept, ReceivedAt: now.Add(-time.Hour),
			Started: []flow.TopicStart{{Flow: "pack", Problem: &flow.Problem{Code: "params.invalid", Detail: "port is missing"}}}},
	}
	end := now.Add(-3 * time.Hour)
	run := closed(reading(fresh("stands", now.Add(-4*time.Hour))), flow.Failed, &flow.Problem{Code: "write.refused", Detail: "maersk refused it: no vessel calls there"})
	run.Tasks = []flow.TaskView{
		{Name: "sale", State: flow.TaskUndone, BegunAt: end.Add(-time.Hour), EndedAt: &end, Note: "taken back in sap"},
		{Name: "reservation", State: flow.TaskStands, BegunAt: end.Add(-time.Hour), EndedAt: &end, Problem: &stand},
		{Name: "booking", State: flow.TaskFailed, BegunAt: end.Add(-time.Hour), EndedAt: &end, Problem: run.Problem},
	}
	w.put(run)
}

func TestWhatStandsIsSettledByAPersonWhoSaysWhatWasDone(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.broken()
	_, _, body := w.page(t, "/runs/stands")
	require.Contains(t, body, "/repairs?run=stands")
	require.Contains(t, body, "could not be taken back: oracle refused it")
	tab.Go(w.URL + "/repairs?run=stands")
	require.NotContains(t, browser.Value[string](tab, `document.querySelector("main").innerText`), "A-1", "of this run only")
	send := func(note string) {
		browser.Value[bool](tab, `(() => { const f = document.querySelector("[data-settle]"); f.elements.note.value = `+"`"+note+"`"+`; f.requestSubmit(); return true })()`)
	}
	send("  ")
	tab.Until(`document.querySelector("[data-repairs-said]").textContent.startsWith("Say what was done")`)
	send("released by hand")
	tab.Until(`document.querySelector("[data-repairs-said]").textContent === "reservation has been put right."`)
	require.Equal(t, "released by hand", w.repairs[0].Settled.Note)
	require.Equal(t, "dev", w.repairs[0].Settled.By)
	_, _, body = w.page(t, "/repairs")
	require.Contains(t, body, "By dev: released by hand")
}

func TestAFlowIsHeldWithAReasonAndResumedOnThePageOfStops(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	tab.Go(w.URL + "/stops")
	hold := func(reason string) {
		browser.Value[bool](tab, `(() => { const f = document.querySelector("[data-stop-hold]"); f.elements.what.value = "flow product-specs"; f.elements.reason.value = "`+reason+`"; f.requestSubmit(); return true })()`)
	}
	hold("")
	tab.Until(`document.querySelector("[data-stops-said]").textContent.startsWith("Give a reason")`)
	hold("wrong units")
	tab.Until(`document.querySelector("[data-stop=flow]")?.innerText.includes("Wrong units")`)
	require.Contains(t, browser.Value[string](tab, `document.querySelector("[data-stop=flow]").innerText`), "3 runs wait")
	browser.Value[bool](tab, `(document.querySelector("[data-stop-resume]").click(), true)`)
	tab.Until(`!document.querySelector("[data-stop]") && !!document.querySelector(".empty")`)
}
