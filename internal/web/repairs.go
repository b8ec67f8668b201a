package web

import (
	"net/http"
	"strings"
	"time"

	"patchbay/internal/flow"
)

const settledShown = 20

// repair is what stands as its page tells it.
type repair struct {
	flow.Repair
	State     state
	What      string // why nothing took it back, as a sentence
	System    string
	Keys      []string // some of them
	More      int      // how many besides
	At, Clock time.Time
}

// repairs is the page of what services wrote and nothing took back: what waits for a person,
// then what people have put right.
func (c *console) repairs(w http.ResponseWriter, r *http.Request) error {
	if c.Repairs == nil {
		return c.none()
	}
	if err := c.operating(r, "repairs"); err != nil {
		return err
	}
	choose := flow.RepairFilter{Flow: r.URL.Query().Get("flow"), RunID: r.URL.Query().Get("run")}
	waiting, err := c.Repairs.Repairs(r.Context(), choose)
	if err != nil {
		return err
	}
	done := choose
	done.Settled, done.Limit = true, settledShown
	settled, err := c.Repairs.Repairs(r.Context(), done)
	if err != nil {
		return err
	}
	page := struct {
		Filter        flow.RepairFilter
		List, Settled []repair
	}{Filter: choose}
	for _, one := range waiting {
		page.List = append(page.List, c.repairOf(one))
	}
	for _, one := range settled {
		page.Settled = append(page.Settled, c.repairOf(one))
	}
	c.render(w, r, http.StatusOK, "repairs", frame{Title: "To be put right", Nav: "dead", Page: page})
	return nil
}

func (c *console) repairOf(r flow.Repair) repair {
	const most = 5
	connection, _, _ := strings.Cut(r.Target, ".")
	keys := r.Keys[:min(len(r.Keys), most)]
	out := repair{Repair: r, State: state{"Stands", "failed", icon("cross")}, What: sentence(r.Problem.Detail), System: system(connection),
		Keys: keys, More: len(r.Keys) - len(keys), At: r.Since, Clock: c.Now()}
	switch {
	case r.Settled != nil:
		out.State, out.At = state{"Put right", "completed", icon("tick")}, r.Settled.At
	case r.InDoubt:
		out.State = inDoubt()
	}
	return out
}
