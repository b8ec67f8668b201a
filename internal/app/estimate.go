package app

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"patchbay/internal/check"
	"patchbay/internal/config"
	"patchbay/internal/devenv"
	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

// estimatedDays is how far back changes are counted: a month of expect.
const estimatedDays = 30

type (
	// EstimateOptions are the choices of `patchbay estimate`.
	EstimateOptions struct {
		Flows     fs.FS // flow files and connections.yaml
		FlowsName string
		Flow      string
		Data      string // directory of a `patchbay dev`, whose sandbox the examples name
		Now       time.Time
	}

	// Estimate is what change tracking tells of thirty days. Its JSON is an interface.
	Estimate struct {
		Flow    string            `json:"flow"`
		Since   time.Time         `json:"since"`
		Sources []EstimatedSource `json:"sources"`
		Days    []EstimatedDay    `json:"days"`
		// PerDay is the busiest day and PerMonth all days together, of what a source
		// would have told: that is what expect is compared with. Matched passes the triggers.
		PerDay   int64 `json:"per_day"`
		PerMonth int64 `json:"per_month"`
		Matched  int64 `json:"matched"`

		File string `json:"file"`
		Text []byte `json:"-"` // of the file
	}

	// EstimatedSource is what one table told.
	EstimatedSource struct {
		Source  string `json:"source"`
		Rows    int64  `json:"rows"`
		Changes int64  `json:"changes"`
		Matched int64  `json:"matched"`
		Problem string `json:"problem,omitempty"` // why it is not counted
	}

	// EstimatedDay is 24 hours from the time of Since on, by the date of their beginning.
	EstimatedDay struct {
		Day     string `json:"day"`
		Changes int64  `json:"changes"`
		Matched int64  `json:"matched"`
	}

	// declared are the connections of files.
	declared []flow.Connection

	estimator struct {
		*Estimate
		plan    *flow.Plan
		matcher *expr.Matcher
		systems *systems
	}
)

// stamps are the columns in which a system tells when a record was made and changed
// last: change tracking itself does not.
var stamps = map[string]struct{ made, changed string }{"dataverse": {"createdon", "modifiedon"}}

// Connection implements connections.
func (d declared) Connection(_ context.Context, name string) (flow.Connection, error) {
	if i := slices.IndexFunc(d, func(c flow.Connection) bool { return c.Name == name }); i >= 0 {
		return d[i], nil
	}
	return flow.Connection{}, fault.NotFoundf("connection.not_found", "there is no connection %s", name)
}

// EstimateFlow counts what the sources of a flow have told of the last thirty days. It
// writes nothing anywhere.
func EstimateFlow(ctx context.Context, o EstimateOptions) (Estimate, error) {
	if err := nameSandbox(o.Data); err != nil {
		return Estimate{}, err
	}
	report, err := check.Dir(o.Flows, check.Options{Name: o.FlowsName, Compile: flowfile.Options{Identity: Identity(config.Resolve)}})
	if err != nil {
		return Estimate{}, err
	}
	at := slices.IndexFunc(report.Flows, func(f check.Flow) bool { return f.Plan.Flow == o.Flow })
	if at < 0 {
		return Estimate{}, fault.Invalidf("flow.not_found", "%s holds no flow %s that compiles; patchbay check tells more", o.FlowsName, o.Flow)
	}
	found := report.Flows[at]
	if found.Plan.Reaction == nil {
		return Estimate{}, fault.Invalidf("flow.pattern", "the flow %s reacts to no events, so it expects none", o.Flow)
	}
	regions{}.label(report.Connections, "") // who asks is a person with the credentials
	for _, c := range report.Connections {
		if s, known := stamps[c.System]; known {
			for _, t := range c.Tables {
				if len(t.Columns) > 0 {
					t.Columns[s.made], t.Columns[s.changed] = flow.Timestamp, flow.Timestamp
				}
			}
		}
	}
	expressions := &mappers{}
	compiled, err := expressions.of(found.Plan)
	if err != nil {
		return Estimate{}, err
	}
	e := estimator{
		Estimate: &Estimate{Flow: o.Flow, Since: o.Now.UTC().AddDate(0, 0, -estimatedDays), File: found.File.Name, Text: found.File.Data},
		plan:     found.Plan, matcher: compiled.matcher,
		systems: newSystems(declared(report.Connections), expressions, registry(), config.Resolve, 1),
	}
	err = e.count(ctx, report.Connections)
	return *e.Estimate, err
}

