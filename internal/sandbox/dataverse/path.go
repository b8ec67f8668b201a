package dataverse

import (
	"net/url"
	"strings"

	"patchbay/internal/sandbox/storage"
)

// address is one row by the key in a URL: property → value. Alternate says that
// it is not the primary key.
type address struct {
	values    map[string]any
	keyed     []string // the properties in the order of the key
	alternate bool
	text      string // as written, for the answer's OData-EntityId
}

// segments cuts a decoded path at slashes outside quotes and brackets. A slash
// inside a key value is where real clients fail too, so quotes do not save it.
func segments(path string) []string {
	var out []string
	start, depth := 0, 0
	for i := range len(path) {
		switch path[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '/':
			if depth <= 0 {
				out, start, depth = append(out, path[start:i]), i+1, 0
			}
		}
	}
	return append(out, path[start:])
}

// splitKey cuts "accounts(…)" into the set and what stands in brackets.
func splitKey(segment string) (set, key string, keyed bool) {
	open := strings.IndexByte(segment, '(')
	if open < 0 || !strings.HasSuffix(segment, ")") {
		return segment, "", false
	}
	return segment[:open], segment[open+1 : len(segment)-1], true
}

// parseAddress reads the brackets of a row's URL.
func (t *Table) parseAddress(text string) (address, error) {
	bad := refuse(400, "0x80060888", "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.%s'. Ensure that the names and number of key properties match the declared or alternate key properties for the resource 'Microsoft.Dynamics.CRM.%s'.", t.Logical, t.Logical)
	ts, err := scan(text)
	if err != nil {
		return address{}, err
	}
	if len(ts.list) == 1 && ts.list[0].kind == 'g' {
		return address{values: map[string]any{t.Primary: ts.list[0].text}, keyed: []string{t.Primary}, text: ts.list[0].text}, nil
	}
	a := address{values: map[string]any{}, text: text}
	for {
		name := ts.next()
		if name.kind != 'w' || !ts.sign('=') {
			return address{}, bad
		}
		c := t.byProperty[name.text]
		if c == nil {
			return address{}, bad
		}
		v, p := value(c, ts.next())
		if p != nil || v == nil {
			return address{}, bad
		}
		a.values[name.text] = v
		if ts.peek().kind == 0 {
			break
		}
		if !ts.sign(',') {
			return address{}, bad
		}
	}
	if _, ok := a.values[t.Primary]; ok && len(a.values) == 1 {
		a.keyed = []string{t.Primary}
		return a, nil
	}
	keyed, ok := t.keyOver(a.values)
	if !ok {
		return address{}, bad
	}
	a.keyed, a.alternate = keyed, true
	return a, nil
}

func (a address) where() storage.Expr {
	all := make(storage.And, len(a.keyed))
	for i, name := range a.keyed {
		all[i] = storage.Compare{Column: name, Op: storage.Eq, Value: a.values[name]}
	}
	return all
}

// missing is the refusal for a row that is not there.
func (a address) missing(t *Table) *problem {
	if a.alternate {
		return noKey(t)
	}
	return noRow(t, a.values[t.Primary])
}

// reference reads the URL of a row as a payload gives it: absolute, from the
// root, or relative to the service.
func (e *Environment) reference(text string) (*Table, address, error) {
	bad := refuse(400, "0x80048d19", "The reference '%s' does not lead to a row.", text)
	if at := strings.Index(text, "/api/data/v"); at >= 0 {
		_, text, _ = strings.Cut(text[at+len("/api/data/"):], "/")
	}
	text = strings.TrimPrefix(text, "/")
	decoded, err := url.PathUnescape(text)
	if err != nil {
		decoded = text
	}
	set, key, ok := splitKey(decoded)
	t := e.bySet[set]
	if !ok || t == nil {
		return nil, address{}, bad
	}
	a, err := t.parseAddress(key)
	return t, a, err
}

func unescapePath(path string) (string, error) {
	out, err := url.PathUnescape(path)
	if err != nil {
		return "", badQuery("The path of the URL cannot be read.")
	}
	return out, nil
}
