package run_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

type (
	// model is what the book has to be, kept by one thread without a database.
	model struct {
		*bundle
		t     *rapid.T
		flow  string
		order bool        // runs with one parameter are carried out one after the other
		books []*run.Book // two processes
		rows  []*modelRow // in the order they were accepted
		// batches are all that ever were, held are all items that were ever taken:
		// whoever has one may come back at any time.
		batches []*modelBatch
		held    []*modelItem
	}

	modelRow struct {
		id, key, order string
		status         flow.Status
		batch          string // "" while it waits
		tries          int
		later, sealed  bool
		shown          bool // the answer
		fence          int64
		effects        flow.EffectState // of its writes; "" while there are none
		attempt        *modelItem       // that made them last
	}

	modelBatch struct {
		id      string
		runIDs  []string
		tier    int
		at      time.Time
		relayed bool
		settled bool
		express bool // it claimed itself ahead of others who wait
	}

	modelItem struct {
		run.Item
		row  *modelRow
		open []ledger.Open
	}
)

func (m *model) find(id string) *modelRow {
	at := slices.IndexFunc(m.rows, func(r *modelRow) bool { return r.id == id })
	require.GreaterOrEqual(m.t, at, 0, "a run that nobody pressed")
	return m.rows[at]
}

func (m *model) in(batch string) []*modelRow {
	var rows []*modelRow
	for _, r := range m.rows {
		if r.batch == batch && !r.status.Final() {
			rows = append(rows, r)
		}
	}
	return rows
}

func (m *model) book() *run.Book { return m.books[rapid.IntRange(0, 1).Draw(m.t, "process")] }

// end makes a row final, and settles its batch when that is of one.
func (m *model) end(r *modelRow, status flow.Status) {
	r.status, r.later = status, false
	m.left(r.batch)
}

func (m *model) left(batch string) {
	for _, b := range m.batches {
		if b.id == batch && len(b.runIDs) == 1 {
			b.settled = true
		}
	}
}

// back puts a row back; a sealed one, and one that was alone too often, ends.
func (m *model) back(r *modelRow, later bool) {
	if r.effects == flow.Attempt {
		r.effects = flow.Doubtful
	}
	batch := r.batch
	switch {
	case r.sealed:
		m.end(r, flow.Cancelled)
		return
	case !later && r.tries == 6:
		m.end(r, flow.Failed)
		return
	case !later:
		r.tries++
	}
	r.batch, r.later = "", later
	m.left(batch)
}

// refused is the code of the fault that an outcome of the item must meet; "" when
// it counts.
func (i *modelItem) refused() string {
	switch {
	case i.row.status.Final():
		return "run.closed"
	case i.row.batch != i.BatchID, i.row.fence != i.Fence:
		return "run.fenced"
	}
	return ""
}

func (m *model) requireCode(want string, err error) bool {
	if want == "" {
		require.NoError(m.t, err)
		return true
	}
	require.Error(m.t, err)
	require.Equal(m.t, want, fault.Of(err).Code)
	return false
}

func (m *model) item() *modelItem {
	if len(m.held) == 0 {
		m.t.Skip("nobody holds anything")
	}
	return m.held[rapid.IntRange(0, len(m.held)-1).Draw(m.t, "item")]
}

func (m *model) batch() *modelBatch {
	if len(m.batches) == 0 {
		m.t.Skip("there is no batch")
	}
	return m.batches[rapid.IntRange(0, len(m.batches)-1).Draw(m.t, "batch")]
}

func (m *model) press() {
	p := press(rapid.SampledFrom([]string{"", "", "", "k1", "k2"}).Draw(m.t, "idempotency key"))
	p.Flow = m.flow
	order := rapid.SampledFrom([]string{"AS1", "AS2", "AS3", "AS4", "AS5", "AS6"}).Draw(m.t, "order key")
	if p.Key != "" {
		order = "AS-" + strings.ToUpper(p.Key)
	}
	p.Params = map[string]any{"product_id": order}
	r, s, err := m.book().Accept(m.Context(), p)
	require.NoError(m.t, err)
	if known := slices.ContainsFunc(m.rows, func(r *modelRow) bool { return p.Key != "" && r.key == p.Key }); known {
		require.True(m.t, r.Replayed)
		require.Zero(m.t, s)
		m.find(r.RunID)
		return
	}
	require.False(m.t, r.Replayed)
	express := slices.ContainsFunc(m.rows, func(r *modelRow) bool { return r.batch == "" && !r.later && !r.status.Final() })
	row := &modelRow{id: r.RunID, key: p.Key, order: order, status: flow.Accepted}
	m.rows = append(m.rows, row)
	if s.BatchID != "" {
		m.claimed(s, express, row)
	}
}

