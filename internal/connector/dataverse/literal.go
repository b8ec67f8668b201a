package dataverse

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// unaddressable are the characters that break an address by key [Microsoft,
// "Define alternate keys"], percent-encoded or not.
const unaddressable = `/<>*%&:\?+`

// literal writes a value for $filter or an address by key. Lookups and primary
// keys are GUIDs, which stand bare; all other text is quoted.
func literal(t connector.Table, column string, value any) (string, *fault.Fault) {
	if s, ok := value.(string); ok && isGUID(s) &&
		(column == primaryOf(t) || strings.HasPrefix(column, "_") && strings.HasSuffix(column, "_value")) {
		return s, nil
	}
	text, ok := connector.Literal(value)
	if !ok {
		return "", fault.Invalidf("connector.value", "column %s of %s cannot be compared with a list or an object", column, t.Name)
	}
	return text, nil
}

// filter writes the conditions as one expression.
func filter(t connector.Table, where []connector.Match) (string, error) {
	terms := make([]string, len(where))
	for i, m := range where {
		if err := t.Check(m.Column); err != nil {
			return "", err
		}
		name := wire(t, m.Column)
		value, bad := literal(t, name, m.Value)
		if bad != nil {
			return "", bad
		}
		terms[i] = name + " eq " + value
	}
	return strings.Join(terms, " and "), nil
}

// condition is the filter of a read; empty: it has none.
func condition(t connector.Table, q connector.Query) (string, error) {
	text, err := filter(t, q.Where)
	if err != nil || q.Since == nil {
		return text, err
	}
	column := q.Since.Column
	if err := t.Check(column); err != nil {
		return "", err
	}
	value, bad := literal(t, column, q.Since.Value)
	if bad != nil {
		return "", bad
	}
	if s, ok := q.Since.Value.(string); ok {
		if at, err := time.Parse(time.RFC3339, s); err == nil { // times and dates stand bare
			value = at.UTC().Format("2006-01-02T15:04:05.999999999Z")
		} else if _, err := time.Parse(time.DateOnly, s); err == nil {
			value = s
		}
	}
	since := column + " ge " + value
	if !slices.Contains(stamped, column) { // of a row without it nobody knows when it was changed
		since = "(" + since + " or " + column + " eq null)"
	}
	if text != "" {
		since = text + " and " + since
	}
	return since, nil
}

// stamped are the columns that the platform itself writes in every row.
var stamped = []string{"createdon", "modifiedon", "versionnumber"}

// address writes set(key='value',…), ready for a path or an @odata.id.
func address(t connector.Table, key []string, row connector.Row) (string, *fault.Fault) {
	var b strings.Builder
	b.WriteString(t.Path)
	for i, column := range key {
		value, ok := row[column]
		if !ok || value == nil {
			return "", fault.New(fault.Rejected, "dataverse.key_missing", "a row has no value in key column "+column, nil)
		}
		if s, isText := value.(string); isText && strings.ContainsAny(s, unaddressable) {
			return "", fault.New(fault.Rejected, "dataverse.key_characters",
				"the value of key column "+column+" holds one of the characters "+strings.Join(strings.Split(unaddressable, ""), " ")+
					", which Dataverse cannot find by key", nil)
		}
		text, bad := literal(t, column, value)
		if bad != nil {
			return "", bad
		}
		if i == 0 {
			b.WriteByte('(')
		} else {
			b.WriteByte(',')
		}
		b.WriteString(column)
		b.WriteByte('=')
		b.WriteString(pathEscape(text))
	}
	b.WriteByte(')')
	return b.String(), nil
}

// pathEscape escapes a literal; the quotes around it stay as the documents write
// them, doubled ones inside are escaped.
func pathEscape(literal string) string {
	if inner, ok := strings.CutPrefix(literal, "'"); ok {
		return "'" + url.PathEscape(strings.TrimSuffix(inner, "'")) + "'"
	}
	return url.PathEscape(literal)
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') ||
			!dash && (c < '0' || c > '9' && c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
