package dataverse

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// aimed is one target of a bulk action with the address of its row.
type aimed struct {
	payload map[string]any
	at      address
}

// bulk is CreateMultiple, UpdateMultiple and UpsertMultiple: one transaction,
// and the first error undoes all.
func (s *System) bulk(ctx context.Context, tx storage.Tx, r *request, t *Table, action string) (exchange.Answer, error) {
	if t.Single || !slices.Contains([]string{"CreateMultiple", "UpdateMultiple", "UpsertMultiple", "DeleteMultiple"}, action) {
		return exchange.Answer{}, &problem{status: http.StatusNotFound, message: "No HTTP resource was found that matches the request URI '" + r.Base + r.Path + "'."}
	}
	if action == "DeleteMultiple" {
		return exchange.Answer{}, refuse(http.StatusBadRequest, "0x80040216", "DeleteMultiple has not yet been implemented.")
	}
	targets, err := s.targets(t, r.Body)
	if err != nil {
		return exchange.Answer{}, err
	}
	switch action {
	case "CreateMultiple":
		ids, err := s.createMultiple(ctx, tx, r, t, targets)
		if err != nil {
			return exchange.Answer{}, err
		}
		return reply(http.StatusOK, ordered.New("@odata.context", r.service+"/$metadata#Microsoft.Dynamics.CRM.CreateMultipleResponse", "Ids", ids)), nil
	case "UpdateMultiple":
		err = s.updateMultiple(ctx, tx, r, t, targets)
	default:
		err = s.upsertMultiple(ctx, tx, r, t, targets)
	}
	return exchange.Answer{Status: http.StatusNoContent}, err
}

func (s *System) targets(t *Table, body []byte) ([]map[string]any, error) {
	payload, err := decode(t, body)
	if err != nil {
		return nil, err
	}
	list, ok := payload["Targets"].([]any)
	if !ok || len(list) == 0 {
		return nil, badPayload(t, "The parameter 'Targets' is missing or empty.")
	}
	out := make([]map[string]any, len(list))
	for i, x := range list {
		target, ok := x.(map[string]any)
		if !ok {
			return nil, badPayload(t, "A target is not a JSON object.")
		}
		kind, _ := target["@odata.type"].(string)
		if strings.TrimPrefix(kind, "#") != "Microsoft.Dynamics.CRM."+t.Logical {
			return nil, badPayload(t, "A type named '%s' could not be resolved by the model. When a model is available, each type name must resolve to a valid type.", kind)
		}
		out[i] = target
	}
	return out, nil
}

func (s *System) createMultiple(ctx context.Context, tx storage.Tx, r *request, t *Table, targets []map[string]any) ([]string, error) {
	ids := make([]string, len(targets))
	for i, payload := range targets {
		made, err := s.insert(ctx, tx, r, t, payload, nil)
		if err != nil {
			return nil, err
		}
		ids[i], _ = made[t.Primary].(string)
	}
	return ids, nil
}

// updateMultiple knows rows by their primary key alone; of two targets for one
// row the first counts.
func (s *System) updateMultiple(ctx context.Context, tx storage.Tx, r *request, t *Table, targets []map[string]any) error {
	list := make([]aimed, 0, len(targets))
	seen := map[any]bool{}
	for _, payload := range targets {
		id, ok := payload[t.Primary].(string)
		if !ok || len(id) != 36 || !guidForm.MatchString(id) {
			return refuse(http.StatusBadRequest, "0x80040203", "The target has no primary key '%s'.", t.Primary)
		}
		id = strings.ToLower(id)
		if !seen[id] {
			seen[id] = true
			list = append(list, aimed{payload, address{values: map[string]any{t.Primary: id}, keyed: []string{t.Primary}}})
		}
	}
	return s.write(ctx, tx, r, t, list, false)
}

func (s *System) upsertMultiple(ctx context.Context, tx storage.Tx, r *request, t *Table, targets []map[string]any) error {
	groups := map[string][]aimed{}
	var order []string
	for _, payload := range targets {
		at, err := s.aim(t, payload)
		if err != nil {
			return err
		}
		form := strings.Join(at.keyed, ",")
		if groups[form] == nil {
			order = append(order, form)
		}
		groups[form] = append(groups[form], aimed{payload, at})
	}
	for _, form := range order {
		if err := s.write(ctx, tx, r, t, groups[form], true); err != nil {
			return err
		}
	}
	return nil
}

