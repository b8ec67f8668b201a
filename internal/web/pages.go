package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	latest   = 8               // runs on the home page
	sampling = 3 * time.Second // for a sample to come
)

type (
	card struct {
		flow.Applied
		Chart chart
		Last  *story
	}

	// change is what is new, for the home page.
	change struct {
		flow.Change
		At, Clock time.Time
		What      string
	}

	// shared is a table that regions share, and what of it crosses.
	shared struct{ Table, Columns string }

	// field is an input with its words: Missing and Malformed are what is said at
	// it when the API refuses its value.
	field struct {
		flow.Param
		Label, Hint, Value, Input string
		Missing, Malformed        string
	}
)

// home answers: what needs me, is everything flowing.
func (c *console) home(w http.ResponseWriter, r *http.Request) error {
	plans, err := c.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	now := c.Now()
	cards := make([]card, len(plans))
	rates, changes, err := c.overview(r)
	if err != nil {
		return err
	}
	for i, p := range plans {
		runs, _, err := c.Runs.List(r.Context(), c.mine(r, flow.RunFilter{Flow: p.Plan.Flow, Limit: 1}))
		if err != nil {
			return err
		}
		cards[i] = card{Applied: p, Chart: pace30(rates[p.Plan.Flow])}
		if len(runs) > 0 {
			last := tell(runs[0], p.Plan, setting{now: now})
			cards[i].Last = &last
		}
	}
	needs, more, err := c.needs(r, plans)
	if err != nil {
		return err
	}
	alerts, err := c.alerts(r)
	if err != nil {
		return err
	}
	borders, err := c.heldConflicts(r, plans)
	if err != nil {
		return err
	}
	alerts = append(alerts, borders...)
	slices.SortStableFunc(alerts, func(a, b alert) int { return a.At.Compare(b.At) })
	waits, err := c.waits(r, plans)
	if err != nil {
		return err
	}
	runs, err := c.stories(r, flow.RunFilter{Limit: latest + len(needs)}, plans)
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, "home", frame{Title: "Home", Nav: "home", Page: struct {
		Cards  []card
		Alerts []alert
		Needs  []story
		More   int
		Waits  []wait
		Runs   []story
		News   []change
		Dead   bool
		Now    time.Time
	}{cards, alerts, needs, more, waits, others(runs.List, needs), changes, c.Dead != nil && c.operates(r), now}})
	return nil
}

func (c *console) flows(w http.ResponseWriter, r *http.Request) error {
	plans, err := c.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, "flows", frame{Title: "Flows", Nav: "flows", Page: struct {
		Plans []flow.Applied
		Now   time.Time
		Stops bool // there is a page of them that the viewer may see
	}{plans, c.Now(), c.Stops != nil && c.operates(r)}})
	return nil
}

// flow is the form of a flow. Its address may carry values; sample=1 asks for
// ones that work, for a browser without the script.
func (c *console) flow(w http.ResponseWriter, r *http.Request) error {
	applied, err := c.Flows.Flow(r.Context(), r.PathValue("flow"))
	if err != nil {
		return err
	}
	query := r.URL.Query()
	values := map[string]any{}
	for _, p := range applied.Plan.Params {
		if query.Has(p.Name) {
			values[p.Name] = query.Get(p.Name)
		}
	}
	if query.Get("sample") == "1" {
		if values, err = c.sampleOf(r.Context(), applied.Plan.Flow); err != nil {
			return err
		}
	}
	runs, err := c.stories(r, flow.RunFilter{Flow: applied.Plan.Flow, Limit: latest}, []flow.Applied{applied})
	if err != nil {
		return err
	}
	beat, err := c.pulseOf(r, applied.Plan)
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, "flow", frame{Title: applied.Plan.Flow, Nav: "flows", Page: struct {
		flow.Applied
		Pulse   *pulse
		Fields  []field
		Samples bool
		Drawn   bool // it is on a map that the viewer may see
		Runs    []story
		Reads   string
		Writes  string
		Shares  string
		Tables  []shared
		Now     time.Time
	}{applied, beat, fields(applied.Plan, values), c.Samples != nil && applied.Plan.Gather == nil, c.Landscape != nil && c.operates(r), runs.List,
		source(applied.Plan), target(applied.Plan), shares(applied.Plan), tables(applied.Plan), c.Now()}})
	return nil
}

// shares are the regions of a synchronization, with their systems.
func shares(p *flow.Plan) string {
	if p.Sync == nil {
		return ""
	}
	names := make([]string, len(p.Sync.Regions))
	for i, r := range p.Sync.Regions {
		names[i] = r.Name + " (" + r.Connection + ")"
	}
	return strings.Join(names, ", ")
}

// tables are what a synchronization shares: each table with its key and columns.
func tables(p *flow.Plan) []shared {
	if p.Sync == nil {
		return nil
	}
	out := make([]shared, len(p.Sync.Tables))
	for i, t := range p.Sync.Tables {
		columns := slices.Clone(t.Key)
		for _, c := range t.Columns {
			columns = append(columns, c.Name)
		}
		out[i] = shared{t.Name, strings.Join(columns, ", ")}
	}
	return out
}

