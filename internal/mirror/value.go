package mirror

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/strictjson"
)

// mostExponent is how far a number may be written out; one beyond it stays as the system
// wrote it.
const mostExponent = 400

// text gives a value of a system as the JSON text by which regions know it: of equal
// values there is one text, whichever system they come from.
func text(v any, t flow.Type) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return []byte("null"), nil
	case bool:
		if v {
			return []byte("true"), nil
		}
		return []byte("false"), nil
	case json.Number:
		return number(string(v)), nil
	case string:
		if t == flow.Timestamp {
			v = instant(v)
		}
		if literal(v) {
			return append(append(append(make([]byte, 0, len(v)+2), '"'), v...), '"'), nil
		}
		return quoted(v)
	}
	return quoted(v)
}

// literal reports whether a text stands in JSON as it is.
func literal(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// quoted is the JSON text of a value; keys of objects are in order.
func quoted(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fault.New(fault.Bug, "sync.value", "a value that cannot be encoded", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// instant is a timestamp in UTC; what is none stays.
func instant(s string) string {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return s
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// number is a JSON number without an exponent and without zeros that say nothing.
func number(s string) []byte {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			s = "0"
		}
		return []byte(s)
	}
	mantissa, exponent, written := strings.Cut(strings.ToLower(s), "e")
	shift := 0
	if written {
		e, ok := new(big.Int).SetString(strings.TrimPrefix(exponent, "+"), 10)
		if !ok || !e.IsInt64() || e.Int64() > mostExponent || e.Int64() < -mostExponent {
			return []byte(s)
		}
		shift = int(e.Int64())
	}
	sign := ""
	if rest, negative := strings.CutPrefix(mantissa, "-"); negative {
		sign, mantissa = "-", rest
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	for ; shift > 0; shift-- {
		if fraction == "" {
			fraction = "0"
		}
		whole, fraction = whole+fraction[:1], fraction[1:]
	}
	for ; shift < 0; shift++ {
		if whole == "" {
			whole = "0"
		}
		whole, fraction = whole[:len(whole)-1], whole[len(whole)-1:]+fraction
	}
	whole, fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if whole == "" {
		whole = "0"
	}
	switch {
	case fraction != "":
		return []byte(sign + whole + "." + fraction)
	case whole == "0":
		return []byte("0")
	}
	return []byte(sign + whole)
}

// value gives a text back as systems take it.
func value(b []byte, column string) (any, error) {
	if len(b) > 1 && b[0] == '"' && bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1]), nil
	}
	return strictjson.Decode(b, column)
}

// keyOf gives the key of a row as texts; false: a part of it is absent or null, and the
// row cannot be known elsewhere.
func keyOf(t *flow.SyncTable, row connector.Row) ([]string, bool, error) {
	key := make([]string, len(t.Key))
	for i, column := range t.Key {
		v := row[column]
		if v == nil {
			return nil, false, nil
		}
		b, err := text(v, flow.Any)
		if err != nil {
			return nil, false, err
		}
		key[i] = string(b)
	}
	return key, true, nil
}

// keyRow gives a key of texts as systems take it.
func keyRow(t *flow.SyncTable, key []string) (connector.Row, error) {
	row := make(connector.Row, len(t.Key))
	for i, column := range t.Key {
		v, err := value([]byte(key[i]), column)
		if err != nil {
			return nil, err
		}
		row[column] = v
	}
	return row, nil
}

// plain is an ID of a record as text: IDs are strings or whole numbers.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return string(number(string(v)))
	}
	return ""
}

// strict decodes a text of ours.
func strict(b []byte) (any, error) { return value(b, "value") }
