package postgres

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// appendField writes a cell as the text format of COPY has a value of the column.
// Values that PostgreSQL would take and change are refused: a text that it would cut,
// a number that it would round, a word such as "now" where a date should stand. All
// else it judges itself.
func (p *Postgres) appendField(b []byte, of column, cell connector.Cell) ([]byte, error) {
	if string(cell) == "null" {
		return append(b, `\N`...), nil
	}
	if of.kind == object {
		return appendEscaped(b, cell), nil
	}
	switch first(cell) {
	case '"':
		return p.appendString(b, of, cell)
	case '{':
		return appendEscaped(b, cell), nil
	case '[':
		if of.kind != list {
			return appendEscaped(b, cell), nil
		}
		literal, err := appendArray(nil, cell)
		if err != nil {
			return b, p.refused(of, "value", "refused a value of the wrong form")
		}
		return appendEscaped(b, literal), nil
	case 0:
		return b, p.refused(of, "value", "was given a value that is no JSON")
	}
	switch of.kind {
	case decimal:
		if of.precision > 0 && finer(cell, of.scale) {
			return b, p.refused(of, "too_precise", "would round a number")
		}
	case integer:
		if dot := bytes.IndexByte(cell, '.'); dot >= 0 && len(bytes.Trim(cell[dot+1:], "0")) == 0 {
			cell = cell[:dot] // 5.0 is 5
		}
	case text:
		if of.length > 0 && len(cell) > of.length {
			return b, p.refused(of, "too_long", "refused a value as too long")
		}
	}
	return append(b, cell...), nil
}

func first(cell connector.Cell) byte {
	if len(cell) == 0 {
		return 0
	}
	return cell[0]
}

func (p *Postgres) appendString(b []byte, of column, cell connector.Cell) ([]byte, error) {
	if len(cell) < 2 || cell[len(cell)-1] != '"' {
		return b, p.refused(of, "value", "was given a value that is no JSON")
	}
	value, escaped := cell[1:len(cell)-1], false
	if bytes.IndexByte(value, '\\') >= 0 {
		var ok bool
		if value, ok = unescaped(value); !ok {
			return b, p.refused(of, "value", "was given a value that is no JSON")
		}
		escaped = true
	}
	switch of.kind {
	case text:
		if of.length > 0 && len(value) > of.length && utf8.RuneCount(value) > of.length {
			return b, p.refused(of, "too_long", "refused a value as too long")
		}
	case decimal, float, integer:
		if bytes.IndexFunc(value, func(r rune) bool { return r > '9' && r != 'e' && r != 'E' }) >= 0 {
			return b, p.refused(of, "not_finite", "was given a number that is none")
		}
		if of.precision > 0 && finer(value, of.scale) {
			return b, p.refused(of, "too_precise", "would round a number")
		}
	case date, local, moment:
		// "now" and "infinity" are dates to PostgreSQL, and 2/3/26 is one of two.
		if len(value) < len(time.DateOnly) || value[4] != '-' || value[7] != '-' {
			return b, p.refused(of, "invalid_date", "refused a date that is none")
		}
		if of.kind == local { // it would pass over the zone
			if at, err := time.Parse(time.RFC3339Nano, string(value)); err == nil {
				value = at.UTC().AppendFormat(nil, "2006-01-02T15:04:05.999999999")
			}
		}
	case binary:
		if !bytes.HasPrefix(value, []byte(`\x`)) {
			content, err := base64.StdEncoding.AppendDecode(nil, value)
			if err != nil {
				return b, p.refused(of, "value", "refused a value of the wrong form")
			}
			value, escaped = hex.AppendEncode([]byte(`\x`), content), true
		}
	}
	if !escaped { // without a backslash a JSON text holds nothing that COPY knows
		return append(b, value...), nil
	}
	return appendEscaped(b, value), nil
}

// unescaped is what a JSON text says between its quotes.
func unescaped(s []byte) ([]byte, bool) {
	b := make([]byte, 0, len(s))
	for {
		at := bytes.IndexByte(s, '\\')
		if at < 0 {
			return append(b, s...), true
		}
		b = append(b, s[:at]...)
		if s = s[at+1:]; len(s) == 0 {
			return nil, false
		}
		c := s[0]
		s = s[1:]
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, ok := unit(s)
			if !ok {
				return nil, false
			}
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), len(s) >= 6 && s[0] == '\\' && s[1] == 'u'
				if ok {
					low, ok = unit(s[2:])
				}
				if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
					return nil, false // half a character
				}
				s = s[6:]
			}
			b = utf8.AppendRune(b, r)
		default:
			return nil, false
		}
	}
}

// unit is the number that four hexadecimal digits write.
func unit(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s[:4]), 16, 16)
	return rune(n), err == nil
}

// appendEscaped writes a value with what has a meaning to COPY escaped.
func appendEscaped(b, value []byte) []byte {
	for _, c := range value {
		switch c {
		case '\\':
			b = append(b, '\\', '\\')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendArray writes a JSON list as PostgreSQL writes an array.
func appendArray(b []byte, raw []byte) ([]byte, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, err
	}
	b = append(b, '{')
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		switch item[0] {
		case '[':
			b, err = appendArray(b, item)
		case '"':
			var s string
			err = json.Unmarshal(item, &s)
			b = appendElement(b, []byte(s))
		case '{':
			b = appendElement(b, item)
		case 'n':
			b = append(b, "NULL"...)
		default:
			b = append(b, item...)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendElement(b, value []byte) []byte {
	b = append(b, '"')
	for _, c := range value {
		if c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// finer reports whether a number has digits that count behind the given place.
func finer(number []byte, scale int) bool {
	mantissa, exponent := number, 0
	if e := slices.IndexFunc(number, func(c byte) bool { return c == 'e' || c == 'E' }); e >= 0 {
		n, ok := small(number[e+1:])
		if !ok {
			return false // PostgreSQL finds it out of range
		}
		mantissa, exponent = number[:e], n
	}
	// The last digit that counts stands at this place behind the point.
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	last := len(bytes.TrimRight(fraction, "0"))
	if last == 0 {
		significant := bytes.TrimRight(whole, "0")
		if len(bytes.Trim(significant, "+-")) == 0 {
			return false // zero
		}
		last = len(significant) - len(whole)
	}
	return last-exponent > scale
}

func small(digits []byte) (n int, ok bool) {
	sign := 1
	if len(digits) > 0 && (digits[0] == '-' || digits[0] == '+') {
		if digits[0] == '-' {
			sign = -1
		}
		digits = digits[1:]
	}
	for _, c := range digits {
		if c < '0' || c > '9' || n > 1e5 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return sign * n, len(digits) > 0
}

// refused is why a row is not written; the value is not shown.
func (p *Postgres) refused(of column, reason, text string) error {
	return fault.New(fault.Rejected, System+"."+reason, p.config.Name+" "+text+", in column "+of.name, nil)
}
