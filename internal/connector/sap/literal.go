package sap

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
)

// literal writes a value for $filter or an address by key, in the form of the
// property's type. What has no such form is refused: nothing else may become part
// of an expression.
func (t target) literal(column string, value any) (string, error) {
	p, known := t.entity.properties[column]
	if !known {
		return "", fault.Invalidf("connector.unknown_column", "the service has no column %q in table %s", column, t.table.Name)
	}
	if value == nil {
		return "null", nil
	}
	text, isText := scalar(value)
	if !isText {
		return "", fault.Invalidf("connector.value", "column %s of %s cannot be compared with a list or an object", column, t.table.Name)
	}
	quote := func(kind, inner string) string {
		if t.v4 {
			return inner
		}
		return kind + "'" + inner + "'"
	}
	switch p.edm {
	case "String":
		return "'" + strings.ReplaceAll(text, "'", "''") + "'", nil
	case "Boolean":
		if text == "true" || text == "false" {
			return text, nil
		}
	case "Guid":
		if isGUID(text) {
			return quote("guid", text), nil
		}
	case "Decimal", "Int64", "Int32", "Int16", "Byte", "SByte", "Double", "Single", "Float":
		if sheet.IsNumber(text) {
			return text, nil
		}
	case "Date":
		if at, ok := instant(text); ok {
			return at.Format(time.DateOnly), nil
		}
	case "DateTime":
		if at, ok := instant(text); ok {
			return "datetime'" + at.Format("2006-01-02T15:04:05.999999999") + "'", nil
		}
	case "DateTimeOffset":
		if at, ok := instant(text); ok {
			return quote("datetimeoffset", at.Format("2006-01-02T15:04:05.999999999Z")), nil
		}
	case "Time":
		if at, err := time.Parse(time.TimeOnly, text); err == nil {
			return "time'" + at.Format("PT15H04M05S") + "'", nil
		}
	case "TimeOfDay":
		if at, err := time.Parse(time.TimeOnly, text); err == nil {
			return at.Format("15:04:05.999999999"), nil
		}
	default:
		return "", fault.Invalidf("connector.value", "column %s of %s is of a type that cannot be compared", column, t.table.Name)
	}
	return "", fault.Invalidf("connector.value", "column %s of %s is of type %s and is compared with something else", column, t.table.Name, p.kind())
}

// scalar is the text of a single value.
func scalar(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), true
	}
	return "", false
}

// instant reads a date or a timestamp as rows have them.
func instant(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
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

// filter writes equalities as one expression.
func (t target) filter(where []connector.Match) (string, error) {
	terms := make([]string, len(where))
	for i, m := range where {
		if err := t.table.Check(m.Column); err != nil {
			return "", err
		}
		value, err := t.literal(m.Column, m.Value)
		if err != nil {
			return "", err
		}
		terms[i] = m.Column + " eq " + value
	}
	return strings.Join(terms, " and "), nil
}

// since writes the watermark. A column that knows only days takes the day: rows
// before the watermark come again, none after it is left out.
func (t target) since(w connector.Since) (string, error) {
	if err := t.table.Check(w.Column); err != nil {
		return "", err
	}
	value := w.Value
	if p := t.entity.properties[w.Column]; p.edm == "DateTime" && p.dateOnly {
		if text, ok := value.(string); ok {
			if at, ok := instant(text); ok {
				value = at.Format(time.DateOnly)
			}
		}
	}
	text, err := t.literal(w.Column, value)
	if err != nil {
		return "", err
	}
	if text == "null" {
		return "", fault.Invalidf("connector.since", "a watermark of %s is empty", w.Column)
	}
	return w.Column + " ge " + text, nil
}

// after is the condition of rows behind the one with these key values, in the order
// of the key.
func (t target) after(values []any) (string, error) {
	literals := make([]string, len(values))
	for i, v := range values {
		var err error
		if literals[i], err = t.literal(t.entity.keys[i], v); err != nil {
			return "", connector.BadToken()
		}
	}
	terms := make([]string, len(values))
	for i := range values {
		var b strings.Builder
		for j := range i {
			b.WriteString(t.entity.keys[j] + " eq " + literals[j] + " and ")
		}
		b.WriteString(t.entity.keys[i] + " gt " + literals[i])
		terms[i] = b.String()
		if i > 0 {
			terms[i] = "(" + terms[i] + ")"
		}
	}
	return "(" + strings.Join(terms, " or ") + ")", nil
}

// ordered reports whether the key is of types that servers can put in order.
func (t target) ordered() bool {
	for _, k := range t.entity.keys {
		switch t.entity.properties[k].edm {
		case "String", "Int64", "Int32", "Int16", "Byte", "SByte", "Decimal", "Date", "DateTime", "DateTimeOffset":
		default:
			return false
		}
	}
	return len(t.entity.keys) > 0
}

// address writes Set('1') or Set(A='1',B='10'), ready for a path.
func (t target) address(row connector.Row) (string, error) {
	var b strings.Builder
	b.WriteString(t.set)
	b.WriteByte('(')
	for i, column := range t.entity.keys {
		value, ok := row[column]
		if !ok || value == nil {
			return "", fault.New(fault.Rejected, System+".key_missing", "a row has no value in key column "+column, nil)
		}
		text, err := t.literal(column, value)
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		if len(t.entity.keys) > 1 {
			b.WriteString(column)
			b.WriteByte('=')
		}
		b.WriteString(pathEscape(text))
	}
	b.WriteByte(')')
	return b.String(), nil
}

// pathEscape escapes what stands between the quotes of a literal; the quotes stay as
// the documents write them.
func pathEscape(literal string) string {
	kind, inner, ok := strings.Cut(literal, "'")
	if !ok {
		return url.PathEscape(literal)
	}
	return kind + "'" + url.PathEscape(strings.TrimSuffix(inner, "'")) + "'"
}
