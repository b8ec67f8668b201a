package oracle

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// located is a row with the address it is shown under.
type located struct {
	row  storage.Row
	href string
}

// render shows rows of one resource, with the children that are asked for. The
// children of all rows are read in one statement. path is the way from the
// resource of the call down to res.
func (s *System) render(ctx context.Context, tx storage.Tx, res *resource, rows []located, v view, path string) ([]*ordered.Object, error) {
	objects := make([]*ordered.Object, len(rows))
	for i, l := range rows {
		o := ordered.New()
		for _, a := range res.Attributes {
			if !a.Hides && a.Kind != storage.Bytes && v.shows(path, a.Name) {
				o.Set(a.Name, shown(a, l.row[a.Name]))
			}
		}
		objects[i] = o
	}
	for _, child := range res.Children {
		at := join(path, child.Name)
		if !v.expand[at] {
			continue
		}
		if err := s.renderChild(ctx, tx, child, rows, objects, v, at); err != nil {
			return nil, err
		}
	}
	if !v.onlyData {
		for i, l := range rows {
			if links := v.linksOf(res, l); len(links) > 0 {
				objects[i].Set("links", links)
			}
		}
	}
	return objects, nil
}

func (s *System) renderChild(ctx context.Context, tx storage.Tx, child *resource, parents []located, into []*ordered.Object, v view, at string) error {
	if len(parents) == 0 {
		return nil
	}
	found, err := tx.Find(ctx, child.Table, storage.Query{Where: below(child, parents), Omit: heavy(child)})
	if err != nil {
		return fmt.Errorf("reading %s: %w", child.Name, err)
	}
	groups := make(map[string][]storage.Row, len(parents))
	for _, row := range found {
		k := joinKey(child, row)
		groups[k] = append(groups[k], row)
	}
	var flat []located
	for _, p := range parents {
		list := groups[joinKey(child, p.row)]
		for _, row := range list[:min(len(list), childLimit)] {
			flat = append(flat, located{row, p.href + "/child/" + child.Name + "/" + idOf(child, row)})
		}
	}
	objects, err := s.render(ctx, tx, child, flat, v, at)
	if err != nil {
		return err
	}
	for i, p := range parents {
		all := len(groups[joinKey(child, p.row)])
		n := min(all, childLimit)
		list := objects[:n:n]
		objects = objects[n:]
		if v.version < 3 {
			into[i].Set(child.Name, list)
			continue
		}
		into[i].Set(child.Name, v.collection(child, list, page{limit: childLimit}, all > n, -1, p.href+"/child/"+child.Name))
	}
	return nil
}

// below is the predicate that a child row belongs to one of the parents.
func below(child *resource, parents []located) storage.Expr {
	if len(parents) == 1 {
		all := make(storage.And, len(child.Join))
		for i, name := range child.Join {
			all[i] = storage.Compare{Column: name, Op: storage.Eq, Value: parents[0].row[name]}
		}
		return all
	}
	keys := storage.Tuples{Columns: child.Join, Values: make([][]any, len(parents))}
	for i, p := range parents {
		for _, name := range child.Join {
			keys.Values[i] = append(keys.Values[i], p.row[name])
		}
	}
	return keys
}

func joinKey(child *resource, row storage.Row) string {
	var b strings.Builder
	for _, name := range child.Join {
		fmt.Fprint(&b, row[name], "\x00")
	}
	return b.String()
}

// heavy are the columns that no list shows.
func heavy(res *resource) []string {
	if res.Enclosure == "" {
		return nil
	}
	return []string{res.Enclosure}
}

func (v *view) collection(res *resource, items []*ordered.Object, p page, more bool, total int, href string) *ordered.Object {
	o := ordered.New("items", items)
	if total >= 0 {
		o.Set("totalResults", total)
	}
	o.Set("count", len(items)).Set("hasMore", more).Set("limit", p.limit).Set("offset", p.offset)
	if v.wants("self") {
		o.Set("links", []*ordered.Object{ordered.New("rel", "self", "href", href, "name", res.Name, "kind", "collection")})
	}
	return o
}

func (v *view) linksOf(res *resource, l located) []*ordered.Object {
	var links []*ordered.Object
	add := func(rel, href, name, kind string) {
		if v.wants(rel) {
			links = append(links, ordered.New("rel", rel, "href", href, "name", name, "kind", kind))
		}
	}
	if v.wants("self") {
		links = append(links, ordered.New("rel", "self", "href", l.href, "name", res.Name, "kind", "item",
			"properties", ordered.New("changeIndicator", indicator(l.row))))
	}
	add("canonical", l.href, res.Name, "item")
	if cut := strings.LastIndex(l.href, "/child/"); cut > 0 {
		parent := l.href[:cut]
		name := parent[:strings.LastIndexByte(parent, '/')]
		add("parent", parent, name[strings.LastIndexByte(name, '/')+1:], "item")
	}
	if res.Enclosure != "" && l.row["DatatypeCode"] == "FILE" {
		add("enclosure", l.href+"/enclosure/"+res.Enclosure, res.Enclosure, "other")
	}
	for _, child := range res.Children {
		add("child", l.href+"/child/"+child.Name, child.Name, "collection")
	}
	return links
}

func shown(a attribute, v any) any {
	if t, ok := v.(time.Time); ok && a.Kind == storage.Time {
		return t.Format("2006-01-02T15:04:05.999-07:00")
	}
	return v
}

// indicator changes with every write to the row; it has the look of a
// serialised Java list, as at Oracle.
func indicator(row storage.Row) string {
	n, _ := row[versionColumn].(int64)
	return fmt.Sprintf("ACED0005737200136A6176612E7574696C2E41727261794C6973747881D21D99C7619D03000149000473697A65787000000001770400000001%016X78", n)
}

// idOf is the path id of a row: the number itself where one number is the key,
// else every part of the key in Java's serialised form, in hex.
func idOf(res *resource, row storage.Row) string {
	if len(res.Table.Primary) == 1 {
		return fmt.Sprint(row[res.Table.Primary[0]])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%04X", len(res.Table.Primary))
	for _, name := range res.Table.Primary {
		part := []byte{0xAC, 0xED, 0, 5}
		switch v := row[name].(type) {
		case int64:
			part = binary.BigEndian.AppendUint64(append(part, 0x77, 8), uint64(v))
		case string:
			part = append(binary.BigEndian.AppendUint16(append(part, 0x74), uint16(len(v))), v...)
		}
		fmt.Fprintf(&b, "%08X%X", len(part), part)
	}
	return b.String()
}

// keyOfID reads a path id back; ok is false for anything idOf did not make.
func keyOfID(res *resource, id string) (storage.Row, bool) {
	row := storage.Row{}
	if len(res.Table.Primary) == 1 {
		n, err := strconv.ParseInt(id, 10, 64)
		row[res.Table.Primary[0]] = n
		return row, err == nil
	}
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) < 2 || int(binary.BigEndian.Uint16(raw)) != len(res.Table.Primary) {
		return nil, false
	}
	raw = raw[2:]
	for _, name := range res.Table.Primary {
		if len(raw) < 4 {
			return nil, false
		}
		n := binary.BigEndian.Uint32(raw)
		if raw = raw[4:]; uint32(len(raw)) < n || n < 7 {
			return nil, false
		}
		part := raw[4:n]
		raw = raw[n:]
		switch {
		case part[0] == 0x77 && len(part) == 10:
			row[name] = int64(binary.BigEndian.Uint64(part[2:]))
		case part[0] == 0x74:
			row[name] = string(part[3:])
		default:
			return nil, false
		}
	}
	return row, len(raw) == 0
}
