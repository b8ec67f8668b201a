package rest

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// fill puts values into the {column} places of a path. used are the columns.
func fill(t connector.Table, path string, row connector.Row) (target string, used map[string]bool, err error) {
	used = map[string]bool{}
	var out strings.Builder
	for rest := rooted(path); rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		out.WriteString(before)
		if !found {
			break
		}
		column, behind, closed := strings.Cut(after, "}")
		if !closed {
			return "", nil, fault.Invalidf("connector.path", "a path of table %s has a { without its }", t.Name)
		}
		if err := t.Check(column); err != nil {
			return "", nil, err
		}
		value, ok := text(row[column])
		// A dot or two would be a step in the path, whatever is escaped.
		if !ok || value == "" || value == "." || value == ".." {
			return "", nil, fault.New(fault.Rejected, System+".key", "a row of "+t.Name+" has no value for "+column+" that can stand in an address", nil)
		}
		out.WriteString(url.PathEscape(value))
		used[column] = true
		rest = behind
	}
	return out.String(), used, nil
}

// text writes a single value.
func text(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	}
	return "", false
}

// at follows a JSON pointer (RFC 6901); an empty one is the whole.
func at(value any, pointer string) (any, bool) {
	if pointer == "" || pointer == "/" {
		return value, true
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[part]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}
