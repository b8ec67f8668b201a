package ledger

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Ledger begins attempts. It is safe for concurrent use.
	Ledger struct {
		store *store.Store
	}

	// Member is one intended write of a call.
	Member struct {
		Key    string // canonical JSON array of the key's values; distinct within a call
		Label  string // the key in words, safe to show: "AS54888, Weight"
		SHA256 []byte // of the row that will be sent; frozen from the first intent on
	}

	// Open is a member that this attempt has to send.
	Open struct {
		Key     string
		Fence   int64  // of this attempt; goes back in the Outcome
		CallID  string // of the call the member was first intended for
		Retried bool   // an earlier attempt's outcome is unknown: read back first
	}

	// Outcome is what an attempt learned about one member. State is Confirmed,
	// Refused, Doubtful, or Intent when the write certainly never reached the
	// target, as after a 429.
	Outcome struct {
		Key    string
		Fence  int64
		State  flow.EffectState
		Reason string // why refused or in doubt, safe to show; "unchanged" when the target had it already
	}
)

// New gives a Ledger on a store.
func New(s *store.Store) *Ledger { return &Ledger{store: s} }

// Attempt records that the members are about to be sent to target
// ("connection.table") as one call, and gives those that are still to be sent, in
// the order of members. Confirmed, refused and settled ones are left out. It is
// committed when Attempt returns: only then may anything be sent.
//
// Faults: Conflict "ledger.sealed" when the cause was cancelled; Bug
// "ledger.body_changed" when a member differs from its first intent, and Bug
// "ledger.duplicate_key".
func (l *Ledger) Attempt(ctx context.Context, cause, step, target, callID string, members []Member) ([]Open, error) {
	in, err := columns(members)
	if err != nil {
		return nil, err
	}
	var open []Open
	err = l.store.Tx(ctx, func(tx pgx.Tx) error {
		open, err = attempt(ctx, tx, cause, step, target, callID, in)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("recording the attempt: %w", err)
	}
	return open, nil
}

// call is the members of a call as arrays for unnest.
type call struct {
	keys, labels []string
	sums         [][]byte
	place        map[string]int
}

func columns(members []Member) (call, error) {
	in := call{place: make(map[string]int, len(members))}
	for i, m := range members {
		if _, twice := in.place[m.Key]; twice {
			return call{}, fault.New(fault.Bug, "ledger.duplicate_key", "two members of a call have the same key", nil)
		}
		in.place[m.Key] = i
		in.keys = append(in.keys, m.Key)
		in.labels = append(in.labels, store.Text(m.Label))
		in.sums = append(in.sums, m.SHA256)
	}
	return in, nil
}

// attempt sends its four statements in one round trip. The lock must be a
// statement before those that depend on it, so that their snapshots are newer.
func attempt(ctx context.Context, tx pgx.Tx, cause, step, target, callID string, in call) ([]Open, error) {
	var batch pgx.Batch
	var sealed, changed bool
	found := make([]Open, len(in.keys))
	open := make([]bool, len(in.keys))

	batch.Queue(`select pg_advisory_xact_lock_shared(`+lockKey+`)`, cause)
	batch.Queue(isSealed, cause).QueryRow(func(r pgx.Row) error { return r.Scan(&sealed) })
	batch.Queue(`
		insert into effect (cause, step, target_key, ordinal, target, label, body_sha256, call_id)
		select $1, $2, m.key, m.n + (select coalesce(max(ordinal), 0) from effect where cause = $1), $3, m.label, m.sum, $4
		from unnest($5::text[], $6::text[], $7::bytea[]) with ordinality as m(key, label, sum, n)
		on conflict do nothing`, cause, step, target, callID, in.keys, in.labels, in.sums)
	batch.Queue(`
		with old as (
			select target_key, state, body_sha256, coalesce(call_id, '') as call_id from effect
			where cause = $1 and step = $2 and target_key = any ($3)
			order by ordinal for update
		), begun as (
			update effect e set state = 'attempt', fence = nextval('effect_fence'), attempts = attempts + 1,
			       unsure = old.state <> 'intent', attempted_at = now(), reason = null
			from old where e.cause = $1 and e.step = $2 and e.target_key = old.target_key
			           and old.state in ('intent', 'attempt', 'in_doubt')
			returning e.target_key, e.fence
		)
		select target_key, old.state, old.body_sha256, old.call_id, begun.fence
		from old left join begun using (target_key)`, cause, step, in.keys).Query(func(rows pgx.Rows) error {
		var key, state, first string
		var sum []byte
		var fence *int64
		_, err := pgx.ForEachRow(rows, []any{&key, &state, &sum, &first, &fence}, func() error {
			i := in.place[key]
			changed = changed || !bytes.Equal(sum, in.sums[i])
			if open[i] = fence != nil; open[i] {
				found[i] = Open{Key: key, Fence: *fence, CallID: first, Retried: flow.EffectState(state) != flow.Intent}
			}
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, err
	}
	switch {
	case sealed:
		return nil, fault.New(fault.Conflict, "ledger.sealed", "the run was cancelled; nothing more is sent", nil)
	case changed:
		return nil, fault.New(fault.Bug, "ledger.body_changed", "a retry would send other data than the attempt before it", nil)
	}
	out := make([]Open, 0, len(found))
	for i, o := range found {
		if open[i] {
			out = append(out, o)
		}
	}
	return out, nil
}

// Record commits outcomes by themselves, for an attempt that ends without closing
// its run. It returns how many were applied; see Settle.
func (l *Ledger) Record(ctx context.Context, cause, step string, outcomes []Outcome) (applied int, err error) {
	err = l.store.Tx(ctx, func(tx pgx.Tx) error {
		applied, err = Settle(ctx, tx, cause, step, outcomes)
		return err
	})
	return applied, err
}
