package dataverse

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// renderer shows rows; service is the address of the Web API.
type renderer struct {
	*System
	tx          storage.Tx
	service     string
	annotations bool
	asked       []string
	names       map[string]string // primary names of rows that lookups point to
}

func etag(row storage.Row) string {
	n, _ := row["versionnumber"].(int64)
	return `W/"` + strconv.FormatInt(n, 10) + `"`
}

func (r *renderer) rows(ctx context.Context, t *Table, rows []storage.Row, o options) ([]*ordered.Object, error) {
	names := o.names
	if names == nil {
		for i := range t.Columns {
			names = append(names, t.Columns[i].Property())
		}
	}
	if r.annotations {
		if err := r.readNames(ctx, t, rows, names); err != nil {
			return nil, err
		}
	}
	out := make([]*ordered.Object, len(rows))
	for i, row := range rows {
		obj := ordered.New("@odata.etag", etag(row))
		for _, name := range names {
			c := t.byProperty[name]
			if r.annotations {
				r.annotate(obj, c, row)
			}
			obj.Set(name, shown(c, row[name]))
		}
		out[i] = obj
	}
	for _, x := range o.expand {
		if err := r.expand(ctx, t, rows, out, x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func shown(c *Column, v any) any {
	if c.Hidden {
		return nil
	}
	if t, ok := v.(time.Time); ok {
		return t
	}
	if n, ok := v.(json.Number); ok && c.Type == Money {
		return json.Number(exact(n, 4))
	}
	return v
}

// exact is a decimal with a fixed number of places.
func exact(n json.Number, places int) string {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return string(n)
	}
	return r.FloatString(places)
}

func (r *renderer) annotate(o *ordered.Object, c *Column, row storage.Row) {
	name := c.Property()
	v := row[name]
	if v == nil {
		return
	}
	formatted := ""
	switch v := v.(type) {
	case int64:
		if option, ok := c.option(v); ok {
			formatted = option.Label
		} else if c.Type == Integer {
			formatted = thousands(strconv.FormatInt(v, 10))
		} else if c.Type == BigInt {
			formatted = strconv.FormatInt(v, 10)
		}
	case bool:
		if option, ok := c.option(map[bool]int64{false: 0, true: 1}[v]); ok {
			formatted = option.Label
		}
	case json.Number:
		formatted = thousands(exact(v, 2))
		if c.Type == Money {
			formatted = "€" + formatted
		}
	case time.Time:
		formatted = v.Format("1/2/2006 3:04 PM")
	case string:
		switch c.Type {
		case DateOnly:
			if d, err := time.Parse(time.DateOnly, v); err == nil {
				formatted = d.Format("1/2/2006")
			}
		case Lookup:
			formatted = r.names[v]
		}
	}
	set := func(annotation, value string) {
		if r.wants(annotation) {
			o.Set(name+"@"+annotation, value)
		}
	}
	if formatted != "" {
		set("OData.Community.Display.V1.FormattedValue", formatted)
	}
	if c.Type != Lookup {
		return
	}
	target := targetOf(c, row)
	for _, x := range c.Targets {
		if x.Table == target && x.Navigation != "" {
			set("Microsoft.Dynamics.CRM.associatednavigationproperty", x.Navigation)
		} else if x.Table == target {
			set("Microsoft.Dynamics.CRM.associatednavigationproperty", c.Name)
		}
	}
	set("Microsoft.Dynamics.CRM.lookuplogicalname", target)
}

// wants reports whether an annotation was asked for.
func (r *renderer) wants(annotation string) bool {
	return slices.ContainsFunc(r.asked, func(asked string) bool {
		prefix, wild := strings.CutSuffix(asked, "*")
		return asked == annotation || wild && strings.HasPrefix(annotation, prefix)
	})
}

func targetOf(c *Column, row storage.Row) string {
	if !c.polymorphic() {
		return c.Targets[0].Table
	}
	s, _ := row[c.pointer()].(string)
	return s
}

func thousands(s string) string {
	whole, rest, _ := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + whole + rest
}

// readNames reads the primary names behind all lookups of the rows, one
// statement a table.
func (r *renderer) readNames(ctx context.Context, t *Table, rows []storage.Row, names []string) error {
	if r.names == nil {
		r.names = map[string]string{}
	}
	wanted := map[string][]any{}
	for _, name := range names {
		c := t.byProperty[name]
		if c.Type != Lookup {
			continue
		}
		for _, row := range rows {
			if id, ok := row[name].(string); ok && r.names[id] == "" {
				wanted[targetOf(c, row)] = append(wanted[targetOf(c, row)], id)
			}
		}
	}
	for logical, ids := range wanted {
		to := r.env.byLogical[logical]
		if to == nil {
			continue
		}
		found, err := r.tx.Find(ctx, to.rows, storage.Query{Where: storage.In{Column: to.Primary, Values: ids}})
		if err != nil {
			return fmt.Errorf("reading the names behind lookups: %w", err)
		}
		for _, row := range found {
			id, _ := row[to.Primary].(string)
			r.names[id], _ = row[to.NameColumn].(string)
		}
	}
	return nil
}

func (r *renderer) expand(ctx context.Context, t *Table, rows []storage.Row, into []*ordered.Object, x expansion) error {
	if c, target, ok := t.navigation(x.navigation); ok {
		return r.expandOne(ctx, c, r.env.byLogical[target], rows, into, x)
	}
	c, _ := t.collection(x.navigation)
	return r.expandMany(ctx, t, c, rows, into, x)
}

func (r *renderer) expandOne(ctx context.Context, c *Column, to *Table, rows []storage.Row, into []*ordered.Object, x expansion) error {
	leads := func(row storage.Row) (string, bool) {
		id, ok := row[c.Property()].(string)
		return id, ok && targetOf(c, row) == to.Logical
	}
	var ids []any
	for _, row := range rows {
		if id, ok := leads(row); ok {
			ids = append(ids, id)
		}
	}
	found, err := r.tx.Find(ctx, to.rows, storage.Query{Where: storage.In{Column: to.Primary, Values: ids}})
	if err != nil {
		return fmt.Errorf("expanding %s: %w", x.navigation, err)
	}
	objects, err := r.rows(ctx, to, found, x.options)
	if err != nil {
		return err
	}
	byID := map[string]*ordered.Object{}
	for i, row := range found {
		id, _ := row[to.Primary].(string)
		byID[id] = objects[i]
	}
	for i, row := range rows {
		id, _ := leads(row)
		switch o := byID[id]; {
		case o == nil:
			into[i].Set(x.navigation, nil)
		case x.ref:
			into[i].Set(x.navigation, ordered.New("@odata.id", r.service+"/"+to.Set+"("+id+")"))
		default:
			into[i].Set(x.navigation, o)
		}
	}
	return nil
}

func (r *renderer) expandMany(ctx context.Context, t *Table, c Collection, rows []storage.Row, into []*ordered.Object, x expansion) error {
	to := r.env.byLogical[c.Table]
	for i, row := range rows {
		found, err := r.tx.Find(ctx, to.rows, storage.Query{Where: storage.And{t.children(to, c, row), x.where}, Order: x.order, Limit: orAll(x.top)})
		if err != nil {
			return fmt.Errorf("expanding %s: %w", x.navigation, err)
		}
		objects, err := r.rows(ctx, to, found, x.options)
		if err != nil {
			return err
		}
		link := fmt.Sprintf("%s/%s(%v)/%s", r.service, t.Set, row[t.Primary], c.Navigation)
		if x.names != nil {
			link += "?$select=" + url.QueryEscape(strings.Join(x.names, ","))
		}
		into[i].Set(c.Navigation, objects).Set(c.Navigation+"@odata.nextLink", link)
	}
	return nil
}

func orAll(top int) int {
	if top > 0 {
		return top
	}
	return maxPage
}

// children is the predicate for the rows of a collection below one row.
func (t *Table) children(to *Table, c Collection, row storage.Row) storage.Expr {
	back := to.column(c.Column)
	all := storage.And{storage.Compare{Column: back.Property(), Op: storage.Eq, Value: row[t.Primary]}}
	if back.polymorphic() {
		all = append(all, storage.Compare{Column: back.pointer(), Op: storage.Eq, Value: t.Logical})
	}
	return all
}

// contextOf is the address of the metadata that describes an answer.
func (r *renderer) contextOf(t *Table, o options, suffix string) string {
	var names []string
	if o.names != nil {
		names = slices.DeleteFunc(slices.Clone(o.names), func(n string) bool { return n == t.Primary })
		if len(names) == 0 {
			names = []string{t.Primary}
		}
	}
	for _, x := range o.expand {
		names = append(names, x.navigation+"("+strings.Join(x.names, ",")+")")
	}
	s := r.service + "/$metadata#" + t.Set
	if len(names) > 0 {
		s += "(" + strings.Join(names, ",") + ")"
	}
	return s + suffix
}
