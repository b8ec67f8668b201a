package dataverse

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// rowWriters is how many rows of a refused chunk are repeated at once.
const rowWriters = 8

// upsert is one call of Upsert under way.
type upsert struct {
	v       *Dataverse
	table   connector.Table
	key     []string
	rows    []connector.Row
	at      []string // address of each row
	results []connector.Result
	whole   error // set once a failure concerns the connection and not a row
}

// Upsert writes rows by alternate key. See the package comment for how.
func (v *Dataverse) Upsert(ctx context.Context, in connector.Upsert) ([]connector.Result, error) {
	t, err := v.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(noKey(t, in.Key), t.Check(in.Key...)); err != nil {
		return nil, err
	}
	u := &upsert{v: v, table: t, key: in.Key, rows: in.Rows, at: make([]string, len(in.Rows)), results: make([]connector.Result, len(in.Rows))}
	var open []int // rows without an outcome so far
	for i, row := range in.Rows {
		if bad := u.prepare(i, row); bad != nil {
			u.results[i].Err = bad
			continue
		}
		open = append(open, i)
	}
	settled := len(open) < len(in.Rows)
	for chunk := range slices.Chunk(open, v.bulk) {
		if u.whole != nil {
			u.fail(chunk, notSent(v.config.Name, u.whole))
			continue
		}
		if u.write(ctx, chunk) {
			settled = true
		}
	}
	if !settled && u.whole != nil {
		return nil, u.whole
	}
	return u.results, nil
}

func (u *upsert) prepare(i int, row connector.Row) (bad error) {
	for column := range row {
		name, _ := strings.CutSuffix(column, "@odata.bind")
		if err := (connector.Table{Name: u.table.Name}).Check(name); err != nil {
			return err
		}
	}
	at, f := address(u.table, u.key, row)
	if f != nil {
		return f
	}
	u.at[i] = at
	return nil
}

// write writes one chunk and reports whether any row got an outcome of its own.
func (u *upsert) write(ctx context.Context, chunk []int) bool {
	if len(chunk) == 1 {
		return u.settle(chunk, u.one(ctx, chunk[0]))
	}
	err := u.many(ctx, chunk)
	if err == nil || !aboutRows(err) {
		return u.settle(chunk, err)
	}
	return u.rowByRow(ctx, chunk)
}

// settle gives every row of the chunk the outcome of its one request.
func (u *upsert) settle(chunk []int, err error) bool {
	if err == nil {
		return true
	}
	if len(chunk) == 1 && aboutRows(err) {
		u.fail(chunk, err)
		return true
	}
	u.whole = err
	var f *fault.Fault
	if !errors.As(err, &f) { // the caller gave up before anything was sent
		f = notSent(u.v.config.Name, err)
	}
	u.fail(chunk, f)
	return false
}

func (u *upsert) fail(chunk []int, err error) {
	for _, i := range chunk {
		u.results[i].Err = err
	}
}

// rowByRow repeats a refused chunk. After a failure that concerns the connection
// no further row is sent.
func (u *upsert) rowByRow(ctx context.Context, chunk []int) (settled bool) {
	next := make(chan int)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range min(rowWriters, len(chunk)) {
		workers.Go(func() {
			for i := range next {
				mu.Lock()
				stopped := u.whole
				mu.Unlock()
				if stopped != nil {
					u.results[i].Err = notSent(u.v.config.Name, stopped)
					continue
				}
				err := u.one(ctx, i)
				mu.Lock()
				if u.settle([]int{i}, err) {
					settled = true
				}
				mu.Unlock()
			}
		})
	}
	for _, i := range chunk {
		next <- i
	}
	close(next)
	workers.Wait()
	return settled
}

// one upserts a row at its key address.
func (u *upsert) one(ctx context.Context, i int) error {
	body, err := json.Marshal(u.values(i))
	if err != nil {
		return fault.New(fault.Invalid, "connector.value", "a row of "+u.table.Name+" holds a value that JSON cannot carry", err)
	}
	_, err = u.v.transport.Do(ctx, connector.Request{
		Method: http.MethodPatch, Target: u.v.root + u.at[i] + u.v.tag, Header: writing(), Body: body, Write: true,
	}, nil)
	return err
}

// many upserts a chunk in one transaction.
func (u *upsert) many(ctx context.Context, chunk []int) error {
	targets := make([]map[string]any, len(chunk))
	for n, i := range chunk {
		target := u.values(i)
		target["@odata.type"] = "Microsoft.Dynamics.CRM." + u.table.Name
		target["@odata.id"] = u.at[i]
		targets[n] = target
	}
	body, err := json.Marshal(map[string]any{"Targets": targets})
	if err != nil {
		return fault.New(fault.Invalid, "connector.value", "a row of "+u.table.Name+" holds a value that JSON cannot carry", err)
	}
	_, err = u.v.transport.Do(ctx, connector.Request{
		Method: http.MethodPost, Target: u.v.root + u.table.Path + "/Microsoft.Dynamics.CRM.UpsertMultiple" + u.v.tag,
		Header: writing(), Body: body, Write: true,
	}, nil)
	return err
}

// values is the row without its key, which stands in the address.
func (u *upsert) values(i int) map[string]any {
	values := make(map[string]any, len(u.rows[i])+2)
	for column, value := range u.rows[i] {
		if !slices.Contains(u.key, column) {
			values[column] = value
		}
	}
	return values
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
