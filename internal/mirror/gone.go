package mirror

import (
	"context"
	"fmt"
	"slices"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/replica"
)

// A source that lost our place cannot tell what was deleted meanwhile. What is missing then
// was deleted, unless that is more than one record in fewOf, and more than fewGone: then the
// system was more likely emptied or restored, and to delete the records everywhere could be
// undone by nobody.
const (
	fewOf   = 10
	fewGone = 100
)

// gone observes the deletion of records that we know and the system no longer has. What it
// takes for a loss is written there again. emptied: the source says that all were deleted.
func (f *follower) gone(ctx context.Context, emptied bool) error {
	reader, ok := f.System.(connector.KeyReader)
	if !ok {
		return f.lacks("read records by key")
	}
	lists := []func(context.Context, replica.Place, string, string, int) ([][]string, string, error){f.Replica.Holds}
	if f.recover {
		lists = append(lists, f.Replica.Made)
	}
	var missing []replica.Observed
	known := 0
	for _, list := range lists {
		for after := ""; ; {
			keys, last, err := list(ctx, f.Place, f.table.Name, after, most)
			if err != nil {
				return fmt.Errorf("listing what is known of %s: %w", f.table.Name, err)
			}
			known += len(keys)
			part, err := f.missing(ctx, reader, keys)
			if err != nil {
				return err
			}
			if missing, after = append(missing, part...), last; after == "" {
				break
			}
		}
	}
	name := f.table.Name + " records"
	f.done.trouble(name, nil)
	if !emptied && len(missing) > max(fewGone, known/fewOf) {
		for i := range missing {
			missing[i].Ours, missing[i].Found, missing[i].Recover = true, true, false
		}
		f.done.trouble(name, fault.New(fault.Conflict, "sync.gone_many", fmt.Sprintf(
			"the system lost our place in its changes, and %d of %d records are gone from it: that is taken for a loss, and they are written there again; what was deleted on purpose, delete there once more",
			len(missing), known), nil))
	}
	for part := range slices.Chunk(missing, most) {
		counts, err := f.Replica.Observe(ctx, f.Place, f.reading, part, f.reading.Progress)
		if err != nil {
			return err
		}
		f.done.add(1, counts)
	}
	return nil
}

// missing are the records that the system does not have.
func (f *follower) missing(ctx context.Context, reader connector.KeyReader, keys [][]string) (gone []replica.Observed, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	asked := make([]connector.Row, len(keys))
	for i, key := range keys {
		if asked[i], err = keyRow(f.table, key); err != nil {
			return nil, err
		}
	}
	rows, err := reader.ReadByKey(ctx, f.table.Name, f.table.Key, asked, f.table.Key)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		if row == nil {
			gone = append(gone, replica.Observed{Key: keys[i], Deleted: true, Recover: f.recover})
		}
	}
	return gone, nil
}
