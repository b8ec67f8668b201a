package oracle

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/storage"
)

const (
	defaultLimit = 25
	maxLimit     = 500
	childLimit   = 25 // rows of an expanded child in one answer
)

type (
	// view is how a caller wants rows shown.
	view struct {
		version  int // of the REST framework
		onlyData bool
		links    []string            // rels asked for; nil is all
		fields   map[string][]string // by path of the resource below the one read; nil: not asked
		expand   map[string]bool     // paths below the resource read
	}

	// page is which rows a caller wants.
	page struct {
		where         storage.Expr
		order         []storage.Order
		limit, offset int
		total         bool
	}
)

// frameworkVersion is 1 unless the header says otherwise.
func frameworkVersion(h http.Header) int {
	n, err := strconv.Atoi(strings.TrimSpace(h.Get("REST-Framework-Version")))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

func readVersion(h http.Header) (int, error) {
	s := strings.TrimSpace(h.Get("REST-Framework-Version"))
	if s == "" {
		return 1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 9 {
		return 0, invalid("", "", "The REST-Framework-Version header value %s is not valid.", s)
	}
	return n, nil
}

func readView(res *resource, h http.Header, q url.Values) (view, error) {
	version, err := readVersion(h)
	if err != nil {
		return view{}, err
	}
	v := view{version: version, onlyData: strings.EqualFold(q.Get("onlyData"), "true"), expand: map[string]bool{}}
	if q.Has("links") {
		v.links = strings.Split(q.Get("links"), ",")
	}
	if q.Has("fields") {
		return v, v.readFields(res, q.Get("fields"))
	}
	for _, path := range strings.Split(q.Get("expand"), ",") {
		switch path = strings.TrimSpace(path); path {
		case "":
		case "all":
			for _, c := range res.Children {
				v.expand[c.Name] = true
			}
		default:
			if err := v.addExpand(res, path); err != nil {
				return view{}, err
			}
		}
	}
	return v, nil
}

// addExpand takes a path and, as documented, every path it leads through.
func (v *view) addExpand(res *resource, path string) error {
	at := ""
	for _, name := range strings.Split(path, ".") {
		child := res.child(name)
		if child == nil {
			return invalid("", "", "URL request parameter expand cannot be used in this context: %s is not a child of %s.", name, res.Name)
		}
		at = join(at, name)
		v.expand[at] = true
		res = child
	}
	return nil
}

// readFields reads "A,B;Child:X,Y;Child.Grandchild:Z"; fields win over expand.
func (v *view) readFields(res *resource, list string) error {
	v.fields = map[string][]string{}
	for _, group := range strings.Split(list, ";") {
		path, names, below := strings.Cut(group, ":")
		in, at := res, ""
		if below {
			if err := v.addExpand(res, path); err != nil {
				return err
			}
			for _, name := range strings.Split(path, ".") {
				in = in.child(name)
			}
			at = path
		} else {
			names = path
		}
		if v.fields[at] == nil {
			v.fields[at] = []string{}
		}
		for _, name := range strings.Split(names, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			if _, ok := in.attribute(name); !ok {
				return invalid("", "", "URL request parameter fields cannot be used in this context: the attribute %s is not defined in %s.", name, in.Name)
			}
			v.fields[at] = append(v.fields[at], name)
		}
	}
	return nil
}

func (v *view) shows(path, name string) bool {
	if v.fields == nil {
		return true
	}
	return slices.Contains(v.fields[path], name)
}

func (v *view) wants(rel string) bool {
	return !v.onlyData && (v.links == nil || slices.Contains(v.links, rel))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func readPage(res *resource, version int, q url.Values) (page, error) {
	p := page{limit: defaultLimit, total: strings.EqualFold(q.Get("totalResults"), "true")}
	var err error
	if p.limit, err = whole(q, "limit", defaultLimit); err != nil {
		return p, err
	}
	if p.limit = min(p.limit, maxLimit); p.limit == 0 {
		p.limit = defaultLimit
	}
	if p.offset, err = whole(q, "offset", 0); err != nil {
		return p, err
	}
	var all storage.And
	if text := q.Get("q"); strings.TrimSpace(text) != "" {
		parse := parseRowMatch
		if version == 1 {
			parse = parseByExample
		}
		e, err := parse(res, text)
		if err != nil {
			return p, err
		}
		all = append(all, e)
	}
	if finder := q.Get("finder"); finder != "" {
		e, err := readFinder(res, finder)
		if err != nil {
			return p, err
		}
		all = append(all, e)
	}
	if res == onhand && !strings.Contains(q.Get("q"), "SummaryLevel") {
		return p, invalid("", "", "You must provide a value for the SummaryLevel attribute.")
	}
	p.where = all
	p.order, err = readOrder(res, q.Get("orderBy"))
	return p, err
}

func whole(q url.Values, name string, otherwise int) (int, error) {
	if !q.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 0 {
		return 0, invalid("", "", "URL request parameter %s has the value %s, which is not valid.", name, q.Get(name))
	}
	return n, nil
}

// readFinder reads "PrimaryKey;ItemId=1,OrganizationId=2".
func readFinder(res *resource, s string) (storage.Expr, error) {
	name, rest, _ := strings.Cut(s, ";")
	if name != "PrimaryKey" {
		return nil, invalid("", "", "The finder %s is not defined for %s.", name, res.Name)
	}
	given := map[string]bool{}
	var all storage.And
	for _, part := range strings.Split(rest, ",") {
		variable, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		attr, known := res.attribute(variable)
		if !ok || !known || !slices.Contains(res.Table.Primary, variable) {
			return nil, invalid("", "", "The finder variable %s is not defined for the finder PrimaryKey.", variable)
		}
		v, err := literal(res, attr, unquote(value))
		if err != nil {
			return nil, err
		}
		given[variable] = true
		all = append(all, storage.Compare{Column: variable, Op: storage.Eq, Value: v})
	}
	for _, key := range res.Table.Primary {
		if _, visible := res.attribute(key); visible && !given[key] {
			return nil, invalid("", "", "The finder PrimaryKey requires a value for %s.", key)
		}
	}
	return all, nil
}

// readOrder reads "A:asc,B:desc"; Oracle sorts nulls behind everything.
func readOrder(res *resource, s string) ([]storage.Order, error) {
	var list []storage.Order
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, direction, _ := strings.Cut(part, ":")
		attr, ok := res.attribute(name)
		desc := strings.EqualFold(direction, "desc")
		if !ok || attr.Kind == storage.Bytes || direction != "" && !desc && !strings.EqualFold(direction, "asc") {
			return nil, invalid("", "", "URL request parameter orderBy cannot be used in this context: %s.", part)
		}
		list = append(list, storage.Order{Column: name, Desc: desc, NullsFirst: desc})
	}
	return list, nil
}
