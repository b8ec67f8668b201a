package dataverse

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"patchbay/internal/connector"
	"patchbay/internal/connector/batch"
	"patchbay/internal/fault"
)

// Load writes a sheet as Upsert writes rows, several chunks at once. Each chunk is a
// transaction, the sheet is none: where a chunk has no answer, or was not sent, while
// others have their outcome, the sheet is in doubt, and what became of its rows is
// found when they are read back. Dataverse keeps no marks.
func (v *Dataverse) Load(ctx context.Context, in connector.Load) ([]connector.Refusal, error) {
	t, err := v.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	s := in.Sheet
	u := v.newUpsert(t, s.Rows(), in.Held, in.Origin)
	if err := errors.Join(noKey(t, in.Key), t.Check(in.Key...), u.names(s.Columns...)); err != nil {
		return nil, err
	}
	u.sheet = true
	places := make([]int, len(in.Key))
	for i, k := range in.Key {
		if places[i] = slices.Index(s.Columns, k); places[i] < 0 {
			return nil, fault.Invalidf("connector.key", "a sheet for %s lacks the column %s of its key", t.Name, k)
		}
	}
	b, err := v.bindings(ctx, t, []connector.Row{named(s.Columns)})
	if err != nil {
		return nil, err
	}
	u.values = func(i int) ([]byte, error) {
		cells := s.Row(i)
		body := []byte{'{'}
		for n, cell := range cells {
			if cell == nil || slices.Contains(places, n) {
				continue
			}
			if len(body) > 1 {
				body = append(body, ',')
			}
			if _, isLookup := b.to[s.Columns[n]]; isLookup {
				name, bound, err := b.bind(s.Columns[n], value(cell))
				if err != nil {
					return nil, err
				}
				pair, _ := json.Marshal(map[string]any{name: bound}) // texts
				body = append(body, pair[1:len(pair)-1]...)
				continue
			}
			body = append(append(append(body, '"'), s.Columns[n]...), '"', ':')
			body = append(body, cell...)
		}
		return append(body, '}'), nil
	}
	var open []int
	for i := range s.Rows() {
		if u.prepareCells(i, in.Key, places, s.Row(i)) {
			open = append(open, i)
		}
	}
	u.each(chunkWriters, slices.Chunk(open, v.bulk), func(chunk []int) { u.write(ctx, chunk) })
	results, err := u.outcome()
	if err != nil {
		return nil, err
	}
	var refusals []connector.Refusal
	for i, r := range results {
		switch f := fault.Of(r.Err); {
		case f == nil:
		case !aboutRows(f):
			doubt := fault.New(fault.InDoubt, f.Code, "some rows of a sheet for "+t.Name+" have no answer: "+f.Text, nil)
			doubt.After = f.After
			return nil, doubt
		default:
			refusals = append(refusals, connector.Refusal{Row: i, Err: f})
		}
	}
	return refusals, nil
}

// prepareCells is prepare of a row of a sheet. A cell that is no JSON would change
// what the rows beside it say.
func (u *upsert) prepareCells(i int, key []string, places []int, cells []connector.Cell) bool {
	row := make(connector.Row, len(key))
	for _, cell := range cells {
		if cell != nil && !json.Valid(cell) {
			u.settled, u.results[i].Err = true, fault.New(fault.Rejected, System+".value", "a row of "+u.table.Name+" holds a value that is no JSON", nil)
			return false
		}
	}
	for n, at := range places {
		if cell := cells[at]; cell != nil {
			row[key[n]] = value(cell)
		}
	}
	return u.prepare(i, key, row)
}

// value is what a cell of a key says.
func value(cell connector.Cell) any {
	var v any
	switch cell[0] {
	case '"', 't', 'f', 'n', '{', '[':
		_ = json.Unmarshal(cell, &v) // it is valid
		return v
	}
	return json.Number(cell)
}

// batch upserts a chunk by one $batch, each row on its own, so that each has its
// outcome. A $batch that is refused itself is repeated row by row.
func (u *upsert) batch(ctx context.Context, chunk []int) {
	operations := make([]batch.Operation, len(chunk))
	for n, i := range chunk {
		body, err := u.body(i)
		if err != nil {
			u.settle(chunk, err)
			return
		}
		operations[n] = batch.Operation{Method: http.MethodPatch, Address: u.v.root + u.at[i] + u.tag,
			Header: http.Header{"Accept": {"application/json"}, "Content-Type": {"application/json"}}, Body: body, Alone: u.v.changeSets}
	}
	replies, err := u.v.batch(ctx, operations, u.held)
	if err != nil {
		if aboutRows(err) {
			u.rowByRow(ctx, chunk)
		} else {
			u.settle(chunk, err)
		}
		return
	}
	for n, i := range chunk {
		r := replies[n]
		if r.Status >= http.StatusOK && r.Status < http.StatusMultipleChoices {
			u.settle([]int{i}, nil)
			continue
		}
		err := u.v.transport.Refused(connector.Request{Write: true}, r.Status, r.Header, r.Body)
		u.settle([]int{i}, err)
		if !aboutRows(err) { // it was answered, whatever becomes of the others
			u.mu.Lock()
			u.settled = true
			u.mu.Unlock()
		}
	}
}

// batch sends operations as one $batch and gives the answer to each. held is nil for
// reads.
func (v *Dataverse) batch(ctx context.Context, operations []batch.Operation, held func() error) ([]batch.Reply, error) {
	reads := operations[0].Method == http.MethodGet
	h := http.Header{"Content-Type": {batch.ContentType}, "Accept": {"multipart/mixed"}, "Prefer": {"odata.continue-on-error"}}
	if reads {
		h["If-None-Match"] = []string{"null"}
	}
	var replies []batch.Reply
	_, err := v.transport.Do(ctx, connector.Request{
		Method: http.MethodPost, Target: v.root + "$batch", Header: h, Body: batch.Compose(operations), Write: !reads, Held: held, Collection: reads,
		Decode: func(h http.Header, body []byte) (err error) {
			if replies, err = batch.Parse(h.Get("Content-Type"), body); err == nil && len(replies) != len(operations) {
				err = errors.New("a $batch is answered with another number of parts than it has")
			}
			return err
		},
	}, nil)
	for _, r := range replies {
		if r.Header.Get("Content-Type") == "" { // parts that failed do not always say it
			r.Header.Set("Content-Type", "application/json")
		}
	}
	return replies, err
}

// withoutBulk reports whether a table is known to have no UpsertMultiple.
func (v *Dataverse) withoutBulk(table string) bool {
	v.tables.mu.Lock()
	defer v.tables.mu.Unlock()
	return v.tables.single[table]
}

func (v *Dataverse) lacksBulk(table string) {
	v.tables.mu.Lock()
	defer v.tables.mu.Unlock()
	v.tables.single[table] = true
}
