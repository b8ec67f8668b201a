package run

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
	"patchbay/internal/store/group"
	"patchbay/internal/topic"
)

const (
	// inOne bounds the members of one transaction: a commit that is much larger is
	// not cheaper for each, and holds its rows for longer.
	inOne = 64
	// sideBySide is how many transactions of one kind there are at a time: a second
	// one would halve the size of both.
	sideBySide = 1
)

type (
	// given is an answer on its way into its row.
	given struct {
		item           Item
		body           []byte
		rows           int
		note           string
		visible, final bool
		next           *intended         // what is sent after it, begun in the same transaction; nil for nothing
		events         []*topic.Prepared // that a final one tells of
	}

	// intended are the members of a call that is about to be sent.
	intended struct {
		item         Item
		step, target string
		members      []ledger.Member
	}

	// learned are outcomes on their way into the ledger.
	learned struct {
		item Item
		news ledger.News
	}

	// holder is who has a row, and what of it decides whether he may change it.
	holder struct {
		batchID string
		fence   int64
		state   flow.Status
		shown   bool             // the answer
		left    bool             // by its owner: it has its final reason
		round   int              // how often it was accepted again
		tasks   map[string]int64 // fences of those that were asked for
	}

	holding map[string]holder // by run_id
)

// desk are the groups in which outcomes are committed.
type desk struct {
	answers  *group.Group[given, []ledger.Open]
	attempts *group.Group[intended, []ledger.Open]
	records  *group.Group[learned, struct{}]
	ends     *group.Group[conclusion, concluded]
}

func newDesk(b *Book) desk {
	return desk{
		answers:  group.New(inOne, sideBySide, b.answerAll),
		attempts: group.New(inOne, sideBySide, b.attemptAll),
		records:  group.New(inOne, sideBySide, b.recordAll),
		ends:     group.New(inOne, sideBySide, b.concludeAll),
	}
}

// holders reads who has the rows; lock is "" or how they are locked. They are
// locked in the order of their IDs, here and wherever several are, so that no two
// transactions wait for each other.
func holders(ctx context.Context, q ledger.Querier, lock string, items ...Item) (holding, error) {
	runIDs, tasks := make([]string, len(items)), make([]string, 0, len(items))
	for i, item := range items {
		runIDs[i] = item.RunID
		if item.Task != "" {
			tasks = append(tasks, item.RunID)
		}
	}
	rows, err := q.Query(ctx, `
		select run_id, coalesce(batch_id, ''), fence, state, answered_at is not null, detached_at is not null, round from work
		where run_id = any ($1) order by run_id `+lock, runIDs)
	if err != nil {
		return nil, err
	}
	all := make(holding, len(runIDs))
	var id string
	var h holder
	_, err = pgx.ForEachRow(rows, []any{&id, &h.batchID, &h.fence, &h.state, &h.shown, &h.left, &h.round}, func() error { all[id] = h; return nil })
	if err != nil || len(tasks) == 0 {
		return all, err
	}
	// Who takes a task has its run: what is read here holds as long as the lock on that.
	if rows, err = q.Query(ctx, `select run_id, name, fence from task where run_id = any ($1)`, tasks); err != nil {
		return nil, err
	}
	var name string
	var fence int64
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &fence}, func() error {
		h := all[id]
		if h.tasks == nil {
			h.tasks = map[string]int64{}
		}
		h.tasks[name] = fence
		all[id] = h
		return nil
	})
	return all, err
}

// exclusively lets only us change a row until the transaction ends; rows that
// refer to it are not kept waiting.
const exclusively = `for no key update`

// refuse says why an outcome of the item must not count, nil when it does
// (promise 2).
func (all holding) refuse(item Item) error {
	h, found := all[item.RunID]
	switch {
	case !found:
		return notFound()
	case h.state.Final():
		return closed()
	case h.batchID != item.BatchID:
		return fenced()
	case item.Task != "":
		h.fence = h.tasks[item.Task]
	}
	if h.fence != item.Fence {
		return fenced()
	}
	return nil
}

