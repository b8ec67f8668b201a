package ibm

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

// The part of the search language that where may be written in:
//
//	or      = and { "or" and }
//	and     = not { "and" not }
//	not     = [ "not" ] ( "(" or ")" | test )
//	test    = name ( op literal | [ "not" ] "like" text | [ "not" ] "in" "(" literal { "," literal } ")"
//	               | "is" [ "not" ] "null" )
//	name    = [ alias "." ] ( word | "[" word "]" )
//	literal = text in quotes | number | date | guid | "true" | "false"
//
// Keywords ignore case; a quote inside a text is doubled.
type sql struct {
	of    *class
	alias string
	words []string
	at    int
	depth int
}

// maxDepth bounds brackets, so that no search can exhaust the stack.
const maxDepth = 50

var lexeme = regexp.MustCompile(`^(?:\s+|'(?:[^']|'')*'|\{[0-9A-Fa-f-]{36}\}|\[[A-Za-z_][A-Za-z0-9_]*\]|[0-9]{8}T[0-9]{6}Z|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z|-?[0-9]+(?:\.[0-9]+)?|[A-Za-z_][A-Za-z0-9_]*|<>|<=|>=|[=<>(),.])`)

func scan(text string) ([]string, error) {
	var words []string
	for text != "" {
		word := lexeme.FindString(text)
		if word == "" {
			return nil, refused("The search has a syntax error near %q.", text[:min(len(text), 20)])
		}
		text = text[len(word):]
		if strings.TrimSpace(word) != "" {
			words = append(words, word)
		}
	}
	return words, nil
}

// readFrom reads "Class", "Class alias" and "Class as alias".
func readFrom(from string) (*class, string, error) {
	words, err := scan(from)
	if err != nil {
		return nil, "", err
	}
	if len(words) == 0 {
		return base, "", nil
	}
	name := strings.Trim(words[0], "[]")
	c := find(name)
	if c == nil {
		return nil, "", missing("class " + name)
	}
	rest := words[1:]
	if len(rest) == 2 && strings.EqualFold(rest[0], "as") {
		rest = rest[1:]
	}
	if len(rest) > 1 {
		return nil, "", refused("A search of more than one class is not supported here.")
	}
	if len(rest) == 0 {
		return c, "", nil
	}
	return c, rest[0], nil
}

func readWhere(of *class, alias, where string) (storage.Expr, error) {
	words, err := scan(where)
	if err != nil || len(words) == 0 {
		return nil, err
	}
	p := &sql{of: of, alias: alias, words: words}
	e, err := p.or()
	if err == nil && p.at < len(p.words) {
		err = p.unexpected()
	}
	return e, err
}

// readOrder reads "name [asc|desc], …"; the ID is always the last.
func readOrder(of *class, alias, order string) ([]storage.Order, error) {
	words, err := scan(order)
	if err != nil {
		return nil, err
	}
	p := &sql{of: of, alias: alias, words: words}
	var list []storage.Order
	for p.at < len(p.words) {
		column, err := p.name()
		if err != nil {
			return nil, err
		}
		desc := p.word("desc")
		if !desc {
			p.word("asc")
		}
		list = append(list, storage.Order{Column: column.name, Desc: desc, NullsFirst: desc})
		if p.at < len(p.words) && (!p.word(",") || p.at == len(p.words)) {
			return nil, p.unexpected()
		}
	}
	if n := len(list); n == 0 || list[n-1].Column != "Id" {
		list = append(list, storage.Order{Column: "Id"})
	}
	return list, nil
}

func (p *sql) peek() string {
	if p.at < len(p.words) {
		return p.words[p.at]
	}
	return ""
}

func (p *sql) next() string {
	w := p.peek()
	p.at++
	return w
}

func (p *sql) word(w string) bool {
	if strings.EqualFold(p.peek(), w) {
		p.at++
		return true
	}
	return false
}

func (p *sql) unexpected() error {
	if p.at >= len(p.words) {
		return refused("The search ends where more is expected.")
	}
	return refused("The search has a syntax error near %q.", p.words[p.at])
}

func (p *sql) or() (storage.Expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, refused("The search is nested too deeply.")
	}
	defer func() { p.depth-- }()
	var some storage.Or
	for {
		e, err := p.and()
		if err != nil {
			return nil, err
		}
		some = append(some, e)
		if !p.word("or") {
			break
		}
	}
	if len(some) == 1 {
		return some[0], nil
	}
	return some, nil
}

