package sap

import (
	"strings"

	"patchbay/internal/sandbox/storage"
)

// maxDepth bounds brackets, so that no filter can exhaust the stack.
const maxDepth = 60

// filter reads $filter:
//
//	or   = and { "or" and }
//	and  = not { "and" not }
//	not  = "not" not | "(" or ")" | test
//	test = property op literal | function "(" … ")" [ "eq" ("true"|"false") ]
//
// The functions are substringof, startswith and endswith of V2, and contains of V4.
type filter struct {
	s      *service
	e      *entity
	tokens []string
	at     int
	depth  int
}

// parseFilter compiles a filter to a predicate over the entity's columns.
func (s *service) parseFilter(e *entity, text string) (storage.Expr, error) {
	tokens, err := scan(text)
	if err != nil {
		return nil, err
	}
	f := &filter{s: s, e: e, tokens: tokens}
	x, err := f.or()
	if err == nil && f.at < len(f.tokens) {
		err = f.wrong()
	}
	return x, err
}

// scan splits a filter into brackets, commas and words; a word ends outside of quotes.
func scan(text string) ([]string, error) {
	var list []string
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case ' ', '\t':
			i++
		case '(', ')', ',':
			list = append(list, string(c))
			i++
		default:
			start, inside := i, false
			for i < len(text) && (inside || !strings.ContainsRune(" \t(),", rune(text[i]))) {
				if text[i] == '\'' {
					inside = !inside
				}
				i++
			}
			if inside {
				return nil, badQuery("Malformed URI literal syntax at position %d.", start)
			}
			list = append(list, text[start:i])
		}
	}
	return list, nil
}

func (f *filter) wrong() error {
	if f.at < len(f.tokens) {
		return badQuery("Invalid token '%s' at position %d of the filter.", f.tokens[f.at], f.at)
	}
	return badQuery("The filter ends where more is due.")
}

func (f *filter) word(w string) bool {
	if f.at < len(f.tokens) && f.tokens[f.at] == w {
		f.at++
		return true
	}
	return false
}

func (f *filter) next() string {
	if f.at == len(f.tokens) {
		return ""
	}
	f.at++
	return f.tokens[f.at-1]
}

func (f *filter) or() (storage.Expr, error) {
	var list storage.Or
	for {
		x, err := f.and()
		if err != nil {
			return nil, err
		}
		if list = append(list, x); !f.word("or") {
			break
		}
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return list, nil
}

func (f *filter) and() (storage.Expr, error) {
	var list storage.And
	for {
		x, err := f.not()
		if err != nil {
			return nil, err
		}
		if list = append(list, x); !f.word("and") {
			break
		}
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return list, nil
}

func (f *filter) not() (storage.Expr, error) {
	if f.depth++; f.depth > maxDepth {
		return nil, badQuery("The filter has too many levels.")
	}
	defer func() { f.depth-- }()
	switch {
	case f.word("not"):
		x, err := f.not()
		return storage.Not{X: x}, err
	case f.word("("):
		x, err := f.or()
		if err == nil && !f.word(")") {
			err = f.wrong()
		}
		return x, err
	}
	return f.test()
}

var operators = map[string]storage.Op{"eq": storage.Eq, "ne": storage.Ne, "lt": storage.Lt, "le": storage.Le, "gt": storage.Gt, "ge": storage.Ge}

func (f *filter) test() (storage.Expr, error) {
	name := f.next()
	if f.word("(") {
		return f.function(name)
	}
	p, ok := f.e.property(name)
	if !ok {
		return nil, badProperty(name, f.e.Type)
	}
	op, ok := operators[f.next()]
	if !ok {
		f.at--
		return nil, f.wrong()
	}
	v, err := f.s.literal(p, f.next())
	if err != nil {
		return nil, err
	}
	return compare(p, op, v), nil
}

// compare is a comparison as ABAP has it: an empty text and no text are one.
func compare(p property, op storage.Op, v any) storage.Expr {
	column := p.column()
	if v == nil || v == "" {
		empty := storage.Or{storage.Null{Column: column}}
		if p.Kind == text {
			empty = append(empty, storage.Compare{Column: column, Op: storage.Eq, Value: ""})
		}
		switch op {
		case storage.Eq, storage.Le:
			return empty
		case storage.Ne, storage.Gt:
			return storage.Not{X: empty}
		case storage.Ge:
			return storage.And{} // nothing is less
		default:
			return storage.Or{}
		}
	}
	x := storage.Compare{Column: column, Op: op, Value: v}
	if op == storage.Ne {
		return storage.Or{storage.Null{Column: column}, x}
	}
	return x
}

// pattern is a text with anything before or after it.
func pattern(text string, before, after bool) storage.Pattern {
	var p storage.Pattern
	if before {
		p = storage.Wildcards("%", "")
	}
	p = append(p, storage.Literal(text)...)
	if after {
		p = append(p, storage.Wildcards("%", "")...)
	}
	return p
}

func (f *filter) function(name string) (storage.Expr, error) {
	first := f.next()
	if !f.word(",") {
		return nil, f.wrong()
	}
	second := f.next()
	if !f.word(")") {
		return nil, f.wrong()
	}
	column, literal := first, second
	var before, after bool // more text may stand there
	switch {
	case name == "substringof" && !f.s.V4:
		column, literal, before, after = second, first, true, true
	case name == "contains" && f.s.V4:
		before, after = true, true
	case name == "startswith":
		after = true
	case name == "endswith":
		before = true
	default:
		return nil, badQuery("Function '%s' is not supported.", name)
	}
	p, ok := f.e.property(column)
	if !ok || p.Kind != text {
		return nil, badProperty(column, f.e.Type)
	}
	v, err := f.s.literal(p, literal)
	if err != nil {
		return nil, err
	}
	s, _ := v.(string)
	var x storage.Expr = storage.Like{Column: p.column(), Pattern: pattern(s, before, after)}
	if f.word("eq") {
		switch f.next() {
		case "true":
		case "false":
			x = storage.Not{X: x}
		default:
			return nil, f.wrong()
		}
	}
	return x, nil
}
