package oracle

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

// firstID is where the ids of rows made by callers begin, above all seeded ones.
const firstID = 300_000_100_000_000

func readPayload(c *exchange.Call) (map[string]any, error) {
	kind, _, _ := strings.Cut(c.Header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if kind != "application/json" && kind != itemType {
		return nil, &problem{status: http.StatusUnsupportedMediaType, detail: "Unsupported Media Type"}
	}
	if c.Upload == nil {
		return decodeObject(c.Body)
	}
	rest, found, err := split(c.Upload)
	if err != nil {
		return nil, err
	}
	payload, err := decodeObject(rest)
	if err == nil && found != nil {
		payload[attachments.Enclosure] = found
	}
	return payload, err
}

func decodeObject(body []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var payload map[string]any
	if err := dec.Decode(&payload); err != nil || payload == nil || dec.More() {
		return nil, invalid("", "", "The request payload is not a valid JSON object.")
	}
	return payload, nil
}

func (s *System) create(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, query url.Values) (exchange.Answer, error) {
	payload, err := readPayload(c)
	if err != nil {
		return exchange.Answer{}, err
	}
	if !c.User.Roles {
		return s.Refuse(c, http.StatusForbidden), nil
	}
	row, isNew, err := s.put(ctx, tx, c, p.res, p.parent, payload, strings.EqualFold(c.Header.Get(upsertMode), "true"))
	if err != nil {
		return exchange.Answer{}, err
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
	}
	return s.item(ctx, tx, c, p, row, status, query)
}

func (s *System) update(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, query url.Values) (exchange.Answer, error) {
	payload, err := readPayload(c)
	if err != nil {
		return exchange.Answer{}, err
	}
	row, err := s.row(ctx, tx, c, p, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	if stale, answer, err := s.stale(ctx, tx, c, p, row); stale || err != nil {
		return answer, err
	}
	if row, err = s.change(ctx, tx, c, p.res, row, payload); err != nil {
		return exchange.Answer{}, err
	}
	return s.item(ctx, tx, c, p, row, http.StatusOK, query)
}

// stale answers a write whose If-Match is not the row's: 412 with the current
// state and its tag.
func (s *System) stale(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, row storage.Row) (bool, exchange.Answer, error) {
	match := c.Header.Get("If-Match")
	if match == "" || tagMatches(match, row) {
		return false, exchange.Answer{}, nil
	}
	answer, err := s.item(ctx, tx, c, p, row, http.StatusPreconditionFailed, url.Values{})
	return true, answer, err
}

func (s *System) remove(ctx context.Context, tx storage.Tx, c *exchange.Call, p place) (exchange.Answer, error) {
	row, err := s.row(ctx, tx, c, p, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	if stale, answer, err := s.stale(ctx, tx, c, p, row); stale || err != nil {
		return answer, err
	}
	if err := drop(ctx, tx, p.res, row); err != nil {
		return exchange.Answer{}, err
	}
	return exchange.Answer{Status: http.StatusNoContent}, nil
}

func drop(ctx context.Context, tx storage.Tx, res *resource, row storage.Row) error {
	for _, child := range res.Children {
		rows, err := tx.Find(ctx, child.Table, storage.Query{Where: below(child, []located{{row: row}}), Lock: true})
		if err != nil {
			return fmt.Errorf("reading the children to delete: %w", err)
		}
		for _, r := range rows {
			if err := drop(ctx, tx, child, r); err != nil {
				return err
			}
		}
	}
	if blob, _ := row[blobColumn].(string); res == attachments && blob != "" {
		if err := chunks.Forget(ctx, tx, blob); err != nil {
			return err
		}
	}
	if _, err := tx.Delete(ctx, res.Table, res.Table.Key(row)); err != nil {
		return fmt.Errorf("deleting a row: %w", err)
	}
	return nil
}

// put creates the row of a payload, or changes the row that has its identity
// when upsert says so.
func (s *System) put(ctx context.Context, tx storage.Tx, c *exchange.Call, res *resource, parent *located, payload map[string]any, upsert bool) (storage.Row, bool, error) {
	row, nested, err := readAttributes(res, payload, true)
	if err != nil {
		return nil, false, err
	}
	if parent != nil {
		for _, name := range res.Join {
			row[name] = parent.row[name]
		}
	}
	if res == items {
		if err := organise(row); err != nil {
			return nil, false, err
		}
	}
	old, err := s.same(ctx, tx, res, row)
	if err != nil {
		return nil, false, err
	}
	if old != nil && upsert {
		for _, name := range res.Identity {
			delete(payload, name)
		}
		delete(payload, "OrganizationId")
		delete(payload, "ItemClass")
		row, err = s.change(ctx, tx, c, res, old, payload)
		return row, false, err
	}
	if old != nil {
		return nil, false, invalid("27030", "", "JBO-27030: A row of %s with the same %s already exists.", res.Name, strings.Join(res.Identity, " and "))
	}
	if err := complete(res, row); err != nil {
		return nil, false, err
	}
	if err := s.fill(ctx, tx, c, res, row); err != nil {
		return nil, false, err
	}
	if res == reservations {
		if err := s.reserve(ctx, tx, row); err != nil {
			return nil, false, err
		}
	}
	if err := s.enclose(ctx, tx, res, row, nil); err != nil {
		return nil, false, err
	}
	if err := tx.Insert(ctx, res.Table, row); err != nil {
		return nil, false, fmt.Errorf("inserting a row: %w", err)
	}
	if res == items {
		if err := s.firstChildren(ctx, tx, c, row); err != nil {
			return nil, false, err
		}
	}
	return row, true, s.putNested(ctx, tx, c, res, row, nested)
}

// organise fills the organisation's other half.
func organise(row storage.Row) error {
	code, _ := row["OrganizationCode"].(string)
	id, ok := organizations[code]
	if code == "" {
		return invalid("27014", "/OrganizationCode", "JBO-27014: Attribute OrganizationCode in itemsV2 is required.")
	}
	if !ok {
		return invalid("25009", "/OrganizationCode", "The value %s of the attribute OrganizationCode is not valid.", code)
	}
	row["OrganizationId"] = id
	return nil
}

func (s *System) same(ctx context.Context, tx storage.Tx, res *resource, row storage.Row) (storage.Row, error) {
	if len(res.Identity) == 0 {
		return nil, nil
	}
	var all storage.And
	for _, name := range append(append([]string{}, res.Identity...), res.Join...) {
		if row[name] == nil {
			return nil, nil
		}
		all = append(all, storage.Compare{Column: name, Op: storage.Eq, Value: row[name]})
	}
	old, err := storage.First(ctx, tx, res.Table, all, true)
	if err != nil {
		return nil, fmt.Errorf("looking for the row: %w", err)
	}
	return old, nil
}

// fill adds what the server decides.
func (s *System) fill(ctx context.Context, tx storage.Tx, c *exchange.Call, res *resource, row storage.Row) error {
	version, err := storage.Version(ctx, tx)
	if err != nil {
		return fmt.Errorf("numbering a row: %w", err)
	}
	row[versionColumn] = version
	for _, name := range []string{res.Table.Primary[0]} {
		if a, _ := res.Table.Column(name); a.Kind == storage.Int && row[name] == nil {
			row[name] = firstID + version
		}
	}
	now := c.At.Truncate(time.Millisecond)
	for _, a := range res.Attributes {
		switch a.Name {
		case created, updated:
			row[a.Name] = now
		case "CreatedBy", "LastUpdatedBy":
			row[a.Name] = c.User.ClientID
		case "ItemStatusValue":
			row[a.Name] = orElse(row[a.Name], "Active")
		case "PrimaryUOMValue":
			row[a.Name] = orElse(row[a.Name], "Each")
		case "ContextCode":
			row[a.Name] = orElse(row[a.Name], "TechnicalSpecifications")
		}
	}
	return nil
}

func orElse(v, otherwise any) any {
	if v == nil {
		return otherwise
	}
	return v
}

// firstChildren are what Oracle makes with an item: its root category and its
// first revision.
func (s *System) firstChildren(ctx context.Context, tx storage.Tx, c *exchange.Call, item storage.Row) error {
	parent := &located{row: item}
	if _, _, err := s.put(ctx, tx, c, categories, parent, map[string]any{"CategoryCode": "ROOT_ICC"}, false); err != nil {
		return err
	}
	_, _, err := s.put(ctx, tx, c, revisions, parent, map[string]any{"RevisionCode": "A"}, false)
	return err
}

// putNested takes the children inside a payload: a row whose key or identity
// exists is changed, any other is created.
func (s *System) putNested(ctx context.Context, tx storage.Tx, c *exchange.Call, res *resource, row storage.Row, nested map[string][]map[string]any) error {
	for _, child := range res.Children {
		for _, payload := range nested[child.Name] {
			parent := &located{row: row}
			key := child.Table.Primary[0]
			if id, ok := payload[key].(json.Number); ok && len(child.Table.Primary) == 1 {
				old, err := s.row(ctx, tx, c, place{res: child, id: id.String(), parent: parent}, true)
				if err != nil {
					return err
				}
				delete(payload, key)
				if _, err := s.change(ctx, tx, c, child, old, payload); err != nil {
					return err
				}
				continue
			}
			if _, _, err := s.put(ctx, tx, c, child, parent, payload, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// change writes the attributes of a payload to a row and returns it whole.
func (s *System) change(ctx context.Context, tx storage.Tx, c *exchange.Call, res *resource, old storage.Row, payload map[string]any) (storage.Row, error) {
	set, nested, err := readAttributes(res, payload, false)
	if err != nil {
		return nil, err
	}
	row := storage.Row{}
	for name, v := range old {
		row[name] = v
	}
	if len(set) > 0 {
		if set[versionColumn], err = storage.Version(ctx, tx); err != nil {
			return nil, fmt.Errorf("numbering a change: %w", err)
		}
		if err := s.enclose(ctx, tx, res, set, old[blobColumn]); err != nil {
			return nil, err
		}
		if _, ok := res.Table.Column(updated); ok {
			set[updated] = c.At.Truncate(time.Millisecond)
		}
		if _, ok := res.Table.Column("LastUpdatedBy"); ok {
			set["LastUpdatedBy"] = c.User.ClientID
		}
		for name, v := range set {
			row[name] = v
		}
		if res == reservations {
			if err := s.reserve(ctx, tx, row); err != nil {
				return nil, err
			}
		}
		for _, name := range res.Table.Primary {
			set[name] = old[name]
		}
		if err := tx.Update(ctx, res.Table, set); err != nil {
			return nil, fmt.Errorf("changing a row: %w", err)
		}
	}
	return row, s.putNested(ctx, tx, c, res, row, nested)
}

// readAttributes checks a payload against the resource; children come apart.
func readAttributes(res *resource, payload map[string]any, creating bool) (storage.Row, map[string][]map[string]any, error) {
	row, nested := storage.Row{}, map[string][]map[string]any{}
	for name, v := range payload {
		if res.child(name) != nil {
			list, err := children(name, v)
			if err != nil {
				return nil, nil, err
			}
			nested[name] = list
			continue
		}
		a, ok := res.attribute(name)
		if name == "links" || !ok && strings.HasPrefix(name, "@") {
			continue
		}
		if !ok {
			return nil, nil, invalid("25058", "/"+name, "JBO-25058: Definition %s of type Attribute is not found in %s.", name, res.Name)
		}
		if !a.Updatable && !(creating && (a.Mandatory || a.Name == "ContextCode" || a.Name == "OrganizationId")) {
			return nil, nil, invalid("27008", "/"+name, "JBO-27008: Attribute set with value %v for %s in %s has failed, because the attribute is not updatable.", v, name, res.Name)
		}
		value, err := readValue(res, a, v)
		if err != nil {
			return nil, nil, err
		}
		row[name] = value
		if b, ok := value.([]byte); ok {
			row["UploadedFileLength"] = int64(len(b))
		}
	}
	for _, a := range res.Attributes {
		if v, given := row[a.Name]; a.Mandatory && given && v == nil {
			return nil, nil, required(res, a)
		}
	}
	return row, nested, nil
}

func required(res *resource, a attribute) *problem {
	return invalid("27014", "/"+a.Name, "JBO-27014: Attribute %s in %s is required.", a.Name, res.Name)
}

// complete says which mandatory attribute a new row lacks.
func complete(res *resource, row storage.Row) error {
	for _, a := range res.Attributes {
		if a.Mandatory && row[a.Name] == nil {
			return required(res, a)
		}
	}
	return nil
}

func children(name string, v any) ([]map[string]any, error) {
	if o, ok := v.(map[string]any); ok {
		if v, ok = o["items"]; !ok {
			return []map[string]any{o}, nil
		}
	}
	list, ok := v.([]any)
	out := make([]map[string]any, len(list))
	for i, x := range list {
		if out[i], ok = x.(map[string]any); !ok {
			break
		}
	}
	if !ok {
		return nil, invalid("", "/"+name, "The value of %s is not a list of rows.", name)
	}
	return out, nil
}

func readValue(res *resource, a attribute, v any) (any, error) {
	wrong := invalid("25009", "/"+a.Name, "JBO-25009: Cannot create an object of type %s with value: %v for attribute %s in %s.",
		typeName(a.Kind), v, a.Name, res.Name)
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		if a.MaxLength > 0 && utf8.RuneCountInString(v) > a.MaxLength {
			return nil, invalid("27040", "/"+a.Name, "JBO-27040: Attribute set for %s in %s failed: the value is longer than %d characters.", a.Name, res.Name, a.MaxLength)
		}
		if a.Kind == storage.Bytes {
			raw, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return nil, wrong
			}
			return raw, nil
		}
		if a.Kind == storage.Int || a.Kind == storage.Decimal || a.Kind == storage.Bool {
			return nil, wrong
		}
		return literal(res, a, v)
	case json.Number:
		if a.Kind != storage.Int && a.Kind != storage.Decimal {
			return nil, wrong
		}
		return literal(res, a, v.String())
	case *encoded:
		return v, nil
	case bool:
		if a.Kind != storage.Bool {
			return nil, wrong
		}
		return v, nil
	default:
		return nil, wrong
	}
}
