package app

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"time"

	"patchbay/activities"
	"patchbay/internal/alert"
	"patchbay/internal/calendar"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/slot"
	"patchbay/internal/telemetry"
	"patchbay/starters"
)

// heldInDev is why the schedules of `patchbay dev` are paused until somebody wants them.
const heldInDev = "patchbay dev starts schedules paused; patchbay resume FLOW lets one run"

type (
	// Planned is what `patchbay plan` says: what an apply of the files would change.
	Planned struct {
		Flows     []PlannedFlow             `json:"flows"`
		Schedules []starters.ScheduleChange `json:"schedules"`
		Hooks     []PlannedHook             `json:"hooks"`
	}

	// PlannedHook is webhooks by which a system is told to wake a synchronization.
	PlannedHook struct {
		Flow       string   `json:"flow"`
		Connection string   `json:"connection"`
		URL        string   `json:"url"`
		Tables     []string `json:"tables"`
	}

	// PlannedFlow is a flow that an apply would put in force, or anew.
	PlannedFlow struct {
		Flow   string `json:"flow"`
		Kind   string `json:"kind"` // create or update
		Digest string `json:"plan_digest"`
		// Words say, of a synchronization, what becomes of what crosses; for people.
		Words []string `json:"words,omitempty"`
	}
)

// entries are the schedules of plans.
func entries(plans []*flow.Plan) []slot.Entry {
	list := []slot.Entry{}
	for _, p := range plans {
		if p.Schedule != nil {
			list = append(list, slot.Entry{Flow: p.Flow, Schedule: *p.Schedule})
		}
	}
	return list
}

// schedules makes Temporal's schedules and keeps their slots.
func (c *core) schedules() *starters.Schedules {
	s := starters.NewSchedules(c.slots, c.book, c.temporal, c.Namespace, c.Log)
	s.Prune = func(ctx context.Context, runID string) error { return c.stage.Prune(ctx, runID, activities.Kept) }
	return s
}

// looked is how long a press waits to learn whether another run is open. Whoever accepts
// it says what is wrong with a database that does not answer, and within its own time.
const looked = 250 * time.Millisecond

// alone implements Alone of starters.Trigger: of two that come at the same moment both
// pass, and one then waits for the other; so do presses of which nobody can tell now.
func (c *core) alone(ctx context.Context, press flow.Press) error {
	ctx, cancel := context.WithTimeout(ctx, looked)
	defer cancel()
	plan, _, err := c.plans.Current(ctx, press.Flow)
	if err != nil || plan.Pattern != flow.Consolidation || plan.Schedule != nil && plan.Schedule.Policy() == flow.OverlapAllow {
		return nil // what is wrong with a press is said by whoever accepts it
	}
	open, err := c.slots.Holder(ctx, press.Flow)
	if err != nil || open == nil {
		return nil
	}
	if press.Key != "" {
		if own, err := c.book.RunID(ctx, press); err == nil && own == open.RunID {
			return nil // the same press again
		}
	}
	if run, err := c.book.Get(ctx, open.RunID); err == nil && run.Status.Final() {
		return nil // it has ended, and gives its place back right now
	}
	return open.Conflict()
}

// PlanChanges says what an apply of the files would change. hooks is the URL at which
// sources reach the API; empty: none is told to deliver.
func PlanChanges(ctx context.Context, s Settings, files fs.FS, name, hooks string) (Planned, error) {
	c, err := withMetrics(ctx, s)
	if err != nil {
		return Planned{}, err
	}
	defer c.close()
	compiled, report, err := compileAll(files, name, s.Speed, s.Region)
	if err != nil {
		return Planned{}, err
	}
	compiled = applying{region: s.Region}.choose(compiled, report).plans
	planned := Planned{Flows: []PlannedFlow{}, Hooks: []PlannedHook{}}
	inForce, plans := map[string]string{}, map[string]*flow.Plan{}
	all, err := c.plans.List(ctx)
	if err != nil {
		return Planned{}, err
	}
	for _, a := range all {
		inForce[a.Plan.Flow], plans[a.Plan.Flow] = a.Digest, a.Plan
	}
	for _, p := range compiled {
		before, known := inForce[p.Flow]
		switch digest := p.Digest(); {
		case !known:
			planned.Flows = append(planned.Flows, PlannedFlow{p.Flow, "create", digest, nil})
		case before != digest:
			planned.Flows = append(planned.Flows, PlannedFlow{p.Flow, "update", digest, syncEdits(plans[p.Flow], p)})
		}
	}
	if hooks != "" {
		told, err := c.replica.Hooks(ctx)
		if err != nil && fault.Of(err).Code != "store.schema" { // the schema of before has none
			return Planned{}, err
		}
		for _, p := range compiled {
			url := hookOf(hooks, p)
			if p.Sync == nil || p.Sync.Region(s.Region) == nil || told[p.Flow] == url && inForce[p.Flow] == p.Digest() {
				continue
			}
			hook := PlannedHook{Flow: p.Flow, Connection: p.Sync.Region(s.Region).Connection, URL: url}
			for _, t := range p.Sync.Tables {
				hook.Tables = append(hook.Tables, t.Name)
			}
			planned.Hooks = append(planned.Hooks, hook)
		}
	}
	planned.Schedules, err = c.schedules().Diff(ctx, entries(compiled))
	if err != nil {
		return Planned{}, c.located(err)
	}
	return planned, nil
}

