package sap

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

type (
	// upsert is one call of Upsert under way.
	upsert struct {
		s       *SAP
		at      target
		rows    []connector.Row
		held    func() error
		creates bool // rows that are missing are created
		only    bool // a row that is missing stays so, and that is no failure
		results []connector.Result
		whole   error // set once a failure concerns the connection and not a row
		settled bool  // a row has an outcome of its own
	}

	// change is one row on its way.
	change struct {
		row     int
		method  string // PATCH or POST
		address string // below the service
		version string // If-Match; empty where SAP gave none
		body    []byte
		keyed   bool // it is created under the key that it has
	}
)

// Upsert writes rows by the key of their entity. It first asks which of them exist,
// and in which version: those are changed under that version, the others created
// where the connection says that the writer gives the keys (option create), else
// refused. What a write met changed in between is asked for once more.
//
// One row is a request of its own; several are $batch, each in a change set of its
// own, so that every row has its outcome.
//
// Of a table that option reference names rows are written by that column, too: SAP draws
// the number, so the reference is looked up before a document is created. Such rows, and
// those with columns of the lines of a document, are written one by one, each as one
// change set.
func (s *SAP) Upsert(ctx context.Context, in connector.Upsert) ([]connector.Result, error) {
	if len(in.Rows) == 0 {
		return []connector.Result{}, nil
	}
	t, err := s.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if err := t.Check(in.Key...); err != nil {
		return nil, err
	}
	at, err := s.target(ctx, in.Table)
	if err != nil {
		return nil, err
	}
	reference := s.byReference(in.Table, in.Key)
	if !reference && !at.isKey(in.Key) {
		return nil, fault.Invalidf("connector.key", "table %s is written by the key of its entity, which is %v, or by the column that option reference names", t.Name, at.entity.keys)
	}
	u := &upsert{s: s, at: at, rows: in.Rows, held: in.Held, creates: (reference || slices.Contains(s.creates, t.Name)) && !in.Existing, only: in.Existing,
		results: make([]connector.Result, len(in.Rows))}
	if columns := connector.ColumnsOf(in.Rows); reference || slices.ContainsFunc(columns, at.reaches) {
		sh, err := s.shape(ctx, in.Table, columns)
		if err != nil {
			return nil, err
		}
		u.documents(ctx, sh, in.Key)
		return u.done()
	}
	var open []int
	for i, row := range in.Rows {
		if _, err := at.address(row); err != nil {
			u.outcome(i, err)
			continue
		}
		open = append(open, i)
	}
	for chunk := range slices.Chunk(open, s.bulk) {
		if u.whole != nil {
			u.stayed(chunk)
			continue
		}
		again := u.round(ctx, chunk)
		if len(again) > 0 && u.whole == nil {
			u.round(ctx, again)
		}
	}
	return u.done()
}

// done are the outcomes, or the failure that all rows share.
func (u *upsert) done() ([]connector.Result, error) {
	if !u.settled && u.whole != nil {
		return nil, u.whole
	}
	return u.results, nil
}

// round finds out how each row of a chunk stands, writes it, and returns the rows
// that stood differently when the write came.
func (u *upsert) round(ctx context.Context, chunk []int) (again []int) {
	changes, err := u.prepare(ctx, chunk)
	if err != nil {
		u.all(chunk, err)
		return nil
	}
	for _, c := range u.send(ctx, changes) {
		f := fault.Of(u.results[c.row].Err)
		switch {
		case u.results[c.row].Err == nil, u.whole != nil:
		case u.only && f.Class == fault.NotFound:
			u.results[c.row].Err = nil // it went in between
		case c.method == http.MethodPatch && f.Code == System+".precondition",
			c.method == http.MethodPost && (f.Class == fault.Rejected || f.Class == fault.Conflict):
			again = append(again, c.row)
		}
	}
	return again
}

