package dataverse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

// erase deletes a row, after what its relationships say of the rows that point to it:
// these go with it, or stand in its way, or lose their link.
func (s *System) erase(ctx context.Context, tx storage.Tx, r *request, t *Table, found storage.Row) error {
	id := found[t.Primary]
	if err := s.release(ctx, tx, r, t, id); err != nil {
		return err
	}
	if _, err := tx.Delete(ctx, t.rows, t.rows.Key(found)); err != nil {
		return fmt.Errorf("deleting a row: %w", err)
	}
	return errors.Join(s.bury(ctx, tx, t, id), s.cascade(ctx, tx, t, id), s.raise(ctx, tx, r, t, event{message: "Delete", old: found}))
}

// relation is a lookup of a table that can point to a row, with the rows that do.
type relation struct {
	from   *Table
	column *Column
	rows   []storage.Row
}

// relations are the relationships with a behaviour by which rows point to one, locked.
func (s *System) relations(ctx context.Context, tx storage.Tx, t *Table, id any) ([]relation, error) {
	var list []relation
	for _, from := range s.env.Tables {
		for i := range from.Columns {
			c := &from.Columns[i]
			if c.OnDelete == "" || !slices.ContainsFunc(c.Targets, func(x Target) bool { return x.Table == t.Logical }) {
				continue
			}
			where := storage.And{storage.Compare{Column: c.Property(), Op: storage.Eq, Value: id}}
			if c.polymorphic() {
				where = append(where, storage.Compare{Column: c.pointer(), Op: storage.Eq, Value: t.Logical})
			}
			rows, err := tx.Find(ctx, from.rows, storage.Query{Where: where, Lock: true})
			if err != nil {
				return nil, fmt.Errorf("looking for rows that point to one: %w", err)
			}
			list = append(list, relation{from, c, rows})
		}
	}
	return list, nil
}

func (s *System) release(ctx context.Context, tx storage.Tx, r *request, t *Table, id any) error {
	list, err := s.relations(ctx, tx, t, id)
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.column.OnDelete == Restrict && len(x.rows) > 0 {
			return refuse(http.StatusMethodNotAllowed, "0x80040227", "The object you tried to delete is associated with another object and cannot be deleted.")
		}
	}
	for _, x := range list {
		for _, child := range x.rows {
			if x.column.OnDelete == CascadeAll {
				err = s.erase(ctx, tx, r, x.from, child)
			} else {
				set := storage.Row{}
				clearLookup(x.column, set)
				_, err = s.put(ctx, tx, r, x.from, child, set)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// merge joins two rows: the subordinate's values go where the target has none, its
// children go to the target, UpdateContent is written to the target, and the
// subordinate is deactivated and points to the row it became.
func (s *System) merge(ctx context.Context, tx storage.Tx, r *request) (exchange.Answer, error) {
	if r.Method != http.MethodPost {
		return exchange.Answer{}, wrongVerb(r)
	}
	var body struct {
		Target, Subordinate, UpdateContent json.RawMessage
		PerformParentingChecks             bool
	}
	if json.Unmarshal(r.Body, &body) != nil {
		return exchange.Answer{}, refuse(http.StatusBadRequest, "0x80048d19", "The JSON of the payload cannot be read.")
	}
	t, target, err := s.party(ctx, tx, "Target", body.Target)
	if err != nil {
		return exchange.Answer{}, err
	}
	of, subordinate, err := s.party(ctx, tx, "Subordinate", body.Subordinate)
	if err != nil {
		return exchange.Answer{}, err
	}
	switch {
	case of != t || !t.Merged:
		return exchange.Answer{}, refuse(http.StatusBadRequest, "0x80040216", "Rows of '%s' and '%s' cannot be merged.", of.Logical, t.Logical)
	case target[t.Primary] == subordinate[t.Primary]:
		return exchange.Answer{}, refuse(http.StatusBadRequest, "0x80040203", "A row cannot be merged with itself.")
	case subordinate["merged"] == true:
		return exchange.Answer{}, refuse(http.StatusBadRequest, "0x80040216", "The subordinate was merged already.")
	}
	content := map[string]any{}
	if len(body.UpdateContent) > 0 && string(body.UpdateContent) != "null" {
		if content, err = decode(t, body.UpdateContent); err != nil {
			return exchange.Answer{}, err
		}
	}
	if err := s.join(ctx, tx, r, t, target, subordinate, content); err != nil {
		return exchange.Answer{}, err
	}
	return exchange.Answer{Status: http.StatusNoContent}, nil
}

// party is one of the rows of a merge, locked.
func (s *System) party(ctx context.Context, tx storage.Tx, name string, text json.RawMessage) (*Table, storage.Row, error) {
	var given map[string]any
	if json.Unmarshal(text, &given) != nil || given == nil {
		return nil, nil, refuse(http.StatusBadRequest, "0x80048d19", "The parameter '%s' is missing.", name)
	}
	kind, _ := given["@odata.type"].(string)
	t := s.env.byLogical[strings.TrimPrefix(strings.TrimPrefix(kind, "#"), "Microsoft.Dynamics.CRM.")]
	if t == nil {
		return nil, nil, refuse(http.StatusBadRequest, "0x80048d19", "A type named '%s' could not be resolved by the model. When a model is available, each type name must resolve to a valid type.", kind)
	}
	id, _ := given[t.Primary].(string)
	if len(id) != 36 || !guidForm.MatchString(id) {
		return nil, nil, refuse(http.StatusBadRequest, "0x80040203", "The parameter '%s' has no primary key '%s'.", name, t.Primary)
	}
	id = strings.ToLower(id)
	found, err := row(ctx, tx, t, address{values: map[string]any{t.Primary: id}, keyed: []string{t.Primary}}, true)
	if err == nil && found == nil {
		err = noRow(t, id)
	}
	return t, found, err
}

func (s *System) join(ctx context.Context, tx storage.Tx, r *request, t *Table, target, subordinate storage.Row, content map[string]any) error {
	list, err := s.relations(ctx, tx, t, subordinate[t.Primary])
	if err != nil {
		return err
	}
	for _, x := range list {
		for _, child := range x.rows {
			set := storage.Row{}
			point(x.column, t, target[t.Primary], set)
			if _, err := s.put(ctx, tx, r, x.from, child, set); err != nil {
				return err
			}
		}
	}
	gone := storage.Row{"statecode": int64(1), "statuscode": int64(2), "merged": true}
	point(t.column("masterid"), t, target[t.Primary], gone)
	if _, err := s.put(ctx, tx, r, t, subordinate, gone); err != nil {
		return err
	}
	set, nested, err := s.assign(ctx, tx, r, t, content)
	if err != nil {
		return err
	}
	if len(nested) > 0 {
		return badPayload(t, "A merge takes no nested rows.")
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		name := c.Property()
		if _, given := set[name]; given || c.ReadOnly || c.Type == Lookup || c.Type == Unique || target[name] != nil || subordinate[name] == nil {
			continue
		}
		set[name] = subordinate[name]
	}
	if len(set) == 0 {
		return nil
	}
	_, err = s.put(ctx, tx, r, t, target, set)
	return err
}
