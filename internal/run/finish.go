package run

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/ledger"
)

// finish makes one open row final, that of a run which nobody has begun.
func finish(ctx context.Context, tx pgx.Tx, row locked, end ending) error {
	tallies, err := ledger.Tallies(ctx, tx, row.runID)
	if err != nil {
		return err
	}
	end.row, end.effects = row, tallies[row.runID]
	_, err = finishAll(ctx, tx, []ending{end})
	return err
}

// finishAll makes open rows final, with their effects and their one final reason
// in the journal (promise 4), and settles the batches that were of one. It gives
// those that others shared; these are ended afterwards, see shareEnds.
func finishAll(ctx context.Context, tx pgx.Tx, ends []ending) (shared []string, err error) {
	if len(ends) == 0 {
		return nil, nil
	}
	certified, err := certify(ctx, tx, ends)
	if err != nil {
		return nil, err
	}
	entries, err := stand(ctx, tx, ends)
	if err != nil {
		return nil, err
	}
	n := len(ends)
	ids, states, notes, batches := make([]string, n), make([]string, n), make([]string, n), make([]string, 0, n)
	problems, certificates := make([]*string, n), make([]*string, n)
	for i, end := range ends {
		ids[i], states[i], notes[i] = end.row.runID, string(end.status), end.note
		if end.row.batchID != "" {
			batches = append(batches, end.row.batchID)
		}
		if end.problem != nil {
			body, err := encode(end.problem)
			if err != nil {
				return nil, err
			}
			problems[i] = new(string(body))
		}
		certificates[i] = certified[end.row.runID]
		entries = append(entries, end.entries()...)
	}
	var batch pgx.Batch
	// An answer that waited for the write is shown when the write is done.
	batch.Queue(`
		update work w set state = e.state, closed_at = now(), problem = e.problem::jsonb, waiting = null, due_at = null,
		       certificate = coalesce(w.certificate, e.certificate::jsonb),
		       answered_at = case when e.state = 'completed' and w.answer is not null then coalesce(w.answered_at, now()) else w.answered_at end,
		       progress = work_step(w.progress, 'closed', e.note)
		from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as e(id, state, problem, certificate, note)
		where w.run_id = e.id`, ids, states, problems, certificates, notes)
	settleSingles(&batch, batches)
	bury(&batch, ends, problems)
	if err := journal.Queue(&batch, entries...); err != nil {
		return nil, err
	}
	leaders(&batch, ids, &shared)
	return shared, journal.Verdict(tx.SendBatch(ctx, &batch).Close())
}

// certify makes the certificates of those that were cancelled: they name each
// effect.
func certify(ctx context.Context, tx pgx.Tx, ends []ending) (map[string]*string, error) {
	var cancelled []string
	for _, end := range ends {
		if end.status == flow.Cancelled {
			cancelled = append(cancelled, end.row.runID)
		}
	}
	if len(cancelled) == 0 {
		return nil, nil
	}
	effects, err := ledger.EffectsOf(ctx, tx, cancelled...)
	if err != nil {
		return nil, err
	}
	made := make(map[string]*string, len(cancelled))
	for _, end := range ends {
		if end.status != flow.Cancelled {
			continue
		}
		body, err := encode(certificate(end.row, end.status, effects[end.row.runID]))
		if err != nil {
			return nil, err
		}
		made[end.row.runID] = new(string(body))
	}
	return made, nil
}

// labelsShown bounds the effects that an entry names to people; it is found by the
// keys of all.
const labelsShown = 20

// entries are what the journal keeps of the end of a run: one for the effects that
// share their fate, found by the key of each, and the end. A run whose owner has
// left has its final reason already.
func (end ending) entries() []journal.Entry {
	keys := append(keysOf(end.row.params), end.keys...)
	list := make([]journal.Entry, 0, len(end.effects)+1)
	summary := map[string]any{"status": end.status}
	counts := map[journal.Reason]int{}
	for _, e := range end.effects {
		reason := reasonOfEffect[e.State]
		counts[reason] += len(e.Labels)
		detail := map[string]any{"step": e.Step, "target": e.Target, "count": len(e.Labels), "labels": e.Labels[:min(len(e.Labels), labelsShown)]}
		if e.Reason != "" {
			detail["why"] = e.Reason
		}
		list = append(list, journal.Entry{Flow: end.row.flow, Run: end.row.runID, What: "effect", Reason: reason,
			Keys: slices.Concat(e.Labels, keys), Detail: detail})
	}
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		summary[string(reason)] = counts[reason]
	}
	if end.problem != nil {
		summary["code"], summary["problem"] = end.problem.Code, end.problem.Detail
	}
	return append(list, journal.Entry{Flow: end.row.flow, Run: end.row.runID, What: "closed", Reason: end.reason, Final: !end.row.detached,
		Round: end.row.round, Keys: keys, Detail: summary})
}

var reasonOfEffect = map[flow.EffectState]journal.Reason{
	flow.Intent:    journal.Undone,
	flow.Attempt:   journal.InDoubt,
	flow.Doubtful:  journal.InDoubt,
	flow.Confirmed: journal.Confirmed,
	flow.Settled:   journal.Confirmed,
	flow.Refused:   journal.Refused,
}
