package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	defaultChunk = 5_000
	maxChunk     = 50_000
	// visibleWithin is how long a transaction that a stream told of may stay invisible.
	visibleWithin = 20 * time.Second
)

// rowWriter is an expression for the transaction that changed a row last, by which the
// databases that keep that tell when it was.
const rowWriter = "t.xmin::text"

// ReadChunk reads a range of a table by its key, beside a stream. What the stream told
// before Low shows in the rows, and what shows in them the stream tells at High at the
// latest. A range of large rows ends earlier than asked.
func (p *Postgres) ReadChunk(ctx context.Context, t connector.FeedTable, after connector.Row, limit int) (connector.Chunk, error) {
	if limit <= 0 {
		limit = defaultChunk
	}
	limit = min(limit, maxChunk)
	var args [][]byte
	for _, k := range t.Key {
		if after == nil {
			break
		}
		value, ok := single(after[k])
		if !ok {
			return connector.Chunk{}, fault.Invalidf("connector.key", "a range of %s begins after a key that is none", t.Table)
		}
		args = append(args, []byte(value))
	}
	what := strings.Join(append([]string{"chunk", t.Table, fmt.Sprint(after)}, t.Columns...), " ")
	var out connector.Chunk
	err := p.reading(ctx, p.gate.Longer(1+limit/perTimeout), what, t, func(inner context.Context, tx pgx.Tx, b *bound) (err error) {
		for _, k := range b.key {
			if !k.total {
				return fault.New(fault.Rejected, System+".key_null", "column "+k.name+" of "+t.Table+" in "+p.config.Name+" may be null, and a row without a key is in no range; set it not null", nil)
			}
		}
		if out.Low, err = p.low(inner, tx, t.Table); err != nil {
			return err
		}
		if low, ok := parsePosition(out.Low); ok {
			out.Version = int64(low)
		}
		key := quoted("t.", b.Key)
		where := ""
		if after != nil {
			places := make([]string, len(args))
			for i := range args {
				places[i] = "$" + strconv.Itoa(i+1)
			}
			where = fmt.Sprintf(" where (%s) > (%s)", key, strings.Join(places, ", "))
		}
		timed, err := p.timed(inner, tx)
		if err != nil {
			return err
		}
		// In the order of the index: a table whose statistics are old would be sorted anew for
		// each range of it.
		if _, err := tx.Exec(inner, `select set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`); err != nil {
			return err
		}
		s := fmt.Sprintf("select %s from %s as t%s order by %s limit %d", b.expressions(timed), b.path, where, key, limit+1)
		rows, cut, err := p.scan(inner, tx, b, timed, limit, s, args...)
		if err != nil {
			return err
		}
		for _, r := range rows {
			out.Rows = append(out.Rows, r.Row)
			if timed {
				out.At = append(out.At, r.At)
			}
		}
		if cut {
			out.Last = connector.Row{}
			for _, k := range t.Key {
				out.Last[k] = out.Rows[len(out.Rows)-1][k]
			}
		}
		return tx.QueryRow(inner, `select pg_current_wal_lsn()::text`).Scan(&out.High)
	})
	return out, err
}

