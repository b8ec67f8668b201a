package run_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

type (
	// sharers is the plain model of single flight: one product after another, one
	// thing after another.
	sharers struct {
		b       *bundle
		product string
		runs    []*sharer
		works   []*effort
		lead    *effort // that the next press joins; nil when it works anew
	}

	sharer struct {
		id       string
		work     *effort
		status   flow.Status
		answered bool
		reason   string // final
		left     bool   // before the work had ended
	}

	effort struct {
		leader                               *sharer
		followers                            []*sharer // that are open
		item                                 run.Item
		taken, answered, over, given, orphan bool
	}
)

func (m *sharers) press(t *rapid.T) {
	p := press("")
	p.Params["product_id"] = m.product
	r, _, err := m.b.book.Accept(m.b.Context(), p)
	require.NoError(t, err)
	s := &sharer{id: r.RunID, status: flow.Accepted, work: m.lead}
	m.runs = append(m.runs, s)
	if m.lead == nil {
		m.lead = &effort{leader: s}
		s.work = m.lead
		m.works = append(m.works, m.lead)
		return
	}
	w := m.lead
	s.answered = w.answered
	switch {
	case w.over:
		s.status, s.reason = flow.Completed, "shared"
		return
	case w.answered:
		s.status = flow.Running
	}
	w.followers = append(w.followers, s)
}

// some draws a work that fits, nil when there is none.
func (m *sharers) some(t *rapid.T, fits func(*effort) bool) *effort {
	var list []*effort
	for _, w := range m.works {
		if !w.over && fits(w) {
			list = append(list, w)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(t, "work")]
}

func (m *sharers) take(t *rapid.T) {
	w := m.some(t, func(w *effort) bool { return !w.taken })
	if w == nil {
		return
	}
	m.b.exec(`update work set batch_id = run_id where run_id = $1 and batch_id is null`, w.leader.id)
	w.item = m.b.begin(w.leader.id, "reading")
	w.taken, w.leader.status = true, flow.Running
}

func (m *sharers) answer(t *rapid.T) {
	w := m.some(t, func(w *effort) bool { return w.taken && !w.answered && !w.given })
	if w == nil {
		return
	}
	require.NoError(t, m.b.book.Answer(m.b.Context(), w.item, answer(1), "", true, false))
	w.answered = true
	if !w.orphan {
		w.leader.answered = true
	}
	for _, s := range w.followers {
		s.answered, s.status = true, flow.Running
	}
}

func (m *sharers) complete(t *rapid.T) {
	w := m.some(t, func(w *effort) bool { return w.taken && !w.given })
	if w == nil {
		return
	}
	require.NoError(t, m.b.book.Answer(m.b.Context(), w.item, answer(1), "", true, true))
	if !w.orphan {
		w.leader.answered = true
	}
	for _, s := range w.followers {
		s.answered = true
	}
	w.answered = true
	m.end(w, flow.Completed, "delivered")
}

func (m *sharers) fail(t *rapid.T) {
	w := m.some(t, func(w *effort) bool { return w.taken })
	if w == nil {
		return
	}
	_, err := m.b.book.Fail(m.b.Context(), w.item, fault.New(fault.Unavailable, "oracle.down", "away", nil))
	require.NoError(t, err)
	if w.given {
		m.end(w, flow.Cancelled, "cancelled")
	} else {
		m.end(w, flow.Failed, "failed")
	}
}

func (m *sharers) end(w *effort, status flow.Status, reason string) {
	w.over = true
	if !w.orphan {
		w.leader.status, w.leader.reason = status, reason
	}
	for _, s := range w.followers {
		s.status, s.reason = status, "shared"
	}
	w.followers = nil
	if status != flow.Completed && m.lead == w {
		m.lead = nil
	}
}

func (m *sharers) cancel(t *rapid.T) {
	if len(m.runs) == 0 {
		return
	}
	s := m.runs[rapid.IntRange(0, len(m.runs)-1).Draw(t, "run")]
	_, err := m.b.book.Seal(m.b.Context(), s.id, "dev")
	require.NoError(t, err)
	w := s.work
	at := slices.Index(w.followers, s)
	switch {
	case s.status.Final():
	case at >= 0:
		w.followers = slices.Delete(w.followers, at, at+1)
		s.status, s.reason, s.left = flow.Cancelled, "cancelled", true
		if w.orphan && len(w.followers) == 0 {
			m.giveUp(w)
		}
	case len(w.followers) > 0 && w.taken:
		s.status, s.reason, w.orphan = flow.Cancelled, "cancelled", true
	case len(w.followers) > 0:
		heir := &effort{leader: w.followers[0], followers: slices.Clone(w.followers[1:])}
		for _, f := range w.followers {
			f.work = heir
		}
		w.followers = nil
		m.works, m.lead = append(m.works, heir), heir
		m.end(w, flow.Cancelled, "cancelled")
	case w.taken:
		m.giveUp(w)
	default:
		m.end(w, flow.Cancelled, "cancelled")
	}
}

func (m *sharers) giveUp(w *effort) {
	w.given = true
	if m.lead == w {
		m.lead = nil
	}
}

// agrees compares every run with the model.
func (m *sharers) agrees(t *rapid.T) {
	for i, s := range m.runs {
		r := m.b.get(s.id)
		what := fmt.Sprintf("press %d, %s", i, s.id)
		require.Equal(t, s.status, r.Status, what)
		require.Equal(t, s.answered, r.Result != nil, what)
		shares := ""
		if s.work.leader != s && !s.left {
			shares = s.work.leader.id
		}
		require.Equal(t, shares, r.Shared, what)
		require.Equal(t, s.work.leader == s && s.work.given && !s.work.over && !s.work.orphan, r.Cancelling, what)
		var reasons []string
		if s.reason != "" {
			reasons = []string{s.reason}
		}
		require.Equal(t, reasons, m.b.finals(s.id), what)
		require.Len(t, slices.Compact(names(r.Progress)), len(r.Progress))
		require.LessOrEqual(t, len(r.Progress), 5)
	}
}

func TestSharingIsWhatAPlainModelOfItWouldBe(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	b.busy() // no press claims itself: what happens follows from the drawn actions alone
	product := 0
	rapid.Check(t, func(t *rapid.T) {
		product++
		m := &sharers{b: b, product: fmt.Sprintf("P-%d", product)}
		actions := []func(*rapid.T){m.press, m.press, m.press, m.take, m.answer, m.complete, m.fail, m.cancel, m.cancel}
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, len(actions)-1), 1, 16).Draw(t, "actions") {
			actions[n](t)
			m.agrees(t)
		}
	})
}
