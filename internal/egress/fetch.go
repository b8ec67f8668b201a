package egress

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/strictjson"
)

// fetch fills batches with their rows, which it asks for by name and takes as they come.
func fetch(ctx context.Context, c *pgconn.PgConn, flowName string, t *flow.SyncTable, after int64, into []Batch, heard func()) error {
	d := &decoder{table: t, batches: into}
	const int8OID = 20
	rows := c.ExecParams(ctx,
		`select `+quotedList(layout(t))+` from `+qualified(relationOf(flowName, t.Name))+` where ":batch" > $1 and ":batch" <= $2 order by ":batch", ":n"`,
		[][]byte{binary.BigEndian.AppendUint64(nil, uint64(after)), binary.BigEndian.AppendUint64(nil, uint64(into[len(into)-1].ID))},
		[]uint32{int8OID, int8OID}, []int16{1, 1}, []int16{1})
	var broken error
	for rows.NextRow() {
		heard()
		if broken = d.row(rows.Values()); broken != nil {
			break
		}
	}
	if broken != nil {
		// What is still on its way is not read.
		_ = c.Close(ctx)
		_, _ = rows.Close()
		return broken
	}
	if _, err := rows.Close(); err != nil {
		return err
	}
	return d.end()
}

// decoder takes rows of the wire into batches.
type decoder struct {
	table   *flow.SyncTable
	batches []Batch
	at      int    // the batch that is being filled
	arena   []byte // values are copied here, many to an allocation
	cells   []flow.SyncCell
	keys    []string
	seen    map[string]map[string]int64 // by its JSON text
	regions map[string]string
}

func (d *decoder) row(values [][]byte) error {
	key, columns := len(d.table.Key), len(d.table.Columns)
	if len(values) != len(first)+key+columns+len(last) || len(values[0]) != 8 || len(values[1]) != 4 {
		return malformed(d.table, "a record", nil)
	}
	batch, n := int64(binary.BigEndian.Uint64(values[0])), int(binary.BigEndian.Uint32(values[1]))
	for d.at < len(d.batches) && d.batches[d.at].ID != batch {
		d.at++
	}
	if d.at == len(d.batches) || n != len(d.batches[d.at].Deltas) {
		return malformed(d.table, "the order of its records", nil)
	}
	out := flow.Delta{Key: d.texts(key)}
	for i, value := range values[2 : 2+key] {
		if !fits(value) || string(value) == "null" {
			return malformed(d.table, "the key of a record", nil)
		}
		out.Key[i] = string(value)
	}
	values = values[2+key:]
	if err := d.versioned(&out, values[:columns], values[columns:]); err != nil {
		return err
	}
	d.batches[d.at].Deltas = append(d.batches[d.at].Deltas, out)
	return nil
}

// versioned takes the values and what they are versions of.
func (d *decoder) versioned(out *flow.Delta, values, rest [][]byte) error {
	row, err := d.version(rest[0], rest[1], rest[2])
	if err != nil {
		return err
	}
	others, err := d.others(rest[3])
	if err != nil {
		return err
	}
	out.Cells = d.room(len(values))
	said := false
	for i, value := range values {
		if value == nil {
			continue
		}
		name, version := d.table.Columns[i].Name, row
		if other, ok := others[name]; ok {
			version = other
			delete(others, name)
		}
		if version == nil || !fits(value) {
			return malformed(d.table, "a value of column "+name, nil)
		}
		said = true
		out.Cells[i] = flow.SyncCell{Value: d.keep(value), Version: *version}
	}
	if len(others) > 0 {
		return malformed(d.table, "the versions of a record", nil)
	}
	if !said {
		out.Cells = nil
	}
	if rest[4] != nil {
		if out.Gone, err = d.versionOf(rest[4]); err != nil {
			return err
		}
	}
	if rest[5] != nil {
		if out.Was, out.Moved, err = d.was(rest[5]); err != nil {
			return err
		}
	}
	return d.over(out, string(rest[6]))
}

// over takes what each value that is said took the place of.
func (d *decoder) over(out *flow.Delta, text string) error {
	if text == "" {
		return nil
	}
	for i := range out.Cells {
		if out.Cells[i].Value == nil {
			continue
		}
		one, rest, more := strings.Cut(text, ",")
		n, err := strconv.ParseUint(cmp.Or(one, "0"), 36, 64)
		if !more || err != nil {
			return malformed(d.table, "what a value took the place of", nil)
		}
		out.Cells[i].Over, text = n, rest
	}
	if text != "" {
		return malformed(d.table, "what a value took the place of", nil)
	}
	return nil
}