// claimed checks a batch and takes its rows out of the queue.
func (m *model) claimed(s run.Start, express bool, rows ...*modelRow) {
	b := &modelBatch{id: s.BatchID, runIDs: s.RunIDs, at: time.Now(), tier: min(rows[0].tries, 2), express: express}
	for _, known := range m.batches {
		require.NotEqual(m.t, known.id, b.id, "a batch is made once")
	}
	require.LessOrEqual(m.t, len(rows), []int{64, 8, 1}[b.tier])
	for _, r := range rows {
		require.Equal(m.t, b.tier, min(r.tries, 2), "a batch shares its tier")
		require.False(m.t, r.status.Final() || r.later || r.batch != "", "%+v does not wait", r)
		for _, other := range m.rows {
			if other == r {
				break
			}
			require.False(m.t, m.order && other.order == r.order && !other.status.Final(), "%+v overtook %+v", r, other)
		}
	}
	for _, r := range rows {
		r.batch = b.id
	}
	m.batches = append(m.batches, b)
	flying, ahead := [3]int{}, 0
	for _, b := range m.batches {
		switch {
		case b.settled || time.Since(b.at) >= 4*time.Second:
		case b.express:
			ahead++
		default:
			flying[b.tier]++
		}
	}
	if express {
		require.LessOrEqual(m.t, ahead, 6)
	} else {
		require.LessOrEqual(m.t, flying[0]+flying[1], 4)
		require.LessOrEqual(m.t, flying[2], 16)
	}
}

func (m *model) claim() {
	starts, err := m.book().Claim(m.Context())
	require.NoError(m.t, err)
	for _, s := range starts {
		require.Equal(m.t, m.flow, s.Flow)
		require.Len(m.t, s.RunIDs, s.Size)
		var rows []*modelRow
		for _, id := range s.RunIDs {
			rows = append(rows, m.find(id))
		}
		m.claimed(s, false, rows...)
	}
}

func (m *model) take() {
	b := m.batch()
	items, err := m.book().Take(m.Context(), b.id, "reading")
	b.relayed = true // who takes from it was started
	rows := m.in(b.id)
	if len(rows) == 0 {
		m.requireCode("run.closed", err)
		return
	}
	require.NoError(m.t, err)
	require.Len(m.t, items, len(rows))
	for _, item := range items {
		r := m.find(item.RunID)
		require.Contains(m.t, rows, r)
		require.Greater(m.t, item.Fence, r.fence)
		require.Equal(m.t, []any{r.tries, r.sealed, r.shown}, []any{item.Tries, item.Sealed, item.Answered})
		r.fence, r.status = item.Fence, flow.Running
		m.held = append(m.held, &modelItem{Item: item, row: r})
	}
}

func (m *model) answer() {
	i := m.item()
	want := i.refused()
	if m.requireCode(want, m.book().Answer(m.Context(), i.Item, answer(1), "", true, false)) {
		i.row.shown = true
	}
}

func (m *model) attempt() {
	i := m.item()
	want := i.refused()
	if want == "" && i.row.sealed {
		want = "ledger.sealed"
	}
	open, err := m.book().Attempt(m.Context(), i.Item, "write", "crm.specification", members())
	if !m.requireCode(want, err) {
		return
	}
	require.Len(m.t, open, 2)
	require.Equal(m.t, i.row.effects != "", open[0].Retried, "what may have been written is read back")
	i.open, i.row.effects, i.row.attempt = open, flow.Attempt, i
}

func (m *model) complete() {
	i := m.item()
	want := i.refused()
	var outcomes []ledger.Outcome
	for _, o := range i.open {
		outcomes = append(outcomes, ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Confirmed})
	}
	known := i.row.effects != flow.Attempt || i.row.attempt == i
	if want == "" && !known && !i.row.sealed {
		want = "run.effects_open"
	}
	status, err := m.book().Complete(m.Context(), i.Item, "write", outcomes, nil, "")
	if !m.requireCode(want, err) {
		return
	}
	end := flow.Completed
	switch {
	case i.row.sealed:
		end = flow.Cancelled
	case i.row.effects == flow.Doubtful:
		end = flow.Failed
	}
	require.Equal(m.t, end, status)
	m.end(i.row, end)
}

func (m *model) fail() {
	i := m.item()
	want := i.refused()
	status, err := m.book().Fail(m.Context(), i.Item, fault.New(fault.Rejected, "x.no", "no", nil))
	if !m.requireCode(want, err) {
		return
	}
	end := flow.Failed
	if i.row.sealed {
		end = flow.Cancelled
	}
	require.Equal(m.t, end, status)
	m.end(i.row, end)
}

func (m *model) putBack() {
	i := m.item()
	want := i.refused()
	why, later := away, rapid.Bool().Draw(m.t, "later")
	if later {
		why = fault.ThrottledFor(time.Hour, "x.quota", "patience", nil)
	}
	if m.requireCode(want, m.book().PutBack(m.Context(), i.Item, why)) {
		m.back(i.row, later)
	}
}

func (m *model) lose() {
	b := m.batch()
	rows := m.in(b.id)
	n, err := m.book().PutBackAll(m.Context(), b.id, away)
	require.NoError(m.t, err)
	for _, r := range rows {
		if m.back(r, false); r.batch == "" {
			n--
		}
	}
	require.Zero(m.t, n)
	b.settled = true
}

