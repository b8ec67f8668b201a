package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

// gallery is the consolidations of a world.
type gallery struct{ w *world }

func (g gallery) Sources(context.Context, string) ([]flow.SourceStanding, error) {
	failing := time.Now().Add(-time.Minute)
	return []flow.SourceStanding{{Source: "orders", Rows: 1200, Rejected: 2, AsOf: time.Now(), FullAt: time.Now(), FailingAt: &failing, Watermark: `"2026-01-01T00:00:00Z"`}}, nil
}

func (g gallery) Drifts(context.Context, string) ([]flow.ColumnDrift, error) { return g.w.drifts, nil }

func (g gallery) Rejects(context.Context, flow.RejectFilter) ([]flow.Reject, error) {
	return g.w.rejects, nil
}

func (g gallery) Approve(context.Context, string, string, string, string) error { return nil }

func (g gallery) List(context.Context, flow.PlanFilter) ([]flow.ActionPlan, error) {
	return g.w.proposed, nil
}

func (g gallery) Get(_ context.Context, id int64) (flow.ActionPlan, error) {
	return flow.ActionPlan{ID: id}, nil
}

func (g gallery) Decide(_ context.Context, id int64, d flow.PlanDecision) (flow.ActionPlan, error) {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	g.w.chosen = append(g.w.chosen, d)
	return flow.ActionPlan{ID: id}, nil
}

func (g gallery) Rhythms(context.Context) ([]flow.Rhythm, error) { return g.w.rhythms, nil }

func (g gallery) Newest(context.Context, string, int) ([]flow.Slot, error) { return g.w.slots, nil }

var pictures = &flow.Plan{
	Flow: "customer-360", Pattern: flow.Consolidation, Summary: "One picture of each customer",
	Gather:   &flow.Gather{Sources: []flow.Source{{Name: "orders", Connection: "sap"}, {Name: "stock", Connection: "oracle-scm"}}},
	Schedule: &flow.Schedule{Every: time.Hour},
	Advise:   &flow.Advise{Actions: []flow.AdviseAction{{Name: "call", Title: "Call the customer"}, {Name: "visit", Title: "Visit the customer"}}},
	Map:      []flow.Column{{Name: "accountnumber", Expr: "key"}},
	Write:    &flow.Write{Connection: "dataverse", Table: "account", Key: []string{"accountnumber"}},
}

// painted is a world with a consolidation that has seen something.
func painted(t *testing.T) (*world, flow.Run) {
	t.Helper()
	w := newWorld(t)
	w.plans = append(w.plans, flow.Applied{Plan: pictures, Digest: pictures.Digest(), AppliedAt: time.Now()})
	at := time.Now().Add(-3 * time.Second)
	run := fresh("mzxw6ytboi2gk3tuobqwg77777", at)
	run.Flow, run.Status = pictures.Flow, flow.Completed
	run.Params = nil
	closed := time.Now()
	run.ClosedAt = &closed
	run.Progress = []flow.Step{{Name: "accepted", At: at}, {Name: "reading", At: at}, {Name: "joining", At: at.Add(time.Second)}, {Name: "writing", At: at.Add(2 * time.Second)},
		{Name: "closing", At: closed}, {Name: "closed", At: closed, Note: "700 keys, 20 written, 679 unchanged, 1 rejected"}}
	run.Completeness, _ = json.Marshal(flow.Completeness{
		Sources: map[string]flow.SourceCount{
			"orders": {Read: 1202, Staged: 1200, Used: 1190, Unmatched: 9, Duplicate: 1, Rejected: 2, Fresh: 30, State: flow.Fresh, AsOf: at},
			"stock":  {Read: 700, Staged: 700, Used: 700, State: flow.Stale, AsOf: at.Add(-time.Hour), Note: "oracle-scm does not answer"},
		},
		Target: flow.TargetCount{Keys: 700, Written: 20, Unchanged: 679, Rejected: 1, Gone: 3},
		Fields: map[string]flow.Provenance{"msx_openorders": {Sources: []string{"orders"}, AsOf: at}},
	})
	w.runs[run.RunID] = run
	w.rejects = []flow.Reject{{ID: 1, At: at, RejectedRow: flow.RejectedRow{Source: "orders", Identity: "4711", Key: "C7", Code: "stage.decimal", Reason: "Amount is no decimal number"}}}
	w.drifts = []flow.ColumnDrift{{Source: "orders", Column: "Discount", Kind: "gained", RunID: run.RunID}}
	w.proposed = []flow.ActionPlan{
		{ID: 5, Flow: pictures.Flow, RunID: run.RunID, Key: "C7", State: "review", Why: "each visit is looked at", MadeAt: at, Stale: []string{"stock"},
			Plan: json.RawMessage(`{"action":"visit","title":"Visit the customer","reason":"Order 4711 is late and 1200.50 is overdue.","evidence":["orders/4711"],"source":"model","model":"next-best-action","version":"1","digest":"abc","state":"proposed","facts":{"overdue":1200.50}}`)},
		{ID: 4, Flow: pictures.Flow, RunID: run.RunID, Key: "C8", State: "written", MadeAt: at, Plan: json.RawMessage(`{"state":"withheld","note":"withheld: visit depends on what is not known now","source":"rules","failure":"model.schema"}`)},
	}
	next := time.Now().Truncate(time.Hour)
	w.rhythms = []flow.Rhythm{{Flow: pictures.Flow, Schedule: *pictures.Schedule, Words: "every hour", Interval: time.Hour, Next: []time.Time{next.Add(time.Hour), next.Add(2 * time.Hour)},
		Outcomes: map[flow.SlotOutcome]int64{flow.SlotRan: 90, flow.SlotMissed: 1, flow.SlotOverlap: 2},
		Forecast: &flow.Forecast{Warn: true, Text: "customer-360 takes 48 min of 1 h and 30 s more each day; on 24 Dec 2026 a run will not be over before the next"}}}
	for i := range 60 {
		begun := next.Add(time.Duration(i-60) * time.Hour)
		over := begun.Add(time.Duration(20+i/2) * time.Minute)
		s := flow.Slot{Flow: pictures.Flow, At: begun, Outcome: flow.SlotRan, Status: flow.Completed, RunID: run.RunID, StartedAt: &begun, EndedAt: &over}
		switch i {
		case 10:
			s = flow.Slot{Flow: pictures.Flow, At: begun, Outcome: flow.SlotMissed, Reason: "nothing started it"}
		case 20:
			s = flow.Slot{Flow: pictures.Flow, At: begun, Outcome: flow.SlotOverlap, Reason: "a run was open"}
		case 30:
			s.Outcome = flow.SlotLate
		}
		w.slots = append(w.slots, s)
	}
	return w, run
}