// version is that of most values of a row; nil: there is none.
func (d *decoder) version(stamp, region, seen []byte) (*flow.Version, error) {
	if stamp == nil && region == nil && seen == nil {
		return nil, nil
	}
	counts, known := d.seen[string(seen)]
	if !known {
		v, ok := decoded(seen).(map[string]any)
		if counts = countsOf(v); !ok || counts == nil {
			return nil, malformed(d.table, "the version of a record", nil)
		}
		if d.seen == nil || len(d.seen) > 10_000 {
			d.seen = map[string]map[string]int64{}
		}
		d.seen[string(seen)] = counts
	}
	name, known := d.regions[string(region)]
	if !known {
		if name = string(region); d.regions == nil || len(d.regions) > 1000 {
			d.regions = map[string]string{}
		}
		d.regions[name] = name
	}
	if len(stamp) != 8 {
		return nil, malformed(d.table, "the version of a record", nil)
	}
	v := &flow.Version{Stamp: int64(binary.BigEndian.Uint64(stamp)), Region: name, Seen: counts}
	if !plausible(v) {
		return nil, malformed(d.table, "the version of a record", nil)
	}
	return v, nil
}

// others are the versions of values that have another one than the row.
func (d *decoder) others(text []byte) (map[string]*flow.Version, error) {
	if text == nil {
		return nil, nil
	}
	object, ok := decoded(text).(map[string]any)
	if !ok {
		return nil, malformed(d.table, "the versions of a record", nil)
	}
	out := make(map[string]*flow.Version, len(object))
	for name, v := range object {
		version := versionFrom(v)
		if version == nil {
			return nil, malformed(d.table, "the versions of a record", nil)
		}
		out[name] = version
	}
	return out, nil
}

func (d *decoder) versionOf(text []byte) (*flow.Version, error) {
	if v := versionFrom(decoded(text)); v != nil {
		return v, nil
	}
	return nil, malformed(d.table, "the deletion of a record", nil)
}

// was is what former made.
func (d *decoder) was(text []byte) (out []string, moved *flow.Version, err error) {
	list, ok := decoded(text).([]any)
	if n := len(d.table.Key); ok && len(list) == n+1 {
		if moved = versionFrom(list[n]); moved == nil {
			return nil, nil, malformed(d.table, "the version of a key", nil)
		}
		list = list[:n]
	}
	if !ok || len(list) != len(d.table.Key) {
		return nil, nil, malformed(d.table, "the former key of a record", nil)
	}
	out = make([]string, len(list))
	for i, v := range list {
		if out[i], ok = v.(string); !ok || !fits([]byte(out[i])) || out[i] == "null" {
			return nil, nil, malformed(d.table, "the former key of a record", nil)
		}
	}
	return out, moved, nil
}

// end makes sure that all rows came.
func (d *decoder) end() error {
	for i := range d.batches {
		if len(d.batches[i].Deltas) != d.batches[i].rows {
			return malformed(d.table, "the number of its records", nil)
		}
	}
	return nil
}

// decoded is a JSON text of PostgreSQL's binary jsonb; nil: it is none.
func decoded(text []byte) any {
	if len(text) < 2 || text[0] != 1 || len(text) > MaxValue {
		return nil
	}
	v, err := strictjson.Decode(text[1:], "version")
	if err != nil {
		return nil
	}
	return v
}

// versionFrom takes an object with exactly the members of a version; nil: it is none.
func versionFrom(v any) *flow.Version {
	object, _ := v.(map[string]any)
	region, _ := object["r"].(string)
	counts, _ := object["s"].(map[string]any)
	stamp, ok := integer(object["t"])
	out := &flow.Version{Stamp: stamp, Region: region, Seen: countsOf(counts)}
	if !ok || len(object) != 3 || !plausible(out) {
		return nil
	}
	return out
}

func countsOf(object map[string]any) map[string]int64 {
	out := make(map[string]int64, len(object))
	for region, v := range object {
		n, ok := integer(v)
		if !ok {
			return nil
		}
		out[region] = n
	}
	return out
}

func integer(v any) (int64, bool) {
	number, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(number.String(), 10, 64)
	return n, err == nil
}

// keep copies what the connection will overwrite.
func (d *decoder) keep(value []byte) []byte {
	if len(value) > cap(d.arena)-len(d.arena) {
		d.arena = make([]byte, 0, max(64<<10, len(value)))
	}
	from := len(d.arena)
	d.arena = append(d.arena, value...)
	return d.arena[from:len(d.arena):len(d.arena)]
}

func (d *decoder) room(n int) []flow.SyncCell {
	if n > cap(d.cells)-len(d.cells) {
		d.cells = make([]flow.SyncCell, 0, max(1024, n))
	}
	from := len(d.cells)
	d.cells = d.cells[:from+n]
	return d.cells[from : from+n : from+n]
}

func (d *decoder) texts(n int) []string {
	if n > cap(d.keys)-len(d.keys) {
		d.keys = make([]string, 0, max(1024, n))
	}
	from := len(d.keys)
	d.keys = d.keys[:from+n]
	return d.keys[from : from+n : from+n]
}

func malformed(t *flow.SyncTable, what string, cause error) error {
	return fault.New(fault.Bug, CodeMalformed, "what the other region gave of table "+t.Name+" cannot be: "+what, cause)
}
