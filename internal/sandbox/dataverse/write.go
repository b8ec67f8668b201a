package dataverse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

// newGUID is a random id in the form Dataverse shows.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, as documented
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *System) create(ctx context.Context, tx storage.Tx, r *request, t *Table) (exchange.Answer, error) {
	payload, err := decode(t, r.Body)
	if err != nil {
		return exchange.Answer{}, err
	}
	made, err := s.insert(ctx, tx, r, t, payload, nil)
	if err != nil {
		return exchange.Answer{}, err
	}
	return s.written(ctx, tx, r, t, made, http.StatusCreated, fmt.Sprint(made[t.Primary]))
}

// upsert is PATCH: without If-Match it creates what is not there.
func (s *System) upsert(ctx context.Context, tx storage.Tx, r *request, t *Table, at address) (exchange.Answer, error) {
	found, err := row(ctx, tx, t, at, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	if err := precondition(r.Header, t, at, found); err != nil {
		return exchange.Answer{}, err
	}
	payload, err := decode(t, r.Body)
	if err != nil {
		return exchange.Answer{}, err
	}
	if found == nil {
		at.complete(payload)
		made, err := s.insert(ctx, tx, r, t, payload, nil)
		if err != nil {
			return exchange.Answer{}, raced(ctx, tx, t, at.where(), 0, err)
		}
		return s.written(ctx, tx, r, t, made, http.StatusCreated, at.text)
	}
	at.strip(payload)
	now, err := s.change(ctx, tx, r, t, found, payload)
	if err != nil {
		return exchange.Answer{}, err
	}
	return s.written(ctx, tx, r, t, now, http.StatusOK, at.text)
}

// raced tells a key that another row has from a row that an upsert looked for in
// vain and that somebody made since: the upsert would change it now.
func raced(ctx context.Context, tx storage.Tx, t *Table, where storage.Expr, found int, refusal error) error {
	var p *problem
	if !errors.As(refusal, &p) || p.status != http.StatusPreconditionFailed {
		return refusal
	}
	now, err := tx.Count(ctx, t.rows, where)
	if err != nil {
		return fmt.Errorf("looking for a row once more: %w", err)
	}
	if now > found {
		return storage.ErrRace
	}
	return refusal
}

// complete copies what only the address knows into the payload of a new row.
func (a address) complete(payload map[string]any) {
	for name, v := range a.values {
		if _, given := payload[name]; !given {
			payload[name] = v
		}
	}
}

// strip drops the key from the payload of a row that is there: an upsert never
// changes the key it found the row by.
func (a address) strip(payload map[string]any) {
	for name := range a.values {
		delete(payload, name)
	}
}

func precondition(h http.Header, t *Table, at address, found storage.Row) error {
	match, none := h.Get("If-Match"), h.Get("If-None-Match")
	switch {
	case found == nil && match != "" && match != "null":
		return at.missing(t)
	case found != nil && none == "*":
		return exists()
	case found != nil && match != "" && match != "null" && match != "*" && match != etag(found):
		return stale()
	default:
		return nil
	}
}

func (s *System) remove(ctx context.Context, tx storage.Tx, r *request, t *Table, at address) (exchange.Answer, error) {
	found, err := row(ctx, tx, t, at, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	if found == nil {
		return exchange.Answer{}, at.missing(t)
	}
	if err := precondition(r.Header, t, at, found); err != nil {
		return exchange.Answer{}, err
	}
	return exchange.Answer{Status: http.StatusNoContent}, s.erase(ctx, tx, r, t, found)
}

// written is the answer to a write: nothing, or the row when asked for.
func (s *System) written(ctx context.Context, tx storage.Tx, r *request, t *Table, now storage.Row, status int, key string) (exchange.Answer, error) {
	if !r.prefer.representation {
		href := r.service + "/" + t.Set + "(" + key + ")"
		return exchange.Answer{Status: http.StatusNoContent, Header: http.Header{"Odata-Entityid": {href}, "Location": {href}}}, nil
	}
	values, err := readQuery(r.RawQuery)
	if err != nil {
		return exchange.Answer{}, err
	}
	if r.Method == http.MethodPatch {
		values.Del("$expand")
	}
	// A trigger on the table is what a plug-in is there: what it made of the row is shown.
	kept, err := tx.Find(ctx, t.rows, storage.Query{Where: t.rows.Key(now)})
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading what was written: %w", err)
	}
	if len(kept) == 1 {
		now = kept[0]
	}
	return s.show(ctx, tx, r, t, now, status, values)
}

// insert makes one row of a payload, and the rows nested in it; preset columns
// win.
func (s *System) insert(ctx context.Context, tx storage.Tx, r *request, t *Table, payload map[string]any, preset storage.Row) (storage.Row, error) {
	set, nested, err := s.assign(ctx, tx, r, t, payload)
	if err != nil {
		return nil, err
	}
	maps.Copy(set, preset)
	if err := unused(ctx, tx, t, set); err != nil {
		return nil, err
	}
	version, err := s.draw(ctx, tx, 1)
	if err != nil {
		return nil, err
	}
	if set[t.Primary] != nil {
		if err := s.unearth(ctx, tx, t, set[t.Primary]); err != nil {
			return nil, err
		}
	}
	made, err := s.newRow(r, t, set, version[0])
	if err != nil {
		return nil, err
	}
	if err := s.endpointAllowed(t, made); err != nil {
		return nil, err
	}
	if err := s.free(ctx, tx, t, made); err != nil {
		return nil, err
	}
	if err := tx.Insert(ctx, t.rows, made); err != nil {
		return nil, fmt.Errorf("inserting a row: %w", err)
	}
	if err := s.raise(ctx, tx, r, t, event{message: "Create", now: made}); err != nil {
		return nil, err
	}
	for _, n := range nested {
		if err := s.insertNested(ctx, tx, r, t, made, n); err != nil {
			return nil, err
		}
	}
	return made, nil
}

func (s *System) insertNested(ctx context.Context, tx storage.Tx, r *request, t *Table, parent storage.Row, n nestedRows) error {
	to := s.env.byLogical[n.collection.Table]
	back := to.column(n.collection.Column)
	for _, payload := range n.payloads {
		preset := storage.Row{}
		point(back, t, parent[t.Primary], preset)
		if _, err := s.insert(ctx, tx, r, to, payload, preset); err != nil {
			return err
		}
	}
	return nil
}

// unused refuses a primary key that the client chose and another row has.
func unused(ctx context.Context, tx storage.Tx, t *Table, set storage.Row) error {
	if set[t.Primary] == nil {
		return nil
	}
	old, err := storage.First(ctx, tx, t.rows, t.rows.Key(set), false)
	if err != nil {
		return fmt.Errorf("looking for the primary key: %w", err)
	}
	if old != nil {
		return refuse(http.StatusPreconditionFailed, "0x80040237", "Cannot insert duplicate key.")
	}
	return nil
}

// change writes a payload to a row and returns the row as it is now.
func (s *System) change(ctx context.Context, tx storage.Tx, r *request, t *Table, old storage.Row, payload map[string]any) (storage.Row, error) {
	set, nested, err := s.assign(ctx, tx, r, t, payload)
	if err != nil {
		return nil, err
	}
	if len(nested) > 0 {
		return nil, badPayload(t, "A deep update is not supported on a collection-valued navigation property.")
	}
	return s.put(ctx, tx, r, t, old, set)
}

// put writes columns to a row.
func (s *System) put(ctx context.Context, tx storage.Tx, r *request, t *Table, old, set storage.Row) (storage.Row, error) {
	version, err := s.draw(ctx, tx, 1)
	if err != nil {
		return nil, err
	}
	now, delta, err := s.changedRow(r, t, old, set, version[0])
	if err != nil {
		return nil, err
	}
	if err := s.endpointAllowed(t, now); err != nil {
		return nil, err
	}
	if err := s.free(ctx, tx, t, now); err != nil {
		return nil, err
	}
	if err := tx.Update(ctx, t.rows, delta); err != nil {
		return nil, fmt.Errorf("changing a row: %w", err)
	}
	return now, s.raise(ctx, tx, r, t, event{message: "Update", old: old, now: now, set: set})
}

// newRow adds to the columns given what the platform decides.
func (s *System) newRow(r *request, t *Table, set storage.Row, version int64) (storage.Row, error) {
	made := storage.Row{}
	for i := range t.Columns {
		if c := &t.Columns[i]; c.Default != nil {
			made[c.Property()] = c.Default
		}
	}
	if err := settleState(t, made, set); err != nil {
		return nil, err
	}
	maps.Copy(made, set)
	now := r.At.Truncate(time.Second)
	if made[t.Primary] == nil {
		made[t.Primary] = newGUID()
	}
	made["createdon"], made["modifiedon"] = orElse(made["overriddencreatedon"], now), now
	made["_createdby_value"], made["_modifiedby_value"] = r.User.ID, r.User.ID
	made["versionnumber"], made[writesColumn] = version, int64(1)
	if t.Owned && made["_ownerid_value"] == nil {
		made["_ownerid_value"] = r.User.ID
	}
	if t.Logical == "incident" && made["ticketnumber"] == nil {
		made["ticketnumber"] = fmt.Sprintf("CAS-%05d-%s", version%100000, strings.ToUpper(made[t.Primary].(string)[:6]))
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		if c.Required && made[c.Property()] == nil {
			return nil, refuse(http.StatusBadRequest, "0x80040203", "The required attribute '%s' of the '%s' entity is missing.", c.Name, t.Logical)
		}
	}
	derive(t, made)
	return made, nil
}

// changedRow is the row after a change, and the columns to write.
func (s *System) changedRow(r *request, t *Table, old, set storage.Row, version int64) (now, delta storage.Row, err error) {
	if err := settleState(t, old, set); err != nil {
		return nil, nil, err
	}
	now = maps.Clone(old)
	maps.Copy(now, set)
	now[t.Primary] = old[t.Primary]
	derived := derive(t, now)
	now["modifiedon"], now["_modifiedby_value"], now["versionnumber"] = r.At.Truncate(time.Second), r.User.ID, version
	delta = storage.Row{t.Primary: old[t.Primary]}
	for _, name := range append([]string{"modifiedon", "_modifiedby_value", "versionnumber"}, derived...) {
		delta[name] = now[name]
	}
	for name := range set {
		delta[name] = now[name]
	}
	if n, counted := old[writesColumn].(int64); counted {
		now[writesColumn], delta[writesColumn] = n+1, n+1
	}
	return now, delta, nil
}

func orElse(v, otherwise any) any {
	if v == nil {
		return otherwise
	}
	return v
}

// derive fills computed columns and names them.
func derive(t *Table, row storage.Row) []string {
	text := func(name string) string { s, _ := row[name].(string); return s }
	switch t.Logical {
	case "contact":
		if t.column("firstname") == nil {
			return nil
		}
		row["fullname"] = strings.TrimSpace(text("firstname") + " " + text("lastname"))
		return []string{"fullname"}
	case "annotation":
		body := strings.TrimRight(text("documentbody"), "=")
		row["filesize"], row["isdocument"] = int64(len(body)*3/4), body != ""
		return []string{"filesize", "isdocument"}
	case "msx_specification":
		if row["msx_name"] == nil {
			name := []rune(text("msx_productnumber") + " " + text("msx_attribute"))
			row["msx_name"] = string(name[:min(len(name), 300)])
			return []string{"msx_name"}
		}
	}
	return nil
}

// settleState keeps status and state together: a status belongs to one state,
// and a state alone brings its default status.
func settleState(t *Table, old, set storage.Row) error {
	status := t.byProperty["statuscode"]
	if status == nil {
		return nil
	}
	state, stateGiven := set["statecode"].(int64)
	code, codeGiven := set["statuscode"].(int64)
	switch {
	case !stateGiven && !codeGiven:
		return nil
	case !stateGiven:
		state, _ = old["statecode"].(int64)
	case !codeGiven:
		i := slices.IndexFunc(status.Options, func(o Option) bool { return o.State == state })
		if i >= 0 {
			set["statuscode"] = status.Options[i].Value
			return nil
		}
	}
	if option, ok := status.option(code); !ok || option.State != state {
		return refuse(http.StatusBadRequest, "0x80048408", "%d is not a valid status code for state code %s.%d on %s.", code, t.Label, state, t.Logical)
	}
	return nil
}

// rekeyed reports whether a change touches an alternate key.
func (t *Table) rekeyed(set storage.Row) bool {
	for _, k := range t.Keys {
		for _, name := range t.properties(k.Columns) {
			if _, changed := set[name]; changed {
				return true
			}
		}
	}
	return false
}

// free refuses rows whose alternate keys others have, or each other.
func (s *System) free(ctx context.Context, tx storage.Tx, t *Table, rows ...storage.Row) error {
	own := map[any]bool{}
	for _, row := range rows {
		own[row[t.Primary]] = true
	}
	for _, k := range t.Keys {
		key := t.properties(k.Columns)
		var values [][]any
		seen := map[string]bool{}
		for _, row := range rows {
			tuple := make([]any, len(key))
			for i, name := range key {
				tuple[i] = row[name]
			}
			if slices.Contains(tuple, nil) {
				continue
			}
			text := strings.ToLower(fmt.Sprintf("%q", tuple))
			if seen[text] {
				return keyTaken(k)
			}
			seen[text] = true
			values = append(values, tuple)
		}
		if len(values) == 0 {
			continue
		}
		found, err := tx.Find(ctx, t.rows, storage.Query{Where: storage.Tuples{Columns: key, Values: values}})
		if err != nil {
			return fmt.Errorf("looking for rows with the same key: %w", err)
		}
		if slices.ContainsFunc(found, func(r storage.Row) bool { return !own[r[t.Primary]] }) {
			return keyTaken(k)
		}
	}
	return nil
}

func keyTaken(k Key) *problem {
	return refuse(http.StatusPreconditionFailed, "0x80060892",
		"Entity Key %s violated. A record with the same value for %s already exists. A duplicate record cannot be created. Select one or more unique values and try again.",
		k.Name, strings.Join(k.Columns, ", "))
}

// closeIncident resolves a case.
func (s *System) closeIncident(ctx context.Context, tx storage.Tx, r *request) (exchange.Answer, error) {
	t := s.env.byLogical["incident"]
	if r.Method != http.MethodPost || t == nil {
		return exchange.Answer{}, wrongVerb(r)
	}
	body, err := decode(t, r.Body)
	if err != nil {
		return exchange.Answer{}, err
	}
	resolution, _ := body["IncidentResolution"].(map[string]any)
	text, _ := resolution["incidentid@odata.bind"].(string)
	_, id, err := s.resolve(ctx, tx, r, text)
	if err != nil {
		return exchange.Answer{}, err
	}
	payload := map[string]any{"statecode": int64(1), "statuscode": body["Status"]}
	if n := fmt.Sprint(body["Status"]); n == "-1" || body["Status"] == nil {
		delete(payload, "statuscode")
	}
	found, err := row(ctx, tx, t, address{values: map[string]any{t.Primary: id}, keyed: []string{t.Primary}}, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	return s.changed(ctx, tx, r, t, found, payload)
}
