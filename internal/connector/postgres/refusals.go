package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// A sheet that was written while nobody heard of it is written no second time; which
// of its rows were refused is asked for all the same. So that is noted in the
// transaction of its mark: as marks whose key goes on behind the sheet's with row
// numbers and the reasons, a few hundred in each.
const (
	noteSign = "!"
	noteSize = 2000 // bytes of a key, well within what an index takes
)

// claim sets the sheet's mark. False: it was set before, and the refusals are those
// of that time.
func (l *load) claim(ctx context.Context, tx pgx.Tx) (bool, error) {
	at := placeOf(*l.in.Mark)
	ours, others, err := l.p.claim(ctx, tx, []connector.Mark{*l.in.Mark})
	switch {
	case err != nil:
		return false, err
	case ours[at]:
		return true, nil
	case !others[at]:
		return false, fault.New(fault.Unavailable, System+".fenced", "a later attempt has taken over the write of this sheet to "+l.p.config.Name, nil)
	}
	rows, err := tx.Query(ctx, `select key from `+l.p.markers+` where cause = $1 and step = $2 and starts_with(key, $3)`, at.Cause, at.Step, at.Key+noteSign)
	if err != nil {
		return false, err
	}
	notes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return false, err
	}
	l.refusals = nil
	for _, note := range notes {
		for entry := range strings.SplitSeq(strings.TrimPrefix(note, at.Key+noteSign), ",") {
			number, reason, _ := strings.Cut(entry, "=")
			row, err := strconv.Atoi(number)
			if err != nil || row < 0 || row >= l.in.Sheet.Rows() {
				return false, fault.New(fault.Bug, System+".note", "the mark of a sheet in "+l.p.config.Name+" tells of rows that it does not have", nil)
			}
			l.refuse(row, l.refusal(reason))
		}
	}
	return false, nil
}

// note keeps the refusals of the sheet beside its mark.
func (l *load) note(ctx context.Context, tx pgx.Tx) error {
	at := placeOf(*l.in.Mark)
	var keys []string
	var key strings.Builder
	flush := func() {
		if key.Len() > 0 {
			keys = append(keys, at.Key+noteSign+key.String())
			key.Reset()
		}
	}
	for _, r := range l.refusals {
		entry := fmt.Sprintf("%d=%s", r.Row, strings.TrimPrefix(fault.Of(r.Err).Code, System+"."))
		if key.Len()+len(entry) >= noteSize {
			flush()
		}
		if key.Len() > 0 {
			key.WriteByte(',')
		}
		key.WriteString(entry)
	}
	flush()
	if len(keys) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `insert into `+l.p.markers+` (cause, step, key, fence, applied_at) select $1, $2, k, $4, now() from unnest($3::text[]) as k order by k`,
		at.Cause, at.Step, keys, l.in.Mark.Fence)
	return err
}

// refusal is why a row was refused at another time.
func (l *load) refusal(reason string) error {
	return fault.New(fault.Rejected, System+"."+reason, l.p.config.Name+" did not take the row when the sheet was written", nil)
}
