package ledger

import (
	"bytes"
	"context"

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

	Open []Open // what is still to be sent, in the order of Members
	Err  error  // why nothing of this call was recorded
}

// fresh are members without a row, seen those whose outcome is open or in doubt,
// as arrays for unnest.
type (
	fresh struct {
		causes, steps, keys, targets, labels, calls []string
		ordinals                                    []int32
		sums                                        [][]byte
	}
	seen struct{ causes, steps, keys []string }

	// known is an effect that there is.
	known struct {
		state  flow.EffectState
		sum    []byte
		callID string
	}

	place struct{ cause, step, key string }
)

// Begin records that the members of the calls are about to be sent, in the
// caller's transaction; only after its commit may anything be sent. Confirmed,
// refused and settled members are left out of Open. The caller holds each cause:
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
	sealed, err := Sealed(ctx, tx, causes...)
	if err != nil {
		return err
	}
	there, last, err := effectsOf(ctx, tx, causes)
	if err != nil {
		return err
	}
	var add fresh
	var again seen
	for _, c := range calls {
		if c.Err = c.check(sealed, there); c.Err != nil {
			continue
		}
		n := last[c.Cause]
		for _, m := range c.Members {
			old, found := there[place{c.Cause, c.Step, m.Key}]
			switch {
			case !found:
				n++
				add.causes, add.steps, add.keys = append(add.causes, c.Cause), append(add.steps, c.Step), append(add.keys, m.Key)
				add.targets, add.labels = append(add.targets, c.Target), append(add.labels, store.Text(m.Label))
				add.calls, add.ordinals, add.sums = append(add.calls, c.CallID), append(add.ordinals, n), append(add.sums, m.SHA256)
			case old.state == flow.Intent, old.state == flow.Attempt, old.state == flow.Doubtful:
				again.causes, again.steps, again.keys = append(again.causes, c.Cause), append(again.steps, c.Step), append(again.keys, m.Key)
			}
		}
	}
	fences, err := begin(ctx, tx, add, again)
	if err != nil {
		return err
	}
	for _, c := range calls {
		if c.Err != nil {
			continue
		}
		c.Open = make([]Open, 0, len(c.Members))
		for _, m := range c.Members {
			at := place{c.Cause, c.Step, m.Key}
			if fence, begun := fences[at]; begun {
				old, retried := there[at]
				o := Open{Key: m.Key, Fence: fence, CallID: c.CallID}
				if retried {
					o.CallID, o.Retried = old.callID, old.state != flow.Intent
				}
				c.Open = append(c.Open, o)
			}
		}
	}
	return nil
}

// check says why nothing of the call may begin.
func (c *Call) check(sealed map[string]bool, there map[place]known) error {
	if sealed[c.Cause] {
		return fault.New(fault.Conflict, "ledger.sealed", "the run was cancelled; nothing more is sent", nil)
	}
	keys := make(map[string]struct{}, len(c.Members))
	for _, m := range c.Members {
		if _, twice := keys[m.Key]; twice {
			return fault.New(fault.Bug, "ledger.duplicate_key", "two members of a call have the same key", nil)
		}
		keys[m.Key] = struct{}{}
		if old, found := there[place{c.Cause, c.Step, m.Key}]; found && !bytes.Equal(old.sum, m.SHA256) {
			return fault.New(fault.Bug, "ledger.body_changed", "a retry would send other data than the attempt before it", nil)
		}
	}
	return nil
}

// effectsOf reads what there is of the causes, and the last ordinal of each.
func effectsOf(ctx context.Context, tx pgx.Tx, causes []string) (there map[place]known, last map[string]int32, err error) {
	rows, err := tx.Query(ctx, `
		select cause, step, target_key, ordinal, state, body_sha256, coalesce(call_id, '') from effect where cause = any ($1)`, causes)
	if err != nil {
		return nil, nil, err
	}
	there, last = map[place]known{}, map[string]int32{}
	var at place
	var ordinal int32
	var e known
	_, err = pgx.ForEachRow(rows, []any{&at.cause, &at.step, &at.key, &ordinal, &e.state, &e.sum, &e.callID}, func() error {
		there[at] = known{state: e.state, sum: bytes.Clone(e.sum), callID: e.callID}
		last[at.cause] = max(last[at.cause], ordinal)
		return nil
	})
	return there, last, err
}

// begin makes the attempts and gives their fences. A new member is an attempt from
// its first version on.
func begin(ctx context.Context, tx pgx.Tx, add fresh, again seen) (map[place]int64, error) {
	fences := make(map[place]int64, len(add.keys)+len(again.keys))
	collect := func(rows pgx.Rows) error {
		var at place
		var fence int64
		_, err := pgx.ForEachRow(rows, []any{&at.cause, &at.step, &at.key, &fence}, func() error { fences[at] = fence; return nil })
		return err
	}
	var batch pgx.Batch
	if len(add.keys) > 0 {
		batch.Queue(`
			insert into effect (cause, step, target_key, ordinal, target, label, body_sha256, call_id, state, fence, attempts, attempted_at)
			select cause, step, key, ordinal, target, label, sum, call_id, 'attempt', nextval('effect_fence'), 1, now()
			from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::bytea[], $8::text[])
			     as m(cause, step, key, ordinal, target, label, sum, call_id)
			returning cause, step, target_key, fence`,
			add.causes, add.steps, add.keys, add.ordinals, add.targets, add.labels, add.sums, add.calls).Query(collect)
	}
	if len(again.keys) > 0 {
		batch.Queue(`
			update effect e set state = 'attempt', fence = nextval('effect_fence'), attempts = attempts + 1,
			       unsure = e.state <> 'intent', attempted_at = now(), reason = null
			from unnest($1::text[], $2::text[], $3::text[]) as m(cause, step, key)
			where e.cause = m.cause and e.step = m.step and e.target_key = m.key
			returning e.cause, e.step, e.target_key, e.fence`, again.causes, again.steps, again.keys).Query(collect)
	}
	if batch.Len() == 0 {
		return fences, nil
	}
	return fences, tx.SendBatch(ctx, &batch).Close()
}
