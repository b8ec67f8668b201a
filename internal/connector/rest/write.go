package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// Upsert writes rows one by one, in order: PUT or PATCH at the row's own address, or
// POST to the table's path. After a failure that concerns the system and not a row
// no further row is sent.
func (r *REST) Upsert(ctx context.Context, in connector.Upsert) ([]connector.Result, error) {
	t, err := r.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if err := t.Check(in.Key...); err != nil {
		return nil, err
	}
	results := make([]connector.Result, len(in.Rows))
	settled := false
	var whole error
	for i, row := range in.Rows {
		if whole != nil {
			results[i].Err = r.notSent(whole)
			continue
		}
		err := r.write(ctx, t, in, row)
		var f *fault.Fault
		switch {
		case err == nil, aboutRow(err):
			settled = true
			results[i].Err = err
			continue
		case !settled:
			return nil, err
		case !errors.As(err, &f):
			results[i].Err = r.notSent(err)
		default:
			results[i].Err = err
		}
		whole = err
	}
	return results, nil
}

func (r *REST) notSent(reason error) error {
	f := fault.New(fault.Unavailable, System+".not_sent", "the row was not sent to "+r.config.Name+", because one before it failed or the time was over", nil)
	f.After = fault.Of(reason).After
	return f
}

// aboutRow reports whether a failure concerns one row.
func aboutRow(err error) bool {
	return fault.Is(err, fault.Rejected) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict)
}

func (r *REST) write(ctx context.Context, t connector.Table, in connector.Upsert, row connector.Row) error {
	method := r.option(in.Table, "write", http.MethodPut)
	if err := t.Check(slices.Sorted(maps.Keys(row))...); err != nil {
		return err
	}
	var target string
	var err error
	if method == http.MethodPost {
		target, _, err = fill(t, r.option(in.Table, "write_path", t.Path), row)
	} else {
		target, err = r.rowAt(t, in.Table, in.Key, row)
	}
	if err != nil {
		return err
	}
	body, err := r.body(t, in.Table, row)
	if err != nil {
		return err
	}
	header, err := r.header()
	if err != nil {
		return err
	}
	header.Set("Content-Type", "application/json")
	if name := r.option(in.Table, "idempotency_header", ""); name != "" {
		// The same row is the same write; a later one of the same key is another.
		sum := sha256.Sum256([]byte(in.Table + "\n" + target + "\n" + keyOf(in.Key, row) + "\n" + string(body)))
		header.Set(name, hex.EncodeToString(sum[:]))
	}
	_, err = r.transport.Do(ctx, connector.Request{Method: method, Target: target, Header: header, Body: body, Write: true, Held: in.Held,
		Collection: method == http.MethodPost, Messages: messages(t)}, nil)
	return err
}

// messages is how many messages to people a row of a table is.
func messages(t connector.Table) int {
	if t.Name == "message" {
		return 1
	}
	return 0
}

func keyOf(key []string, row connector.Row) string {
	values := make([]any, len(key))
	for i, k := range key {
		values[i] = row[k]
	}
	b, _ := json.Marshal(values) // a row that is written was JSON
	return string(b)
}

// body is the row, or what option body makes of it: "field=column, …".
func (r *REST) body(t connector.Table, table string, row connector.Row) ([]byte, error) {
	form := r.option(table, "body", "")
	object := row
	if form != "" {
		object = map[string]any{}
		for pair := range strings.SplitSeq(form, ",") {
			field, column, ok := strings.Cut(strings.TrimSpace(pair), "=")
			if !ok || field == "" || t.Check(column) != nil {
				return nil, fault.Invalidf("connector.option", "connection %s: option body of table %s is a list such as to=recipient, text=text", r.config.Name, table)
			}
			object[field] = row[column]
		}
	}
	body, err := json.Marshal(object)
	if err != nil {
		return nil, fault.New(fault.Rejected, System+".value", "a row of "+t.Name+" has a value that is none of JSON", nil)
	}
	return body, nil
}
