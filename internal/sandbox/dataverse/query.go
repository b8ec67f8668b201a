package dataverse

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

const (
	maxPage   = 5000
	maxCount  = 5000
	maxExpand = 15
)

type (
	// preferences is what Prefer asks for, in one header or several.
	preferences struct {
		representation, annotations, continueOnError bool
		asked                                        []string // the annotations; one may end in *
		track                                        bool
		pageSize                                     int // 0: not asked
		applied                                      []string
	}

	// options are the query options of a read.
	options struct {
		names  []string // properties to show; nil is all
		where  storage.Expr
		order  []storage.Order
		expand []expansion
		top    int // 0: none
		count  bool
		cursor cursor
	}

	// expansion is one entry of $expand.
	expansion struct {
		navigation string
		ref        bool
		options
	}

	// cursor is where a page begins.
	cursor struct {
		page int
		last string // the primary key of the last row shown; empty: skip whole pages
	}
)

func readPreferences(h http.Header) preferences {
	var p preferences
	for _, part := range splitPrefer(strings.Join(h.Values("Prefer"), ",")) {
		name, v, _ := strings.Cut(part, "=")
		v = strings.Trim(v, `"`)
		switch strings.TrimSpace(name) {
		case "return":
			if v == "representation" {
				p.representation = true
				p.applied = append(p.applied, "return=representation")
			}
		case "odata.include-annotations":
			p.annotations = true
			p.asked = commas(v)
			p.applied = append(p.applied, `odata.include-annotations="`+v+`"`)
		case "odata.maxpagesize":
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				p.pageSize = min(n, maxPage)
				p.applied = append(p.applied, "odata.maxpagesize="+v)
			}
		case "odata.track-changes":
			p.track = true
		case "odata.continue-on-error":
			p.continueOnError = true
		}
	}
	return p
}

// splitPrefer cuts at commas outside quotes.
func splitPrefer(s string) []string {
	quoted := false
	return strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted || r == ' ' && !quoted
	})
}

// readQuery takes the query of a URL apart. Names are case-sensitive; what the
// Web API does not have is refused.
func readQuery(raw string) (url.Values, error) {
	values := url.Values{}
	for _, pair := range strings.Split(raw, "&") {
		if pair == "" {
			continue
		}
		name, v, _ := strings.Cut(pair, "=")
		n, err := url.QueryUnescape(name)
		if err == nil {
			v, err = url.QueryUnescape(v)
		}
		if err != nil {
			return nil, badQuery("The query of the URL cannot be read.")
		}
		switch {
		case n == "$skip":
			return nil, badQuery("Skip Clause is not supported in CRM")
		case n == "$search" || n == "$format" || n == "$compute" || n == "$levels":
			return nil, badQuery("The query parameter %s is not supported", n)
		case strings.HasPrefix(n, "$") && !slices.Contains([]string{"$select", "$filter", "$expand", "$orderby", "$top", "$count", "$apply", "$skiptoken", "$deltatoken", "$id"}, n):
			return nil, badQuery("The query parameter %s is not supported", n)
		}
		values.Add(n, v)
	}
	return values, nil
}

func (s *System) readOptions(t *Table, values url.Values, now time.Time) (options, error) {
	var o options
	aliases := map[string]string{}
	for name, v := range values {
		if strings.HasPrefix(name, "@") {
			aliases[name] = v[0]
		}
	}
	for _, name := range []string{"$apply", "fetchXml", "savedQuery", "userQuery"} {
		if values.Has(name) { // answering as if it were not there would be a wrong answer
			return o, refuse(http.StatusNotImplemented, "0x80060888", "The sandbox does not have %s.", name)
		}
	}
	for _, name := range []string{"$select", "$filter", "$orderby", "$expand", "$top", "$count", "$skiptoken"} {
		if values.Has(name) {
			if err := s.readOption(t, &o, name, values.Get(name), aliases, now); err != nil {
				return o, err
			}
		}
	}
	return o, nil
}

func (s *System) readOption(t *Table, o *options, name, text string, aliases map[string]string, now time.Time) (err error) {
	switch name {
	case "$select":
		o.names, err = t.readSelect(text)
	case "$filter":
		o.where, err = s.env.parseFilter(t, text, aliases, now)
	case "$orderby":
		o.order, err = s.readOrder(t, text, aliases)
	case "$expand":
		o.expand, err = s.readExpand(t, text, aliases, now)
	case "$top":
		if o.top, err = strconv.Atoi(text); err != nil || o.top <= 0 {
			err = badQuery("Invalid value '%s' for $top query option found. The $top query option requires a positive integer value.", text)
		}
	case "$count":
		if o.count = text == "true"; !o.count && text != "false" {
			err = badQuery("Invalid value '%s' for $count query option found. Valid values are true and false.", text)
		}
	case "$skiptoken":
		o.cursor, err = readCursor(text)
	default:
		err = badQuery("The query parameter %s is not supported", name)
	}
	return err
}

// readSelect returns properties in the order asked; the primary key always
// comes along, and so does the currency of a money column.
func (t *Table) readSelect(text string) ([]string, error) {
	names := []string{}
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range strings.Split(text, ",") {
		name = strings.TrimSpace(name)
		c := t.byProperty[name]
		if c == nil {
			if byName, _, ok := t.navigation(name); ok && name != "" {
				c = byName // a lookup may be selected by its own name
			} else {
				return nil, unknownProperty(t, name)
			}
		}
		add(c.Property())
		if c.Type == Money && t.byProperty["_transactioncurrencyid_value"] != nil {
			add("_transactioncurrencyid_value")
		}
	}
	add(t.Primary)
	return names, nil
}

