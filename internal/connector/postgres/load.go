package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

type (
	// load is one call of Load under way.
	load struct {
		p        *Postgres
		table    connector.Table
		in       connector.Load
		columns  []column
		refusals []connector.Refusal
	}

	// portion is the rows of a sheet that have the same columns, as COPY takes them.
	portion struct {
		columns []column
		rows    []int
		text    []byte
		ends    []int // of the rows in text
		dirty   bool  // the temporary table holds rows that are written
	}
)

const sheetTable = "patchbay_sheet"

// Load writes a sheet in one transaction, with its mark: by COPY into a temporary
// table and from there by insert … on conflict, in the order of the key. The rows at
// fault are found by the line that COPY names, else by halves, and left out. Of a
// sheet whose mark is there already nothing is written; the refusals are those of the
// time when it was.
func (p *Postgres) Load(ctx context.Context, in connector.Load) ([]connector.Refusal, error) {
	t, err := p.table(in.Table)
	if err == nil {
		err = named(t, in.Key, in.Sheet.Columns...)
	}
	if err != nil {
		return nil, err
	}
	for _, k := range in.Key {
		if !slices.Contains(in.Sheet.Columns, k) {
			return nil, fault.Invalidf("connector.key", "a sheet for %s lacks the column %s of its key", t.Name, k)
		}
	}
	rows := in.Sheet.Rows()
	if rows == 0 {
		return nil, nil
	}
	l := &load{p: p, table: t, in: in}
	times := 1 + rows/perTimeout
	err = p.during(ctx, p.gate.Longer(times), l.what(), func(inner context.Context, c *pgx.Conn) error {
		return l.transact(ctx, inner, c, times)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.refusals, func(a, b connector.Refusal) int { return a.Row - b.Row })
	return l.refusals, nil
}

var hashSeed = maphash.MakeSeed()

// what tells this sheet from others.
func (l *load) what() string {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	for _, cell := range l.in.Sheet.Cells {
		_, _ = h.Write(cell)
	}
	return fmt.Sprintf("load %s %x", l.table.Path, h.Sum64())
}

func (l *load) transact(ctx, inner context.Context, c *pgx.Conn, times int) error {
	s, err := l.p.shape(ctx, inner, c, l.table)
	if err != nil {
		return err
	}
	if l.columns, err = s.of(l.p, l.table, l.in.Sheet.Columns); err != nil {
		l.p.forget(l.table)
		return err
	}
	portions := l.portions()
	tx, err := c.Begin(inner)
	if err != nil {
		return l.p.fault(ctx, inner, false, err)
	}
	defer func() { _ = tx.Rollback(inner) }() // of what was committed it does nothing
	if err = l.p.begin(inner, tx, times, l.in.Origin); err == nil {
		// A constraint that waits for the commit would refuse the sheet and not the row.
		_, err = tx.Exec(inner, `set constraints all immediate`)
	}
	ours := true
	if err == nil && l.in.Mark != nil {
		ours, err = l.claim(inner, tx)
	}
	if err == nil && ours {
		for _, part := range portions {
			if err = l.prepare(inner, tx, part); err == nil {
				err = l.write(ctx, inner, tx, part, 0, len(part.rows))
			}
			if err != nil {
				break
			}
		}
		if err == nil && l.in.Mark != nil {
			err = l.note(inner, tx)
		}
	}
	if err != nil {
		return l.p.fault(ctx, inner, false, err)
	}
	sent, err := l.p.gate.Commit(l.in.Held, func() (bool, error) {
		if err := inner.Err(); err != nil || c.IsClosed() {
			return false, cmp.Or(err, pgconn.ErrConnClosed)
		}
		err := tx.Commit(inner)
		return err != nil && lost(err), err
	})
	return l.p.fault(ctx, inner, sent, err)
}

// portions encodes the sheet. Rows without the same columns are written apart: a
// column that is absent keeps its value, or gets its default.
func (l *load) portions() []*portion {
	l.refusals = nil
	var list []*portion
	by := map[string]*portion{}
	var absent []byte
	for i := range l.in.Sheet.Rows() {
		cells := l.in.Sheet.Row(i)
		absent = absent[:0]
		for j, cell := range cells {
			if cell == nil {
				absent = append(strconv.AppendInt(absent, int64(j), 10), ',')
			}
		}
		part := by[string(absent)]
		if part == nil {
			part = &portion{}
			if len(list) == 0 { // likely the only one
				part.text = make([]byte, 0, l.in.Sheet.Rows()*(estimate(cells)+estimate(cells)/8))
			}
			for j, cell := range cells {
				if cell != nil {
					part.columns = append(part.columns, l.columns[j])
				}
			}
			by[string(absent)], list = part, append(list, part)
		}
		if err := l.encode(part, cells); err != nil {
			l.refuse(i, err)
			continue
		}
		part.rows = append(part.rows, i)
		part.ends = append(part.ends, len(part.text))
	}
	return list
}

// estimate is how many bytes a row takes.
func estimate(cells []connector.Cell) int {
	n := 0
	for _, cell := range cells {
		n += len(cell) + 1
	}
	return n
}

func (l *load) encode(part *portion, cells []connector.Cell) error {
	text, begun := part.text, false
	for j, cell := range cells {
		if slices.Contains(l.in.Key, l.in.Sheet.Columns[j]) && (cell == nil || string(cell) == "null") {
			return fault.New(fault.Rejected, System+".key_missing", "a row of "+l.table.Name+" has no value for "+l.in.Sheet.Columns[j]+", a column of its key", nil)
		}
		if cell == nil {
			continue
		}
		if begun {
			text = append(text, '\t')
		}
		begun = true
		var err error
		if text, err = l.p.appendField(text, l.columns[j], cell); err != nil {
			return err
		}
	}
	part.text = append(text, '\n')
	return nil
}

func (l *load) refuse(row int, err error) {
	l.refusals = append(l.refusals, connector.Refusal{Row: row, Err: err})
}

// prepare makes the table that a portion is copied into, with the target's types.
func (l *load) prepare(ctx context.Context, tx pgx.Tx, part *portion) error {
	_, err := tx.Exec(ctx, fmt.Sprintf("drop table if exists pg_temp.%s; create temporary table %s on commit drop as select %s from %s with no data",
		sheetTable, sheetTable, quoted("", names(part.columns)), l.table.Path), pgx.QueryExecModeSimpleProtocol)
	return err
}

// write writes the rows of a portion from one to another, and leaves out those at
// fault. An error is one of the connection.
func (l *load) write(ctx, inner context.Context, tx pgx.Tx, part *portion, from, to int) error {
	for from < to {
		line, err := l.attempt(inner, tx, part, from, to)
		switch {
		case err == nil:
			return nil
		case !aboutRows(l.p.fault(ctx, inner, false, err)):
			return err
		case line > 0 && line <= to-from: // of the rows before it COPY had nothing to say
			at := from + line - 1
			if err := l.write(ctx, inner, tx, part, from, at); err != nil {
				return err
			}
			l.refuse(part.rows[at], l.p.fault(ctx, inner, false, err))
			from = at + 1
		case to-from == 1:
			l.refuse(part.rows[from], l.p.fault(ctx, inner, false, err))
			return nil
		default:
			half := from + (to-from)/2
			if err := l.write(ctx, inner, tx, part, from, half); err != nil {
				return err
			}
			from = half
		}
	}
	return nil
}

// lineOf finds the line in the context of an error, whatever language it is in.
var lineOf = regexp.MustCompile(`COPY ` + sheetTable + `\D+(\d+)`)

// attempt writes rows, all or none. line is the one at fault, from 1, where COPY says.
func (l *load) attempt(ctx context.Context, tx pgx.Tx, part *portion, from, to int) (line int, err error) {
	start := 0
	if from > 0 {
		start = part.ends[from-1]
	}
	sub, err := tx.Begin(ctx)
	if err != nil {
		return 0, err
	}
	columns := names(part.columns)
	if part.dirty {
		if _, err = sub.Exec(ctx, "truncate pg_temp."+sheetTable); err != nil {
			return 0, errors.Join(err, sub.Rollback(ctx))
		}
	}
	_, err = sub.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(part.text[start:part.ends[to-1]]),
		fmt.Sprintf("copy pg_temp.%s (%s) from stdin", sheetTable, quoted("", columns)))
	var said *pgconn.PgError
	if errors.As(err, &said) {
		if found := lineOf.FindStringSubmatch(said.Where); found != nil {
			line, _ = strconv.Atoi(found[1])
		}
	}
	if err == nil {
		_, err = sub.Exec(ctx, l.statement(columns))
	}
	if err != nil {
		return line, errors.Join(err, sub.Rollback(ctx))
	}
	if err = sub.Commit(ctx); err == nil {
		part.dirty = true
	}
	return 0, err
}

func (l *load) statement(columns []string) string {
	var sets []string
	for _, c := range columns {
		if !slices.Contains(l.in.Key, c) {
			sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", pgx.Identifier{c}.Sanitize()))
		}
	}
	return fmt.Sprintf(`insert into %s (%s) select %s from pg_temp.%s as r order by %s on conflict (%s) do %s`,
		l.table.Path, quoted("", columns), quoted("r.", columns), sheetTable, quoted("r.", l.in.Key), quoted("", l.in.Key), update(sets))
}

func update(sets []string) string {
	if len(sets) == 0 {
		return "nothing"
	}
	return "update set " + strings.Join(sets, ", ")
}

func names(columns []column) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.name
	}
	return list
}
