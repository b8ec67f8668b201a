package dataverse

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/internal/sandbox/storage"
)

// nestedRows are the rows of a deep insert below one collection.
type nestedRows struct {
	collection Collection
	payloads   []map[string]any
}

func decode(t *Table, body []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var payload map[string]any
	if err := dec.Decode(&payload); err != nil || payload == nil || dec.More() {
		return nil, badPayload(t, "The JSON of the payload cannot be read.")
	}
	return payload, nil
}

// assign turns a payload into columns. Annotations are left alone; a value the
// column cannot hold, and a name the table does not have, are refused.
func (s *System) assign(ctx context.Context, tx storage.Tx, r *request, t *Table, payload map[string]any) (storage.Row, []nestedRows, error) {
	set := storage.Row{}
	var nested []nestedRows
	for name, v := range payload {
		if navigation, ok := strings.CutSuffix(name, "@odata.bind"); ok {
			if err := s.bind(ctx, tx, r, t, navigation, v, set); err != nil {
				return nil, nil, err
			}
			continue
		}
		if strings.Contains(name, "@") {
			continue
		}
		if c := t.byProperty[name]; c != nil && c.Type != Lookup {
			if c.ReadOnly {
				continue // Dataverse takes and ignores what only it can set
			}
			if text, isText := v.(string); isText && r.Truncates != "" {
				v = t.cut(c, text, r.Truncates)
			}
			value, err := t.hold(c, v)
			if err != nil {
				return nil, nil, err
			}
			set[name] = value
			continue
		}
		more, err := s.assignNavigation(ctx, tx, r, t, name, v, set)
		if err != nil {
			return nil, nil, err
		}
		if more != nil {
			nested = append(nested, *more)
		}
	}
	return set, nested, nil
}

// cut is a text without what its column has no room for, as a plug-in leaves it that
// would rather lose something than fail. Where names the table, and perhaps a length.
func (t *Table) cut(c *Column, text, where string) string {
	name, length, given := strings.Cut(where, "/")
	most := c.Length
	if n, err := strconv.Atoi(length); given && err == nil {
		most = n
	}
	if list := []rune(text); (name == t.Logical || name == "*") && most > 0 && kinds[c.Type] == storage.Text && len(list) > most {
		return string(list[:most])
	}
	return text
}

func undeclared(t *Table, name string) *problem {
	return badPayload(t, "An undeclared property '%s' which only has property annotations in the payload but no property value was found in the payload. In OData, only declared navigation properties and declared named streams can be represented as properties without values.", name)
}

// assignNavigation takes a navigation by name: null, one nested row, or many.
func (s *System) assignNavigation(ctx context.Context, tx storage.Tx, r *request, t *Table, name string, v any, set storage.Row) (*nestedRows, error) {
	if c, target, ok := t.navigation(name); ok {
		switch v := v.(type) {
		case nil:
			clearLookup(c, set)
			return nil, nil
		case map[string]any:
			to := s.env.byLogical[target]
			made, err := s.insert(ctx, tx, r, to, v, nil)
			if err != nil {
				return nil, err
			}
			point(c, to, made[to.Primary], set)
			return nil, nil
		}
	}
	if c, ok := t.collection(name); ok {
		list, ok := v.([]any)
		n := nestedRows{collection: c}
		for _, x := range list {
			payload, isRow := x.(map[string]any)
			if ok = ok && isRow; ok {
				n.payloads = append(n.payloads, payload)
			}
		}
		if ok {
			return &n, nil
		}
	}
	if t.Logical == "incident" && (name == "IncidentResolution" || name == "Status") {
		return nil, nil
	}
	return nil, refuse(http.StatusBadRequest, "0x80048d19",
		"Error identified in Payload provided by the user for Entity :'%s', For more information on this error please follow this help link https://go.microsoft.com/fwlink/?linkid=2195293  ---->  InnerException : Microsoft.OData.ODataException: The property '%s' does not exist on type 'Microsoft.Dynamics.CRM.%s'. Make sure to only use property names that are defined by the type.", t.Set, name, t.Logical)
}