// readOrder: SQL Server sorts nulls first.
func (s *System) readOrder(t *Table, text string, aliases map[string]string) ([]storage.Order, error) {
	var list []storage.Order
	for _, part := range strings.Split(text, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != "asc" && words[1] != "desc" {
			return nil, badQuery("Syntax error in '%s'.", text)
		}
		name := words[0]
		if v, ok := aliases[name]; ok {
			name = v
		}
		c := t.byProperty[name]
		if c == nil {
			return nil, unknownProperty(t, name)
		}
		desc := len(words) == 2 && words[1] == "desc"
		list = append(list, storage.Order{Column: c.Property(), Desc: desc, NullsFirst: !desc})
	}
	return list, nil
}

// readExpand reads "nav($select=a;$filter=…),other".
func (s *System) readExpand(t *Table, text string, aliases map[string]string, now time.Time) ([]expansion, error) {
	var list []expansion
	for _, part := range splitTop(text, ',') {
		name, inner, _ := strings.Cut(strings.TrimSpace(part), "(")
		inner = strings.TrimSuffix(inner, ")")
		x := expansion{navigation: name}
		if base, ok := strings.CutSuffix(name, "/$ref"); ok {
			x.navigation, x.ref = base, true
		}
		target := ""
		if _, logical, ok := t.navigation(x.navigation); ok {
			target = logical
		} else if c, ok := t.collection(x.navigation); ok {
			if target = c.Table; x.ref {
				return nil, badQuery("Expand with $ref is only supported on lookup type navigation property.")
			}
		}
		to := s.env.byLogical[target]
		if to == nil {
			return nil, unknownProperty(t, x.navigation)
		}
		for _, option := range splitTop(inner, ';') {
			if option = strings.TrimSpace(option); option == "" {
				continue
			}
			key, v, _ := strings.Cut(option, "=")
			if err := s.readOption(to, &x.options, strings.TrimSpace(key), v, aliases, now); err != nil {
				return nil, err
			}
		}
		if len(x.expand) > 0 {
			x.top, x.order = 0, nil // documented: a nested $expand turns them off
		}
		list = append(list, x)
	}
	if len(list) > maxExpand {
		return nil, badQuery("Number of expands exceeded the limit of %d.", maxExpand)
	}
	return list, nil
}

// splitTop cuts at sep outside brackets and quotes.
func splitTop(s string, sep byte) []string {
	var out []string
	depth, quoted, start := 0, false, 0
	for i := range len(s) {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case quoted:
		case s[i] == '(':
			depth++
		case s[i] == ')':
			depth--
		case s[i] == sep && depth == 0:
			out, start = append(out, s[start:i]), i+1
		}
	}
	return append(out, s[start:])
}

var (
	pageNumber = regexp.MustCompile(`pagenumber="(\d+)"`)
	pageCookie = regexp.MustCompile(`pagingcookie="([^"]*)"`)
	lastKey    = regexp.MustCompile(`last="\{([0-9A-Fa-f-]{36})\}"`)
)

// readCursor reads a skiptoken that nextLink wrote.
func readCursor(text string) (cursor, error) {
	n := pageNumber.FindStringSubmatch(text)
	if n == nil {
		return cursor{}, refuse(http.StatusBadRequest, "0x80060888", "Malformed XML in the Paging Cookie")
	}
	page, err := strconv.Atoi(n[1])
	if err != nil || page < 1 {
		return cursor{}, refuse(http.StatusBadRequest, "0x80060888", "Malformed XML in the Paging Cookie")
	}
	c := cursor{page: page}
	if m := pageCookie.FindStringSubmatch(text); m != nil {
		once, err := url.QueryUnescape(m[1])
		if err == nil {
			once, err = url.QueryUnescape(once)
		}
		if err != nil {
			return cursor{}, refuse(http.StatusBadRequest, "0x80060888", "Malformed XML in the Paging Cookie")
		}
		if last := lastKey.FindStringSubmatch(once); last != nil {
			c.last = strings.ToLower(last[1])
		}
	}
	return c, nil
}

// nextLink is the address of the page after this one. Pages in the order of the
// primary key continue behind the last row; others count rows.
func nextLink(c *exchange.Call, t *Table, page int, first, last string, ordered bool) string {
	pairs := []string{}
	for _, pair := range strings.Split(c.RawQuery, "&") {
		if name, _, _ := strings.Cut(pair, "="); pair != "" && name != "$skiptoken" && name != "%24skiptoken" {
			pairs = append(pairs, pair)
		}
	}
	inner := fmt.Sprintf(`<cookie page="%d"><%s last="{%s}" first="{%s}" /></cookie>`, page, t.Primary, strings.ToUpper(last), strings.ToUpper(first))
	if ordered {
		inner = fmt.Sprintf(`<cookie page="%d"></cookie>`, page)
	}
	outer := fmt.Sprintf(`<cookie pagenumber="%d" pagingcookie="%s" istracking="False" />`, page+1, url.QueryEscape(url.QueryEscape(inner)))
	pairs = append(pairs, "$skiptoken="+url.PathEscape(outer))
	return c.Base + c.RawPath + "?" + strings.Join(pairs, "&")
}
