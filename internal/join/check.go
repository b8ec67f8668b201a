package join

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"patchbay/internal/flow"
)

// The codes of rows that are read and not staged.
const (
	CodeEncoding = "stage.encoding" // not UTF-8
	CodeJSON     = "stage.json"     // no JSON value
	CodeType     = "stage.type"     // another kind of value than the column is declared to have
	CodeDecimal  = "stage.decimal"
	CodeInt      = "stage.int"
	CodeDate     = "stage.date"
	CodeTime     = "stage.timestamp"
	CodeIdentity = "stage.identity_missing"
	CodeKey      = "stage.key_missing"
)

// The bounds of a number, as expressions have them.
const (
	maxDigits   = 2_000
	maxExponent = 1_000
)

// unfit is the code of a cell that does not fit a type, empty when it does. Null fits
// every type. A decimal may be a number or, as some systems send it, a text.
func unfit(t flow.Type, cell []byte) string {
	switch cell[0] {
	case 'n':
		return literal(cell, "null")
	case '"':
		ascii, ok := text(cell)
		switch {
		case !ascii && !utf8.Valid(cell):
			return CodeEncoding
		case !ok:
			return CodeJSON
		}
		return unfitText(t, cell[1:len(cell)-1])
	case 't':
		return only(t, flow.Bool, literal(cell, "true"))
	case 'f':
		return only(t, flow.Bool, literal(cell, "false"))
	case '{', '[':
		switch {
		case !utf8.Valid(cell):
			return CodeEncoding
		case !json.Valid(cell) || bytes.IndexByte(cell, separator) >= 0:
			return CodeJSON
		}
		return only(t, flow.Any, "")
	}
	n, ok := number(cell)
	if !ok {
		if !utf8.Valid(cell) {
			return CodeEncoding
		}
		return CodeJSON
	}
	switch t {
	case flow.Any, "":
		return n.unfit()
	case flow.Decimal:
		return n.unfit()
	case flow.Int:
		if !n.whole() {
			return CodeInt
		}
		return ""
	}
	return CodeType
}

func only(t, fits flow.Type, code string) string {
	if code == "" && t != fits && t != flow.Any && t != "" {
		return CodeType
	}
	return code
}

func literal(cell []byte, want string) string {
	if string(cell) != want {
		return CodeJSON
	}
	return ""
}

// text checks a JSON string. ascii tells that its encoding needs no look.
func text(cell []byte) (ascii, ok bool) {
	end := len(cell) - 1
	if end < 1 || cell[end] != '"' {
		return false, false
	}
	ascii = true
	for i := 1; i < end; i++ {
		switch c := cell[i]; {
		case c < ' ', c == '"':
			return ascii && utf8.Valid(cell), false
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '\\':
			i++
			if i == end {
				return ascii, false
			}
			switch cell[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= end || !isHex(cell[i+1]) || !isHex(cell[i+2]) || !isHex(cell[i+3]) || !isHex(cell[i+4]) {
					return ascii, false
				}
				i += 4
			default:
				return ascii, false
			}
		}
	}
	return ascii, true
}

func isHex(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func digit(c byte) bool { return '0' <= c && c <= '9' }

func unfitText(t flow.Type, s []byte) string {
	switch t {
	case flow.Decimal:
		n, ok := number(s)
		if !ok {
			return CodeDecimal
		}
		return n.unfit()
	case flow.Date:
		if !date(s) {
			return CodeDate
		}
	case flow.Timestamp:
		if !timestamp(s) {
			return CodeTime
		}
	case flow.Int:
		return CodeInt
	case flow.Bool:
		return CodeType
	}
	return ""
}

// figure is what is known of a number's text.
type figure struct {
	digits   int // of the mantissa
	fraction bool
	exponent int
	text     []byte
}

func (f figure) unfit() string {
	if f.digits > maxDigits || f.exponent > maxExponent || f.exponent < -maxExponent {
		return CodeDecimal
	}
	return ""
}

// whole reports whether the number is written as an integer of 64 bits.
func (f figure) whole() bool {
	if f.fraction || f.exponent != 0 || f.digits > 19 {
		return false
	}
	if f.digits < 19 {
		return true
	}
	limit := "9223372036854775807"
	digits := f.text
	if digits[0] == '-' {
		limit, digits = "9223372036854775808", digits[1:]
	}
	return string(digits) <= limit
}

// number reads the grammar of JSON numbers.
func number(s []byte) (f figure, ok bool) {
	f.text = s
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	begun := i
	for i < len(s) && digit(s[i]) {
		i++
	}
	if f.digits = i - begun; f.digits == 0 || f.digits > 1 && s[begun] == '0' {
		return f, false
	}
	if i < len(s) && s[i] == '.' {
		i++
		begun = i
		for i < len(s) && digit(s[i]) {
			i++
		}
		if i == begun {
			return f, false
		}
		f.fraction = true
		f.digits += i - begun
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		negative := i < len(s) && s[i] == '-'
		if i < len(s) && (s[i] == '-' || s[i] == '+') {
			i++
		}
		begun = i
		for ; i < len(s) && digit(s[i]); i++ {
			f.exponent = min(f.exponent*10+int(s[i]-'0'), maxExponent+1)
		}
		if i == begun {
			return f, false
		}
		if negative {
			f.exponent = -f.exponent
		}
	}
	return f, i == len(s)
}

// date checks "2006-01-02", and that there was such a day.
func date(s []byte) bool {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' || !digits(s[:4]) {
		return false
	}
	year := value(s[:4])
	month, ok := pair(s[5:], 12)
	if !ok || month == 0 {
		return false
	}
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[month-1]
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		days = 29
	}
	day, ok := pair(s[8:], days)
	return ok && day > 0
}

// timestamp checks RFC 3339, with a zone.
func timestamp(s []byte) bool {
	if len(s) < 20 || !date(s[:10]) || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return false
	}
	_, hour := pair(s[11:], 23)
	_, minute := pair(s[14:], 59)
	_, second := pair(s[17:], 59)
	if !hour || !minute || !second {
		return false
	}
	s = s[19:]
	if s[0] == '.' {
		i := 1
		for i < len(s) && digit(s[i]) {
			i++
		}
		if i == 1 || i > 10 {
			return false
		}
		s = s[i:]
	}
	if len(s) == 1 {
		return s[0] == 'Z'
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return false
	}
	_, hour = pair(s[1:], 23)
	_, minute = pair(s[4:], 59)
	return hour && minute
}

// pair is the number of two digits, at most most.
func pair(s []byte, most int) (int, bool) {
	if !digits(s[:2]) {
		return 0, false
	}
	n := value(s[:2])
	return n, n <= most
}

func digits(s []byte) bool {
	for _, c := range s {
		if !digit(c) {
			return false
		}
	}
	return true
}

func value(s []byte) (n int) {
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

// reasons says what is wrong with a column, without its value.
var reasons = map[string]string{
	CodeEncoding: "is not UTF-8",
	CodeJSON:     "is no value",
	CodeType:     "has another type than it is declared to have",
	CodeDecimal:  "is no decimal number, or one with too many digits",
	CodeInt:      "is no integer of 64 bits",
	CodeDate:     "is no date",
	CodeTime:     "is no timestamp with a zone",
	CodeIdentity: "is missing, and the row cannot be told from others",
}
