package oracle

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"

	"patchbay/internal/sandbox/storage"
)

// The row-match grammar of q under framework version 2 and later:
//
//	or      = and { "or" and }
//	and     = not { "and" not }
//	not     = [ "not" ] ( "(" or ")" | test )
//	test    = name ( op literal
//	               | [ "not" ] "like" literal
//	               | [ "not" ] "in" "(" literal { "," literal } ")"
//	               | [ "not" ] "between" literal "and" literal
//	               | "is" [ "not" ] "null" )
//	name    = attribute | child "." attribute | "upper" "(" name ")"
//
// Keywords ignore case; a quote inside a literal is doubled.
type rowMatch struct {
	res    *resource
	tokens []token
	at     int
	text   string
	depth  int
}

type token struct {
	kind  byte // 'w' word, 's' string, 'n' number, 'o' operator or bracket
	text  string
	start int
}

// maxDepth bounds brackets, so that no q can exhaust the stack.
const maxDepth = 50

func parseRowMatch(res *resource, q string) (storage.Expr, error) {
	tokens, err := scan(q)
	if err != nil {
		return nil, err
	}
	p := &rowMatch{res: res, tokens: tokens, text: q}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.tokens) {
		return nil, p.unexpected()
	}
	return e, nil
}

func scan(q string) ([]token, error) {
	var list []token
	runes := []rune(q)
	for i := 0; i < len(runes); {
		r, start := runes[i], i
		switch {
		case unicode.IsSpace(r):
			i++
		case r == '\'' || r == '"':
			var b strings.Builder
			for i++; ; i++ {
				if i >= len(runes) {
					return nil, badQ(q, "a literal that is not closed")
				}
				if runes[i] == r {
					if i+1 < len(runes) && runes[i+1] == r {
						i++
					} else {
						break
					}
				}
				b.WriteRune(runes[i])
			}
			i++
			list = append(list, token{'s', b.String(), start})
		case strings.ContainsRune("<>=!", r):
			i++
			if i < len(runes) && strings.ContainsRune("=>", runes[i]) {
				i++
			}
			list = append(list, token{'o', string(runes[start:i]), start})
		case strings.ContainsRune("(),", r):
			i++
			list = append(list, token{'o', string(r), start})
		case unicode.IsDigit(r) || (r == '-' || r == '.') && i+1 < len(runes) && unicode.IsDigit(runes[i+1]):
			for i++; i < len(runes) && (unicode.IsDigit(runes[i]) || runes[i] == '.'); i++ {
			}
			list = append(list, token{'n', string(runes[start:i]), start})
		case unicode.IsLetter(r) || r == '_':
			for i++; i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]) || runes[i] == '_' || runes[i] == '.'); i++ {
			}
			list = append(list, token{'w', string(runes[start:i]), start})
		default:
			return nil, badQ(q, "the character "+strconv.QuoteRune(r))
		}
	}
	return list, nil
}

func badQ(q, what string) *problem {
	return invalid("27520", "", "URL request parameter q cannot be used in this context: %s has %s.", q, what)
}

func (p *rowMatch) unexpected() *problem {
	if p.at >= len(p.tokens) {
		return badQ(p.text, "no end")
	}
	return badQ(p.text, "an unexpected "+strconv.Quote(p.tokens[p.at].text))
}

func (p *rowMatch) word(w string) bool {
	if p.at < len(p.tokens) && p.tokens[p.at].kind == 'w' && strings.EqualFold(p.tokens[p.at].text, w) {
		p.at++
		return true
	}
	return false
}

func (p *rowMatch) sign(s string) bool {
	if p.at < len(p.tokens) && p.tokens[p.at].kind == 'o' && p.tokens[p.at].text == s {
		p.at++
		return true
	}
	return false
}

