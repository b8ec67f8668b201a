package sap

import (
	"context"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// documents writes rows that are documents with lines, one after the other.
func (u *upsert) documents(ctx context.Context, sh *shape, key []string) {
	for i, row := range u.rows {
		if u.whole != nil {
			u.stayed([]int{i})
			continue
		}
		err := u.document(ctx, sh, key, i, row)
		if stale(err) { // it was another version when the write came
			err = u.document(ctx, sh, key, i, row)
		}
		if stale(err) {
			f := fault.New(fault.Unavailable, System+".changing", "the document changes in "+u.s.config.Name+" whenever it is to be written; nothing was", err)
			f.After = lockedFor
			err = f
		}
		u.outcome(i, err)
	}
}

// stale reports whether a document was not any more what it had been when it was found.
func stale(err error) bool {
	f := fault.Of(err)
	return f != nil && (f.Code == System+".precondition" || f.Class == fault.NotFound && f.Code != System+".no_row")
}

// document looks for the document of a row and makes it what the row says. Of several
// with one reference the one counts that is not rejected; where all are, the reference
// is free again.
func (u *upsert) document(ctx context.Context, sh *shape, key []string, i int, row connector.Row) error {
	lines, err := sh.given(row)
	if err != nil {
		return err
	}
	list, err := u.s.bearing(ctx, sh, key, row, connector.ColumnsOf(lines))
	if err != nil {
		return err
	}
	d, closed, err := u.s.counts(list)
	if err != nil {
		return err
	}
	if d == nil && closed && !u.s.byReference(sh.at.table.Name, key) {
		d = &list[0]
	}
	var changes []change
	switch rejects, _ := row[rejection].(string); {
	case d != nil:
		changes, err = sh.differences(i, key, row, *d)
	case u.only, closed && rejects != "":
		return nil
	case u.creates:
		var c change
		c, err = sh.creation(i, row)
		c.keyed = !u.s.byReference(sh.at.table.Name, key)
		changes = []change{c}
	default:
		return u.missing()
	}
	if err != nil || len(changes) == 0 {
		return err
	}
	return u.together(ctx, changes)
}