func (p *sql) and() (storage.Expr, error) {
	var all storage.And
	for {
		e, err := p.not()
		if err != nil {
			return nil, err
		}
		all = append(all, e)
		if !p.word("and") {
			return all, nil
		}
	}
}

func (p *sql) not() (storage.Expr, error) {
	negated := p.word("not")
	var e storage.Expr
	var err error
	if p.word("(") {
		if e, err = p.or(); err == nil && !p.word(")") {
			err = p.unexpected()
		}
	} else {
		e, err = p.test()
	}
	return negate(negated, e), err
}

func negate(negated bool, e storage.Expr) storage.Expr {
	if negated {
		return storage.Not{X: e}
	}
	return e
}

func (p *sql) name() (property, error) {
	name := p.next()
	if p.word(".") {
		if p.alias != "" && !strings.EqualFold(name, p.alias) && !strings.EqualFold(name, p.of.name) {
			return property{}, refused("The search uses an alias %s that is not defined.", name)
		}
		name = p.next()
	}
	if name = strings.Trim(name, "[]"); name == "" {
		return property{}, p.unexpected()
	}
	found, ok := p.of.known(name)
	if !ok {
		return property{}, refused("The property %s is not a property of the class %s.", name, p.of.name)
	}
	return found, nil
}

func (p *sql) test() (storage.Expr, error) {
	column, err := p.name()
	if err != nil {
		return nil, err
	}
	if p.word("is") {
		negated := p.word("not")
		if !p.word("null") {
			return nil, p.unexpected()
		}
		return negate(negated, storage.Null{Column: column.name}), nil
	}
	negated := p.word("not")
	switch {
	case p.word("like"):
		pattern, err := p.literal(column)
		text, isText := pattern.(string)
		if err != nil || !isText {
			return nil, p.unexpected()
		}
		return negate(negated, storage.Like{Column: column.name, Pattern: storage.Wildcards(text, "")}), nil
	case p.word("in"):
		return p.in(column, negated)
	}
	op := storage.Op(p.next())
	switch op {
	case storage.Eq, storage.Ne, storage.Lt, storage.Le, storage.Gt, storage.Ge:
	default:
		p.at--
		return nil, p.unexpected()
	}
	value, err := p.literal(column)
	if err != nil {
		return nil, err
	}
	return negate(negated, storage.Compare{Column: column.name, Op: op, Value: value}), nil
}

func (p *sql) in(column property, negated bool) (storage.Expr, error) {
	if !p.word("(") {
		return nil, p.unexpected()
	}
	in := storage.In{Column: column.name}
	for {
		value, err := p.literal(column)
		if err != nil {
			return nil, err
		}
		in.Values = append(in.Values, value)
		if p.word(")") {
			return negate(negated, in), nil
		}
		if !p.word(",") {
			return nil, p.unexpected()
		}
	}
}

var number = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// literal reads a value of the property's type.
func (p *sql) literal(of property) (any, error) {
	word := p.next()
	quoted := strings.HasPrefix(word, "'")
	text := word
	if quoted {
		text = strings.ReplaceAll(word[1:len(word)-1], "''", "'")
	}
	switch {
	case of.kind == "STRING" && quoted:
		return text, nil
	case of.kind == "GUID" && (quoted || strings.HasPrefix(word, "{")):
		return strings.ToUpper(text), nil
	case of.kind == "BOOLEAN" && (strings.EqualFold(word, "true") || strings.EqualFold(word, "false")):
		return strings.EqualFold(word, "true"), nil
	case of.kind == "LONG" && number.MatchString(word):
		if n, err := strconv.ParseInt(word, 10, 64); err == nil {
			return n, nil
		}
	case of.kind == "DOUBLE" && number.MatchString(word):
		return json.Number(word), nil
	case of.kind == "DATE" && !quoted:
		for _, layout := range []string{"20060102T150405Z", time.RFC3339Nano} {
			if at, err := time.Parse(layout, word); err == nil {
				return at.UTC(), nil
			}
		}
	}
	p.at--
	if p.at >= len(p.words) {
		return nil, p.unexpected()
	}
	return nil, refused("The property %s of type %s cannot be compared with %s.", of.name, of.kind, word)
}
