package crash

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// tell has the schedule held or resumed, by somebody who asks until it is.
func (g *gallery) tell(what string) {
	for {
		status, _, err := g.w.ask(g.w.ctx, &press{}, http.MethodPost, "/v1/flows/"+g.timed.flow+"/"+what, `{"reason": "a test"}`)
		if err == nil && status == http.StatusOK || !wait(g.w.ctx, 100*time.Millisecond) {
			return
		}
	}
}

// kept holds the schedule, and requires that each of its slots has had one outcome: those
// that ran made the picture, once, and those that did not found a run open.
func (g *gallery) kept() {
	t, p := g.w.t, g.timed
	t.Helper()
	g.tell("hold")
	end := time.Now()
	var slots []flow.Slot
	g.w.await("decided: the slots of "+p.flow, 2*time.Minute, func() bool {
		var page struct{ Slots []flow.Slot }
		require.NoError(t, g.w.asked("/v1/flows/"+p.flow+"/slots?limit=200", &page))
		slots = page.Slots
		return !slices.ContainsFunc(slots, func(s flow.Slot) bool { return s.At.Before(end) && !s.Outcome.Final() })
	})
	counts := map[flow.SlotOutcome]int{}
	for i, s := range slots {
		if !s.At.Before(end) {
			continue
		}
		counts[s.Outcome]++
		ran := s.Outcome == flow.SlotRan || s.Outcome == flow.SlotLate
		switch {
		case ran && s.Status != flow.Completed, !ran && s.RunID != "", s.Outcome == flow.SlotMissed:
			t.Errorf("%s: the slot of %s is %s (%s), its run %q %s", p.flow, s.At, s.Outcome, s.Reason, s.RunID, s.Status)
		case i > 0 && s.At.Sub(slots[i-1].At) != often:
			t.Errorf("%s: after the slot of %s comes that of %s", p.flow, slots[i-1].At, s.At)
		}
	}
	t.Logf("slots: %v", counts)
	require.Positive(t, counts[flow.SlotRan]+counts[flow.SlotLate])
	p.painted = true
	p.begin()
	require.NoError(t, g.there(func(ctx context.Context) error { return g.exact(ctx, p) }))
}

// last paints every picture once more, with nothing in the way, and requires that
// nothing is left over of those before.
func (g *gallery) last() {
	t := g.w.t
	t.Helper()
	var all sync.WaitGroup
	for _, p := range g.list {
		all.Go(func() {
			b := brush{edits: 2}
			if err := errors.Join(g.change(p, &b), g.once(p, "at last", b)); err != nil {
				t.Errorf("%s, at last: %v", p.flow, err)
			}
		})
	}
	all.Wait()
	runs := 0
	for _, p := range g.list {
		runs += p.runs
	}
	t.Logf("%d runs of %d pictures", runs, len(g.list))
	var left int
	g.w.await("the tables of rows that nobody uses are gone", time.Minute, func() bool {
		conn, err := g.w.owner()
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close(g.w.ctx) }()
		err = conn.QueryRow(g.w.ctx, `
			select (select count(*) from slot_run where closed_at is null) + (select count(*) from stage_read where ended_at is null)
			     + (select count(*) from pg_tables where schemaname = 'stage' and tablename like 'g\_%'
			        and substr(tablename, 3)::bigint not in (select generation from stage_source))
			     + (select count(*) from advice where state in ('due', 'approved'))`).Scan(&left)
		// What another run was reading when it was to be dropped is left for the next one.
		return err == nil && left == 0 || !wait(g.w.ctx, time.Second) || g.once(g.list[0], "at last", brush{}) != nil
	})
}

// busy has pictures painted until it is enough, about one a second.
func (g *gallery) busy(enough <-chan struct{}) {
	r := rand.New(rand.NewPCG(*seed, 4))
	for {
		select {
		case <-enough:
			return
		case <-g.w.ctx.Done():
			return
		case <-time.After(time.Duration(r.IntN(2000)) * time.Millisecond):
		}
		b := brush{edits: r.IntN(4), full: r.IntN(2) == 0}
		if r.IntN(4) == 0 {
			b.trouble, b.lasting = []string{"away", "gone"}[r.IntN(2)], 2*time.Second
		}
		g.paint("under load", b)
	}
}

// edited is a picture some of whose customers have changed.
func edited(w *walk, step string) { w.gallery.paint(step, brush{edits: 3}) }

// unwanted is one of whose plans the target refuses one.
func unwanted(w *walk, step string) { w.gallery.paint(step, brush{edits: 3, refused: true}) }

// anew is one whose sources are read from the beginning, in the place of what was read.
func anew(w *walk, step string) { w.gallery.paint(step, brush{edits: 1, full: true}) }

// same is one of which nothing has changed.
func same(w *walk, step string) { w.gallery.paint(step, brush{}) }

// away is one of which a source does not answer for a moment.
func away(w *walk, step string) {
	w.gallery.paint(step, brush{edits: 1, trouble: "away", lasting: 2 * time.Second})
}

// gone is one of which a source is not there: what was read last is used.
func gone(w *walk, step string) {
	w.gallery.paint(step, brush{edits: 1, trouble: "gone", lasting: 10 * time.Second})
}

// paused has the schedule held, and resumed.
func paused(w *walk, _ string) {
	w.under.Go(func() {
		w.gallery.tell("hold")
		w.gallery.tell("resume")
	})
}

// empty is one of which a source has no rows all of a sudden: nothing is written, and
// the run fails by that.
func empty(w *walk, step string) {
	w.gallery.paint(step, brush{trouble: "empty", lasting: 10 * time.Second, mayFail: "guard.zero"})
}
