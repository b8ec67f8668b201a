package mirror

import (
	"context"

	"patchbay/internal/connector"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

// over sends what a system that compares where it writes can be sent unread. A record that
// is not as it was thought to be is looked at then.
func (w *writer) over(ctx context.Context, plans []*plan) error {
	system, ok := w.System.(connector.Comparer)
	if !ok || !w.ordered() || w.id != "" {
		return nil
	}
	told := 0
	for _, is := range w.told {
		if is {
			told++
		}
	}
	var due []*plan
	var was []connector.Row
	u := connector.Upsert{Table: w.table.Name, Key: w.table.Key, Held: w.held, Origin: w.origin()}
	for _, p := range plans {
		o := &p.order
		if p.settled != nil || o.Delete || o.Check || o.Was != nil || o.Attempts > 0 || !o.Create && len(p.base) < told {
			continue
		}
		base := p.base
		if o.Create {
			p.complete()
			base = nil
		}
		due, was, u.Rows = append(due, p), append(was, base), append(u.Rows, p.row)
	}
	if len(due) == 0 {
		return nil
	}
	results, err := system.UpsertOver(ctx, u, was)
	if err := w.results(ctx, due, results, err); err != nil {
		return err
	}
	for _, p := range due {
		if p.settled.Outcome == flow.SyncWaiting && p.settled.Code == replica.CodeUnobserved {
			p.settled, p.tried = nil, true
		}
	}
	return nil
}
