package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/flow"
)

const (
	heldShown    = 50 // conflicts of a page that wait
	decidedShown = 50 // of those looked at for ones that are decided
)

type (
	// conflict is one as its page tells it.
	conflict struct {
		flow.SyncConflict
		Claims    []claim
		Input     string // how another value is typed: "text", "number", "quoted" (a number as a text), "date", "time", "bool"; "" where it cannot be
		At, Clock time.Time
	}

	// claim is one of its values.
	claim struct {
		flow.SyncClaim
		Text  string
		Empty string // what is said where there is nothing to see
		JSON  string // the value, exactly
		Clock time.Time
	}
)

func conflictsOf(name string) string { return "/regions/" + url.PathEscape(name) + "/conflicts" }

// conflicts is the page of the conflicts of a synchronization: those that wait for a
// person, then the latest that were decided.
func (c *console) conflicts(w http.ResponseWriter, r *http.Request) error {
	if c.Syncs == nil {
		return c.none()
	}
	if err := c.operating(r, "conflicts"); err != nil {
		return err
	}
	name, table := r.PathValue("flow"), r.URL.Query().Get("table")
	s, err := c.Syncs.Synchronization(r.Context(), name)
	if err != nil {
		return err
	}
	plan, err := c.plan(r, name)
	if err != nil {
		return err
	}
	open := flow.SyncFilter{Flow: name, Table: table, Open: true, Limit: heldShown}
	if before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64); err == nil && before > 0 {
		open.Before = before
	}
	waiting, err := c.Syncs.Conflicts(r.Context(), open)
	if err != nil {
		return err
	}
	latest, err := c.Syncs.Conflicts(r.Context(), flow.SyncFilter{Flow: name, Table: table, Limit: decidedShown})
	if err != nil {
		return err
	}
	page := struct {
		flow.SyncStanding
		Table         string
		Held, Decided []conflict
		Older         string
	}{SyncStanding: s, Table: table}
	for _, one := range waiting {
		page.Held = append(page.Held, c.conflictOf(one, plan))
	}
	for _, one := range latest {
		if one.Decided != nil {
			page.Decided = append(page.Decided, c.conflictOf(one, plan))
		}
	}
	if len(waiting) == heldShown {
		query := url.Values{"before": {strconv.FormatInt(waiting[len(waiting)-1].ID, 10)}}
		if table != "" {
			query.Set("table", table)
		}
		page.Older = "?" + query.Encode()
	}
	c.render(w, r, http.StatusOK, "conflicts", frame{Title: "Conflicts of " + name, Nav: "regions", Page: page})
	return nil
}

func (c *console) conflictOf(one flow.SyncConflict, plan *flow.Plan) conflict {
	out := conflict{SyncConflict: one, At: one.Opened, Clock: c.Now()}
	if one.Decided != nil {
		out.At = *one.Decided
	} else {
		out.Input = inputOf(one, plan)
	}
	for _, v := range one.Values {
		exact, err := json.Marshal(v.Value)
		if err != nil {
			exact = []byte("null") // no value of a store is like this
		}
		text, empty := cell(v.Value), ""
		switch {
		case v.Value == nil:
			empty = "no value"
		case strings.TrimSpace(text) == "":
			empty = "an empty text"
		}
		out.Claims = append(out.Claims, claim{v, text, empty, string(exact), c.Now()})
	}
	return out
}

// inputOf is how another value of a conflict is typed. What identifies another record, or
// is no single value, is not for typing. A number is written as the systems write theirs:
// some give numbers as texts.
func inputOf(one flow.SyncConflict, plan *flow.Plan) string {
	if plan == nil || plan.Sync == nil || one.Column == "" {
		return ""
	}
	t := plan.Sync.Table(one.Table)
	if t == nil {
		return ""
	}
	for _, col := range t.Columns {
		if col.Name != one.Column {
			continue
		}
		if col.Refers != "" {
			return ""
		}
		return typed(col.Type, one.Values)
	}
	return ""
}

func typed(t flow.Type, held []flow.SyncClaim) string {
	switch t {
	case flow.Any:
		return ""
	case flow.Bool:
		return "bool"
	case flow.Date:
		return "date"
	case flow.Timestamp:
		return "time"
	case flow.Int, flow.Decimal:
		for _, v := range held {
			if _, quoted := v.Value.(string); quoted {
				return "quoted"
			}
		}
		return "number"
	case flow.String:
	}
	return "text"
}