func TestARunOfAConsolidationTellsWhatBecameOfEveryRow(t *testing.T) {
	t.Parallel()
	w, run := painted(t)
	_, _, body := w.page(t, "/runs/"+run.RunID)
	require.Regexp(t, `30 rows of 2 sources were read in 3.0\d s; of 700 keys 20 were written to Dataverse and 679 were as they had been.`, body)
	require.Contains(t, body, "Oracle-scm does not answer")
	require.Contains(t, body, "<td>1,190</td>")
	require.NotContains(t, body, "Closing")
	_, _, body = w.page(t, "/flows/customer-360/rows?source=orders")
	for _, want := range []string{"Amount is no decimal number.", "does not answer", "orders has gained the column"} {
		require.Contains(t, body, want)
	}
	status, _, _ := w.page(t, "/flows/nothing/rows")
	require.Equal(t, http.StatusNotFound, status)
}

func TestASlowScheduleSaysSoBeforeItIsTooSlow(t *testing.T) {
	t.Parallel()
	w, _ := painted(t)
	_, _, body := w.page(t, "/schedules")
	require.Contains(t, body, "Will be too slow")
	require.Contains(t, body, "24 Dec 2026")
	require.Equal(t, 60, strings.Count(body, `role="listitem"`))
	require.Equal(t, 1, strings.Count(body, `class="slot failed"`))
	require.Contains(t, body, "The last run took 49 min 0 s of 1 h 0 min")
}

func TestAPersonDecidesOnAPlanWithAReason(t *testing.T) {
	t.Parallel()
	w, _ := painted(t)
	tab := browser.New(t)
	tab.Go(w.URL + "/plans")
	tab.Shows("[data-plan='5']", "Order 4711 is late and 1200.50 is overdue.")
	tab.Shows("[data-plan='5']", "orders/4711")
	require.False(t, browser.Value[bool](tab, `!!document.querySelector("[data-plan='4'] [data-decide]")`), "what is written is decided")
	press := `(document.querySelector("[data-plan='5'] [data-reject]").click(), true)`
	browser.Value[bool](tab, press)
	tab.Shows("main", "Give a reason")
	browser.Value[bool](tab, `(document.querySelector("[data-plan='5'] [name=reason]").value = "knows them", true)`)
	browser.Value[bool](tab, press)
	tab.Shows("main", "Rejected.")
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Equal(t, []flow.PlanDecision{{Reason: "knows them", By: "dev"}}, w.chosen)
}
