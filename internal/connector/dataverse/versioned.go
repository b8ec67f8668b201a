package dataverse

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/connector/batch"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// partBytes bounds the bodies of one $batch, whose answer is as large.
const partBytes = 4 << 20

// ReadVersions reads rows by key with their ETags and the time of their last change, by
// filters of which many go into one $batch. Besides the columns asked for it asks for
// modifiedon.
func (v *Dataverse) ReadVersions(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.VersionedRow, error) {
	t, err := v.config.Table(table)
	if err != nil {
		return nil, err
	}
	t = identified(t)
	selected := slices.Clone(key)
	for _, c := range columns {
		if !slices.Contains(selected, c) {
			selected = append(selected, c)
		}
	}
	if err := errors.Join(noKey(t, key), t.Check(selected...)); err != nil {
		return nil, err
	}
	asked := selected
	if !slices.Contains(selected, changedAt) {
		asked = append(slices.Clone(selected), changedAt)
	}
	items, err := v.items(ctx, t, key, keys, asked)
	if err != nil {
		return nil, err
	}
	rows := make([]connector.VersionedRow, len(keys))
	for i, item := range items {
		if item == nil {
			continue
		}
		tag, _ := item["@odata.etag"].(string)
		if tag == "" {
			return nil, v.transport.Malformed("a row has no version")
		}
		rows[i] = connector.VersionedRow{Row: pick(t, item, selected), Version: tag, At: changed(item)}
	}
	return rows, nil
}

// conditional is one call of UpsertAt or DeleteAt under way.
type conditional struct {
	*upsert
	bindings bindings
	key      []string
	rows     []connector.Row
	versions []string
	bodies   [][]byte
	asks     string // the query of a write, besides its tag
}

// UpsertAt writes rows by $batch, each on its own and only while it has its version, and
// has each come back: a value that is not what was sent was cut by the system, and the
// row is Rejected, "connector.truncated", with what was kept of it. A text that is longer
// than its column is not sent at all, because some systems would cut it. A lookup that
// leads to no row is Rejected, "connector.reference".
func (v *Dataverse) UpsertAt(ctx context.Context, in connector.Upsert, versions []string) ([]connector.Result, error) {
	t, err := v.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(noKey(t, in.Key), t.Check(in.Key...)); err != nil || len(in.Rows) == 0 {
		return nil, err
	}
	s, err := v.schema(ctx, t)
	if err != nil {
		return nil, err
	}
	c := &conditional{upsert: v.newUpsert(t, len(in.Rows), in.Held, in.Origin), key: in.Key, rows: in.Rows, versions: versions, bodies: make([][]byte, len(in.Rows))}
	if c.bindings, err = v.bindings(ctx, t, in.Rows); err != nil {
		return nil, err
	}
	c.values = func(i int) ([]byte, error) { return c.bindings.payload(in.Key, in.Rows[i]) }
	var written []string
	var open []int
	for i, row := range in.Rows {
		if !c.prepare(i, in.Key, row) {
			continue
		}
		if c.bodies[i], err = c.body(i); err == nil {
			err = s.fits(t, row)
		}
		if err != nil {
			c.settled, c.results[i].Err = true, err
			continue
		}
		open = append(open, i)
		for column := range row {
			if !slices.Contains(in.Key, column) && !slices.Contains(written, column) {
				written = append(written, column)
			}
		}
	}
	slices.Sort(written)
	if len(written) == 0 {
		written = []string{primaryOf(t)}
	}
	c.asks = "$select=" + selection(t, written)
	c.each(chunkWriters, c.chunks(open), func(chunk []int) { c.send(ctx, chunk, c.patch, c.patched) })
	return c.outcome()
}