func (m *model) cancel() {
	if len(m.rows) == 0 {
		m.t.Skip("there is no run")
	}
	r := m.rows[rapid.IntRange(0, len(m.rows)-1).Draw(m.t, "run")]
	_, err := m.book().Seal(m.Context(), r.id, "dev")
	require.NoError(m.t, err)
	switch {
	case r.status.Final():
	case r.status == flow.Accepted || r.batch == "":
		r.sealed = true
		m.end(r, flow.Cancelled)
	default:
		r.sealed = true
	}
}

// due lets the time of those come that were put back for later.
func (m *model) due() {
	m.exec(`update work set due_at = now() where flow = $1 and due_at is not null`, m.flow)
	for _, r := range m.rows {
		r.later = false
	}
}

// resend lets every lease lapse.
func (m *model) resend() {
	m.exec(`update batch set lease_until = now() - interval '1 second' where flow = $1`, m.flow)
	starts, err := m.book().Due(m.Context(), 100)
	require.NoError(m.t, err)
	got := map[string][]string{}
	for _, s := range starts {
		got[s.BatchID] = s.RunIDs
	}
	for _, b := range m.batches {
		ids, again := got[b.id]
		require.Equal(m.t, !b.relayed && !b.settled, again)
		if again {
			require.ElementsMatch(m.t, b.runIDs, ids, "a batch is sent again unchanged")
		}
	}
}

func (m *model) settle() {
	b := m.batch()
	if len(m.in(b.id)) > 0 {
		m.t.Skip("it carries something")
	}
	require.NoError(m.t, m.book().Settle(m.Context(), b.id))
	b.settled = true
}

// check compares every row with the model: none is lost, none ends twice.
func (m *model) check() {
	rows, err := m.store.Pool().Query(m.Context(), `
		select run_id, state, coalesce(batch_id, ''), tries, answered_at is not null,
		       (select count(*) from journal where run = run_id and final), (select count(*) from journal where run = run_id and what = 'answered')
		from work where flow = $1`, m.flow)
	require.NoError(m.t, err)
	var id, batch string
	var status flow.Status
	var tries, finals, answers, n int
	var shown bool
	_, err = pgx.ForEachRow(rows, []any{&id, &status, &batch, &tries, &shown, &finals, &answers}, func() error {
		n++
		r := m.find(id)
		require.Equal(m.t, []any{r.status, r.batch, r.tries, r.shown}, []any{status, batch, tries, shown}, id)
		require.Equal(m.t, map[bool]int{true: 1}[r.status.Final()], finals, "exactly one final reason")
		require.Equal(m.t, map[bool]int{true: 1}[r.shown], answers, "answered once")
		return nil
	})
	require.NoError(m.t, err)
	require.Len(m.t, m.rows, n)
	rows, err = m.store.Pool().Query(m.Context(), `select batch_id, settled_at is not null from batch where flow = $1`, m.flow)
	require.NoError(m.t, err)
	settled := map[string]bool{}
	_, err = pgx.ForEachRow(rows, []any{&id, &shown}, func() error { settled[id] = shown; return nil })
	require.NoError(m.t, err)
	for _, b := range m.batches {
		require.Equal(m.t, b.settled, settled[b.id], "batch %s of %d", b.id, len(b.runIDs))
	}
}

// The book is what a plain, sequential one would be, whatever happens in whatever
// order: presses, claims of two processes, outcomes of those who hold an item and of
// those who did long ago, lost batches, cancels.
func TestTheBookIsWhatAPlainOneWouldBe(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	books := []*run.Book{b.book, run.NewBook(b.store, run.NewPlans(b.store), run.Options{})}
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		m := &model{bundle: b, t: r, flow: fmt.Sprint("flow-", round), books: books, order: rapid.Bool().Draw(r, "ordered")}
		plan := specs(func(p *flow.Plan) {
			p.Flow = m.flow
			if m.order {
				p.Order = []string{"product_id"}
			}
			p.Limits.Timeout = time.Hour
		})
		_, err := b.plans.Apply(t.Context(), []*flow.Plan{plan}, nil, "test")
		require.NoError(r, err)
		step := func(act func()) func(*rapid.T) {
			return func(t *rapid.T) { m.t = t; act() }
		}
		r.Repeat(map[string]func(*rapid.T){
			"press": step(m.press), "press again": step(m.press), "claim": step(m.claim), "take": step(m.take), "take again": step(m.take),
			"answer": step(m.answer), "attempt": step(m.attempt), "complete": step(m.complete), "fail": step(m.fail),
			"put back": step(m.putBack), "lose": step(m.lose), "cancel": step(m.cancel), "due": step(m.due),
			"resend": step(m.resend), "settle": step(m.settle), "": step(m.check),
		})
		// What is left must not get in the way of the next round.
		b.exec(`update work set state = 'cancelled', closed_at = now() where flow = $1 and closed_at is null`, m.flow)
		b.exec(`update batch set settled_at = now() where flow = $1 and settled_at is null`, m.flow)
	})
}
