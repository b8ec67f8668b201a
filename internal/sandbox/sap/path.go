package sap

import (
	"strings"

	"patchbay/internal/sandbox/storage"
)

type (
	// segment is one step of a path: a name and, in brackets, a key.
	segment struct {
		name  string
		keyed bool
		key   []keyPart
	}

	keyPart struct{ name, literal string } // name is empty in a key of one part
)

// find gives the service that a path belongs to, and what follows its root.
func find(path string) (*service, string) {
	for _, s := range services {
		if rest, ok := strings.CutPrefix(path, s.Root); ok && (rest == "" || rest[0] == '/') {
			return s, rest
		}
	}
	return nil, ""
}

// segments splits what follows a service's root; a key may hold slashes, commas and
// brackets between its quotes.
func segments(rest string) ([]segment, error) {
	var list []segment
	for rest = strings.TrimPrefix(rest, "/"); rest != ""; {
		end := unquoted(rest, '/')
		part := rest[:end]
		if rest = rest[end:]; rest != "" {
			rest = rest[1:]
		}
		open := strings.IndexByte(part, '(')
		if open < 0 {
			list = append(list, segment{name: part})
			continue
		}
		if !strings.HasSuffix(part, ")") {
			return nil, badQuery("Malformed URI literal syntax in '%s'.", part)
		}
		s := segment{name: part[:open], keyed: true}
		for inner := part[open+1 : len(part)-1]; inner != ""; {
			end := unquoted(inner, ',')
			name, literal := "", strings.TrimSpace(inner[:end])
			if eq := unquoted(literal, '='); eq < len(literal) {
				name, literal = strings.TrimSpace(literal[:eq]), strings.TrimSpace(literal[eq+1:])
			}
			s.key = append(s.key, keyPart{name, literal})
			if inner = inner[end:]; inner != "" {
				inner = inner[1:]
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// unquoted is the place of the first c outside of quotes, or the length of the text.
func unquoted(text string, c byte) int {
	inside := false
	for i := range len(text) {
		switch {
		case text[i] == '\'':
			inside = !inside
		case text[i] == c && !inside:
			return i
		}
	}
	return len(text)
}

// key reads the key of a segment as a row of its columns.
func (s *service) key(e *entity, parts []keyPart) (storage.Row, error) {
	if len(parts) != len(e.Keys) {
		return nil, badQuery("Invalid key predicate for '%s'.", e.Type)
	}
	row := storage.Row{}
	for _, part := range parts {
		name := part.name
		if name == "" && len(e.Keys) == 1 {
			name = e.Keys[0]
		}
		p, ok := e.property(name)
		if !ok || !e.isKey(name) {
			return nil, badQuery("Invalid key predicate for '%s'.", e.Type)
		}
		v, err := s.literal(p, part.literal)
		if err != nil || v == nil {
			return nil, badQuery("Invalid key predicate for '%s'.", e.Type)
		}
		row[p.column()] = v
	}
	if len(row) != len(e.Keys) {
		return nil, badQuery("Invalid key predicate for '%s'.", e.Type)
	}
	return row, nil
}