// DeleteAt removes rows by $batch, each only while it has its version.
func (v *Dataverse) DeleteAt(ctx context.Context, in connector.Delete, versions []string) ([]connector.Result, error) {
	t, err := v.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(noKey(t, in.Key), t.Check(in.Key...)); err != nil || len(in.Keys) == 0 {
		return nil, err
	}
	c := &conditional{upsert: v.newUpsert(t, len(in.Keys), in.Held, in.Origin), key: in.Key, rows: in.Keys, versions: versions, bodies: make([][]byte, len(in.Keys))}
	var open []int
	for i, row := range in.Keys {
		if c.prepare(i, in.Key, row) {
			open = append(open, i)
		}
	}
	c.each(chunkWriters, c.chunks(open), func(chunk []int) { c.send(ctx, chunk, c.delete, c.deleted) })
	return c.outcome()
}

// chunks parts rows into batches, by number and by size.
func (c *conditional) chunks(open []int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		from, size := 0, 0
		for n, i := range open {
			if n > from && (n-from == c.v.bulk || size+len(c.bodies[i]) > partBytes) {
				if !yield(open[from:n]) {
					return
				}
				from, size = n, 0
			}
			size += len(c.bodies[i])
		}
		if from < len(open) {
			yield(open[from:])
		}
	}
}

// query is the query of a write.
func (c *conditional) query() string {
	switch {
	case c.asks == "":
		return c.tag
	case c.tag == "":
		return "?" + c.asks
	}
	return c.tag + "&" + c.asks
}

func (c *conditional) patch(i int) batch.Operation {
	h := asJSON()
	h.Set("Content-Type", "application/json")
	h.Set("Prefer", "return=representation")
	if c.versions[i] == "" {
		h.Set("If-None-Match", "*")
	} else {
		h.Set("If-Match", c.versions[i])
	}
	return batch.Operation{Method: http.MethodPatch, Address: c.v.root + c.at[i] + c.query(), Header: h, Body: c.bodies[i], Alone: c.v.changeSets}
}

// neverThere is the version of no row: what must not be there is not removed.
const neverThere = `W/"0"`

func (c *conditional) delete(i int) batch.Operation {
	h := asJSON()
	h.Set("If-Match", c.versions[i])
	if c.versions[i] == "" {
		h.Set("If-Match", neverThere)
	}
	return batch.Operation{Method: http.MethodDelete, Address: c.v.root + c.at[i] + c.query(), Header: h, Alone: c.v.changeSets}
}

