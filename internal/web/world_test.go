package web_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
	"patchbay/internal/web"
)

// world is a Patchbay in memory whose runs go on when the test says so. It
// stands behind the real API and the real console.
type world struct {
	mu       sync.Mutex
	runs     map[string]flow.Run
	presses  []flow.Press
	watchers map[string][]chan struct{}
	plans    []flow.Applied
	entries  []flow.Entry
	waits    []flow.Wait
	ahead    map[string]int
	samples  bool
	fail     error
	letters  map[string]flow.Letter // decided ones
	decided  []flow.Redrive
	rates    []flow.Rate
	pulse    flow.Pulse
	causes   []flow.Trouble
	alarms   []flow.Alert
	proposed []flow.ActionPlan
	chosen   []flow.PlanDecision
	rhythms  []flow.Rhythm
	slots    []flow.Slot
	rejects  []flow.Reject
	drifts   []flow.ColumnDrift
	borders  []flow.SyncStanding
	clashes  []flow.SyncConflict
	ground   flow.Map
	repairs  []flow.Repair
	business []flow.TopicEvent
	stopped  []flow.Stopped
	referred []flow.Referral
	settled  []string // what people decided of borders, as frontier tells it
	URL      string
}

var spec = &flow.Plan{
	Flow: "product-specs", Pattern: flow.Instant,
	Summary: "Technical specifications of one product, from Oracle PLM into Dataverse",
	Why:     "Users must not need an Oracle licence to read a specification",
	Params: []flow.Param{{Name: "product_id", Type: flow.String, Title: "Product ID", Example: "AS54888",
		Pattern: "^[A-Z0-9-]{3,40}$"}},
	Read:    &flow.Read{Connection: "oracle-plm", Table: "items"},
	Write:   &flow.Write{Connection: "dataverse", Table: "msx_specification", Key: []string{"msx_productnumber", "msx_attribute"}},
	Map:     []flow.Column{{Name: "msx_productnumber"}, {Name: "msx_attribute"}, {Name: "msx_value"}, {Name: "msx_unit"}},
	Respond: flow.AfterRead, Limits: flow.Limits{Timeout: 30 * time.Second},
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{runs: map[string]flow.Run{}, watchers: map[string][]chan struct{}{}, letters: map[string]flow.Letter{}, samples: true,
		plans: []flow.Applied{{Plan: spec, Digest: spec.Digest(), AppliedAt: time.Now().Add(-3 * time.Hour)}}}
	console := web.New(web.Options{
		Runs: w, Flows: w, Explainer: w, Samples: w, Queue: w, Certificates: w, Dead: w, Overview: w, Events: events{w}, Alerts: w, Repairs: workshop{w}, Topics: workshop{w}, Stops: workshop{w}, Pictures: gallery{w}, Plans: gallery{w}, Schedules: gallery{w}, Syncs: frontier{w}, Landscape: terrain{w}, Referrals: desk{w}, UIBase: "http://127.0.0.1:8233/", Environment: "dev", Version: "1.0",
		Principal: func(r *http.Request) flow.Principal { return httpapi.PrincipalFrom(r.Context()) },
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := httpapi.NewServer(httpapi.Options{
		Trigger: w, Runs: w, Canceller: w, Flows: w, Explainer: w, Dead: w, Troubles: events{w}, Repairs: workshop{w}, Topics: workshop{w}, Stops: workshop{w}, Pictures: gallery{w}, Plans: gallery{w}, Regions: frontier{w}, Referrals: desk{w}, Readiness: w, Console: console, Dev: true, Drain: time.Second,
	})
	go func() { ended <- server.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	w.URL = "http://" + ln.Addr().String()
	return w
}

func (w *world) Press(_ context.Context, p flow.Press) (flow.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.presses = append(w.presses, p)
	if w.fail != nil {
		err := w.fail
		w.fail = nil
		return flow.Run{}, err
	}
	if _, err := spec.Validate(p.Params); err != nil {
		return flow.Run{}, err
	}
	run := fresh(fmt.Sprintf("mzxw6ytboi2gk3tuobqwg%05d", len(w.runs)), time.Now())
	run.Params = p.Params
	w.runs[run.RunID] = run
	return run, nil
}

// fresh is a run as its row is inserted.
func fresh(id string, at time.Time) flow.Run {
	return flow.Run{
		RunID: id, Flow: "product-specs", Status: flow.Accepted, Principal: "dev", AcceptedAt: at, DeadlineAt: at.Add(30 * time.Second),
		Digest: spec.Digest(), WorkflowID: "instant/product-specs/" + id, Params: flow.Row{"product_id": "AS54888"},
		Progress: []flow.Step{{Name: "accepted", At: at}},
	}
}

func (w *world) put(run flow.Run) flow.Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs[run.RunID] = run
	w.tell(run.RunID)
	return run
}

// tell ticks for whoever watches the run or any.
func (w *world) tell(id string) {
	for _, ch := range append(w.watchers[id], w.watchers[""]...) {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// only is the one run there is, once there is one.
func (w *world) only(t *testing.T) flow.Run {
	t.Helper()
	var got flow.Run
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, run := range w.runs {
			got = run
		}
		return len(w.runs) == 1
	}, time.Minute, 5*time.Millisecond)
	return got
}

func (w *world) Get(_ context.Context, id string) (flow.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	run, ok := w.runs[id]
	if !ok {
		return run, fault.NotFoundf("run.not_found", "no run has this ID")
	}
	return run, nil
}

func (w *world) List(_ context.Context, f flow.RunFilter) ([]flow.Run, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []flow.Run
	for _, run := range w.runs {
		if (f.Status == "" || run.Status == f.Status) && (f.Flow == "" || run.Flow == f.Flow) && (f.Principal == "" || run.Principal == f.Principal) &&
			(f.Since.IsZero() || !run.AcceptedAt.Before(f.Since)) && (f.Key == "" || cellOf(run) == f.Key) {
			for _, e := range run.Effects {
				if e.State == flow.Doubtful {
					run.InDoubt++
				}
			}
			run.Result, run.Effects = nil, nil // as the real one
			all = append(all, run)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].AcceptedAt.After(all[j].AcceptedAt) })
	if !f.Until.IsZero() {
		all = slices.DeleteFunc(all, func(run flow.Run) bool { return run.AcceptedAt.After(f.Until) })
	}
	if f.Before != "" {
		at := slices.IndexFunc(all, func(run flow.Run) bool { return run.RunID == f.Before })
		all = all[at+1:]
	}
	if len(all) > f.Limit {
		return all[:f.Limit], all[f.Limit-1].RunID, nil
	}
	return all, "", nil
}

func (w *world) Waits(context.Context, string) ([]flow.Wait, error) { return w.waits, nil }

func (w *world) Ahead(context.Context, []string) (map[string]int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.ahead), nil
}

