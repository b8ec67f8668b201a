package dataverse

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	// rowWriters is how many rows of a refused chunk are repeated at once.
	rowWriters = 8
	// chunkWriters is how many chunks of a sheet are written at once.
	chunkWriters = 4
)

// upsert is one write under way. Its methods may run at once for rows of their own.
type upsert struct {
	v       *Dataverse
	table   connector.Table
	held    func() error
	at      []string // address of each row
	tag     string   // query that marks the write, with its "?"; may be empty
	results []connector.Result
	only    bool // rows that are there
	sheet   bool // rows of a refused chunk are repeated by $batch, not one by one
	// values is a row as JSON without its key, which stands in the address.
	values func(i int) ([]byte, error)

	mu      sync.Mutex
	whole   error // set once a failure concerns the connection and not a row
	settled bool  // a row has an outcome of its own
}

// Upsert writes rows by alternate key, which Dataverse makes repeatable: one row
// is a PATCH of its key address, several are UpsertMultiple in chunks, each one
// transaction. A chunk that is refused is repeated row by row, so that every row
// has an outcome of its own. A table without UpsertMultiple is written by $batch. A
// key whose value holds one of the characters that Microsoft names (see
// unaddressable) is refused for its row alone.
func (v *Dataverse) Upsert(ctx context.Context, in connector.Upsert) ([]connector.Result, error) {
	t, err := v.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(noKey(t, in.Key), t.Check(in.Key...)); err != nil {
		return nil, err
	}
	u := v.newUpsert(t, len(in.Rows), in.Held, in.Origin)
	u.only = in.Existing
	b, err := v.bindings(ctx, t, in.Rows)
	if err != nil {
		return nil, err
	}
	u.values = func(i int) ([]byte, error) { return b.payload(in.Key, in.Rows[i]) }
	var open []int // rows without an outcome so far
	for i, row := range in.Rows {
		if u.prepare(i, in.Key, row) {
			open = append(open, i)
		}
	}
	for chunk := range slices.Chunk(open, v.bulk) {
		u.write(ctx, chunk)
	}
	return u.outcome()
}

func (v *Dataverse) newUpsert(t connector.Table, rows int, held func() error, origin string) *upsert {
	return &upsert{v: v, table: t, held: held, tag: v.tagged(origin), at: make([]string, rows), results: make([]connector.Result, rows)}
}

func (u *upsert) outcome() ([]connector.Result, error) {
	if !u.settled && u.whole != nil {
		return nil, u.whole
	}
	return u.results, nil
}

// prepare finds the address of a row; false: the row has its outcome already.
func (u *upsert) prepare(i int, key []string, row connector.Row) bool {
	err := u.names(slices.Collect(maps.Keys(row))...)
	if err == nil {
		var f *fault.Fault
		if u.at[i], f = address(u.table, key, row); f == nil {
			return true
		}
		err = f
	}
	u.settled, u.results[i].Err = true, err
	return false
}

// names refuses what cannot be a column's name.
func (u *upsert) names(columns ...string) error {
	for _, column := range columns {
		name, _ := strings.CutSuffix(column, "@odata.bind")
		if err := (connector.Table{Name: u.table.Name}).Check(name); err != nil {
			return err
		}
	}
	return nil
}

// write writes one chunk.
func (u *upsert) write(ctx context.Context, chunk []int) {
	if why := u.stopped(); why != nil {
		u.fail(chunk, notSent(u.v.config.Name, why))
		return
	}
	if len(chunk) == 1 {
		u.settle(chunk, u.one(ctx, chunk[0]))
		return
	}
	if u.only {
		u.rowByRow(ctx, chunk)
		return
	}
	if u.v.withoutBulk(u.table.Name) {
		u.batch(ctx, chunk)
		return
	}
	err := u.many(ctx, chunk)
	switch {
	case err == nil || !aboutRows(err):
		u.settle(chunk, err)
	case fault.Of(err).Code == System+".unknown_operation": // of this table
		u.v.lacksBulk(u.table.Name)
		u.batch(ctx, chunk)
	case u.sheet:
		u.batch(ctx, chunk)
	default:
		u.rowByRow(ctx, chunk)
	}
}