func (p *rowMatch) or() (storage.Expr, error) {
	var list storage.Or
	for {
		e, err := p.and()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if !p.word("or") {
			break
		}
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return list, nil
}

func (p *rowMatch) and() (storage.Expr, error) {
	var list storage.And
	for {
		e, err := p.not()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if !p.word("and") {
			break
		}
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return list, nil
}

func (p *rowMatch) not() (storage.Expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, badQ(p.text, "too many levels")
	}
	defer func() { p.depth-- }()
	if p.word("not") {
		e, err := p.not()
		return storage.Not{X: e}, err
	}
	if p.sign("(") {
		e, err := p.or()
		if err == nil && !p.sign(")") {
			err = p.unexpected()
		}
		return e, err
	}
	return p.test()
}

func (p *rowMatch) test() (storage.Expr, error) {
	upper := false
	if p.word("upper") {
		if upper = true; !p.sign("(") {
			return nil, p.unexpected()
		}
	}
	if p.at >= len(p.tokens) || p.tokens[p.at].kind != 'w' {
		return nil, p.unexpected()
	}
	name := p.tokens[p.at].text
	p.at++
	if upper && !p.sign(")") {
		return nil, p.unexpected()
	}
	res, wrap, attr, err := p.resolve(name)
	if err != nil {
		return nil, err
	}
	e, err := p.comparison(res, attr, upper)
	if err != nil {
		return nil, err
	}
	return wrap(e), nil
}

// resolve finds the attribute a name means; one of a child asks for a child row.
func (p *rowMatch) resolve(name string) (*resource, func(storage.Expr) storage.Expr, attribute, error) {
	res, wrap := p.res, func(e storage.Expr) storage.Expr { return e }
	for {
		first, rest, nested := strings.Cut(name, ".")
		if !nested {
			break
		}
		child := res.child(first)
		if child == nil {
			return nil, nil, attribute{}, unknownAttribute(res, name)
		}
		outer := wrap
		wrap = func(e storage.Expr) storage.Expr {
			return outer(storage.Exists{Table: child.Table, Outer: child.Join, Inner: child.Join, Where: e})
		}
		res, name = child, rest
	}
	attr, ok := res.attribute(name)
	if !ok || attr.Kind == storage.Bytes {
		return nil, nil, attribute{}, unknownAttribute(res, name)
	}
	return res, wrap, attr, nil
}

func unknownAttribute(res *resource, name string) *problem {
	return invalid("25058", "", "JBO-25058: Definition %s of type Attribute is not found in %s.", name, res.Name)
}

func (p *rowMatch) comparison(res *resource, attr attribute, upper bool) (storage.Expr, error) {
	if p.word("is") {
		not := p.word("not")
		if !p.word("null") {
			return nil, p.unexpected()
		}
		return negate(not, storage.Null{Column: attr.Name}), nil
	}
	not := p.word("not")
	switch {
	case p.word("like"):
		if attr.Kind != storage.Text || p.at >= len(p.tokens) || p.tokens[p.at].kind == 'o' {
			return nil, p.unexpected()
		}
		pattern := storage.Wildcards(p.tokens[p.at].text, "*")
		p.at++
		return negate(not, storage.Like{Column: attr.Name, Pattern: pattern, Fold: upper}), nil
	case p.word("in"):
		return p.in(res, attr, not)
	case p.word("between"):
		low, err := p.literal(res, attr)
		if err != nil {
			return nil, err
		}
		if !p.word("and") {
			return nil, p.unexpected()
		}
		high, err := p.literal(res, attr)
		if err != nil {
			return nil, err
		}
		return negate(not, storage.And{storage.Compare{Column: attr.Name, Op: storage.Ge, Value: low},
			storage.Compare{Column: attr.Name, Op: storage.Le, Value: high}}), nil
	case not:
		return nil, p.unexpected()
	}
	if p.at >= len(p.tokens) || p.tokens[p.at].kind != 'o' {
		return nil, p.unexpected()
	}
	op, ok := operators[p.tokens[p.at].text]
	if !ok {
		return nil, p.unexpected()
	}
	p.at++
	v, err := p.literal(res, attr)
	if err != nil {
		return nil, err
	}
	return storage.Compare{Column: attr.Name, Op: op, Value: v, Fold: upper}, nil
}

func (p *rowMatch) in(res *resource, attr attribute, not bool) (storage.Expr, error) {
	if !p.sign("(") {
		return nil, p.unexpected()
	}
	list := storage.In{Column: attr.Name}
	for {
		v, err := p.literal(res, attr)
		if err != nil {
			return nil, err
		}
		list.Values = append(list.Values, v)
		if p.sign(")") {
			return negate(not, list), nil
		}
		if !p.sign(",") {
			return nil, p.unexpected()
		}
	}
}

func (p *rowMatch) literal(res *resource, attr attribute) (any, error) {
	if p.at >= len(p.tokens) || p.tokens[p.at].kind == 'o' {
		return nil, p.unexpected()
	}
	t := p.tokens[p.at]
	if t.kind == 'w' && attr.Kind != storage.Bool {
		return nil, p.unexpected()
	}
	p.at++
	return literal(res, attr, t.text)
}

func negate(not bool, e storage.Expr) storage.Expr {
	if not {
		return storage.Not{X: e}
	}
	return e
}

var operators = map[string]storage.Op{
	"=": storage.Eq, "!=": storage.Ne, "<>": storage.Ne, "<": storage.Lt, "<=": storage.Le, ">": storage.Gt, ">=": storage.Ge,
}

// literal reads text as a value of the attribute's kind.
func literal(res *resource, attr attribute, s string) (any, error) {
	switch attr.Kind {
	case storage.Int:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
	case storage.Decimal:
		if _, err := strconv.ParseFloat(s, 64); err == nil && json.Valid([]byte(s)) {
			return json.Number(s), nil
		}
	case storage.Bool:
		if b, err := strconv.ParseBool(strings.ToLower(s)); err == nil {
			return b, nil
		}
	case storage.Time:
		if t, ok := parseTime(s); ok {
			return t, nil
		}
	default:
		return s, nil
	}
	return nil, invalid("25009", "/"+attr.Name, "JBO-25009: Cannot create an object of type %s with value: %s for attribute %s in %s.",
		typeName(attr.Kind), s, attr.Name, res.Name)
}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Truncate(time.Microsecond), true
		}
	}
	return time.Time{}, false
}
