package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Querier reads; a pgx.Tx, a connection and a pool are ones.
	Querier interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	}

	// News is what an attempt of one cause learned.
	News struct {
		Cause, Step string
		Outcomes    []Outcome
	}

	// attempt is one that news came of.
	attempt struct {
		cause, step string
		fence       int64
	}

	// fate is what became of some of its members, by their keys.
	fate struct {
		state  flow.EffectState
		reason string
		keys   map[string]bool
	}
)

// SettleAll applies outcomes by compare-and-set on their fences and returns how
// many it applied: news of a superseded attempt, and of an effect whose outcome is
// known already, changes nothing. A confirmation of an effect in doubt settles it.
// That this attempt never reached the target, or was refused, says nothing of the
// one before it: where that one's outcome is unknown the effect is in doubt.
func SettleAll(ctx context.Context, tx pgx.Tx, news ...News) (applied int, err error) {
	heard, err := hear(news)
	if err != nil || len(heard) == 0 {
		return 0, err
	}
	var batch pgx.Batch
	heard.settleWhole(&batch, &applied)
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return 0, err
	}
	err = heard.settleParts(ctx, tx, &applied)
	return applied, err
}

// hearing is the news of a transaction, by attempt. What was applied is taken out.
type hearing map[attempt][]*fate

func hear(news []News) (hearing, error) {
	heard := hearing{}
	type known struct {
		attempt
		key string
	}
	told := map[known]bool{}
	for _, n := range news {
		if err := n.Valid(); err != nil {
			return nil, err
		}
		for _, o := range n.Outcomes {
			at, reason := attempt{n.Cause, n.Step, o.Fence}, store.Text(o.Reason)
			if told[known{at, o.Key}] {
				continue // as a second transaction would find it decided, or tell it again
			}
			told[known{at, o.Key}] = true
			var same *fate
			for _, f := range heard[at] {
				if f.state == o.State && f.reason == reason {
					same = f
				}
			}
			if same == nil {
				same = &fate{o.State, reason, map[string]bool{}}
				heard[at] = append(heard[at], same)
			}
			same.keys[o.Key] = true
		}
	}
	return heard, nil
}

// settled are fates of rows as columns.
type settled struct {
	causes, steps, states, reasons []string
	fences                         []int64
	ordinals, sizes                []int32 // ordinal 0: the one row that has the fence, if it is of that size
}

func (s *settled) add(at attempt, f *fate, ordinal, size int32) {
	s.causes, s.steps, s.fences = append(s.causes, at.cause), append(s.steps, at.step), append(s.fences, at.fence)
	s.states, s.reasons = append(s.states, string(f.state)), append(s.reasons, f.reason)
	s.ordinals, s.sizes = append(s.ordinals, ordinal), append(s.sizes, size)
}

func (s *settled) queue(batch *pgx.Batch, each func(at attempt, members int)) {
	if len(s.causes) == 0 {
		return
	}
	batch.Queue(`
		update effect e set
			state = case when e.state = 'in_doubt' and o.state = 'confirmed' then 'settled'
			             when e.unsure and o.state in ('intent', 'refused') then 'in_doubt'
			             else o.state end,
			reason = nullif(o.reason, ''),
			unsure_at = case when o.state = 'in_doubt' then e.attempted_at else e.unsure_at end,
			settled_at = case when o.state = 'confirmed' or o.state = 'refused' and not e.unsure then now() end
		from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::int[], $7::int[]) as o(cause, step, fence, state, reason, ordinal, size)
		where e.cause = o.cause and e.step = o.step and e.fence = o.fence
		  and (o.ordinal = e.ordinal or o.ordinal = 0 and e.whole and cardinality(e.keys) = o.size)
		  and (e.state = 'attempt' or e.state = 'in_doubt' and o.state in ('confirmed', 'refused'))
		returning e.cause, e.step, e.fence, cardinality(e.keys)`,
		s.causes, s.steps, s.fences, s.states, s.reasons, s.ordinals, s.sizes).Query(func(rows pgx.Rows) error {
		var at attempt
		var n int
		_, err := pgx.ForEachRow(rows, []any{&at.cause, &at.step, &at.fence, &n}, func() error { each(at, n); return nil })
		return err
	})
}