// nameSandbox has the example connections mean the sandbox of the environment in dir,
// as that environment itself does. What is set already stays.
func nameSandbox(dir string) error {
	info, err := devenv.ReadInfo(dir)
	if err != nil {
		return nil //nolint:nilerr // none was here: the connections have to be resolved by themselves
	}
	for name, value := range sandboxed(info) {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

func (e *estimator) count(ctx context.Context, connections declared) error {
	for day := e.Since; len(e.Days) < estimatedDays; day = day.AddDate(0, 0, 1) {
		e.Days = append(e.Days, EstimatedDay{Day: day.Format(time.DateOnly)})
	}
	counted := false
	for _, name := range sourcesOf(e.plan, "") {
		c, err := connections.Connection(ctx, name)
		if err != nil {
			return err
		}
		for _, s := range subscriptions(e.plan, name) {
			source := EstimatedSource{Source: name + "." + s.Table}
			if stamp, known := stamps[c.System]; !known {
				source.Problem = "the system " + c.System + " keeps no times of changes that could be counted; of those that Patchbay knows, " + strings.Join(slices.Sorted(maps.Keys(stamps)), ", ") + " does"
			} else if err := e.table(ctx, &source, name, s.Table, append(slices.Clone(s.Columns), stamp.made, stamp.changed), stamp.made, stamp.changed); err != nil {
				return err
			} else {
				counted = true
			}
			e.Sources = append(e.Sources, source)
		}
	}
	if !counted {
		return fault.New(fault.Rejected, "estimate.sources", "nothing of "+e.Flow+" can be counted: "+e.Sources[0].Source+": "+e.Sources[0].Problem+"; write into expect what you know of it, "+
			"or look after a day at what `patchbay explain` and the console have counted", nil)
	}
	for _, d := range e.Days {
		e.PerDay, e.PerMonth, e.Matched = max(e.PerDay, d.Changes), e.PerMonth+d.Changes, e.Matched+d.Matched
	}
	return nil
}

// table follows change tracking from its beginning: it gives each record once, as it is.
func (e *estimator) table(ctx context.Context, source *EstimatedSource, name, table string, columns []string, made, changed string) error {
	cursor := ""
	for {
		page, err := e.systems.Changed(ctx, e.plan, name, table, columns, cursor)
		if err != nil {
			return err
		}
		source.Rows += int64(len(page.Events))
		for _, event := range page.Events {
			e.record(source, event, made, changed)
		}
		if !page.More {
			return nil
		}
		if page.Cursor == cursor {
			return fault.New(fault.Bug, "vendor.page_loop", name+" gave the same cursor twice", nil)
		}
		cursor = page.Cursor
	}
}

// record counts what a record tells of itself: that it was made, and its last change.
func (e *estimator) record(source *EstimatedSource, event flow.Occurrence, made, changed string) {
	born, bearable := when(event.After[made])
	last, dated := when(event.After[changed])
	delete(event.After, made)
	delete(event.After, changed)
	if bearable {
		e.change(source, event, flow.Created, born)
	}
	if dated && (!bearable || last.After(born.Add(time.Second))) {
		e.change(source, event, flow.Updated, last)
	}
}

func (e *estimator) change(source *EstimatedSource, event flow.Occurrence, change flow.ChangeType, at time.Time) {
	i := int(at.Sub(e.Since) / (24 * time.Hour))
	if at.Before(e.Since) || i >= len(e.Days) || !e.told(event, change) {
		return
	}
	event.Change, event.At = change, at
	e.Days[i].Changes++
	source.Changes++
	if e.matcher.Judge(event, nil, event.After).Reason == "" {
		e.Days[i].Matched++
		source.Matched++
	}
}

// told reports whether the source is asked to tell of such a change.
func (e *estimator) told(event flow.Occurrence, change flow.ChangeType) bool {
	return slices.ContainsFunc(e.plan.Reaction.On, func(t flow.Trigger) bool {
		return t.Connection == event.Connection && t.Table == event.Table && slices.Contains(t.Change, change)
	})
}

func when(v any) (time.Time, bool) {
	text, _ := v.(string)
	at, err := time.Parse(time.RFC3339, text)
	return at, err == nil
}

// Filled gives the file of the flow with what was counted.
func (e Estimate) Filled() ([]byte, error) {
	text, err := flowfile.SetExpect(e.Text, flow.Expect{PerDay: e.PerDay, PerMonth: e.PerMonth})
	if err != nil {
		return nil, fmt.Errorf("changing %s: %w", e.File, err)
	}
	return text, nil
}
