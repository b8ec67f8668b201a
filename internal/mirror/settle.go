package mirror

import (
	"context"
	"errors"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

// named learns the IDs of records that were made, for those that refer to them.
func (w *writer) named(ctx context.Context, written []*plan) error {
	reader, ok := w.System.(connector.KeyReader)
	if !ok || w.id == "" {
		return nil
	}
	var made []*plan
	var keys []connector.Row
	for _, p := range written {
		if p.version == "" && p.settled.Outcome == flow.SyncApplied {
			key, err := keyRow(w.table, p.order.Key)
			if err != nil {
				return err
			}
			made, keys = append(made, p), append(keys, key)
		}
	}
	if len(made) == 0 {
		return nil
	}
	rows, err := reader.ReadByKey(ctx, w.table.Name, w.table.Key, keys, []string{w.id})
	if err != nil {
		return nil //nolint:nilerr // they are written; the source will tell their IDs, too
	}
	for i, row := range rows {
		made[i].settled.ID = plain(row[w.id])
	}
	return nil
}

// results settles what was sent. What nobody has an answer of stays pending, and is read
// before it is sent again. A value that the system keeps in another way than it was given is
// what it holds from now on, and nobody's edit.
func (w *writer) results(ctx context.Context, due []*plan, results []connector.Result, err error) error {
	if err != nil {
		if f := fault.Of(err); f.Class == fault.Unavailable || f.Class == fault.InDoubt || f.Class == fault.Throttled || f.Class == fault.Unauthorized {
			return err
		}
	}
	for i, p := range due {
		one := err
		if one == nil {
			one = results[i].Err
		}
		if p.settled = outcome(one); err == nil {
			p.settled.Version = results[i].Version
		}
		if err != nil || results[i].Kept == nil {
			continue
		}
		kept, wrong := w.observed(ctx, []seen{{row: results[i].Kept}}, 0)
		if wrong != nil {
			return wrong
		}
		p.settled.Kept = kept[0].Values
	}
	return nil
}

// outcome is what a write came to.
func outcome(err error) *replica.Settled {
	if err == nil {
		return &replica.Settled{Outcome: flow.SyncApplied}
	}
	f := new(fault.Fault)
	if !errors.As(err, &f) {
		f = fault.Of(err)
	}
	switch {
	case f.Code == codeVersion:
		return waits(replica.CodeUnobserved, "somebody else has written the record meanwhile", soonAgain/2)
	case f.Code == codeReference:
		return waits(replica.CodeParent, f.Text, 0)
	case f.Code == codeTruncated:
		return &replica.Settled{Outcome: flow.SyncTruncated, Code: f.Code, Text: f.Text}
	case f.Class == fault.Invalid, f.Class == fault.Rejected, f.Class == fault.Conflict, f.Class == fault.NotFound:
		return &replica.Settled{Outcome: flow.SyncRejected, Code: f.Code, Text: f.Text}
	}
	return waits(f.Code, f.Text, firstPause)
}