// prepare makes the change of each row. A row that was refused as new, and is still
// missing, keeps its refusal.
func (u *upsert) prepare(ctx context.Context, chunk []int) ([]change, error) {
	keys := make([]connector.Row, len(chunk))
	for n, i := range chunk {
		keys[n] = u.rows[i]
	}
	var items []map[string]any
	var err error
	if len(chunk) == 1 {
		items = make([]map[string]any, 1)
		items[0], err = u.s.one(ctx, u.at, keys[0], u.at.entity.keys)
	} else {
		items, err = u.s.byKey(ctx, u.at, u.at.entity.keys, keys, u.at.entity.keys)
	}
	if err != nil {
		return nil, err
	}
	changes := make([]change, 0, len(chunk))
	for n, i := range chunk {
		refused := u.results[i].Err
		switch {
		case items[n] == nil && u.only:
			u.outcome(i, nil)
			continue
		case items[n] == nil && refused != nil:
			continue
		}
		c, err := u.change(i, items[n])
		if err != nil {
			u.outcome(i, err)
			continue
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func (u *upsert) change(i int, item map[string]any) (c change, err error) {
	c = change{row: i, method: http.MethodPatch}
	without := u.at.entity.keys
	switch {
	case item != nil:
		if c.address, err = u.at.address(u.rows[i]); err != nil {
			return c, err
		}
		c.version = u.at.version(item)
	case u.creates:
		c.method, c.address, c.keyed, without = http.MethodPost, u.at.set, true, nil
	default:
		return c, u.missing()
	}
	c.body, err = u.at.body(u.rows[i], without)
	return c, err
}

func (u *upsert) missing() error {
	return fault.New(fault.NotFound, System+".no_row", u.s.config.Name+" has no row with this key, and option create does not name table "+u.at.table.Name, nil)
}

// version is the ETag of an item.
func (t target) version(item map[string]any) string {
	if t.v4 {
		tag, _ := item["@odata.etag"].(string)
		return tag
	}
	about, _ := item["__metadata"].(map[string]any)
	tag, _ := about["etag"].(string)
	return tag
}

// send writes the changes and notes the outcome of each row.
func (u *upsert) send(ctx context.Context, changes []change) []change {
	switch {
	case len(changes) == 1:
		u.outcome(changes[0].row, u.single(ctx, changes[0]))
	case len(changes) > 1:
		outcomes, err := u.batch(ctx, changes)
		switch {
		case err == nil:
			for n, c := range changes {
				u.outcome(c.row, outcomes[n])
			}
		case refusedWhole(err): // nothing of it was done: a service without $batch, say
			for _, c := range changes {
				if u.whole == nil {
					u.outcome(c.row, u.single(ctx, c))
				} else {
					u.stayed([]int{c.row})
				}
			}
		default:
			u.all(rowsOf(changes), err)
		}
	}
	return changes
}

// refusedWhole reports whether the system itself understood a $batch and did nothing
// of it.
func refusedWhole(err error) bool {
	f := fault.Of(err)
	return f.Code != "egress.blocked" && (f.Class == fault.Rejected || f.Class == fault.NotFound)
}

func rowsOf(changes []change) []int {
	rows := make([]int, len(changes))
	for n, c := range changes {
		rows[n] = c.row
	}
	return rows
}

// single writes one row.
func (u *upsert) single(ctx context.Context, c change) error {
	var got map[string]any
	err := u.s.write(ctx, u.at.root, connector.Request{
		Method: c.method, Target: u.at.root + "/" + c.address + u.s.query(), Header: c.header(u.at.v4), Body: c.body, Held: u.held,
		Decode: func(_ http.Header, body []byte) error {
			if c.keyed && len(body) > 0 {
				return json.Unmarshal(body, &got)
			}
			return nil
		},
	})
	if err != nil || !c.keyed {
		return err
	}
	return u.created(c, got)
}

// created checks that a row was created under the key it was given: services that
// draw the number themselves pass over the one that comes.
func (u *upsert) created(c change, got map[string]any) error {
	item := got
	if !u.at.v4 {
		item, _ = got["d"].(map[string]any)
	}
	given := u.at.identity(u.at.entity.keys, u.rows[c.row], true)
	if item != nil && u.at.identity(u.at.entity.keys, u.at.pick(item, u.at.entity.keys), true) != given {
		return fault.New(fault.Rejected, System+".key_replaced", u.s.config.Name+" created the row under a key of its own; take table "+u.at.table.Name+" out of option create", nil)
	}
	return nil
}

func (c change) header(v4 bool) http.Header {
	h := http.Header{"Content-Type": jsonType(v4), "Accept": jsonType(v4)}
	if c.version != "" {
		h.Set("If-Match", c.version)
	}
	return h
}

// outcome notes what became of a row.
func (u *upsert) outcome(i int, err error) {
	u.results[i].Err = err
	if err == nil {
		u.settled = true
		return
	}
	if aboutRow(err) {
		u.settled = true
		return
	}
	u.all([]int{i}, err)
}

// all gives rows an outcome that concerns the connection.
func (u *upsert) all(rows []int, err error) {
	if u.whole == nil {
		u.whole = err
	}
	var f *fault.Fault
	if !errors.As(err, &f) { // the caller gave up before anything was sent
		f = u.notSent(err)
	}
	for _, i := range rows {
		u.results[i].Err = f
	}
}

func (u *upsert) stayed(rows []int) {
	for _, i := range rows {
		u.results[i].Err = u.notSent(u.whole)
	}
}

// notSent is the fault of a row that stayed behind because of why, and may come again
// when that may.
func (u *upsert) notSent(why error) *fault.Fault {
	f := fault.New(fault.Unavailable, System+".not_sent", "the row was not sent to "+u.s.config.Name+", because rows before it failed", nil)
	f.After = fault.Of(why).After
	return f
}

// aboutRow reports whether a fault may concern one row and not all that is sent now.
func aboutRow(err error) bool {
	var f *fault.Fault
	if !errors.As(err, &f) {
		return false
	}
	switch f.Code {
	case "egress.blocked", "connector.url", "connector.auth", "connector.option", "connector.reference", "secret.missing", "secret.reference",
		System + ".unknown_resource": // the connection is wrong, whatever the row
		return false
	case System + ".locked", System + ".changing":
		return true
	}
	return slices.Contains([]fault.Class{fault.Invalid, fault.Rejected, fault.NotFound, fault.Conflict}, f.Class)
}
