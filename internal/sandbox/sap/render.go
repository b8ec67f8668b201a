package sap

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// rendering is how one call is answered.
type rendering struct {
	s      *service
	tx     storage.Tx
	base   string // address of the service's root
	asText bool   // V4: decimals as text
}

// rows shows rows of one entity set, with what is below them. What is below all of
// them is read in one statement.
func (r *rendering) rows(ctx context.Context, e *entity, rows []storage.Row, v *view) ([]*ordered.Object, error) {
	out := make([]*ordered.Object, len(rows))
	for i, row := range rows {
		o := ordered.New()
		tag := r.s.tag(e, row)
		if r.s.V4 && tag != "" {
			o.Set("@odata.etag", tag)
		}
		if !r.s.V4 {
			uri := r.base + "/" + r.s.address(e, row)
			about := ordered.New("id", uri, "uri", uri, "type", r.s.namespace()+"."+e.Type)
			if tag != "" {
				about.Set("etag", tag)
			}
			o.Set("__metadata", about)
		}
		for _, p := range e.Properties {
			if v.shows(p.Name) || r.s.V4 && e.isKey(p.Name) {
				o.Set(p.Name, r.s.shown(p, row[p.column()], r.asText))
			}
		}
		out[i] = o
	}
	for _, n := range e.Navigations {
		if below := v.below[n.Name]; below != nil {
			if err := r.below(ctx, n, rows, out, below); err != nil {
				return nil, err
			}
		} else if !r.s.V4 && v.shows(n.Name) {
			for i, row := range rows {
				out[i].Set(n.Name, ordered.New("__deferred", ordered.New("uri", r.base+"/"+r.s.address(e, row)+"/"+n.Name)))
			}
		}
	}
	return out, nil
}

func (r *rendering) below(ctx context.Context, n navigation, rows []storage.Row, out []*ordered.Object, v *view) error {
	if len(rows) == 0 {
		return nil
	}
	to := r.s.set(n.To)
	keys := storage.Tuples{Columns: n.Their}
	for _, row := range rows {
		values := make([]any, len(n.Own))
		for i, c := range n.Own {
			values[i] = row[c]
		}
		keys.Values = append(keys.Values, values)
	}
	found, err := r.tx.Find(ctx, to.Table, storage.Query{Where: keys})
	if err != nil {
		return fmt.Errorf("reading %s: %w", n.Name, err)
	}
	objects, err := r.rows(ctx, to, found, v)
	if err != nil {
		return err
	}
	groups := map[string][]*ordered.Object{}
	for i, row := range found {
		k := joined(row, n.Their)
		groups[k] = append(groups[k], objects[i])
	}
	for i, row := range rows {
		mine := groups[joined(row, n.Own)]
		switch {
		case !n.Many && len(mine) == 0:
			out[i].Set(n.Name, nil)
		case !n.Many:
			out[i].Set(n.Name, mine[0])
		case r.s.V4:
			out[i].Set(n.Name, append([]*ordered.Object{}, mine...))
		default:
			out[i].Set(n.Name, ordered.New("results", append([]*ordered.Object{}, mine...)))
		}
	}
	return nil
}

func joined(row storage.Row, columns []string) string {
	var b strings.Builder
	for _, c := range columns {
		fmt.Fprint(&b, row[c], "\x00")
	}
	return b.String()
}

// address is Set('1') or Set(A='1',B='10').
func (s *service) address(e *entity, row storage.Row) string {
	parts := make([]string, len(e.Keys))
	for i, name := range e.Keys {
		p, _ := e.property(name)
		text, _ := row[p.column()].(string) // the keys of all sets are texts
		parts[i] = "'" + url.PathEscape(strings.ReplaceAll(text, "'", "''")) + "'"
		if len(e.Keys) > 1 {
			parts[i] = name + "=" + parts[i]
		}
	}
	return e.Set + "(" + strings.Join(parts, ",") + ")"
}

// tag is the version of a row as an ETag; empty for one without.
func (s *service) tag(e *entity, row storage.Row) string {
	if e.Version == "" {
		return ""
	}
	p, _ := e.property(e.Version)
	switch v := row[p.column()].(type) {
	case time.Time:
		at := v.UTC()
		if s.V4 {
			return `W/"SADL-02` + at.Format("20060102150405.0000000") + `C~` + at.Format("20060102150405") + `"`
		}
		return `W/"datetimeoffset'` + strings.ReplaceAll(at.Format("2006-01-02T15:04:05.0000000Z"), ":", "%3A") + `'"`
	case string:
		return `W/"'` + v + `'"`
	}
	return ""
}