func (s *System) bind(ctx context.Context, tx storage.Tx, r *request, t *Table, navigation string, v any, set storage.Row) error {
	c, target, ok := t.navigation(navigation)
	if !ok {
		if collection, isCollection := t.collection(navigation); isCollection {
			return badPayload(t, "Rows of %s are bound from their own side.", collection.Table)
		}
		return undeclared(t, navigation)
	}
	if v == nil {
		clearLookup(c, set)
		return nil
	}
	text, ok := v.(string)
	if !ok {
		return badPayload(t, "The value of '%s@odata.bind' is not an address.", navigation)
	}
	to, id, err := s.resolve(ctx, tx, r, text)
	if err != nil {
		return err
	}
	if to.Logical != target && target != "systemuser" {
		return badPayload(t, "A row of '%s' cannot be bound to '%s'.", to.Set, navigation)
	}
	if c.OnDelete != "" { // so that nobody deletes it in between
		kept, err := tx.Find(ctx, to.rows, storage.Query{Where: storage.Compare{Column: to.Primary, Op: storage.Eq, Value: id}, Keep: true})
		if err != nil {
			return fmt.Errorf("keeping the row of a lookup: %w", err)
		}
		if len(kept) == 0 {
			return noRow(to, id)
		}
	}
	point(c, to, id, set)
	return nil
}

func clearLookup(c *Column, set storage.Row) {
	set[c.Property()] = nil
	if c.polymorphic() {
		set[c.pointer()] = nil
	}
}

func point(c *Column, to *Table, id any, set storage.Row) {
	set[c.Property()] = id
	if c.polymorphic() {
		set[c.pointer()] = to.Logical
	}
}

// resolve finds the row a payload refers to; "$1" is what an earlier part of
// the change set made.
func (s *System) resolve(ctx context.Context, tx storage.Tx, r *request, text string) (*Table, string, error) {
	if strings.HasPrefix(text, "$") {
		to, ok := r.references[text[1:]]
		if !ok {
			return nil, "", refuse(http.StatusBadRequest, "0x80060888", "Content-ID Reference: '%s' does not exist in the batch context.", text)
		}
		text = to
	}
	t, at, err := s.env.reference(text)
	if err != nil {
		return nil, "", err
	}
	found, err := row(ctx, tx, t, at, false)
	if err != nil {
		return nil, "", err
	}
	if found == nil {
		return nil, "", at.missing(t)
	}
	id, _ := found[t.Primary].(string)
	return t, id, nil
}

// hold checks that a column can hold a JSON value and returns it as stored.
func (t *Table) hold(c *Column, v any) (any, error) {
	literal := fmt.Sprint(v)
	mismatch := badPayload(t, "Cannot convert the literal '%s' to the expected type '%s'.", literal, edm(c.Type))
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return t.holdText(c, v, mismatch)
	case bool:
		if c.Type == Boolean {
			return v, nil
		}
	case int64:
		return t.holdInteger(c, v)
	case json.Number:
		switch kinds[c.Type] {
		case storage.Int:
			n, err := strconv.ParseInt(v.String(), 10, 64)
			if err != nil {
				return nil, mismatch
			}
			return t.holdInteger(c, n)
		case storage.Decimal:
			if _, err := strconv.ParseFloat(v.String(), 64); err != nil {
				return nil, mismatch
			}
			if c.Type == Money {
				return json.Number(exact(v, 4)), nil
			}
			return json.Number(exact(v, 10)), nil
		}
	}
	return nil, mismatch
}

func (t *Table) holdText(c *Column, v string, mismatch *problem) (any, error) {
	switch kinds[c.Type] {
	case storage.Text:
		if c.Length > 0 && utf8.RuneCountInString(v) > c.Length {
			return nil, refuse(http.StatusBadRequest, "0x80044331",
				"A validation error occurred.  The length of the '%s' attribute of the '%s' entity exceeded the maximum allowed length of '%d'.", c.Name, t.Logical, c.Length)
		}
		if strings.ContainsRune(v, 0) {
			return nil, mismatch
		}
		return v, nil
	case storage.GUID:
		if guidForm.MatchString(v) && len(v) == 36 {
			return strings.ToLower(v), nil
		}
	case storage.Time:
		if at, ok := parseTime(v); ok {
			return at.Truncate(time.Second), nil
		}
	case storage.Date:
		if at, ok := parseTime(v); ok {
			return at.Format(time.DateOnly), nil
		}
	}
	return nil, mismatch
}

func (t *Table) holdInteger(c *Column, n int64) (any, error) {
	if kinds[c.Type] != storage.Int || c.Type == Integer && (n > 1<<31-1 || n < -1<<31) {
		return nil, badPayload(t, "Cannot convert the literal '%d' to the expected type '%s'.", n, edm(c.Type))
	}
	if len(c.Options) == 0 {
		return n, nil
	}
	if _, ok := c.option(n); ok {
		return n, nil
	}
	accepted := make([]string, len(c.Options))
	for i, o := range c.Options {
		accepted[i] = strconv.FormatInt(o.Value, 10)
	}
	return nil, refuse(http.StatusBadRequest, "0x8004431a", "A validation error occurred. The value %d of '%s' on record of type '%s' is outside the valid range. Accepted Values: %s",
		n, c.Name, t.Logical, strings.Join(accepted, ","))
}