func (u *upsert) stopped() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.whole
}

// settle gives every row of the chunk the outcome of its one request.
func (u *upsert) settle(chunk []int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var f *fault.Fault
	switch {
	case err == nil:
		u.settled = true
		return
	case len(chunk) == 1 && aboutRows(err):
		u.settled = true
	default:
		u.whole = err
		if !errors.As(err, &f) { // the caller gave up before anything was sent
			err = notSent(u.v.config.Name, err)
		}
	}
	u.fail(chunk, err)
}

func (u *upsert) fail(chunk []int, err error) {
	for _, i := range chunk {
		u.results[i].Err = err
	}
}

// rowByRow repeats a refused chunk. After a failure that concerns the connection
// no further row is sent.
func (u *upsert) rowByRow(ctx context.Context, chunk []int) {
	u.each(rowWriters, slices.Chunk(chunk, 1), func(row []int) { u.write(ctx, row) })
}

// each has so many workers do the parts.
func (u *upsert) each(workers int, parts iter.Seq[[]int], do func([]int)) {
	next := make(chan []int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for part := range next {
				do(part)
			}
		})
	}
	for part := range parts {
		next <- part
	}
	close(next)
	all.Wait()
}

// one upserts a row at its key address.
func (u *upsert) one(ctx context.Context, i int) error {
	body, err := u.body(i)
	if err != nil {
		return err
	}
	h := writing()
	if u.only {
		h["If-Match"] = []string{"*"}
	}
	_, err = u.v.transport.Do(ctx, connector.Request{
		Method: http.MethodPatch, Target: u.v.root + u.at[i] + u.tag, Header: h, Body: body, Write: true, Held: u.held,
	}, nil)
	if u.only && err != nil && fault.Of(err).Class == fault.NotFound {
		return nil
	}
	return err
}

// many upserts a chunk in one transaction.
func (u *upsert) many(ctx context.Context, chunk []int) error {
	body := []byte(`{"Targets":[`)
	for n, i := range chunk {
		values, err := u.body(i)
		if err != nil {
			return err
		}
		if n > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"@odata.type":"Microsoft.Dynamics.CRM.`+u.table.Name+`","@odata.id":`...)
		at, _ := json.Marshal(u.at[i]) // a text
		body = append(body, at...)
		if len(values) > len(`{}`) {
			body = append(body, ',')
		}
		body = append(body, values[1:]...)
	}
	body = append(body, `]}`...)
	_, err := u.v.transport.Do(ctx, connector.Request{
		Method: http.MethodPost, Target: u.v.root + u.table.Path + "/Microsoft.Dynamics.CRM.UpsertMultiple" + u.tag,
		Header: writing(), Body: body, Write: true, Held: u.held,
	}, nil)
	return err
}

func (u *upsert) body(i int) ([]byte, error) {
	body, err := u.values(i)
	if f := new(fault.Fault); errors.As(err, &f) {
		return nil, f
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "connector.value", "a row of "+u.table.Name+" holds a value that JSON cannot carry", err)
	}
	return body, nil
}

// aboutRows reports whether a refusal may concern one row and not all that is
// sent now: the system itself understood the request and applied none of it.
func aboutRows(err error) bool {
	var f *fault.Fault
	if !errors.As(err, &f) {
		return false
	}
	switch f.Code {
	case "egress.blocked", "connector.url", "connector.auth", "connector.option", "connector.reference", "secret.missing", "secret.reference",
		System + ".unknown_resource": // the connection is wrong, whatever the row
		return false
	case System + ".no_privilege":
		return true // it may be for one row that belongs to somebody else
	}
	return slices.Contains([]fault.Class{fault.Invalid, fault.Rejected, fault.NotFound, fault.Conflict}, f.Class)
}

// notSent is the fault of a row that stayed behind because of why, and may come
// again when that may.
func notSent(name string, why error) *fault.Fault {
	f := fault.New(fault.Unavailable, System+".not_sent", "the row was not sent to "+name+", because rows before it failed", nil)
	f.After = fault.Of(why).After
	return f
}