// slipping is what is wrong with schedules: silent ones, missed slots, runs that take
// most of their interval, and those that will not be over in time.
func (a *api) slipping(ctx context.Context) ([]alert.Finding, error) {
	all, err := a.slots.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	var found []alert.Finding
	for _, st := range all {
		if st.Dropped {
			continue
		}
		if st.Silent != nil {
			found = append(found, alert.Finding{Flow: st.Flow, Code: "schedule.silent", Count: 1, First: *st.Silent, Link: pageOf(st.Flow),
				Text: fmt.Sprintf("the schedule (%s) has started nothing since the slot of %s, and nothing explains it", calendar.Words(st.Schedule), st.Silent.UTC().Format(time.RFC3339))})
		}
		running, err := a.slots.Running(ctx, st.Flow)
		if err != nil {
			return nil, err
		}
		found = append(found, slow(st, running)...)
		if f := st.Forecast; f != nil && f.Warn && f.Breach.After(st.Now) {
			found = append(found, alert.Finding{Flow: st.Flow, Code: "schedule.forecast", Text: f.Text, Count: 1, Link: pageOf(st.Flow), Once: true})
		}
	}
	gone, err := a.slots.Gone(ctx)
	for _, g := range gone {
		found = append(found, alert.Finding{Flow: g.Flow, Code: "schedule.missed", Count: g.Count, First: g.First, Last: g.Last, Link: pageOf(g.Flow), Once: true,
			Sample: g.Last.UTC().Format(time.RFC3339), Text: fmt.Sprintf("slots were missed: %s; patchbay backfill %s --from %s --to %s runs them", g.Reason, g.Flow,
				g.First.UTC().Format(time.RFC3339), g.Last.UTC().Format(time.RFC3339))})
	}
	return found, err
}

// slow are runs that have taken the declared share of their interval and are not over.
func slow(st slot.Standing, running []flow.Slot) []alert.Finding {
	times, err := calendar.Compile(st.Schedule)
	if err != nil {
		return nil
	}
	var found []alert.Finding
	for _, s := range running {
		gap := times.Gap(s.At)
		if s.StartedAt == nil || s.Backfilled || gap == 0 {
			continue
		}
		if took := st.Now.Sub(*s.StartedAt); took >= st.Schedule.Share(gap) {
			found = append(found, alert.Finding{Flow: st.Flow, Code: "schedule.slow", Sample: s.RunID, Count: 1, First: *s.StartedAt, Link: "/runs/" + url.PathEscape(s.RunID), Once: true,
				Text: fmt.Sprintf("the run of the slot of %s has taken %s of the %s until the next one, and is not over", s.At.Format(time.RFC3339), calendar.Short(took.Round(time.Second)), calendar.Short(gap))})
		}
	}
	return found
}

func pageOf(name string) string { return "/flows/" + url.PathEscape(name) }

// slotCounts are the slots of the last day for the metrics.
func (c *core) slotCounts(ctx context.Context) ([]telemetry.Slots, error) {
	counts, err := c.slots.Counts(ctx)
	if err != nil {
		return nil, err
	}
	var list []telemetry.Slots
	for name, of := range counts {
		for _, outcome := range []flow.SlotOutcome{flow.SlotRan, flow.SlotLate, flow.SlotOverlap, flow.SlotStopped, flow.SlotMissed, flow.SlotPaused} {
			list = append(list, telemetry.Slots{Flow: name, Outcome: string(outcome), Count: of[outcome]})
		}
	}
	return list, nil
}
