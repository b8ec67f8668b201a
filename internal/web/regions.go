package web

import (
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/flow"
)

type (
	// border is a synchronization as its page tells it.
	border struct {
		flow.SyncStanding
		State    state
		Others   []other
		Tables   []sharedTable
		Links    []link
		Troubles []borderTrouble
		Compared []comparison
		Map      template.HTML
		Words    string   // what the map shows, for those who do not see it
		Promised string   // the lag that users are told to expect; "" for none
		Start    string   // the regions as an option of patchbay dev
		Deploys  []deploy // on the page of the flow alone
		Clock    time.Time
	}

	// deploy is what one let cross which border.
	deploy struct {
		flow.ResidencyReport
		Clock time.Time
	}

	// other is another region, which may be on hold.
	other struct {
		Name  string
		Pause *pause
	}

	// pause is why something is on hold.
	pause struct {
		flow.SyncPause
		Clock time.Time
	}

	// sharedTable is a table, with what its records wait for here.
	sharedTable struct {
		flow.SyncTabling
		Flow  string
		Open  string // records that our system does not hold as it should, by why
		Pause *pause
		Clock time.Time
	}

	// link is a table on its way from one region to another.
	link struct {
		flow.SyncLink
		State state
		Clock time.Time
	}

	// borderTrouble is what a table suffers from, and what a person can do.
	borderTrouble struct {
		flow.SyncTrouble
		Way, Todo string
		At, Clock time.Time
	}

	// comparison is the last one of a table with a region.
	comparison struct {
		flow.SyncCompared
		State state
		Clock time.Time
	}
)

// Where a trouble is, as flow.SyncTrouble names it.
const (
	partExport = "export"
	partImport = "import"
)

// Kind is what is held, as the API names it.
func (other) Kind() string { return "region" }

// Kind is what is held, as the API names it.
func (sharedTable) Kind() string { return "table" }

// Name is the table's.
func (t sharedTable) Name() string { return t.Table }

// How a link stands, the worse the later.
var (
	linkInTime  = state{"In time", "completed", icon("tick")}
	linkLate    = state{"Late", "late", icon("clock")}
	linkHeld    = state{"On hold", "parked", icon("pause")}
	linkTrouble = state{"Trouble", "failed", icon("cross")}
	linkStates  = []state{linkInTime, linkHeld, linkLate, linkTrouble}
)