// bounded is the context of a transaction of several callers.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
}

// answerAll keeps answers, those of one transaction.
func (b *Book) answerAll(ctx context.Context, in []given) ([]group.Reply[[]ledger.Open], error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var replies []group.Reply[[]ledger.Open]
	var others []sharing
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		replies, others = make([]group.Reply[[]ledger.Open], len(in)), nil
		items := make([]Item, len(in))
		for i, g := range in {
			items[i] = g.item
		}
		rows, err := holders(ctx, tx, exclusively, items...)
		if err != nil {
			return err
		}
		var keep answered
		var entries []journal.Entry
		var calls []*ledger.Call
		var callers []int
		var events []*topic.Prepared
		for i, g := range in {
			if replies[i].Err = rows.refuse(g.item); replies[i].Err != nil {
				continue
			}
			h := rows[g.item.RunID]
			if h.state != flow.Running || slices.Contains(keep.ids, g.item.RunID) {
				replies[i].Err = fenced() // as one who came a moment later would be told
				continue
			}
			keep.add(g)
			entries = append(entries, g.entries(h)...)
			events = append(events, g.events...)
			if g.next != nil {
				calls, callers = append(calls, g.next.call()), append(callers, i)
			}
		}
		if len(keep.ids) == 0 {
			return nil
		}
		if others, err = keep.write(ctx, tx, entries); err != nil {
			return err
		}
		if err := topic.PutAll(ctx, tx, events); err != nil || len(calls) == 0 {
			return err
		}
		err = ledger.Begin(ctx, tx, calls)
		for k, i := range callers {
			replies[i] = group.Reply[[]ledger.Open]{Out: calls[k].Open, Err: calls[k].Err}
		}
		return err
	})
	if err == nil {
		b.shared(others...)
	}
	return replies, err
}

// entries are what the journal keeps of an answer that had not been shown before,
// and of an end that had no reason before.
func (g given) entries(h holder) []journal.Entry {
	keys := keysOf(g.item.Params)
	var list []journal.Entry
	if g.visible && !h.shown {
		list = append(list, journal.Entry{Flow: g.item.Flow, Run: g.item.RunID, What: "answered", Reason: journal.Answered,
			Keys: keys, Detail: map[string]any{"rows": g.rows}})
	}
	if g.final {
		list = append(list, journal.Entry{Flow: g.item.Flow, Run: g.item.RunID, What: "closed", Reason: journal.Delivered, Final: !h.left,
			Round: h.round, Keys: keys, Detail: map[string]any{"status": flow.Completed}})
	}
	return list
}

// answered are the answers of a transaction as arrays for unnest.
type answered struct {
	ids, bodies, notes []string
	visible, final     []bool
	shown              []string // run_ids of those that followers see
	done, singles      []string // run_ids and batches of those that are complete
}

func (a *answered) add(g given) {
	a.ids, a.bodies, a.notes = append(a.ids, g.item.RunID), append(a.bodies, string(g.body)), append(a.notes, g.note)
	a.visible, a.final = append(a.visible, g.visible), append(a.final, g.final)
	if g.visible && !g.final {
		a.shown = append(a.shown, g.item.RunID)
	}
	if g.final {
		a.done, a.singles = append(a.done, g.item.RunID), append(a.singles, g.item.BatchID)
	}
}

