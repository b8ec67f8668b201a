package oracle

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	// reservations is the resource of inventory reservations, which a quantity of zero
	// deletes.
	reservations = "inventoryReservations"
	quantity     = "ReservationQuantity"

	// again is when a row comes again that changed whenever it was to be written.
	again = 2 * time.Second
)

// Conditional is true of what changes rows alone. Oracle draws the keys itself, so a row
// is found again by its reference alone.
func (*Oracle) Conditional(_ string, _ []string, existing bool) bool { return existing }

// Upsert writes rows by the column that option reference names for their table, one
// after the other: each is looked up by it, then changed under its version where it
// differs, or created. A reservation with a ReservationQuantity of zero is deleted. One
// that Oracle does not make is Rejected, "oracle.reservation_refused".
func (o *Oracle) Upsert(ctx context.Context, in connector.Upsert) ([]connector.Result, error) {
	t, err := o.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if err := t.Check(append(connector.ColumnsOf(in.Rows), in.Key...)...); err != nil {
		return nil, err
	}
	if len(in.Key) != 1 || o.references[in.Table] != in.Key[0] {
		return nil, fault.Invalidf("connector.key", "table %s is written by the one column that option reference names for it, as TABLE.COLUMN", t.Name)
	}
	return connector.InOrder(in.Rows, System+".not_sent", aboutRow, func(row connector.Row) error {
		err := o.write(ctx, t, in, row)
		if changed(err) {
			err = o.write(ctx, t, in, row)
		}
		if changed(err) {
			f := fault.New(fault.Unavailable, System+".changing", "the row changes in "+o.config.Name+" whenever it is to be written; nothing was", err)
			f.After = again
			return f
		}
		return err
	})
}

// changed reports whether a row was not any more what it had been when it was found.
func changed(err error) bool {
	f := fault.Of(err)
	return f != nil && (f.Code == System+".precondition" || f.Class == fault.NotFound)
}

// aboutRow reports whether a fault may concern one row and not all that is sent now.
func aboutRow(f *fault.Fault) bool {
	switch f.Code {
	case "egress.blocked", System + ".unknown_resource":
		return false
	case System + ".changing":
		return true
	}
	return slices.Contains([]fault.Class{fault.Rejected, fault.Conflict}, f.Class)
}

func (o *Oracle) write(ctx context.Context, t connector.Table, in connector.Upsert, row connector.Row) error {
	text, _ := row[in.Key[0]].(string)
	if strings.TrimSpace(text) == "" || text != strings.TrimSpace(text) {
		return fault.New(fault.Rejected, System+".key_missing", "a row has no text in column "+in.Key[0]+", or one that begins or ends with a blank", nil)
	}
	found, err := o.bearing(ctx, t, in.Key[0], text, slices.Sorted(maps.Keys(row)))
	switch {
	case err != nil:
		return err
	case found != nil && gone(t, row):
		return o.send(ctx, t, in, http.MethodDelete, found, nil)
	case found != nil:
		other := connector.Row{}
		for column, v := range row {
			if !equal(found[column], v) {
				other[column] = v
			}
		}
		if len(other) == 0 {
			return nil
		}
		return o.send(ctx, t, in, http.MethodPatch, found, other)
	case in.Existing, gone(t, row):
		return nil // there is nothing to change or to take away
	}
	return o.send(ctx, t, in, http.MethodPost, nil, row)
}

// bearing finds the row with a reference, with columns and its address; nil: there is
// none.
func (o *Oracle) bearing(ctx context.Context, t connector.Table, column, text string, columns []string) (map[string]any, error) {
	r := &read{o: o, table: t, limit: maxLimit, query: connector.Query{Table: t.Name, Where: []connector.Match{{Column: column, Value: text}}, Select: columns}}
	got, err := r.fetch(ctx, 0, "links=self")
	switch {
	case err != nil:
		return nil, err
	case len(got.items) > 1:
		return nil, o.ambiguous()
	case len(got.items) == 0:
		return nil, nil
	}
	return got.items[0], nil
}

func (o *Oracle) ambiguous() error {
	return fault.New(fault.Conflict, System+".ambiguous", o.config.Name+" has several rows with this reference; a person has to say which one counts", nil)
}

// gone reports whether a row says that its reservation is to be none.
func gone(t connector.Table, row connector.Row) bool {
	if t.Path != reservations {
		return false
	}
	switch n := row[quantity].(type) {
	case json.Number:
		return strings.Trim(n.String(), "0.") == ""
	case int64:
		return n == 0
	}
	return false
}

// equal compares what Oracle has with what is wanted; absent is null.
func equal(have, want any) bool {
	a, okA := connector.Literal(have)
	b, okB := connector.Literal(want)
	_, isNumber := have.(json.Number)
	if isNumber {
		a, b = connector.PlainNumber(a), connector.PlainNumber(b)
	}
	return okA && okB && a == b
}

// send writes one row; at is the row that is there.
func (o *Oracle) send(ctx context.Context, t connector.Table, in connector.Upsert, method string, at map[string]any, row connector.Row) error {
	r := connector.Request{Method: method, Target: o.root + t.Path, Header: http.Header{"Content-Type": {"application/json"}}, Write: true, Held: in.Held, Collection: at == nil}
	var err error
	if at != nil {
		if r.Target, err = o.self(at); err != nil {
			return err
		}
		if tag := version(at); tag != "" {
			r.Header.Set("If-Match", `"`+tag+`"`)
		}
	}
	if row != nil {
		if r.Body, err = json.Marshal(row); err != nil {
			return fault.New(fault.Rejected, "connector.value", "a row of "+t.Name+" holds a value that JSON cannot carry", nil)
		}
	}
	answer, err := o.transport.Do(ctx, r, nil)
	if f := fault.Of(err); err != nil && t.Path == reservations && row != nil && f.Class == fault.Rejected &&
		(answer.Status == http.StatusBadRequest || answer.Status == http.StatusUnprocessableEntity) {
		return fault.New(fault.Rejected, System+".reservation_refused", "the reservation is refused: "+f.Text, err)
	}
	return err
}

// version is the change indicator of a row; empty where the resource has none.
func version(row map[string]any) string {
	links, _ := row["links"].([]any)
	for _, l := range links {
		link, _ := l.(map[string]any)
		if properties, ok := link["properties"].(map[string]any); ok && link["rel"] == "self" {
			tag, _ := properties["changeIndicator"].(string)
			return tag
		}
	}
	return ""
}