// ReadFeed reads rows of a feed's table by key.
func (p *Postgres) ReadFeed(ctx context.Context, t connector.FeedTable, keys []connector.Row) ([]connector.VersionedRow, error) {
	if err := noKey(connector.Table{Name: t.Table}, t.Key); err != nil {
		return nil, err
	}
	found := make([]connector.VersionedRow, 0, len(keys))
	for chunk := range slices.Chunk(keys, p.bulk) {
		asked := make([]connector.Row, len(chunk))
		for i, row := range chunk {
			asked[i] = connector.Row{}
			for _, k := range t.Key {
				asked[i][k] = row[k]
			}
		}
		body, err := encode(connector.Table{Name: t.Table}, asked)
		if err != nil {
			return nil, err
		}
		part := make([]connector.VersionedRow, len(chunk))
		err = p.reading(ctx, p.gate, "read "+t.Table+body, t, func(inner context.Context, tx pgx.Tx, b *bound) error {
			timed, err := p.timed(inner, tx)
			if err != nil {
				return err
			}
			same := make([]string, len(t.Key))
			for i, k := range t.Key {
				same[i] = fmt.Sprintf("t.%[1]s = r.%[1]s", pgx.Identifier{k}.Sanitize())
			}
			s := fmt.Sprintf(`
				select %s, t.xmin::text, a.place::text from json_array_elements($1::json) with ordinality as a(doc, place)
				cross join lateral json_populate_record(null::%s, a.doc) as r join %s as t on %s`, b.expressions(timed), b.path, b.path, strings.Join(same, " and "))
			rows, cut, err := p.scan(inner, tx, b, timed, len(chunk), s, []byte(body))
			if err == nil && cut {
				err = fault.New(fault.Rejected, "vendor.too_large", "the answer of "+p.config.Name+" is larger than the connection allows; ask for fewer rows or columns", nil)
			}
			for _, r := range rows {
				if r.place < 1 || r.place > len(part) {
					return fault.New(fault.Bug, System+".place", "a row came back for a key that was not asked for", nil)
				}
				part[r.place-1] = r.VersionedRow
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		found = append(found, part...)
	}
	return found, nil
}

// reading reads a table that is bound, in one transaction that holds it.
func (p *Postgres) reading(ctx context.Context, gate *connector.Gate, what string, t connector.FeedTable, read func(context.Context, pgx.Tx, *bound) error) error {
	return p.during(ctx, gate, what, func(inner context.Context, c *pgx.Conn) error {
		return p.fault(ctx, inner, false, pgx.BeginTxFunc(inner, c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
			b, err := p.bind(inner, tx, t)
			if err != nil {
				return err
			}
			return read(inner, tx, b)
		}))
	})
}

// timed reports whether the database keeps when its transactions were committed.
func (p *Postgres) timed(ctx context.Context, tx pgx.Tx) (on bool, err error) {
	err = tx.QueryRow(ctx, `select current_setting('track_commit_timestamp') = 'on'`).Scan(&on)
	return on, err
}

// low is a position of which is sure: the rows that are read from now on show all that
// was committed up to it. Where the table is followed, that is what was told of it, as
// soon as the database shows that too.
func (p *Postgres) low(ctx context.Context, tx pgx.Tx, table string) (string, error) {
	for begun := time.Now(); ; {
		var told []*stream
		low := pglogrepl.LSN(0)
		p.mu.Lock()
		for _, s := range p.streams {
			if slices.ContainsFunc(s.feed.tables, func(b *bound) bool { return b.Table == table }) {
				told = append(told, s)
				s.mu.Lock()
				if low == 0 || s.given < low {
					low = s.given
				}
				s.mu.Unlock()
			}
		}
		p.mu.Unlock()
		var now, snapshot string
		if err := tx.QueryRow(ctx, `select pg_current_wal_lsn()::text, pg_current_snapshot()::text`).Scan(&now, &snapshot); err != nil {
			return "", err
		}
		if len(told) == 0 {
			return now, nil
		}
		high, running, err := parseSnapshot(snapshot)
		if err != nil {
			return "", err
		}
		if !slices.ContainsFunc(told, func(s *stream) bool { return s.unseen(high, running) }) {
			return low.String(), nil
		}
		if time.Since(begun) > visibleWithin {
			return "", fault.New(fault.Unavailable, System+".invisible", p.config.Name+" does not show yet what its log told; a synchronous standby may be away", nil)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// parseSnapshot reads "xmin:xmax:xip,xip".
func parseSnapshot(text string) (high uint32, running map[uint32]bool, err error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return 0, nil, errValue
	}
	last, err := strconv.ParseUint(parts[1], 10, 64)
	running = map[uint32]bool{}
	for part := range strings.SplitSeq(parts[2], ",") {
		if part == "" {
			continue
		}
		xid, wrong := strconv.ParseUint(part, 10, 64)
		if wrong != nil {
			return 0, nil, wrong
		}
		running[uint32(xid)] = true
	}
	return uint32(last), running, err
}

// expressions asks for the columns as text, each as its form has it, and for the time.
func (b *bound) expressions(timed bool) string {
	var list []string
	for _, a := range b.all() {
		e := "t." + pgx.Identifier{a.name}.Sanitize()
		if a.format.form == opaque {
			e = "to_json(" + e + ")"
		}
		list = append(list, e)
	}
	if timed {
		list = append(list, rowWriter)
	}
	return strings.Join(list, ", ")
}

// placed is a row that may have a place among the keys that were asked for.
type placed struct {
	connector.VersionedRow
	place int
}

// scan reads at most limit rows of expressions, and what may follow them: version and
// place. cut says that there are more.
func (p *Postgres) scan(ctx context.Context, tx pgx.Tx, b *bound, timed bool, limit int, statement string, args ...[]byte) (found []placed, cut bool, err error) {
	all := b.all()
	rows := tx.Conn().PgConn().ExecParams(ctx, statement, args, nil, nil, nil)
	var size int64
	var why error
	var by []string // whom each row was written by
	writers := map[string]string{}
	for why == nil && rows.NextRow() {
		values := rows.Values()
		if len(found) == limit || size > p.bytes {
			cut = true
			break
		}
		r := placed{VersionedRow: connector.VersionedRow{Row: make(connector.Row, len(all))}}
		for i, a := range all {
			size += int64(len(values[i]))
			f := a.format
			if f.form == opaque {
				f = format{form: asDocument}
			}
			value, err := f.value(values[i])
			if err != nil {
				why = fault.New(fault.Rejected, System+".form", "column "+a.name+" of "+b.Table+" in "+p.config.Name+" holds "+errForm.Error()+", which no row can carry", nil)
				break
			}
			r.Row[a.name] = value
		}
		values = values[len(all):]
		if timed {
			by = append(by, intern(writers, values[0]))
			values = values[1:]
		}
		if len(values) == 2 {
			r.Version = string(values[0])
			r.place, _ = strconv.Atoi(string(values[1])) // what is none is refused by the caller
		}
		found = append(found, r)
	}
	if cut { // the rest of the answer would still come
		for rows.NextRow() { // it is at most one row more, or ends by its own limit
		}
	}
	if _, err := rows.Close(); err != nil {
		return nil, false, err
	}
	if why != nil || len(by) == 0 {
		return found, cut, why
	}
	times, err := writtenAt(ctx, tx, slices.Collect(maps.Keys(writers)))
	for i := range found {
		found[i].At = times[by[i]]
	}
	return found, cut, err
}

func intern(known map[string]string, raw []byte) string {
	s, ok := known[string(raw)]
	if !ok {
		s = string(raw)
		known[s] = s
	}
	return s
}

// writtenAt tells when transactions were committed: many rows are of few.
func writtenAt(ctx context.Context, tx pgx.Tx, writers []string) (map[string]time.Time, error) {
	rows, err := tx.Query(ctx, `select x, extract(epoch from pg_xact_commit_timestamp(x::xid))::text from unnest($1::text[]) as x`, writers)
	if err != nil {
		return nil, err
	}
	times := make(map[string]time.Time, len(writers))
	var writer string
	var at *string
	_, err = pgx.ForEachRow(rows, []any{&writer, &at}, func() error {
		if at != nil {
			times[writer] = timeOf([]byte(*at))
		}
		return nil
	})
	return times, err
}

// timeOf reads seconds since 1970; the zero time for a row whose time is not kept.
func timeOf(raw []byte) time.Time {
	if raw == nil {
		return time.Time{}
	}
	seconds, fraction, _ := strings.Cut(string(raw), ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}
	}
	us, err := json.Number((fraction + "000000")[:6]).Int64()
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(s*1_000_000 + us).UTC()
}
