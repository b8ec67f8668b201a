package app

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"patchbay/internal/alert"
	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
	"patchbay/internal/run"
)

// borders shows synchronizations to the API and the console, as our region sees them, and
// carries out what people decide.
type borders struct {
	plans   *run.Plans
	replica *replica.Replica
	border  *egress.Egress
	board   *alert.Board
	region  string
}

// Synchronizations tells how all synchronizations in force stand.
func (r borders) Synchronizations(ctx context.Context) ([]flow.SyncStanding, error) {
	applied, err := r.plans.List(ctx)
	if err != nil {
		return nil, err
	}
	all := []flow.SyncStanding{}
	for _, a := range applied {
		if a.Plan.Sync == nil {
			continue
		}
		s, err := r.standing(ctx, a.Plan)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Synchronization tells how one stands.
func (r borders) Synchronization(ctx context.Context, name string) (flow.SyncStanding, error) {
	plan, err := r.plan(ctx, name)
	if err != nil {
		return flow.SyncStanding{}, err
	}
	return r.standing(ctx, plan)
}

func (r borders) plan(ctx context.Context, name string) (*flow.Plan, error) {
	plan, _, err := r.plans.Current(ctx, name)
	if err == nil && plan.Sync == nil {
		err = fault.NotFoundf("sync.not_found", "%s is no synchronization", name)
	}
	return plan, err
}

func (r borders) place(plan *flow.Plan) replica.Place {
	return replica.Place{Flow: plan.Flow, Region: r.region, Sync: plan.Sync}
}

func (r borders) standing(ctx context.Context, plan *flow.Plan) (s flow.SyncStanding, err error) {
	s = flow.SyncStanding{Flow: plan.Flow, Region: r.region, Lag: plan.Sync.Lag, Tables: []flow.SyncTabling{}, Links: []flow.SyncLink{},
		Pauses: []flow.SyncPause{}, Trouble: []flow.SyncTrouble{}, Reconciled: []flow.SyncCompared{}, Alerts: []flow.Alert{}}
	for _, region := range plan.Sync.Regions {
		s.Regions = append(s.Regions, region.Name)
	}
	if plan.Sync.Region(r.region) == nil {
		s.Region = ""
		return s, nil
	}
	p := r.place(plan)
	pauses, err := r.replica.Pauses(ctx, p)
	if err != nil {
		return s, err
	}
	for _, x := range pauses {
		s.Pauses = append(s.Pauses, flow.SyncPause{Table: x.Table, Peer: x.Peer, By: x.By, Why: x.Why, At: x.At})
	}
	tables, err := r.replica.Status(ctx, p)
	if err != nil {
		return s, err
	}
	for _, t := range tables {
		s.Tables = append(s.Tables, flow.SyncTabling{Table: t.Table, Columns: crossing(plan.Sync.Table(t.Table)), Records: t.Records, Loading: t.Loading,
			Observed: t.Observed, Open: t.Open, Refused: t.Refused, Anew: t.Anew})
		s.Links = append(s.Links, r.incoming(plan, t, s.Pauses)...)
	}
	waiting, err := r.border.Backlog(ctx, plan.Flow)
	if err != nil {
		return s, err
	}
	for _, w := range waiting {
		s.Links = append(s.Links, r.outgoing(plan, w, tables, s.Pauses))
	}
	if s.Held, s.HeldSince, err = r.replica.Waiting(ctx, p); err != nil {
		return s, err
	}
	if s.Trouble, err = r.replica.Troubles(ctx, p); err != nil {
		return s, err
	}
	if s.Reconciled, err = r.replica.Comparisons(ctx, p); err != nil {
		return s, err
	}
	open, err := r.board.Open(ctx)
	s.Alerts = slices.DeleteFunc(open, func(a flow.Alert) bool { return a.Kind != string(alert.Regions) || a.Flow != plan.Flow })
	return s, err
}

// incoming is what is under way to us of one table, as far as it has come here.
func (r borders) incoming(plan *flow.Plan, t replica.TableState, pauses []flow.SyncPause) (links []flow.SyncLink) {
	for _, region := range plan.Sync.Regions {
		if region.Name == r.region {
			continue
		}
		from := t.Peers[region.Name]
		links = append(links, judged(flow.SyncLink{From: region.Name, To: r.region, Table: t.Table, Rows: from.Rows, Since: from.Oldest, Seen: from.At}, plan, time.Time{}, pauses))
	}
	return links
}

// outgoing is what another region has not taken of one table.
func (r borders) outgoing(plan *flow.Plan, w egress.Waiting, tables []replica.TableState, pauses []flow.SyncPause) flow.SyncLink {
	var looked time.Time
	for _, t := range tables {
		if t.Table == w.Table && !t.Loading {
			looked = t.Observed
		}
	}
	return judged(flow.SyncLink{From: r.region, To: w.Peer, Table: w.Table, Rows: w.Rows, Bytes: w.Bytes, Since: w.Since, Seen: w.Seen}, plan, looked, pauses)
}

// unlooked is for how long a system may be left alone that is asked for its changes: after
// it nobody knows whether there are any.
const unlooked = 2 * mirrorSeldom

// judged says how far behind a link is. looked is when the system that it begins at was
// known to have told all; zero: nobody here knows.
func judged(l flow.SyncLink, plan *flow.Plan, looked time.Time, pauses []flow.SyncPause) flow.SyncLink {
	if !l.Since.IsZero() {
		l.Lag = max(time.Since(l.Since), 0)
	}
	if alone := time.Since(looked); !looked.IsZero() && alone > unlooked {
		l.Lag = max(l.Lag, alone)
	}
	l.Late = plan.Sync.Lag > 0 && l.Lag > plan.Sync.Lag
	l.Paused = slices.ContainsFunc(pauses, func(p flow.SyncPause) bool {
		return p.Table == l.Table || p.Peer != "" && (p.Peer == l.From || p.Peer == l.To)
	})
	return l
}

// crossing are the columns of a table that may cross, the key first.
func crossing(t *flow.SyncTable) []string {
	names := slices.Clone(t.Key)
	for _, c := range t.Columns {
		names = append(names, c.Name)
	}
	return names
}

// mostReports is how many deploys of a flow are shown.
const mostReports = 20

// Residency tells what the latest deploys of a flow let cross which border, the newest
// first.
func (r borders) Residency(ctx context.Context, name string) ([]flow.ResidencyReport, error) {
	if _, _, err := r.plans.Current(ctx, name); err != nil {
		return nil, err
	}
	return r.plans.Reports(ctx, name, mostReports)
}

// Conflicts lists conflicts, the newest first.
func (r borders) Conflicts(ctx context.Context, f flow.SyncFilter) ([]flow.SyncConflict, error) {
	plan, err := r.plan(ctx, f.Flow)
	if err != nil {
		return nil, err
	}
	held, err := r.replica.Conflicts(ctx, r.place(plan), replica.HeldFilter{Table: f.Table, Open: f.Open, Most: f.Limit, After: f.Before})
	if err != nil {
		return nil, err
	}
	all := make([]flow.SyncConflict, 0, len(held))
	for _, h := range held {
		all = append(all, conflictOf(plan.Flow, h))
	}
	return all, nil
}

func conflictOf(name string, h replica.Held) flow.SyncConflict {
	c := flow.SyncConflict{ID: h.ID, Flow: name, Table: h.Table, Key: spoken(h.Key), Column: h.Column, Rule: ruleWords(h.Rule), Opened: h.OpenedAt, By: h.DecidedBy}
	if !h.DecidedAt.IsZero() {
		at := h.DecidedAt
		c.Decided = &at
	}
	for i, v := range h.Values {
		claim := flow.SyncClaim{Region: v.Version.Region, At: time.UnixMicro(v.Version.Stamp), Here: i == h.Local}
		_ = exact(v.Value, &claim.Value) // what cannot be read is shown as nothing
		claim.Won = c.Decided != nil && v.Version.Stamp == h.Winner.Version.Stamp && v.Version.Region == h.Winner.Version.Region
		c.Values = append(c.Values, claim)
	}
	return c
}

func ruleWords(r flow.ConflictRule) string {
	switch r.Rule {
	case flow.RuleHold:
		return "a person decides"
	case flow.RuleRegion:
		return "region " + r.Region + " wins"
	}
	return "the later wins"
}

// spoken is a key for people.
func spoken(key []string) string {
	words := make([]string, len(key))
	for i, k := range key {
		var text string
		if json.Unmarshal([]byte(k), &text) != nil {
			text = k
		}
		words[i] = text
	}
	return strings.Join(words, ", ")
}

// Decide carries out what a person decided of a conflict.
func (r borders) Decide(ctx context.Context, name string, id int64, d flow.SyncDecision, by string) error {
	plan, err := r.plan(ctx, name)
	if err != nil {
		return err
	}
	choice := replica.Choice{ID: id, By: by}
	switch {
	case d.Pick != nil:
		choice.Pick = *d.Pick
	default:
		b, err := json.Marshal(d.Value)
		if err != nil {
			return fault.Invalidf("sync.value", "the value cannot be encoded")
		}
		choice.Value = b
	}
	return r.replica.Decide(ctx, r.place(plan), choice)
}

// Pause leaves a table, or another region, alone; exactly one of them is named.
func (r borders) Pause(ctx context.Context, name string, p flow.SyncPause) error {
	plan, err := r.named(ctx, name, p.Table, p.Peer)
	if err != nil {
		return err
	}
	return r.replica.Pause(ctx, r.place(plan), replica.Paused{Table: p.Table, Peer: p.Peer, By: p.By, Why: p.Why})
}

// Resume ends a pause. Columns of a table that are others than they were are allowed as
// they are now, and what the system rejected or cut is tried again.
func (r borders) Resume(ctx context.Context, name, table, peer string) error {
	plan, err := r.named(ctx, name, table, peer)
	if err != nil {
		return err
	}
	if table != "" {
		if err := r.replica.Bind(ctx, r.place(plan), table, nil); err != nil {
			return err
		}
		if _, err := r.replica.Retry(ctx, r.place(plan), table, nil); err != nil {
			return err
		}
	}
	return r.replica.Resume(ctx, r.place(plan), table, peer)
}

func (r borders) named(ctx context.Context, name, table, peer string) (*flow.Plan, error) {
	plan, err := r.plan(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case plan.Sync.Region(r.region) == nil:
		return nil, fault.NotFoundf("sync.no_region", "this Patchbay belongs to no region of %s", name)
	case table == "" && peer == "" || table != "" && peer != "":
		return nil, fault.Invalidf("sync.what", "name a table or a region, one of them")
	case table != "" && plan.Sync.Table(table) == nil:
		return nil, fault.NotFoundf("sync.table", "%s shares no table %s", name, table)
	case peer != "" && (plan.Sync.Region(peer) == nil || peer == r.region):
		return nil, fault.NotFoundf("sync.peer", "%s has no other region %s", name, peer)
	}
	return plan, nil
}

func (c *core) borders() borders { return borders{c.plans, c.replica, c.egress, c.board, c.Region} }
