package web

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/flow"
)

type (
	// figures are what became of every row that a consolidation read.
	figures struct {
		Flow    string
		RunID   string
		Sources []sourceLine
		Target  string // where the rows went
		Counts  flow.TargetCount
		Held    string
		Fields  []fieldLine
	}

	// sourceLine is one source of a run.
	sourceLine struct {
		flow.SourceCount
		Name      string
		State     state
		Note      string
		At, Clock time.Time // when what is used was read
	}

	// fieldLine is where a column comes from.
	fieldLine struct {
		Column    string
		Sources   []string
		At, Clock time.Time
		Never     bool
	}

	// reject is a row that was not used, as a list shows it.
	reject struct {
		flow.Reject
		What      string
		At, Clock time.Time
	}

	// sourceRow is what is known of a source.
	sourceRow struct {
		flow.SourceStanding
		Failing   bool
		At, Clock time.Time
	}
)

// figuresOf reads the completeness of a run; nil for every run but a consolidation's.
func figuresOf(run flow.Run, plan *flow.Plan, now time.Time) *figures {
	var c flow.Completeness
	if len(run.Completeness) == 0 || json.Unmarshal(run.Completeness, &c) != nil || c.Sources == nil {
		return nil
	}
	f := &figures{Flow: run.Flow, RunID: run.RunID, Target: "the target", Counts: c.Target, Held: sentence(c.Held)}
	if plan != nil && plan.Write != nil {
		f.Target = system(plan.Write.Connection)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		s := c.Sources[name]
		f.Sources = append(f.Sources, sourceLine{SourceCount: s, Name: name, State: sourceState(s.State), Note: sentence(s.Note), At: s.AsOf, Clock: now})
	}
	for _, column := range slices.Sorted(maps.Keys(c.Fields)) {
		p := c.Fields[column]
		f.Fields = append(f.Fields, fieldLine{Column: column, Sources: p.Sources, At: p.AsOf, Clock: now, Never: p.AsOf.IsZero()})
	}
	return f
}

// sentence is the run of a consolidation in one.
func (f *figures) sentence(s *story) string {
	rows := int64(0)
	for _, x := range f.Sources {
		rows += x.Fresh
	}
	read := count(int(rows), "row") + " of " + count(len(f.Sources), "source") + " were read"
	switch {
	case f.Held != "":
		return sentence(read + ", and nothing was written")
	case s.Run.Status == flow.Completed:
		return sentence(read + " in " + s.Took + "; of " + count(int(f.Counts.Keys), "key") + " " + grouped(int(f.Counts.Written)) + " were written to " + f.Target + " and " +
			grouped(int(f.Counts.Unchanged)) + " were as they had been")
	}
	return s.Sentence
}

// Never reports that there is nothing of the source.
func (s sourceLine) Never() bool { return s.At.IsZero() }

func sourceState(s flow.SourceState) state {
	switch s {
	case flow.Fresh:
		return state{"Fresh", "completed", icon("tick")}
	case flow.Stale:
		return state{"Stale", "parked", icon("clock")}
	case flow.Missing:
		return state{"Missing", "failed", icon("cross")}
	}
	return state{string(s), "cancelled", icon("dot")}
}

// rowsOf is the page of a consolidation's sources and of the rows that were not used.
func (c *console) rowsOf(w http.ResponseWriter, r *http.Request) error {
	if c.Pictures == nil {
		return c.none()
	}
	if err := c.operating(r, "sources"); err != nil {
		return err
	}
	name := r.PathValue("flow")
	if _, err := c.Flows.Flow(r.Context(), name); err != nil {
		return err
	}
	const most = 100
	source := r.URL.Query().Get("source")
	list, err := c.Pictures.Rejects(r.Context(), flow.RejectFilter{Flow: name, Source: source, Limit: most})
	if err != nil {
		return err
	}
	sources, err := c.Pictures.Sources(r.Context(), name)
	if err != nil {
		return err
	}
	drifts, err := c.Pictures.Drifts(r.Context(), name)
	if err != nil {
		return err
	}
	page := struct {
		Flow    string
		Source  string
		Sources []sourceRow
		Drifts  []flow.ColumnDrift
		Rejects []reject
		Cut     bool
	}{Flow: name, Source: source, Drifts: drifts, Cut: len(list) == most}
	now := c.Now()
	for _, s := range sources {
		s.Watermark = strings.Trim(s.Watermark, `"`)
		page.Sources = append(page.Sources, sourceRow{SourceStanding: s, Failing: s.FailingAt != nil, At: s.AsOf, Clock: now})
	}
	for _, x := range list {
		page.Rejects = append(page.Rejects, reject{Reject: x, What: sentence(x.Reason), At: x.At, Clock: now})
	}
	c.render(w, r, http.StatusOK, "rows", frame{Title: "Rows of " + name, Nav: "flows", Page: page})
	return nil
}
