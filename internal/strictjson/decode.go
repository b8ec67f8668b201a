package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"patchbay/internal/fault"
)

// The limits of a document.
const (
	MaxDepth    = 64    // of objects and lists within each other
	maxDigits   = 1_000 // of one number, exponent apart
	maxExponent = 308   // as a double has it
)

// The codes of the faults of this package.
const (
	CodeSyntax       = "json.syntax"
	CodeTooDeep      = "json.too_deep"
	CodeTooMany      = "json.too_many"
	CodeDuplicateKey = "json.duplicate_key"
	CodeUnknownField = "field.unknown"
	CodeFieldType    = "field.type"
)

// PlaceError is the cause of a fault of Decode: where in the input it is.
type PlaceError struct{ Offset int }

// Error is the place in words.
func (p PlaceError) Error() string { return "at byte " + strconv.Itoa(p.Offset) }

// Decode reads exactly one JSON value. Objects become map[string]any, lists
// []any, numbers json.Number. The paths in its faults begin with root, which is
// what the caller calls the value.
func Decode(b []byte, root string) (any, error) { return DecodeSome(b, root, len(b)) }

// DecodeSome is Decode of a document that has at most so many values, those inside
// others counted: a value takes up to fifty times the memory of its text.
func DecodeSome(b []byte, root string, most int) (any, error) {
	p := &parser{in: b, root: root, left: most}
	v, err := p.document()
	if err != nil {
		return nil, err
	}
	return v, nil
}

// parser walks the input once; at is the offset of the next byte.
type parser struct {
	in    []byte
	at    int
	depth int
	left  int // values that may still come
	root  string
	path  []step            // from the root to at
	keys  map[string]string // that were read, as they stand in the input
}

// step is a key of an object or, without one, an index of a list.
type step struct {
	key   string
	named bool // it is a key
	index int
}

func (p *parser) document() (any, error) {
	if bytes.HasPrefix(p.in, []byte("\xef\xbb\xbf")) {
		return nil, p.syntax(0, "a byte order mark stands before the JSON")
	}
	p.space()
	if p.at == len(p.in) {
		return nil, p.syntax(p.at, "there is no JSON value")
	}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.at < len(p.in) {
		return nil, p.syntax(p.at, "something follows the JSON value")
	}
	return v, nil
}

func (p *parser) value() (any, error) {
	if p.at == len(p.in) {
		return nil, p.syntax(p.at, "the JSON ends where a value is due")
	}
	if p.left--; p.left < 0 {
		return nil, p.fail(CodeTooMany, p.at, "the JSON holds more values than are read here", "send fewer")
	}
	switch c := p.in[p.at]; {
	case c == '{':
		return p.object()
	case c == '[':
		return p.list()
	case c == '"':
		return p.text()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c == 't':
		return true, p.word("true")
	case c == 'f':
		return false, p.word("false")
	case c == 'n':
		return nil, p.word("null")
	}
	return nil, p.syntax(p.at, "no JSON value begins like this")
}

func (p *parser) object() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	out := map[string]any{}
	if p.space(); p.take('}') {
		p.depth--
		return out, nil
	}
	for {
		p.space()
		start := p.at
		if p.at == len(p.in) || p.in[p.at] != '"' {
			return nil, p.syntax(p.at, "a key in double quotes is due")
		}
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		p.path = append(p.path, step{key: key, named: true})
		if _, twice := out[key]; twice {
			return nil, p.fail(CodeDuplicateKey, start, "the key "+p.where()+" is given twice", "leave one of the two")
		}
		if p.space(); !p.take(':') {
			return nil, p.syntax(p.at, "a colon is due after the key")
		}
		p.space()
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		out[key] = v
		p.path = p.path[:len(p.path)-1]
		p.space()
		switch {
		case p.take(','):
		case p.take('}'):
			p.depth--
			return out, nil
		default:
			return nil, p.syntax(p.at, "a comma or a closing brace is due")
		}
	}
}

func (p *parser) list() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	out := []any{}
	if p.space(); p.take(']') {
		p.depth--
		return out, nil
	}
	for {
		p.space()
		p.path = append(p.path, step{index: len(out)})
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		out = append(out, v)
		p.space()
		switch {
		case p.take(','):
		case p.take(']'):
			p.depth--
			return out, nil
		default:
			return nil, p.syntax(p.at, "a comma or a closing bracket is due")
		}
	}
}

// key reads a key that begins at the quote under at. The objects of a list have the
// same ones: each is made once. One with an escape is none of those that are known,
// because what is known holds no backslash.
func (p *parser) key() (string, error) {
	start := p.at + 1
	if end := bytes.IndexByte(p.in[start:], '"'); end >= 0 {
		if known, ok := p.keys[string(p.in[start:start+end])]; ok {
			p.at = start + end + 1
			return known, nil
		}
	}
	key, err := p.text()
	if err == nil && len(key) == p.at-1-start && !strings.Contains(key, "\\") {
		if p.keys == nil {
			p.keys = map[string]string{}
		}
		p.keys[key] = key
	}
	return key, err
}

