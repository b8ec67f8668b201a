package egress

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Put adds one batch with the deltas, in their order, to what the other regions fetch.
// It is part of the caller's transaction and holds the table's place in the order of
// batches until that ends. No deltas are no batch. A delta that does not fit the table
// is a Bug, "egress.delta"; a table that was not prepared, or not with these columns, is
// Unavailable, "egress.unprepared".
func (e *Egress) Put(ctx context.Context, tx pgx.Tx, flowName string, t *flow.SyncTable, deltas []flow.Delta) error {
	if len(deltas) == 0 {
		return nil
	}
	size, oldest := int64(0), int64(0)
	for i := range deltas {
		n, stamp, err := measure(t, &deltas[i])
		if err != nil {
			return err
		}
		size += n
		if stamp > 0 && (oldest == 0 || stamp < oldest) {
			oldest = stamp
		}
	}
	// The row of the table stays locked until the commit: whoever sees this batch sees all
	// that are before it.
	var batch int64
	err := tx.QueryRow(ctx, `
		with next as (
			update egress.border set last = greatest(last + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
			where flow = $1 and "table" = $2 and key = $3 returning last)
		insert into egress.batch (flow, "table", batch, key, rows, bytes, oldest) select $1, $2, last, $3, $4, $5, $6 from next returning batch`,
		flowName, t.Name, t.Key, len(deltas), size, time.UnixMicro(oldest)).Scan(&batch)
	if errors.Is(err, pgx.ErrNoRows) {
		return unprepared(t, nil)
	}
	if err != nil {
		return absent(t, err)
	}
	_, err = tx.Conn().PgConn().CopyFrom(ctx, newEncoder(t, batch, deltas),
		`copy `+qualified(relationOf(flowName, t.Name))+` (`+quotedList(layout(t))+`) from stdin (format binary)`)
	return absent(t, err)
}

// absent tells a table that apply has not made, or not so, from other errors.
func absent(t *flow.SyncTable, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "42P01", "42703", "3F000":
			return unprepared(t, err)
		}
	}
	return err
}

func unprepared(t *flow.SyncTable, cause error) error {
	return fault.New(fault.Unavailable, "egress.unprepared",
		"the border is not prepared for the key and columns of table "+t.Name+"; apply the flow as the owner of the database", cause)
}

// measure refuses a delta that does not fit its table, and tells the bytes of its values
// and its least stamp.
func measure(t *flow.SyncTable, d *flow.Delta) (size, oldest int64, err error) {
	if len(d.Key) != len(t.Key) || len(d.Was) > 0 && len(d.Was) != len(t.Key) || len(d.Cells) > 0 && len(d.Cells) != len(t.Columns) {
		return 0, 0, misfit(t, "it has more or fewer values than the table has columns that may cross")
	}
	for _, key := range [][]string{d.Key, d.Was} {
		for _, part := range key {
			if !fits([]byte(part)) || part == "null" {
				return 0, 0, misfit(t, "its key is none")
			}
			size += int64(len(part))
		}
	}
	see := func(v *flow.Version) error {
		if !plausible(v) {
			return misfit(t, "a version is of no region or of no time")
		}
		if oldest == 0 || v.Stamp < oldest {
			oldest = v.Stamp
		}
		return nil
	}
	for i := range d.Cells {
		c := &d.Cells[i]
		if c.Value == nil {
			continue
		}
		if !fits(c.Value) {
			return 0, 0, misfit(t, "a value of column "+t.Columns[i].Name+" is no JSON text, or is too large")
		}
		if err := see(&c.Version); err != nil {
			return 0, 0, err
		}
		size += int64(len(c.Value))
	}
	if d.Gone != nil {
		err = see(d.Gone)
	}
	if d.Moved != nil && err == nil {
		if err = see(d.Moved); len(d.Was) == 0 {
			err = misfit(t, "its key was changed, from none")
		}
	}
	if size > mostBytes {
		err = misfit(t, "it is larger than a record may be")
	}
	return size, oldest, err
}

// fits reports whether a JSON text may be the value of a column.
func fits(text []byte) bool {
	return len(text) <= MaxValue && (literal(text) || json.Valid(text) && utf8.Valid(text))
}

// literal reports whether a JSON text is a string that stands there as it is, as most do.
func literal(text []byte) bool {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return false
	}
	for _, c := range text[1 : len(text)-1] {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// plausible bounds a version, so that whoever adds to it does not overflow: a stamp in
// the first 30,000 years, and counts that every JSON reader has exactly.
func plausible(v *flow.Version) bool {
	if v.Region == "" || len(v.Seen) == 0 || v.Stamp < 0 || v.Stamp > 1<<60 {
		return false
	}
	for region, n := range v.Seen {
		if region == "" || n < 0 || n > 1<<53 {
			return false
		}
	}
	return true
}

func misfit(t *flow.SyncTable, why string) error {
	return fault.New(fault.Bug, "egress.delta", "a delta does not fit table "+t.Name+": "+why, nil)
}

// encoder gives deltas in PostgreSQL's binary copy format as they are asked for, so that
// a batch is not in memory twice.
type encoder struct {
	table  *flow.SyncTable
	batch  int64
	deltas []flow.Delta
	fields int

	buffer []byte
	rest   []byte // of buffer
	n      int
	ended  bool

	over []byte // of the row
	seen []byte // the JSON text of seenOf
	of   map[string]int64
}

// copyHeader is the signature, no flags, no extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func newEncoder(t *flow.SyncTable, batch int64, deltas []flow.Delta) *encoder {
	return &encoder{table: t, batch: batch, deltas: deltas, fields: len(first) + len(t.Key) + len(t.Columns) + len(last), rest: []byte(copyHeader)}
}

