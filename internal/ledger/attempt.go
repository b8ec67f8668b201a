package ledger

import (
	"bytes"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Call is what one cause is about to send by one call. Begin fills Open and Err.
type Call struct {
	Cause   string
	Step    string
	Target  string // "connection.table"
	CallID  string
	Members []Member
	Undo    bool // it takes back what the cause has done: a seal does not keep it from that

	Open []Open // what is still to be sent, in the order of Members
	Err  error  // why nothing of this call was recorded
}

type (
	// place is what a member is known by.
	place struct{ cause, step, key string }

	// spot is where it stands.
	spot struct {
		row    *effects
		member effect
	}

	// begun is a row that an attempt has: what it begins with follows.
	begun struct {
		cause, step string
		ordinal     int32
	}

	beginning struct {
		fence int64
		since time.Duration
	}
)

// Begin records that the members of the calls are about to be sent, in the
// caller's transaction; only after its commit may anything be sent. Confirmed,
// refused and settled members are left out of Open. Members that are to leave Later
// are only intended: nothing of them may be sent before a Begin without that word,
// and until then whoever comes next knows that nothing was. The caller holds each cause:
// it has locked the row that the seal of the cause locks too, so that nobody else
// begins, settles or seals meanwhile, and no cause comes twice.
//
// Call.Err is Conflict "ledger.sealed" when the cause was cancelled, Bug
// "ledger.body_changed" when a member differs from its first intent, and Bug
// "ledger.duplicate_key"; the other calls are recorded nevertheless.
func Begin(ctx context.Context, tx pgx.Tx, calls []*Call) error {
	causes := make([]string, len(calls))
	for i, c := range calls {
		causes[i], c.Open, c.Err = c.Cause, nil, nil
	}
	sealed, there, last, err := standing(ctx, tx, causes)
	if err != nil {
		return err
	}
	fences := map[begun]beginning{}
	var batch pgx.Batch
	var fresh freshRows
	for _, c := range calls {
		if c.Err = c.check(sealed, there); c.Err == nil {
			c.again(&batch, there, fences)
			fresh.add(c, there, last[c.Cause])
		}
	}
	fresh.queue(&batch, fences)
	if batch.Len() > 0 {
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
	}
	for _, c := range calls {
		if c.Err == nil {
			c.open(there, fences)
		}
	}
	return nil
}

// standing reads which of the causes are sealed, where their members stand, and the
// last ordinal of each.
func standing(ctx context.Context, tx pgx.Tx, causes []string) (sealed map[string]bool, there map[place]spot, last map[string]int32, err error) {
	sealed, there, last = map[string]bool{}, map[place]spot{}, map[string]int32{}
	var batch pgx.Batch
	batch.Queue(sealedQuery, causes).Query(func(rows pgx.Rows) error { return scanSealed(rows, sealed) })
	batch.Queue(effectsQuery, causes).Query(func(rows pgx.Rows) error {
		all, err := scanEffects(rows)
		for _, e := range all {
			for _, m := range e.members {
				there[place{e.cause, e.step, m.key}] = spot{e, m}
				last[e.cause] = max(last[e.cause], m.ordinal)
			}
		}
		return err
	})
	return sealed, there, last, tx.SendBatch(ctx, &batch).Close()
}

// check says why nothing of the call may begin.
func (c *Call) check(sealed map[string]bool, there map[place]spot) error {
	if sealed[c.Cause] && !c.Undo {
		return fault.New(fault.Conflict, "ledger.sealed", "the run was cancelled; nothing more is sent", nil)
	}
	keys := make(map[string]struct{}, len(c.Members))
	for _, m := range c.Members {
		if _, twice := keys[m.Key]; twice {
			return fault.New(fault.Bug, "ledger.duplicate_key", "two members of a call have the same key", nil)
		}
		keys[m.Key] = struct{}{}
		if old, found := there[place{c.Cause, c.Step, m.Key}]; found && !bytes.Equal(old.member.sum, m.SHA256) {
			return fault.New(fault.Bug, "ledger.body_changed", "a retry would send other data than the attempt before it", nil)
		}
	}
	return nil
}

// again begins new attempts of members that were begun before and are not decided:
// whole rows, unless the call has only some of their members.
func (c *Call) again(batch *pgx.Batch, there map[place]spot, fences map[begun]beginning) {
	wanted := map[*effects]map[string]bool{}
	var rows []*effects
	for _, m := range c.Members {
		old, found := there[place{c.Cause, c.Step, m.Key}]
		if !found || old.row.decided() {
			continue
		}
		if wanted[old.row] == nil {
			wanted[old.row] = map[string]bool{}
			rows = append(rows, old.row)
		}
		wanted[old.row][m.Key] = true
	}
	for _, e := range rows {
		at := begun{e.cause, e.step, e.ordinal}
		if e.state == flow.Intent && c.later() {
			fences[at] = beginning{fence: e.fence}
			continue
		}
		if p := e.take(wanted[e]); len(p) < len(e.members) {
			e.split(batch, []part{p})
			at.ordinal = p[0].ordinal
			taken := *e // the row that these members have to themselves from now on
			taken.ordinal = at.ordinal
			for _, m := range p {
				there[place{e.cause, e.step, m.key}] = spot{&taken, m}
			}
		}
		batch.Queue(`
			update effect set state = 'attempt', fence = nextval('effect_fence'), attempts = attempts + 1,
			       whole = true, unsure = state <> 'intent', attempted_at = now(), reason = null,
			       unsure_at = case state when 'intent' then null when 'attempt' then attempted_at else coalesce(unsure_at, attempted_at) end
			where cause = $1 and step = $2 and ordinal = $3
			returning fence, coalesce(extract(epoch from now() - unsure_at) * 1000000, 0)::bigint`,
			at.cause, at.step, at.ordinal).QueryRow(func(r pgx.Row) error {
			var fence, since int64
			err := r.Scan(&fence, &since)
			fences[at] = beginning{fence, time.Duration(max(since, 0)) * time.Microsecond}
			return err
		})
	}
}

// later reports whether the members of the call are only intended now.
func (c *Call) later() bool { return len(c.Members) > 0 && c.Members[0].Later }

// decided reports whether nothing of the row is to be sent any more.
func (e *effects) decided() bool {
	return e.state != flow.Intent && e.state != flow.Attempt && e.state != flow.Doubtful
}

// freshRows are calls with members that were never intended before, a row each, as
// columns. A new member is an attempt from its first version on.
type freshRows struct {
	causes, steps, targets, calls []string
	ordinals, sizes               []int32
	laters                        []bool
	members                       part
}

func (f *freshRows) add(c *Call, there map[place]spot, last int32) {
	row := &effects{cause: c.Cause, step: c.Step, target: c.Target, callID: c.CallID, ordinal: last + 1, state: flow.Intent}
	for _, m := range c.Members {
		at := place{c.Cause, c.Step, m.Key}
		if _, found := there[at]; found {
			continue
		}
		last++
		row.members = append(row.members, effect{last, m.Key, store.Text(m.Label), m.SHA256})
		there[at] = spot{row, effect{}}
	}
	if len(row.members) == 0 {
		return
	}
	f.causes, f.steps, f.targets, f.calls = append(f.causes, c.Cause), append(f.steps, c.Step), append(f.targets, c.Target), append(f.calls, c.CallID)
	f.ordinals, f.sizes = append(f.ordinals, row.ordinal), append(f.sizes, int32(len(row.members)))
	f.laters, f.members = append(f.laters, c.later()), append(f.members, row.members...)
}

func (f *freshRows) queue(batch *pgx.Batch, fences map[begun]beginning) {
	if len(f.causes) == 0 {
		return
	}
	ends, end := make([]int32, len(f.sizes)), int32(0)
	for i, n := range f.sizes {
		end += n
		ends[i] = end
	}
	batch.Queue(`
		insert into effect (cause, step, ordinal, target, call_id, ordinals, keys, labels, sums, state, fence, attempts, attempted_at)
		select cause, step, ordinal, target, call_id, ($7::int[])[till-size+1:till], ($8::text[])[till-size+1:till], ($9::text[])[till-size+1:till],
		       ($10::bytea[])[till-size+1:till], case when later then 'intent' else 'attempt' end, nextval('effect_fence'),
		       case when later then 0 else 1 end, case when not later then now() end
		from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::int[], $11::int[], $12::bool[])
		as c(cause, step, ordinal, target, call_id, size, till, later)
		returning cause, step, ordinal, fence`,
		append(append([]any{f.causes, f.steps, f.ordinals, f.targets, f.calls, f.sizes}, f.members.columns()...), ends, f.laters)...).Query(func(rows pgx.Rows) error {
		var at begun
		var fence int64
		_, err := pgx.ForEachRow(rows, []any{&at.cause, &at.step, &at.ordinal, &fence}, func() error { fences[at] = beginning{fence: fence}; return nil })
		return err
	})
}

// open lists what an attempt has begun of, in the order of the call.
func (c *Call) open(there map[place]spot, fences map[begun]beginning) {
	c.Open = make([]Open, 0, len(c.Members))
	for _, m := range c.Members {
		row := there[place{c.Cause, c.Step, m.Key}].row
		if b, has := fences[begun{row.cause, row.step, row.ordinal}]; has {
			c.Open = append(c.Open, Open{Key: m.Key, Fence: b.fence, CallID: row.callID, Retried: row.state != flow.Intent, Since: b.since})
		}
	}
}