func (w *world) Certificate(_ context.Context, id string) (flow.Certificate, error) {
	return flow.Certificate{RunID: id, Status: flow.Cancelled, Detached: id == "detached"}, nil
}

func (w *world) WatchAnswer(ctx context.Context, id string) (<-chan struct{}, func()) {
	return w.Watch(ctx, id)
}

func (w *world) Watch(_ context.Context, id string) (<-chan struct{}, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := make(chan struct{}, 1)
	w.watchers[id] = append(w.watchers[id], ch)
	return ch, func() {}
}

func (w *world) Cancel(ctx context.Context, _ flow.Principal, id string) (flow.Certificate, error) {
	run, err := w.Get(ctx, id)
	if err != nil {
		return flow.Certificate{}, err
	}
	w.put(closed(run, flow.Cancelled, nil))
	return flow.Certificate{RunID: id, Status: flow.Cancelled}, nil
}

func (w *world) Flows(context.Context) ([]flow.Applied, error) { return w.plans, nil }

func (w *world) Flow(_ context.Context, name string) (flow.Applied, error) {
	for _, p := range w.plans {
		if p.Plan.Flow == name {
			return p, nil
		}
	}
	return flow.Applied{}, fault.NotFoundf("flow.not_found", "no flow has this name")
}

func (w *world) Explain(_ context.Context, key string) ([]flow.Entry, error) {
	if key == "CAS-1" {
		return w.story(), nil
	}
	if key != "AS54888" {
		return nil, nil
	}
	return w.entries, nil
}