// settleWhole applies, in the batch, the news of attempts whose members fared alike,
// all of them, as most do.
func (h hearing) settleWhole(batch *pgx.Batch, applied *int) {
	var s settled
	for at, fates := range h {
		if len(fates) == 1 {
			s.add(at, fates[0], 0, int32(len(fates[0].keys)))
		}
	}
	s.queue(batch, func(at attempt, members int) {
		*applied += members
		delete(h, at)
	})
}

// settleParts applies what is left, member by member: rows whose members fared
// differently, or of which only some are known, are split.
func (h hearing) settleParts(ctx context.Context, tx pgx.Tx, applied *int) error {
	if len(h) == 0 {
		return nil
	}
	causes := make([]string, 0, len(h))
	for at := range h {
		causes = append(causes, at.cause)
	}
	rows, err := effectsOf(ctx, tx, causes)
	if err != nil {
		return err
	}
	var batch pgx.Batch
	var s settled
	for _, e := range rows {
		at := attempt{e.cause, e.step, e.fence}
		var parts []part
		for _, f := range h[at] {
			if p := e.take(f.keys); len(p) > 0 && e.decidedBy(f.state) {
				parts = append(parts, p)
				s.add(at, f, p[0].ordinal, 0)
			}
		}
		if len(parts) > 1 || len(parts) == 1 && len(parts[0]) < len(e.members) {
			e.split(&batch, parts)
		}
	}
	s.queue(&batch, func(_ attempt, members int) { *applied += members })
	return tx.SendBatch(ctx, &batch).Close()
}

// decidedBy reports whether an outcome changes anything of the row.
func (e *effects) decidedBy(state flow.EffectState) bool {
	return e.state == flow.Attempt || e.state == flow.Doubtful && (state == flow.Confirmed || state == flow.Refused)
}

// Valid is a Bug, code "ledger.outcome", when an outcome is none that an attempt
// can have.
func (n News) Valid() error {
	for _, o := range n.Outcomes {
		switch o.State {
		case flow.Confirmed, flow.Refused, flow.Doubtful, flow.Intent:
		default:
			return fault.New(fault.Bug, "ledger.outcome", "an attempt cannot end as "+string(o.State), nil)
		}
	}
	return nil
}

// Conclude is the last that is heard of the causes before they end: it applies the
// news as SettleAll does, marks every attempt of the causes in doubt whose outcome
// never came back, for the reason given, and gives the tallies of all.
func Conclude(ctx context.Context, tx pgx.Tx, news []News, reason string, doubt, all []string) (map[string][]Tally, error) {
	heard, err := hear(news)
	if err != nil {
		return nil, err
	}
	var applied int
	var tallies map[string][]Tally
	last := func(batch *pgx.Batch) {
		if len(doubt) > 0 {
			batch.Queue(`update effect set state = 'in_doubt', reason = $2, unsure_at = attempted_at where cause = any ($1) and state = 'attempt'`, doubt, store.Text(reason))
		}
		batch.Queue(talliesQuery, all).Query(func(rows pgx.Rows) (err error) { tallies, err = scanTallies(rows); return err })
	}
	var batch pgx.Batch
	heard.settleWhole(&batch, &applied)
	if len(doubt) == 0 { // else news that concerns parts has to come first
		last(&batch)
	}
	if batch.Len() > 0 {
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return nil, err
		}
	}
	if len(heard) == 0 && len(doubt) == 0 {
		return tallies, nil
	}
	if err := heard.settleParts(ctx, tx, &applied); err != nil {
		return nil, err
	}
	var rest pgx.Batch
	last(&rest)
	return tallies, tx.SendBatch(ctx, &rest).Close()
}