// aim finds out which row a target means: by @odata.id, or by its primary key.
func (s *System) aim(t *Table, payload map[string]any) (address, error) {
	text, ok := payload["@odata.id"].(string)
	if !ok {
		id, isID := payload[t.Primary].(string)
		if !isID {
			return address{values: map[string]any{t.Primary: newGUID()}, keyed: []string{t.Primary}}, nil
		}
		text = t.Set + "(" + id + ")"
	}
	to, at, err := s.env.reference(text)
	if err == nil && to != t {
		err = badPayload(t, "The target '%s' is a row of another table.", text)
	}
	return at, err
}

// write changes the rows that are there and, for an upsert, makes the others,
// with one statement for all of a kind.
func (s *System) write(ctx context.Context, tx storage.Tx, r *request, t *Table, list []aimed, upsert bool) error {
	key := list[0].at.keyed
	keyOf := func(values map[string]any) string {
		var text strings.Builder
		for _, name := range key {
			fmt.Fprintf(&text, "%q ", values[name])
		}
		return strings.ToLower(text.String())
	}
	tuples := storage.Tuples{Columns: key}
	seen := map[string]bool{}
	keys := make([]string, len(list))
	for i, a := range list {
		keys[i] = keyOf(a.at.values)
		if seen[keys[i]] {
			return refuse(http.StatusPreconditionFailed, "0x80040237", "A record with matching key values already exists. Two targets have the same key.")
		}
		seen[keys[i]] = true
		tuple := make([]any, len(key))
		for i, name := range key {
			tuple[i] = a.at.values[name]
		}
		tuples.Values = append(tuples.Values, tuple)
	}
	rows, err := tx.Find(ctx, t.rows, storage.Query{Where: tuples, Lock: true})
	if err != nil {
		return fmt.Errorf("looking for the rows of a bulk action: %w", err)
	}
	found := map[string]storage.Row{}
	for _, row := range rows {
		found[keyOf(row)] = row
	}
	versions, err := s.draw(ctx, tx, len(list))
	if err != nil {
		return err
	}
	var inserts, updates, after []storage.Row
	var events []event
	for i, a := range list {
		old := found[keys[i]]
		if old == nil && !upsert {
			return refuse(http.StatusNotFound, "0x80040217", "%s With Ids = %v Do Not Exist", t.Logical, a.at.values[t.Primary])
		}
		if old == nil {
			a.at.complete(a.payload)
		} else {
			a.at.strip(a.payload)
		}
		set, nested, err := s.assign(ctx, tx, r, t, a.payload)
		if err != nil {
			return err
		}
		if len(nested) > 0 {
			return badPayload(t, "A bulk action takes no nested rows.")
		}
		if old == nil {
			if a.at.alternate {
				if err := unused(ctx, tx, t, set); err != nil {
					return err
				}
			}
			made, err := s.newRow(r, t, set, versions[i])
			if err != nil {
				return err
			}
			inserts = append(inserts, made)
			events = append(events, event{message: "Create", now: made})
			continue
		}
		now, delta, err := s.changedRow(r, t, old, set, versions[i])
		if err != nil {
			return err
		}
		updates = append(updates, delta)
		events = append(events, event{message: "Update", old: old, now: now, set: set})
		if t.rekeyed(set) {
			after = append(after, now)
		}
	}
	if err := s.free(ctx, tx, t, append(after, inserts...)...); err != nil {
		return raced(ctx, tx, t, tuples, len(rows), err)
	}
	if len(inserts) > 0 {
		if err := tx.Insert(ctx, t.rows, inserts...); err != nil {
			return fmt.Errorf("inserting the rows of a bulk action: %w", err)
		}
	}
	if err := tx.Update(ctx, t.rows, updates...); err != nil {
		return fmt.Errorf("changing the rows of a bulk action: %w", err)
	}
	for _, e := range events {
		if err := s.raise(ctx, tx, r, t, e); err != nil {
			return err
		}
	}
	return nil
}
