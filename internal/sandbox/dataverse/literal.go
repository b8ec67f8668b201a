package dataverse

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"patchbay/internal/sandbox/storage"
)

type (
	// token is one word of a query option or a key: 'w' name, 's' string, 'n'
	// number, 'g' GUID, 't' date or time, '(' and other signs as themselves.
	token struct {
		kind byte
		text string
	}

	// tokens is a list with a place in it.
	tokens struct {
		list []token
		at   int
		text string
	}
)

var (
	guidForm = regexp.MustCompile(`^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timeForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?`)
	numForm  = regexp.MustCompile(`^-?\d+(\.\d+)?([eE][+-]?\d+)?`)
)

// scan cuts OData text into tokens.
func scan(text string) (*tokens, error) {
	ts := &tokens{text: text}
	for i := 0; i < len(text); {
		c, rest := text[i], text[i:]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'':
			var b strings.Builder
			j := i + 1
			for ; ; j++ {
				if j >= len(text) {
					return nil, badQuery("There is an unterminated string literal at position %d in '%s'.", i, text)
				}
				if text[j] == '\'' {
					if j+1 >= len(text) || text[j+1] != '\'' {
						break
					}
					j++
				}
				b.WriteByte(text[j])
			}
			ts.list = append(ts.list, token{'s', b.String()})
			i = j + 1
		case guidForm.MatchString(rest):
			ts.list = append(ts.list, token{'g', strings.ToLower(rest[:36])})
			i += 36
		case timeForm.MatchString(rest):
			m := timeForm.FindString(rest)
			ts.list = append(ts.list, token{'t', m})
			i += len(m)
		case numForm.MatchString(rest):
			m := numForm.FindString(rest)
			ts.list = append(ts.list, token{'n', m})
			i += len(m)
		case c == '_' || c == '@' || c == '$' || unicode.IsLetter(rune(c)):
			j := i + 1
			for j < len(text) && (text[j] == '_' || text[j] == '.' || text[j] >= '0' && text[j] <= '9' || unicode.IsLetter(rune(text[j]))) {
				j++
			}
			ts.list = append(ts.list, token{'w', text[i:j]})
			i = j
		case strings.IndexByte("(),/:;=[]*", c) >= 0:
			ts.list = append(ts.list, token{c, string(c)})
			i++
		case c == '"':
			var s string
			dec := json.NewDecoder(strings.NewReader(rest))
			if err := dec.Decode(&s); err != nil {
				return nil, syntax(text, i)
			}
			ts.list = append(ts.list, token{'s', s})
			i += int(dec.InputOffset())
		default:
			return nil, syntax(text, i)
		}
	}
	return ts, nil
}

func syntax(text string, at int) *problem {
	return badQuery("Syntax error at position %d in '%s'.", at, text)
}

func (ts *tokens) peek() token {
	if ts.at < len(ts.list) {
		return ts.list[ts.at]
	}
	return token{}
}

func (ts *tokens) next() token {
	t := ts.peek()
	ts.at++
	return t
}

func (ts *tokens) word(w string) bool {
	if t := ts.peek(); t.kind == 'w' && t.text == w {
		ts.at++
		return true
	}
	return false
}

func (ts *tokens) sign(c byte) bool {
	if ts.peek().kind == c {
		ts.at++
		return true
	}
	return false
}

func (ts *tokens) wrong() *problem {
	return badQuery("Syntax error at position %d in '%s'.", ts.at, ts.text)
}

// value reads a literal of a query as a value of the column; nil is null.
func value(c *Column, t token) (any, *problem) {
	mismatch := badQuery("A binary operator with incompatible types was detected. Found operand types '%s' and '%s' for operator kind 'Equal'.", edm(c.Type), edmOf(t))
	if t.kind == 'w' && t.text == "null" {
		return nil, nil
	}
	switch kinds[c.Type] {
	case storage.Text:
		if t.kind == 's' {
			return t.text, nil
		}
	case storage.Int:
		if t.kind == 'n' || t.kind == 's' && (c.Type == Picklist || c.Type == State || c.Type == Status) {
			if n, err := strconv.ParseInt(t.text, 10, 64); err == nil {
				return n, nil
			}
		}
	case storage.Decimal:
		if t.kind == 'n' {
			return json.Number(t.text), nil
		}
	case storage.Bool:
		if t.kind == 'w' && (t.text == "true" || t.text == "false") {
			return t.text == "true", nil
		}
	case storage.GUID:
		if (t.kind == 'g' || t.kind == 's') && guidForm.MatchString(t.text) && len(t.text) == 36 {
			return strings.ToLower(t.text), nil
		}
	case storage.Time:
		if t.kind == 't' || t.kind == 's' {
			if v, ok := parseTime(t.text); ok {
				return v, nil
			}
		}
	case storage.Date:
		if t.kind == 't' || t.kind == 's' {
			if v, ok := parseTime(t.text); ok {
				return v.Format(time.DateOnly), nil
			}
		}
	}
	return nil, mismatch
}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// edm is the OData name of a type.
func edm(t Type) string {
	switch t {
	case Integer, Picklist, State, Status:
		return "Edm.Int32"
	case BigInt:
		return "Edm.Int64"
	case Decimal, Money:
		return "Edm.Decimal"
	case Boolean:
		return "Edm.Boolean"
	case DateTime:
		return "Edm.DateTimeOffset"
	case DateOnly:
		return "Edm.Date"
	case Lookup, Unique:
		return "Edm.Guid"
	default:
		return "Edm.String"
	}
}

func edmOf(t token) string {
	switch t.kind {
	case 's':
		return "Edm.String"
	case 'n':
		return "Edm.Int32"
	case 'g':
		return "Edm.Guid"
	case 't':
		return "Edm.DateTimeOffset"
	default:
		return "Edm.Boolean"
	}
}
