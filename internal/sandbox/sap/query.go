package sap

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/storage"
)

type (
	// view is what of an entity is shown: properties and what is below it.
	view struct {
		selects []string // empty: all
		below   map[string]*view
	}

	// query is the system query options of one call.
	query struct {
		view
		where  storage.Expr
		order  []storage.Order
		top    int // -1: all
		skip   int
		from   int // rows that pages before have given
		counts bool
		raw    url.Values
	}
)

// options are the names that each version knows.
var options = map[bool][]string{
	false: {"$filter", "$select", "$expand", "$orderby", "$top", "$skip", "$skiptoken", "$inlinecount", "$format"},
	true:  {"$filter", "$select", "$expand", "$orderby", "$top", "$skip", "$skiptoken", "$count", "$format", "$search"},
}

func (s *service) parseQuery(e *entity, raw string) (*query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, &problem{status: http.StatusBadRequest, code: codeOption, text: "The query of the URI cannot be read."}
	}
	for name := range values {
		if strings.HasPrefix(name, "$") && !slices.Contains(options[s.V4], name) {
			return nil, &problem{status: http.StatusBadRequest, code: codeOption, text: "The query parameter '" + name + "' is not supported."}
		}
	}
	q := &query{top: -1, raw: values}
	for name, into := range map[string]*int{"$top": &q.top, "$skip": &q.skip, "$skiptoken": &q.from} {
		if text := values.Get(name); text != "" {
			if *into, err = strconv.Atoi(text); err != nil || *into < 0 {
				return nil, &problem{status: http.StatusBadRequest, code: codeOption, text: "Invalid value '" + text + "' for the query parameter '" + name + "'."}
			}
		}
	}
	q.counts = values.Get("$inlinecount") == "allpages" || values.Get("$count") == "true"
	if err := s.readView(&q.view, e, values.Get("$select"), values.Get("$expand")); err != nil {
		return nil, err
	}
	if text := values.Get("$filter"); text != "" {
		if q.where, err = s.parseFilter(e, text); err != nil {
			return nil, err
		}
	}
	for _, part := range list(values.Get("$orderby")) {
		name, direction, _ := strings.Cut(part, " ")
		p, ok := e.property(name)
		if !ok || direction != "" && direction != "asc" && direction != "desc" {
			return nil, badProperty(name, e.Type)
		}
		q.order = append(q.order, storage.Order{Column: p.column(), Desc: direction == "desc", NullsFirst: direction != "desc"})
	}
	return q, nil
}

func list(text string) []string {
	var out []string
	for text != "" {
		end, depth := len(text), 0
		for i := range len(text) {
			if text[i] == '(' {
				depth++
			}
			if text[i] == ')' {
				depth--
			}
			if depth == 0 && text[i] == ',' {
				end = i
				break
			}
		}
		if part := strings.TrimSpace(text[:end]); part != "" {
			out = append(out, part)
		}
		text = text[min(end+1, len(text)):]
	}
	return out
}

// readView reads $select and $expand: paths in V2, nested options in V4.
func (s *service) readView(v *view, e *entity, selects, expands string) error {
	for _, part := range list(expands) {
		if s.V4 {
			name, nested, _ := strings.Cut(part, "(")
			to, below, err := s.expand(v, e, name)
			if err != nil {
				return err
			}
			values := url.Values{}
			for option := range strings.SplitSeq(strings.TrimSuffix(nested, ")"), ";") {
				name, value, _ := strings.Cut(option, "=")
				values.Set(strings.TrimSpace(name), value)
			}
			if err := s.readView(below, to, values.Get("$select"), values.Get("$expand")); err != nil {
				return err
			}
			continue
		}
		at, of := v, e
		for name := range strings.SplitSeq(part, "/") {
			var err error
			if of, at, err = s.expand(at, of, name); err != nil {
				return err
			}
		}
	}
	for _, part := range list(selects) {
		if part == "*" {
			continue
		}
		if err := s.selectPath(v, e, part); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) expand(v *view, e *entity, name string) (*entity, *view, error) {
	n, ok := e.navigation(name)
	if !ok {
		return nil, nil, badProperty(name, e.Type)
	}
	if v.below == nil {
		v.below = map[string]*view{}
	}
	if v.below[name] == nil {
		v.below[name] = &view{}
	}
	return s.set(n.To), v.below[name], nil
}

func (s *service) selectPath(v *view, e *entity, path string) error {
	name, rest, deeper := strings.Cut(path, "/")
	if n, ok := e.navigation(name); ok {
		below := v.below[name]
		if below == nil || !deeper {
			v.selects = append(v.selects, name)
			return nil
		}
		return s.selectPath(below, s.set(n.To), rest)
	}
	if _, ok := e.property(name); !ok || deeper {
		return badProperty(name, e.Type)
	}
	v.selects = append(v.selects, name)
	return nil
}

func (v *view) shows(name string) bool {
	return len(v.selects) == 0 || slices.Contains(v.selects, name)
}
