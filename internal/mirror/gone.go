package mirror

import (
	"context"
	"fmt"

	"patchbay/internal/connector"
	"patchbay/internal/replica"
)

// rangesOfGone is in how many parts the known records are looked for.
const rangesOfGone = 256

// gone observes the deletion of records that we know and the system no longer has: a
// source that lost our place cannot tell of them.
func (f *follower) gone(ctx context.Context) error {
	reader, ok := f.System.(connector.KeyReader)
	if !ok {
		return f.lacks("read records by key")
	}
	for n := range rangesOfGone {
		entries, err := f.Replica.Entries(ctx, f.Place, f.table.Name, nil, rangesOfGone, n)
		if err != nil {
			return fmt.Errorf("listing what is known of %s: %w", f.table.Name, err)
		}
		for len(entries) > 0 {
			part := entries[:min(len(entries), most)]
			entries = entries[len(part):]
			if err := f.missing(ctx, reader, part); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *follower) missing(ctx context.Context, reader connector.KeyReader, known []replica.Entry) error {
	var keys []connector.Row
	var texts [][]string
	for _, e := range known {
		if e.Deleted || e.Open { // what is pending is not there yet
			continue
		}
		row, err := keyRow(f.table, e.Key)
		if err != nil {
			return err
		}
		keys, texts = append(keys, row), append(texts, e.Key)
	}
	if len(keys) == 0 {
		return nil
	}
	rows, err := reader.ReadByKey(ctx, f.table.Name, f.table.Key, keys, f.table.Key)
	if err != nil {
		return err
	}
	var gone []replica.Observed
	for i, row := range rows {
		if row == nil {
			gone = append(gone, replica.Observed{Key: texts[i], Deleted: true})
		}
	}
	if len(gone) == 0 {
		return nil
	}
	counts, err := f.Replica.Observe(ctx, f.Place, f.reading, gone, f.reading.Progress)
	f.done.add(1, counts)
	return err
}