func (w *world) Sample(context.Context, string) (map[string]any, error) {
	if !w.samples {
		return nil, nil
	}
	return map[string]any{"product_id": "AS54888"}, nil
}

func cellOf(run flow.Run) string { return fmt.Sprint(run.Params["product_id"]) }

// Letters are the runs that failed, by when they ended.
func (w *world) Letters(_ context.Context, f flow.LetterFilter) ([]flow.Letter, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []flow.Letter
	for id := range w.runs {
		if l, ok := w.letter(id); ok && l.State == cmp.Or(f.State, flow.LetterDead) && (f.Reason == "" || l.Reason == f.Reason) &&
			(f.Until.IsZero() || l.DiedAt.Before(f.Until)) && (f.Since.IsZero() || !l.DiedAt.Before(f.Since)) {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b flow.Letter) int {
		if f.Oldest {
			a, b = b, a
		}
		return cmp.Or(b.DiedAt.Compare(a.DiedAt), cmp.Compare(a.RunID, b.RunID))
	})
	if f.Cursor != "" {
		all = all[slices.IndexFunc(all, func(l flow.Letter) bool { return l.RunID == f.Cursor })+1:]
	}
	if len(all) > f.Limit {
		return all[:f.Limit], all[f.Limit-1].RunID, nil
	}
	return all, "", nil
}

// letter is that of a run; the caller holds the lock.
func (w *world) letter(id string) (flow.Letter, bool) {
	run, there := w.runs[id]
	l, decided := w.letters[id]
	if decided {
		return l, true
	}
	if !there || run.Status != flow.Failed || run.Problem.Code == flow.MissingCode {
		return flow.Letter{}, false
	}
	l = flow.Letter{RunID: id, Flow: run.Flow, State: flow.LetterDead, Reason: "failed", Problem: *run.Problem, Params: run.Params, Principal: run.Principal,
		Digest: run.Digest, AcceptedAt: run.AcceptedAt, AnsweredAt: run.AnsweredAt, DiedAt: *run.ClosedAt, Times: 1}
	for _, e := range run.Effects {
		switch e.State {
		case flow.Confirmed, flow.Settled:
			l.Effects.Done++
		case flow.Refused:
			l.Effects.Refused++
		case flow.Intent:
			l.Effects.Undone++
		case flow.Doubtful, flow.Attempt:
			l.Effects.InDoubt++
		}
	}
	return l, true
}

func (w *world) Letter(_ context.Context, id string) (flow.Letter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, ok := w.letter(id)
	if !ok {
		return l, fault.NotFoundf("dead.not_found", "the run is no dead letter")
	}
	return l, nil
}

func (w *world) DeadLetters(ctx context.Context) (int, error) {
	all, _, err := w.Letters(ctx, flow.LetterFilter{Limit: 1000})
	return len(all), err
}

// Redrive lets the run go on, or makes another.
func (w *world) Redrive(_ context.Context, r flow.Redrive) (flow.Redriven, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, ok := w.letter(r.RunID)
	switch {
	case !ok:
		return flow.Redriven{}, fault.NotFoundf("dead.not_found", "the run is no dead letter")
	case l.State == flow.LetterRedriven:
		return flow.Redriven{}, fault.New(fault.Conflict, "dead.redriven", "run "+r.RunID+" was redriven by ann", nil)
	}
	w.decided = append(w.decided, r)
	out := flow.Redriven{RunID: r.RunID, Into: r.RunID, Digest: l.Digest}
	if r.Current {
		out.New, out.Into = true, r.RunID+"-again"
		run := fresh(out.Into, time.Now())
		run.RedriveOf = r.RunID
		w.runs[out.Into] = run
	} else {
		run := fresh(r.RunID, l.AcceptedAt)
		run.Redriven, run.Progress[0].At = 1, time.Now()
		w.runs[r.RunID] = run
	}
	now := time.Now()
	l.State, l.DecidedAt, l.DecidedBy, l.Into = flow.LetterRedriven, &now, r.By, out.Into
	w.letters[r.RunID] = l
	w.tell(r.RunID)
	return out, nil
}