// worse is the worse of two states of links.
func worse(a, b state) state {
	rank := func(s state) int { return slices.IndexFunc(linkStates, func(o state) bool { return o.Word == s.Word }) }
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// shared reports whether a flow is a synchronization. Flows that cannot be read now are
// no reason to show no page.
func (c *console) shared(r *http.Request) bool {
	if c.Syncs == nil || !c.operates(r) {
		return false
	}
	plans, err := c.Flows.Flows(r.Context())
	return err == nil && anyShared(plans)
}

func anyShared(plans []flow.Applied) bool {
	return slices.ContainsFunc(plans, func(a flow.Applied) bool { return a.Plan.Sync != nil })
}

// regions is the page of what regions share: what is under way, what is wrong, and what
// crosses.
func (c *console) regions(w http.ResponseWriter, r *http.Request) error {
	if c.Syncs == nil {
		return c.none()
	}
	if err := c.operating(r, "regions"); err != nil {
		return err
	}
	all, err := c.Syncs.Synchronizations(r.Context())
	if err != nil {
		return err
	}
	list := make([]border, len(all))
	for i, s := range all {
		list[i] = c.borderOf(s)
	}
	c.renderBorders(w, r, "Regions", "", list)
	return nil
}

// region is the page of one synchronization, with what its deploys let cross.
func (c *console) region(w http.ResponseWriter, r *http.Request) error {
	if c.Syncs == nil {
		return c.none()
	}
	if err := c.operating(r, "regions"); err != nil {
		return err
	}
	name := r.PathValue("flow")
	s, err := c.Syncs.Synchronization(r.Context(), name)
	if err != nil {
		return err
	}
	reports, err := c.Syncs.Residency(r.Context(), name)
	if err != nil {
		return err
	}
	b := c.borderOf(s)
	for _, one := range reports {
		b.Deploys = append(b.Deploys, deploy{one, b.Clock})
	}
	c.renderBorders(w, r, "Regions of "+name, name, []border{b})
	return nil
}

// renderBorders renders all synchronizations, or the one of a name.
func (c *console) renderBorders(w http.ResponseWriter, r *http.Request, title, name string, list []border) {
	c.render(w, r, http.StatusOK, "regions", frame{Title: title, Nav: "regions", Page: struct {
		List  []border
		Known []Region
		Name  string
	}{list, c.Regions, name}})
}

func (c *console) borderOf(s flow.SyncStanding) border {
	now := c.Now()
	b := border{SyncStanding: s, State: linkInTime, Start: strings.Join(s.Regions, ","), Clock: now}
	if s.Lag > 0 {
		b.Promised = duration(s.Lag)
	}
	stopped := func(table, peer string) *pause {
		for _, p := range s.Pauses {
			if p.Table == table && p.Peer == peer {
				return &pause{p, now}
			}
		}
		return nil
	}
	for _, name := range s.Regions {
		if name != s.Region {
			b.Others = append(b.Others, other{name, stopped("", name)})
		}
	}
	for _, t := range s.Tables {
		b.Tables = append(b.Tables, sharedTable{SyncTabling: t, Flow: s.Flow, Open: openWords(t.Open), Pause: stopped(t.Table, ""), Clock: now})
	}
	for _, l := range s.Links {
		one := link{l, linkState(s, l), now}
		b.State = worse(b.State, one.State)
		b.Links = append(b.Links, one)
	}
	for _, t := range s.Trouble {
		b.State = linkTrouble
		b.Troubles = append(b.Troubles, borderTrouble{t, troubleWay(s, t), troubleTodo(t), t.Since, now})
	}
	for _, one := range s.Reconciled {
		b.Compared = append(b.Compared, comparison{one, comparedState(one), now})
	}
	b.Map, b.Words = mapOf(b)
	return b
}

// linkState is how a table is on its way: a pause explains that it is late, and a trouble
// that nothing moves.
func linkState(s flow.SyncStanding, l flow.SyncLink) state {
	troubled := slices.ContainsFunc(s.Trouble, func(t flow.SyncTrouble) bool { return t.Table == l.Table && concerns(t, s.Region, l) })
	switch {
	case troubled:
		return linkTrouble
	case l.Paused:
		return linkHeld
	case l.Late:
		return linkLate
	}
	return linkInTime
}

// concerns reports whether a trouble is one of a link: the export is of all that goes out.
func concerns(t flow.SyncTrouble, region string, l flow.SyncLink) bool {
	switch t.Part {
	case partExport:
		return l.From == region && (t.Peer == "" || t.Peer == l.To)
	case partImport:
		return l.To == region && (t.Peer == "" || t.Peer == l.From)
	}
	return false
}

func troubleWay(s flow.SyncStanding, t flow.SyncTrouble) string {
	switch {
	case t.Part == partExport:
		return "on its way out of " + s.Region
	case t.Part == partImport && t.Peer != "":
		return "on its way in from " + t.Peer
	case t.Part == partImport:
		return "on its way in"
	case t.Peer != "":
		return "when compared with " + t.Peer
	}
	return "when compared"
}

// troubleTodo is what a person can do, by the code.
func troubleTodo(t flow.SyncTrouble) string {
	switch t.Code {
	case "egress.unavailable":
		return "Nothing is lost, and it goes on by itself once the region answers. If it stays away, put the region on hold with the reason."
	case "egress.denied", "egress.missing":
		return "Apply the flow in the other region, and look at the password of the egress role."
	case "egress.columns":
		return "Apply the same flow file in both regions."
	case "egress.forgotten":
		return "Compare the regions, then resume the table."
	case "sync.no_peer":
		return "Write the egress URL of the region into connections.yaml and apply."
	case "sync.column_new":
		return "Nothing, if they are to stay here; else allow them in the flow file and apply."
	case "sync.column_changed", "sync.key_changed":
		return "Look at what the column holds now. If it may cross, put the table on hold and resume it: that allows it as it is."
	case "replica.oversize", "replica.key_missing", "replica.key_twice", "replica.key_taken":
		return "Put the record right in the system that has it; its next change is taken as any other."
	}
	return "It is tried again by itself, and the other tables go on. If it stays, look at the system that it names."
}

// openWords are the records that our system does not hold as it should.
func openWords(open map[flow.SyncOutcome]int64) string {
	var words []string
	for _, o := range []struct {
		outcome flow.SyncOutcome
		say     string
	}{
		{"", "to be written"}, {flow.SyncWaiting, "waiting for what they refer to"}, {flow.SyncHeld, "held"},
		{flow.SyncRejected, "refused by our system"}, {flow.SyncTruncated, "cut short by our system"},
	} {
		if n := open[o.outcome]; n > 0 {
			words = append(words, grouped(int(n))+" "+o.say)
		}
	}
	return strings.Join(words, ", ")
}

func comparedState(c flow.SyncCompared) state {
	switch {
	case c.Drift > c.Repaired:
		return state{"Drift", "failed", icon("cross")}
	case c.Repaired > 0:
		return state{"Repaired", "completed", icon("again")}
	case c.Held > 0:
		return state{"Held", "parked", icon("pause")}
	}
	return state{"Equal", "completed", icon("tick")}
}

// heldConflicts are synchronizations with values that a person decides about. What is late
// or stopped is an alert.
func (c *console) heldConflicts(r *http.Request, plans []flow.Applied) ([]alert, error) {
	if c.Syncs == nil || !c.operates(r) || !anyShared(plans) {
		return nil, nil
	}
	standings, err := c.Syncs.Synchronizations(r.Context())
	if err != nil {
		return nil, err
	}
	var all []alert
	for _, s := range standings {
		if s.Held > 0 {
			all = append(all, alert{Alert: flow.Alert{Flow: s.Flow, Text: "two regions wrote the same value, and a person decides which counts"}, State: state{"Held", "parked", icon("pause")},
				Address: conflictsOf(s.Flow), Much: count(int(s.Held), "conflict"), At: s.HeldSince, Clock: c.Now()})
		}
	}
	return all, nil
}
