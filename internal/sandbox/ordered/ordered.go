// Package ordered writes JSON objects whose members keep their order, as the
// vendors' answers do: annotations stand before the value they describe, and
// columns in the order of the table.
//
// The stand-in systems build their answers from it. It imports the standard
// library only. An Object is not safe for concurrent use.
package ordered

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

type (
	// Object is a JSON object under construction.
	Object struct{ members []member }

	member struct {
		name  string
		value any
	}
)

// New starts an object with the members given as name, value, name, value …
func New(pairs ...any) *Object {
	o := &Object{members: make([]member, 0, max(len(pairs)/2, 8))}
	for i := 0; i+1 < len(pairs); i += 2 {
		o.Set(pairs[i].(string), pairs[i+1])
	}
	return o
}

// Set adds a member at the end. Values are nil, bool, string, int, int64,
// json.Number, time.Time (seconds, UTC), *Object, []*Object, []any, []string or
// anything encoding/json knows.
func (o *Object) Set(name string, value any) *Object {
	o.members = append(o.members, member{name, value})
	return o
}

// Only is the object with those members of which keep says so.
func (o *Object) Only(keep func(name string) bool) *Object {
	out := New()
	for _, m := range o.members {
		if keep(m.name) {
			out.members = append(out.members, m)
		}
	}
	return out
}

// Len is the number of members.
func (o *Object) Len() int { return len(o.members) }

// Bytes is the object as JSON.
func (o *Object) Bytes() []byte { return o.append(make([]byte, 0, 1024)) }

// MarshalJSON lets an object stand inside any other value.
func (o *Object) MarshalJSON() ([]byte, error) { return o.Bytes(), nil }

func (o *Object) append(b []byte) []byte {
	b = append(b, '{')
	for i, m := range o.members {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, m.name)
		b = append(b, ':')
		b = appendValue(b, m.value)
	}
	return append(b, '}')
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendString(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case json.Number:
		return append(b, v...)
	case time.Time:
		b = append(b, '"')
		b = v.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
		return append(b, '"')
	case *Object:
		return v.append(b)
	case []*Object:
		return appendList(b, v, func(b []byte, o *Object) []byte { return o.append(b) })
	case []string:
		return appendList(b, v, appendString)
	case []any:
		return appendList(b, v, appendValue)
	default:
		out, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("ordered: %T has no JSON form", v))
		}
		return append(b, out...)
	}
}

func appendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return append(b, ']')
}

// appendString takes the short way for text that needs no escape; "<" and "&"
// stay as they are, as the vendors send them.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always has a JSON form
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}

// First adds a member in front of all others.
func (o *Object) First(name string, value any) *Object {
	o.members = append([]member{{name, value}}, o.members...)
	return o
}