// send does one batch. Each part is a write of its own: what one came to says nothing of
// the others.
func (c *conditional) send(ctx context.Context, chunk []int, write func(int) batch.Operation, judge func(int, batch.Reply) error) {
	if why := c.stopped(); why != nil {
		c.fail(chunk, notSent(c.v.config.Name, why))
		return
	}
	operations := make([]batch.Operation, len(chunk))
	for n, i := range chunk {
		operations[n] = write(i)
	}
	replies, err := c.v.batch(ctx, operations, c.held)
	if err != nil {
		c.give(chunk, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = true
	for n, i := range chunk {
		c.results[i].Err = judge(i, replies[n])
	}
}

// give gives the rows of a batch that failed as a whole its failure.
func (c *conditional) give(chunk []int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole = err
	if f := new(fault.Fault); !errors.As(err, &f) { // the caller gave up before anything was sent
		err = notSent(c.v.config.Name, err)
	}
	c.fail(chunk, err)
}

// patched is what became of a row that was to be written.
func (c *conditional) patched(i int, r batch.Reply) error {
	if r.Status >= http.StatusOK && r.Status < http.StatusMultipleChoices {
		return c.kept(i, r.Body)
	}
	code, message := said(r)
	switch {
	case r.Status == http.StatusPreconditionFailed && (code != "0x80040237" || c.versions[i] == "") && code != "0x80060892" && code != "0x80040333",
		r.Status == http.StatusNotFound && c.versions[i] != "" && (code == "0x80060891" || code == "0x80040217" && !c.bindings.bound(c.rows[i], message)):
		return c.conflict()
	case code == "0x80040217":
		return fault.New(fault.Rejected, "connector.reference", c.v.config.Name+" has no row that a lookup of a row of "+c.table.Name+" leads to", nil)
	}
	return c.v.transport.Refused(connector.Request{Write: true}, r.Status, r.Header, r.Body)
}

// deleted is what became of a row that was to go.
func (c *conditional) deleted(_ int, r batch.Reply) error {
	code, _ := said(r)
	switch {
	case r.Status >= http.StatusOK && r.Status < http.StatusMultipleChoices,
		r.Status == http.StatusNotFound && (code == "0x80060891" || code == "0x80040217"):
		return nil
	case r.Status == http.StatusPreconditionFailed:
		return c.conflict()
	case code == "0x80040227":
		return fault.New(fault.Rejected, "connector.reference", c.v.config.Name+" has other rows that refer to a row of "+c.table.Name, nil)
	}
	return c.v.transport.Refused(connector.Request{Write: true}, r.Status, r.Header, r.Body)
}

func (c *conditional) conflict() *fault.Fault {
	return fault.New(fault.Conflict, "connector.version", c.v.config.Name+" holds a row of "+c.table.Name+" in another version", nil)
}

// said is the code and the message of a refusal. The message quotes ids and values, and
// goes nowhere.
func said(r batch.Reply) (code, message string) {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(r.Body, &body) != nil {
		return "", ""
	}
	return strings.ToLower(body.Error.Code), body.Error.Message
}

// kept compares what the system holds now with what it was given.
func (c *conditional) kept(i int, body []byte) error {
	got, err := strictjson.Decode(body, "")
	item, isObject := got.(map[string]any)
	if err != nil || !isObject {
		return c.v.transport.Malformed("a row that was written does not come back")
	}
	c.results[i].Version = versionOf(item)
	written := slices.Sorted(maps.Keys(c.rows[i]))
	row := pick(c.table, item, written)
	for _, column := range written {
		if !slices.Contains(c.key, column) && !same(c.table.Types[column], c.rows[i][column], row[column]) {
			c.results[i].Kept = row
			return fault.New(fault.Rejected, "connector.truncated",
				c.v.config.Name+" keeps another value in column "+column+" of a row of "+c.table.Name+" than it was given", nil)
		}
	}
	return nil
}

// same compares values as a column holds them.
func same(kind string, sent, kept any) bool {
	if sent == nil || kept == nil {
		return sent == kept
	}
	text, isText := sent.(string)
	held, alsoText := kept.(string)
	switch {
	case isText && alsoText && isGUID(text) && isGUID(held):
		return strings.EqualFold(text, held)
	case isText && alsoText && kind == "timestamp":
		a, err := time.Parse(time.RFC3339, text)
		b, err2 := time.Parse(time.RFC3339, held)
		return errors.Join(err, err2) == nil && a.Truncate(time.Second).Equal(b.Truncate(time.Second)) // which is as exact as Dataverse is
	case isText && alsoText:
		return text == held
	}
	a, err := json.Marshal(sent)
	b, err2 := json.Marshal(kept)
	if errors.Join(err, err2) != nil {
		return false
	}
	x, isNumber := new(big.Rat).SetString(string(a))
	y, alsoNumber := new(big.Rat).SetString(string(b))
	if isNumber && alsoNumber {
		return x.Cmp(y) == 0
	}
	return string(a) == string(b)
}

// fits refuses a text that its column has no room for.
func (s schema) fits(t connector.Table, row connector.Row) error {
	for column, value := range row {
		text, isText := value.(string)
		if most := s.details[column].length; isText && most > 0 && utf8.RuneCountInString(text) > most {
			v := verdicts["0x80044331"]
			return fault.New(v.Class, System+"."+v.Reason, "a value for column "+column+" of "+t.Name+" is longer than the column", nil)
		}
	}
	return nil
}