func (w *world) Dismiss(_ context.Context, id, by, why string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, ok := w.letter(id)
	if !ok {
		return fault.NotFoundf("dead.not_found", "the run is no dead letter")
	}
	l.State, l.DecidedBy, l.Note = flow.LetterDismissed, by, why
	w.letters[id] = l
	w.tell(id)
	return nil
}

func (w *world) Rates(context.Context, int) ([]flow.Rate, error) { return w.rates, nil }

func (w *world) Changes(context.Context, int) ([]flow.Change, error) {
	var all []flow.Change
	for _, p := range w.plans {
		all = append(all, flow.Change{At: p.AppliedAt, Flow: p.Plan.Flow, Digest: p.Digest, By: "dev", InForce: true, First: true})
	}
	return all, nil
}

func (w *world) Ready(context.Context) []httpapi.Check { return nil }

// The stages of a run, each made from the one before.

func reading(run flow.Run) flow.Run {
	return stepped(run, flow.Running, "reading", "")
}

func answered(run flow.Run, rows int) flow.Run {
	run = stepped(run, flow.Running, "answered", fmt.Sprintf("%d rows from oracle-plm", rows))
	at := run.Progress[len(run.Progress)-1].At
	run.AnsweredAt, run.Result = &at, &flow.Result{Count: rows}
	names := []string{"Weight", "Width", "Height", "Depth", "Voltage", "Operating temperature", "Material", "Finish", "Ingress protection", "Approvals"}
	units := []string{"kg", "mm", "mm", "mm", "V", "°C", "", "", "", ""}
	values := []string{"12.40", "482.6", "88.1", "305", "230", "-10 … 55", "Aluminium EN AW-6060", "Anodised, black", "IP54", "CE, UL 61010-1"}
	for i := range rows {
		run.Result.Rows = append(run.Result.Rows, flow.Row{"msx_productnumber": "AS54888", "msx_attribute": names[i%10],
			"msx_value": values[i%10], "msx_unit": units[i%10], "msx_rank": json.Number(fmt.Sprint(i))})
	}
	return run
}

func writing(run flow.Run, confirmed int) flow.Run {
	run = stepped(run, flow.Running, "writing", "")
	for i, row := range run.Result.Rows {
		state := flow.Attempt
		if i < confirmed {
			state = flow.Confirmed
		}
		run.Effects = append(run.Effects, flow.Effect{Step: "write", State: state,
			Target: "dataverse.msx_specification AS54888, " + row["msx_attribute"].(string)})
	}
	return run
}

func closed(run flow.Run, status flow.Status, problem *flow.Problem) flow.Run {
	note := ""
	if status == flow.Completed && run.Result != nil {
		note = fmt.Sprintf("%d rows in dataverse", run.Result.Count)
	}
	run = stepped(run, status, "closed", note)
	at := run.Progress[len(run.Progress)-1].At
	run.ClosedAt, run.Problem = &at, problem
	effects := append([]flow.Effect(nil), run.Effects...)
	for i := range effects {
		if status == flow.Completed && effects[i].State == flow.Attempt {
			effects[i].State = flow.Confirmed
		}
		if status == flow.Cancelled && effects[i].State == flow.Attempt {
			effects[i].State = flow.Intent
		}
	}
	run.Effects = effects
	return run
}

func stepped(run flow.Run, status flow.Status, name, note string) flow.Run {
	at := run.Progress[len(run.Progress)-1].At.Add(map[string]time.Duration{
		"reading": 12 * time.Millisecond, "answered": 210 * time.Millisecond, "writing": 4 * time.Millisecond, "closed": 640 * time.Millisecond,
	}[name])
	run.Status = status
	run.Progress = append(append([]flow.Step(nil), run.Progress...), flow.Step{Name: name, At: at, Note: note})
	return run
}

// failed is a run that ended in the given problem after its read began.
func failed(id string, at time.Time, p flow.Problem) flow.Run {
	return closed(reading(fresh(id, at)), flow.Failed, &p)
}

func completedFrom(run flow.Run) flow.Run {
	return closed(writing(answered(reading(run), 3), 0), flow.Completed, nil)
}

func completed(id string, at time.Time, rows int) flow.Run {
	return closed(writing(answered(reading(fresh(id, at)), rows), 0), flow.Completed, nil)
}