// text reads a string that begins at the quote under at.
func (p *parser) text() (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.in) { // the common case: nothing to unescape
		switch c := p.in[p.at]; {
		case c == '"':
			s := string(p.in[start:p.at])
			p.at++
			return s, nil
		case c == '\\' || c < 0x20 || c >= utf8.RuneSelf:
			return p.escaped(start)
		}
		p.at++
	}
	return "", p.syntax(p.at, "a string does not end")
}

func (p *parser) escaped(start int) (string, error) {
	out := append([]byte(nil), p.in[start:p.at]...)
	for p.at < len(p.in) {
		switch c := p.in[p.at]; {
		case c == '"':
			p.at++
			return string(out), nil
		case c < 0x20:
			return "", p.syntax(p.at, "a control character stands in a string; write it as an escape")
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		case c < utf8.RuneSelf:
			out = append(out, c)
			p.at++
		default:
			r, size := utf8.DecodeRune(p.in[p.at:])
			if r == utf8.RuneError && size == 1 {
				return "", p.fail(CodeSyntax, p.at, "the text is not UTF-8", "send it in UTF-8")
			}
			out = append(out, p.in[p.at:p.at+size]...)
			p.at += size
		}
	}
	return "", p.syntax(p.at, "a string does not end")
}

func (p *parser) escape() (rune, error) {
	start := p.at
	if p.at+1 >= len(p.in) {
		return 0, p.syntax(start, "a string does not end")
	}
	c := p.in[p.at+1]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		p.at += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, p.syntax(start, "no such escape in a string")
	}
	r, ok := p.hex(p.at + 2)
	if !ok {
		return 0, p.syntax(start, `four hexadecimal digits are due after \u`)
	}
	p.at += 6
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if p.at+1 < len(p.in) && p.in[p.at] == '\\' && p.in[p.at+1] == 'u' {
		if low, ok := p.hex(p.at + 2); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				p.at += 6
				return both, nil
			}
		}
	}
	return 0, p.syntax(start, "a surrogate stands alone")
}

func (p *parser) hex(at int) (rune, bool) {
	if at+4 > len(p.in) {
		return 0, false
	}
	var r rune
	for _, c := range p.in[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// number reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? within the limits.
func (p *parser) number() (any, error) {
	start := p.at
	p.take('-')
	digits := p.at
	n := p.digits()
	switch {
	case n == 0:
		return nil, p.syntax(start, "a digit is due in a number")
	case n > 1 && p.in[digits] == '0':
		return nil, p.syntax(start, "a number begins with a needless zero")
	}
	if p.take('.') {
		frac := p.digits()
		if frac == 0 {
			return nil, p.syntax(start, "a digit is due after the point of a number")
		}
		n += frac
	}
	if n > maxDigits {
		return nil, p.syntax(start, fmt.Sprintf("a number has more than %d digits", maxDigits))
	}
	if p.take('e') || p.take('E') {
		if !p.take('+') {
			p.take('-')
		}
		exp := p.at
		if p.digits() == 0 {
			return nil, p.syntax(start, "a digit is due in the exponent of a number")
		}
		if e, err := strconv.Atoi(string(p.in[exp:p.at])); err != nil || e > maxExponent {
			return nil, p.syntax(start, fmt.Sprintf("the exponent of a number is beyond %d", maxExponent))
		}
	}
	return json.Number(p.in[start:p.at]), nil
}

func (p *parser) digits() int {
	start := p.at
	for p.at < len(p.in) && p.in[p.at] >= '0' && p.in[p.at] <= '9' {
		p.at++
	}
	return p.at - start
}

func (p *parser) word(w string) error {
	if !bytes.HasPrefix(p.in[p.at:], []byte(w)) {
		return p.syntax(p.at, "no JSON value begins like this")
	}
	p.at += len(w)
	return nil
}

func (p *parser) space() {
	for p.at < len(p.in) {
		switch p.in[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) take(c byte) bool {
	if p.at < len(p.in) && p.in[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) enter() error {
	if p.depth++; p.depth > MaxDepth {
		return p.fail(CodeTooDeep, p.at, fmt.Sprintf("the JSON is nested deeper than %d", MaxDepth), "send a flatter value")
	}
	p.at++
	return nil
}

func (p *parser) syntax(at int, text string) error {
	return p.fail(CodeSyntax, at, text, "send one JSON value as RFC 8259 has it, in UTF-8")
}

// fail builds the fault for the byte at the offset. Columns count characters.
func (p *parser) fail(code string, at int, text, fix string) error {
	before := p.in[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	text = fmt.Sprintf("%s, at byte %d (line %d, column %d)", text, at, line, column)
	return fault.New(fault.Invalid, code, text, PlaceError{at}).With(fault.Field{Path: p.where(), Code: code, Detail: text, Fix: fix})
}

// where is the path of what is being read.
func (p *parser) where() string {
	path := p.root
	for _, s := range p.path {
		if s.named {
			path = fault.At(path, s.key)
		} else {
			path = fault.AtIndex(path, s.index)
		}
	}
	return path
}