// Read fills a buffer of the reader's with whole and broken rows.
func (e *encoder) Read(p []byte) (int, error) {
	const portion = 32 << 10
	if len(e.rest) == 0 {
		if e.ended {
			return 0, io.EOF
		}
		e.buffer = e.buffer[:0]
		for ; e.n < len(e.deltas) && len(e.buffer) < portion; e.n++ {
			if err := e.row(&e.deltas[e.n]); err != nil {
				return 0, err
			}
		}
		if e.n == len(e.deltas) {
			e.buffer = append(e.buffer, 0xff, 0xff)
			e.ended = true
		}
		e.rest = e.buffer
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func (e *encoder) row(d *flow.Delta) error {
	e.buffer = binary.BigEndian.AppendUint16(e.buffer, uint16(e.fields)) // at most 1,600 in PostgreSQL
	e.buffer = binary.BigEndian.AppendUint32(e.buffer, 8)
	e.buffer = binary.BigEndian.AppendUint64(e.buffer, uint64(e.batch))
	e.buffer = binary.BigEndian.AppendUint32(e.buffer, 4)
	e.buffer = binary.BigEndian.AppendUint32(e.buffer, uint32(e.n))
	for _, part := range d.Key {
		e.size(len(part))
		e.buffer = append(e.buffer, part...)
	}
	var version *flow.Version // of the first value that is said
	var others map[string]flow.Version
	e.over = e.over[:0]
	for i := range e.table.Columns {
		if len(d.Cells) == 0 || d.Cells[i].Value == nil {
			e.null()
			continue
		}
		c := &d.Cells[i]
		e.size(len(c.Value))
		e.buffer = append(e.buffer, c.Value...)
		e.replaced(c.Over)
		switch {
		case version == nil:
			version = &c.Version
		case !same(version, &c.Version):
			if others == nil {
				others = map[string]flow.Version{}
			}
			others[e.table.Columns[i].Name] = c.Version
		}
	}
	return e.versions(d, version, others)
}

func (e *encoder) versions(d *flow.Delta, version *flow.Version, others map[string]flow.Version) error {
	if version == nil {
		e.null()
		e.null()
		e.null()
	} else {
		e.buffer = binary.BigEndian.AppendUint32(e.buffer, 8)
		e.buffer = binary.BigEndian.AppendUint64(e.buffer, uint64(version.Stamp))
		e.size(len(version.Region))
		e.buffer = append(e.buffer, version.Region...)
		if e.seen == nil || !maps.Equal(e.of, version.Seen) {
			text, err := json.Marshal(version.Seen)
			if err != nil {
				return err
			}
			e.seen, e.of = text, version.Seen
		}
		e.jsonb(e.seen)
	}
	if err := e.rare(others != nil, others); err != nil {
		return err
	}
	if err := e.rare(d.Gone != nil, d.Gone); err != nil {
		return err
	}
	if err := e.rare(len(d.Was) > 0, former(d)); err != nil {
		return err
	}
	if len(bytes.TrimLeft(e.over, ",")) == 0 {
		e.null()
		return nil
	}
	e.size(len(e.over))
	e.buffer = append(e.buffer, e.over...)
	return nil
}

// replaced adds what one more value took the place of; nothing stands for nobody says.
func (e *encoder) replaced(over uint64) {
	if over != 0 {
		e.over = strconv.AppendUint(e.over, over, 36)
	}
	e.over = append(e.over, ',')
}

// former is the first key of a record and, after it, the writing that gave it another one.
func former(d *flow.Delta) []any {
	out := make([]any, 0, len(d.Was)+1)
	for _, part := range d.Was {
		out = append(out, part)
	}
	if d.Moved != nil {
		out = append(out, d.Moved)
	}
	return out
}

// rare is a value that most rows do not have.
func (e *encoder) rare(is bool, v any) error {
	if !is {
		e.null()
		return nil
	}
	text, err := json.Marshal(v)
	if err == nil {
		e.jsonb(text)
	}
	return err
}

func (e *encoder) size(n int) { e.buffer = binary.BigEndian.AppendUint32(e.buffer, uint32(n)) } // at most MaxValue

func (e *encoder) null() { e.buffer = binary.BigEndian.AppendUint32(e.buffer, 0xffffffff) }

// jsonb is version 1 of its binary form: the text.
func (e *encoder) jsonb(text []byte) {
	e.size(len(text) + 1)
	e.buffer = append(e.buffer, 1)
	e.buffer = append(e.buffer, text...)
}

func same(a, b *flow.Version) bool {
	return a.Stamp == b.Stamp && a.Region == b.Region && maps.Equal(a.Seen, b.Seen)
}