// write keeps the answers, with their entries, and shares them.
func (a *answered) write(ctx context.Context, tx pgx.Tx, entries []journal.Entry) ([]sharing, error) {
	var batch pgx.Batch
	batch.Queue(`
		update work w set
			answer = case when w.answered_at is null then a.body::json else w.answer end,
			answered_at = case when a.visible then coalesce(w.answered_at, now()) else w.answered_at end,
			state = case when a.final then 'completed' else w.state end,
			closed_at = case when a.final then now() end,
			waiting = null,
			progress = case
				when a.final then work_step(work_step(w.progress, 'answered', a.note), 'closed', '')
				when a.visible then work_step(work_step(w.progress, 'answered', a.note), 'writing', '')
				else work_step(w.progress, 'writing', '') end
		from unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::bool[]) as a(id, body, note, visible, final)
		where w.run_id = a.id`, a.ids, a.bodies, a.notes, a.visible, a.final)
	settleSingles(&batch, a.singles)
	if err := journal.Queue(&batch, entries...); err != nil {
		return nil, err
	}
	var shown, done []string
	leaders(&batch, a.shown, &shown)
	leaders(&batch, a.done, &done)
	if err := journal.Verdict(tx.SendBatch(ctx, &batch).Close()); err != nil {
		return nil, err
	}
	others, err := shareAnswers(ctx, tx, shown)
	if err != nil {
		return nil, err
	}
	ended, err := shareEnds(ctx, tx, done)
	return append(others, ended...), err
}

// settleSingles settles those of the batches that are of one, in the transaction
// that ends their run.
func settleSingles(batch *pgx.Batch, ids []string) {
	if len(ids) > 0 {
		batch.Queue(`
			update batch set settled_at = now(), done = (select count(*) from work
				where work.batch_id = batch.batch_id and state in ('completed', 'failed', 'cancelled'))
			where batch_id = any ($1) and size = 1 and settled_at is null`, ids)
	}
}

// attemptAll begins the attempts of one transaction.
func (b *Book) attemptAll(ctx context.Context, in []intended) ([]group.Reply[[]ledger.Open], error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var replies []group.Reply[[]ledger.Open]
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		replies = make([]group.Reply[[]ledger.Open], len(in))
		items := make([]Item, len(in))
		for i, n := range in {
			items[i] = n.item
		}
		rows, err := holders(ctx, tx, exclusively, items...)
		if err != nil {
			return err
		}
		left := make([]int, 0, len(in))
		for i, n := range in {
			if replies[i].Err = rows.refuse(n.item); replies[i].Err == nil {
				left = append(left, i)
			}
		}
		for len(left) > 0 { // a run that comes twice has its turns one after the other
			var calls []*ledger.Call
			var of, later []int
			turn := map[string]bool{}
			for _, i := range left {
				n := in[i]
				if turn[n.item.RunID] {
					later = append(later, i)
					continue
				}
				turn[n.item.RunID] = true
				of = append(of, i)
				calls = append(calls, n.call())
			}
			if err := ledger.Begin(ctx, tx, calls); err != nil {
				return err
			}
			for k, i := range of {
				replies[i] = group.Reply[[]ledger.Open]{Out: calls[k].Open, Err: calls[k].Err}
			}
			left = later
		}
		return nil
	})
	return replies, err
}

func (n *intended) call() *ledger.Call {
	return &ledger.Call{Cause: n.item.RunID, Step: n.step, Undo: flow.Undoes(n.step) != "", Target: n.target, CallID: n.item.RunID, Members: n.members}
}

// recordAll keeps the outcomes of one transaction.
func (b *Book) recordAll(ctx context.Context, in []learned) ([]group.Reply[struct{}], error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var replies []group.Reply[struct{}]
	err := b.store.Tx(ctx, func(tx pgx.Tx) error {
		replies = make([]group.Reply[struct{}], len(in))
		items := make([]Item, len(in))
		for i, l := range in {
			items[i] = l.item
		}
		rows, err := holders(ctx, tx, exclusively, items...)
		if err != nil {
			return err
		}
		var news []ledger.News
		for i, l := range in {
			if replies[i].Err = rows.refuse(l.item); replies[i].Err != nil {
				continue
			}
			if err := l.news.Valid(); err != nil {
				replies[i].Err = fault.Of(err)
				continue
			}
			news = append(news, l.news)
		}
		_, err = ledger.SettleAll(ctx, tx, news...)
		return err
	})
	return replies, err
}
