package postgres

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"patchbay/internal/connector"
)

// arena is where the cells of a sheet are made. What was made never moves.
type arena struct{ free []byte }

const block = 256 << 10

// room makes sure of n bytes.
func (a *arena) room(n int) {
	if cap(a.free)-len(a.free) < n {
		a.free = make([]byte, 0, max(n, block))
	}
}

var null = connector.Cell("null")

// errForm is why a value has no cell.
var errForm = errors.New("a value of another form than its type has")

// errDate is of a date that is infinite, or not of the years 0001 to 9999.
var errDate = errors.New("a date that JSON has no text of")

// cell writes a value, as PostgreSQL writes its text, as JSON. What no number or date
// can be (NaN, infinity, 44 BC) stays the text that it is, and a text that is not UTF-8
// its bytes: whoever checks rows refuses that row, and not the page.
func (a *arena) cell(k kind, raw []byte) (connector.Cell, error) {
	if raw == nil {
		return null, nil
	}
	a.room(6*len(raw) + len(`""`)) // a control character takes six
	from := len(a.free)
	var err error
	switch k {
	case integer, object, list, other:
		a.free = append(a.free, raw...)
	case decimal, float:
		if c := raw[len(raw)-1]; c < '0' || c > '9' { // NaN, Infinity
			a.free = appendText(a.free, raw)
			break
		}
		a.free = append(a.free, raw...)
	case boolean:
		if raw[0] == 't' {
			a.free = append(a.free, "true"...)
		} else {
			a.free = append(a.free, "false"...)
		}
	case binary:
		a.free, err = appendBinary(a.free, raw)
	case date:
		if len(raw) != len(time.DateOnly) || raw[4] != '-' {
			a.free = appendText(a.free, raw)
			break
		}
		a.free = append(append(append(a.free, '"'), raw...), '"')
	case local, moment:
		if a.free, err = appendMoment(a.free, raw, k == local); errors.Is(err, errDate) {
			a.free, err = appendText(a.free[:from], raw), nil
		}
	default:
		a.free = appendText(a.free, raw)
	}
	return a.free[from:len(a.free):len(a.free)], err
}

// plain are the bytes that stand in a JSON text as they are.
var plain = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return is
}()

const hexDigits = "0123456789abcdef"

func appendText(b, raw []byte) []byte {
	b = append(b, '"')
	from := 0
	for i, c := range raw {
		if plain[c] {
			continue
		}
		b = append(b, raw[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, raw[from:]...), '"')
}

func appendBinary(b, raw []byte) ([]byte, error) {
	digits, ok := bytes.CutPrefix(raw, []byte(`\x`))
	if !ok {
		return b, errForm
	}
	content := make([]byte, len(digits)/2)
	if _, err := hex.Decode(content, digits); err != nil {
		return b, errForm
	}
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), content), '"'), nil
}

// appendMoment makes "2026-02-28 12:00:00.5+00" an RFC 3339 text in UTC.
func appendMoment(b, raw []byte, local bool) ([]byte, error) {
	const shortest = len("2006-01-02 15:04:05")
	if len(raw) < shortest || raw[4] != '-' || raw[10] != ' ' || raw[len(raw)-1] == 'C' { // … BC
		return b, errDate
	}
	clock, zone := raw[11:], []byte(nil)
	if !local {
		at := bytes.LastIndexAny(clock, "+-")
		if at < 0 {
			return b, errForm
		}
		clock, zone = clock[:at], clock[at:]
	}
	if local || string(zone) == "+00" {
		b = append(append(b, '"'), raw[:10]...)
		b = append(append(b, 'T'), clock...)
		return append(b, 'Z', '"'), nil
	}
	// The session is in another zone: something between us and the database said so.
	layout := "2006-01-02 15:04:05-07"
	if strings.Contains(string(zone), ":") {
		layout += ":00"
	}
	at, err := time.Parse(layout, string(raw))
	if err != nil {
		return b, errForm
	}
	return at.UTC().AppendFormat(b, `"`+time.RFC3339Nano+`"`), nil
}