func source(p *flow.Plan) string {
	if p.Gather != nil {
		names := make([]string, len(p.Gather.Sources))
		for i, s := range p.Gather.Sources {
			names[i] = s.Name + " of " + system(s.Connection)
		}
		return strings.Join(names, ", ")
	}
	if p.Saga != nil {
		reads, _ := sagaSystems(p)
		return strings.Join(reads, ", ")
	}
	if p.Read == nil {
		return ""
	}
	return system(p.Read.Connection)
}

func target(p *flow.Plan) string {
	if p.Saga != nil {
		_, writes := sagaSystems(p)
		return strings.Join(writes, ", ")
	}
	if p.Write == nil {
		return p.Emit // the business event that it tells of, or nothing
	}
	return system(p.Write.Connection)
}

// sample answers the script with parameters that work.
func (c *console) sample(w http.ResponseWriter, r *http.Request) error {
	values, err := c.sampleOf(r.Context(), r.PathValue("flow"))
	if err != nil {
		return err
	}
	texts := map[string]string{}
	for name, v := range values {
		texts[name] = cell(v)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(texts); err != nil && r.Context().Err() == nil {
		return fmt.Errorf("encoding a sample: %w", err)
	}
	return nil
}

func (c *console) sampleOf(ctx context.Context, name string) (map[string]any, error) {
	if c.Samples == nil {
		return nil, fault.NotFoundf("sample.none", "this installation offers no samples")
	}
	ctx, cancel := context.WithTimeout(ctx, sampling)
	defer cancel()
	values, err := c.Samples.Sample(ctx, name)
	if err == nil && len(values) == 0 {
		err = fault.NotFoundf("sample.none", "there is no sample for this flow")
	}
	return values, err
}

// fields turns parameters into inputs. A value in the address wins over the
// default.
func fields(plan *flow.Plan, values map[string]any) []field {
	inputs := map[flow.Type]string{flow.Int: "number", flow.Bool: "checkbox", flow.Date: "date"}
	all := make([]field, len(plan.Params))
	for i, p := range plan.Params {
		f := field{Param: p, Label: p.Title, Hint: p.Help, Input: inputs[p.Type], Value: cell(p.Default)}
		if f.Label == "" {
			f.Label = p.Name
		}
		if f.Input == "" {
			f.Input = "text"
		}
		if v, ok := values[p.Name]; ok {
			f.Value = cell(v)
		}
		example := ""
		if p.Example != nil {
			example = " Example: " + cell(p.Example)
		}
		f.Missing = f.Label + " is missing." + example
		f.Malformed = f.Label + " does not have the expected form." + example
		all[i] = f
	}
	return all
}

func (c *console) storyOf(r *http.Request, id string) (story, error) {
	run, err := c.visible(r, id)
	if err != nil {
		return story{}, err
	}
	plan, err := c.plan(r, run.Flow)
	if err != nil {
		return story{}, err
	}
	ahead, err := c.ahead(r.Context(), run)
	if err != nil {
		return story{}, err
	}
	in := c.setting(ahead)
	if run.Shared != "" {
		if in.leader, err = c.sees(r, run.Shared); err != nil {
			return story{}, err
		}
	}
	if run.Status == flow.Failed {
		if in.letter, err = c.letterOf(r, run.RunID); err != nil {
			return story{}, err
		}
	}
	if run.Status == flow.Cancelled && c.Certificates != nil {
		certificate, err := c.Certificates.Certificate(r.Context(), run.RunID)
		if err != nil {
			return story{}, err
		}
		in.detached = certificate.Detached
	}
	return tell(run, plan, in), nil
}

func (c *console) run(w http.ResponseWriter, r *http.Request) error {
	s, err := c.storyOf(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	title := s.Run.Flow
	if s.Subject != "" {
		title = s.Subject + " · " + title
	}
	c.render(w, r, http.StatusOK, "run", frame{Title: title, Nav: "runs", Page: s})
	return nil
}

// live is the parts of a run's page that change, for the script to put in place.
func (c *console) live(w http.ResponseWriter, r *http.Request) error {
	s, err := c.storyOf(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	c.write(w, http.StatusOK, "run", "live", s)
	return nil
}

// explain tells what happened to a key. A run's ID is as good as any key.
func (c *console) explain(w http.ResponseWriter, r *http.Request) error {
	if !c.operates(r) {
		return fault.New(fault.Unauthorized, "auth.forbidden", "explain needs the role operate", nil)
	}
	key := r.URL.Query().Get("key")
	var entries []flow.Entry
	if key != "" {
		var err error
		if entries, err = c.Explainer.Explain(r.Context(), key); err != nil {
			return err
		}
	}
	told, err := c.told(r, entries)
	if err != nil {
		return err
	}
	title := "Explain"
	if key != "" {
		title = key + " · Explain"
	}
	c.render(w, r, http.StatusOK, "explain", frame{Title: title, Nav: "explain", Key: key, Page: struct {
		Key     string
		API     string
		Entries int
		Paths   []path
		Events  []event
		Runs    []story
	}{key, "/v1/explain/" + url.PathEscape(key), len(entries), pathsOf(entries), gather(entries), told}})
	return nil
}
