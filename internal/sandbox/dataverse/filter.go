package dataverse

import (
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

// maxDepth bounds brackets, so that no filter can exhaust the stack.
const maxDepth = 60

// filter reads $filter:
//
//	or         = and { "or" and }
//	and        = not { "and" not }
//	not        = "not" not | "(" or ")" | test
//	test       = operand op operand | function "(" … ")" | path "/" ("any"|"all") "(" [ v ":" or ] ")"
//	operand    = literal | alias | [ v "/" ] { navigation "/" } property
//
// Names are case-sensitive, text compares without case. It compiles to a
// predicate over the table's own columns; a path into another table asks for a
// row there.
type filter struct {
	*tokens
	env     *Environment
	aliases map[string]string
	now     time.Time
	depth   int
}

// scope is the table that names belong to, and the lambda variable for it.
type scope struct {
	table    *Table
	variable string
}

// operand is a literal or a column; wrap leads from the scope to its table.
type operand struct {
	literal *token
	table   *Table
	column  *Column
	wrap    func(storage.Expr) storage.Expr
}

func (e *Environment) parseFilter(t *Table, text string, aliases map[string]string, now time.Time) (storage.Expr, error) {
	ts, err := scan(text)
	if err != nil {
		return nil, err
	}
	f := &filter{tokens: ts, env: e, aliases: aliases, now: now}
	x, err := f.or(scope{table: t})
	if err != nil {
		return nil, err
	}
	if f.at < len(f.list) {
		return nil, f.wrong()
	}
	return x, nil
}

func (f *filter) or(s scope) (storage.Expr, error) {
	var list storage.Or
	for {
		x, err := f.and(s)
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

func (f *filter) and(s scope) (storage.Expr, error) {
	var list storage.And
	for {
		x, err := f.not(s)
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

func (f *filter) not(s scope) (storage.Expr, error) {
	if f.depth++; f.depth > maxDepth {
		return nil, badQuery("The filter has too many levels.")
	}
	defer func() { f.depth-- }()
	if f.word("not") {
		x, err := f.not(s)
		return storage.Not{X: x}, err
	}
	if f.sign('(') {
		x, err := f.or(s)
		if err == nil && !f.sign(')') {
			err = f.wrong()
		}
		return x, err
	}
	return f.test(s)
}

func (f *filter) test(s scope) (storage.Expr, error) {
	if t := f.peek(); t.kind == 'w' && f.at+1 < len(f.list) && f.list[f.at+1].kind == '(' {
		return f.function(s)
	}
	left, lambda, err := f.operand(s)
	if err != nil || lambda != nil {
		return lambda, err
	}
	if left.column != nil && left.column.Type == Boolean && f.ends() {
		return left.wrap(storage.Compare{Column: left.column.Property(), Op: storage.Eq, Value: true}), nil
	}
	op, ok := operators[f.peek().text]
	if !ok {
		return nil, f.wrong()
	}
	f.at++
	right, lambda, err := f.operand(s)
	if err != nil {
		return nil, err
	}
	if lambda != nil {
		return nil, f.wrong()
	}
	return f.compare(left, op, right)
}

// ends says whether the test is over: a Boolean column may stand alone.
func (f *filter) ends() bool {
	t := f.peek()
	return t.kind == 0 || t.kind == ')' || t.kind == 'w' && (t.text == "and" || t.text == "or")
}

var operators = map[string]storage.Op{
	"eq": storage.Eq, "ne": storage.Ne, "gt": storage.Gt, "ge": storage.Ge, "lt": storage.Lt, "le": storage.Le,
}

var mirrored = map[storage.Op]storage.Op{storage.Lt: storage.Gt, storage.Le: storage.Ge, storage.Gt: storage.Lt, storage.Ge: storage.Le}

func (f *filter) compare(left operand, op storage.Op, right operand) (storage.Expr, error) {
	if left.column == nil && right.column == nil {
		return nil, f.wrong()
	}
	if left.column == nil {
		left, right = right, left
		if m, ok := mirrored[op]; ok {
			op = m
		}
	}
	name := left.column.Property()
	if right.column != nil {
		if right.table != left.table || kinds[left.column.Type] != kinds[right.column.Type] {
			return nil, badQuery("Only columns of one row and one type can be compared with each other.")
		}
		return left.wrap(storage.Columns{Left: name, Op: op, Right: right.column.Property()}), nil
	}
	v, p := value(left.column, *right.literal)
	if p != nil {
		return nil, p
	}
	switch {
	case v != nil:
		return left.wrap(storage.Compare{Column: name, Op: op, Value: v}), nil
	case op == storage.Eq:
		return left.wrap(storage.Null{Column: name}), nil
	case op == storage.Ne:
		return left.wrap(storage.Not{X: storage.Null{Column: name}}), nil
	default:
		return nil, f.wrong()
	}
}

// operand reads one side of a test; a lambda is a whole test of its own.
func (f *filter) operand(s scope) (operand, storage.Expr, error) {
	t := f.next()
	switch {
	case t.kind == 's' || t.kind == 'n' || t.kind == 'g' || t.kind == 't':
		return operand{literal: &t}, nil, nil
	case t.kind == 'w' && (t.text == "null" || t.text == "true" || t.text == "false"):
		return operand{literal: &t}, nil, nil
	case t.kind == 'w' && strings.HasPrefix(t.text, "@"):
		text, ok := f.aliases[t.text]
		if !ok {
			return operand{literal: &token{'w', "null"}}, nil, nil
		}
		list, err := scan(text)
		if err != nil || len(list.list) != 1 {
			return operand{}, nil, badQuery("The parameter alias %s has a value that cannot be read.", t.text)
		}
		return operand{literal: &list.list[0]}, nil, nil
	case t.kind != 'w':
		f.at--
		return operand{}, nil, f.wrong()
	}
	if s.variable != "" && t.text == s.variable && f.sign('/') {
		t = f.next()
	}
	table, wrap := s.table, func(x storage.Expr) storage.Expr { return x }
	for f.sign('/') {
		if c, ok := table.collection(t.text); ok {
			x, err := f.lambda(table, c)
			if err != nil {
				return operand{}, nil, err
			}
			return operand{}, wrap(x), nil
		}
		column, target, ok := table.navigation(t.text)
		to := f.env.byLogical[target]
		if !ok || to == nil {
			return operand{}, nil, unknownProperty(table, t.text)
		}
		outer, from := wrap, table
		wrap = func(x storage.Expr) storage.Expr { return outer(from.through(column, to, x)) }
		table, t = to, f.next()
	}
	column := table.byProperty[t.text]
	if column == nil {
		// A lookup may be compared by its navigation's name as well.
		if c, _, ok := table.navigation(t.text); ok {
			column = c
		} else {
			return operand{}, nil, unknownProperty(table, t.text)
		}
	}
	return operand{table: table, column: column, wrap: wrap}, nil, nil
}

// through is the predicate that the row a lookup points to satisfies x.
func (t *Table) through(c *Column, to *Table, x storage.Expr) storage.Expr {
	there := storage.Exists{Table: to.rows, Outer: []string{c.Property()}, Inner: []string{to.Primary}, Where: x}
	if !c.polymorphic() {
		return there
	}
	return storage.And{storage.Compare{Column: c.pointer(), Op: storage.Eq, Value: to.Logical}, there}
}

func (f *filter) lambda(from *Table, c Collection) (storage.Expr, error) {
	to := f.env.byLogical[c.Table]
	back := to.column(c.Column)
	kind := f.next().text
	if kind != "any" && kind != "all" || !f.sign('(') {
		return nil, f.wrong()
	}
	var body storage.Expr
	if !f.sign(')') {
		variable := f.next()
		if variable.kind != 'w' || !f.sign(':') {
			return nil, f.wrong()
		}
		x, err := f.or(scope{table: to, variable: variable.text})
		if err != nil {
			return nil, err
		}
		if !f.sign(')') {
			return nil, f.wrong()
		}
		body = x
	}
	if kind == "all" {
		body = storage.Not{X: body}
	}
	if back.polymorphic() {
		of := storage.Compare{Column: back.pointer(), Op: storage.Eq, Value: from.Logical}
		if body == nil {
			body = of
		} else {
			body = storage.And{of, body}
		}
	}
	there := storage.Exists{Table: to.rows, Outer: []string{from.Primary}, Inner: []string{back.Property()}, Where: body}
	if kind == "all" {
		return storage.Not{X: there}, nil
	}
	return there, nil
}

func (f *filter) function(s scope) (storage.Expr, error) {
	name := f.next().text
	f.at++ // the bracket
	if query, ok := strings.CutPrefix(name, "Microsoft.Dynamics.CRM."); ok {
		return f.queryFunction(s, query)
	}
	column, _, err := f.operand(s)
	if err != nil {
		return nil, err
	}
	if column.column == nil || !f.sign(',') {
		return nil, f.wrong()
	}
	text, _, err := f.operand(s)
	if err != nil {
		return nil, err
	}
	if text.literal == nil || text.literal.kind != 's' || kinds[column.column.Type] != storage.Text || !f.sign(')') {
		return nil, f.wrong()
	}
	pattern := storage.SetWildcards(text.literal.text)
	switch name {
	case "contains":
		pattern = pattern.Within()
	case "startswith":
		pattern = pattern.Prefixed()
	case "endswith":
		pattern = pattern.Suffixed()
	default:
		return nil, badQuery("An unknown function with name '%s' was found. This may also be a function import or a key lookup on a navigation property, which is not allowed.", name)
	}
	var x storage.Expr = storage.Like{Column: column.column.Property(), Pattern: pattern}
	if f.word("eq") { // contains(…) eq true is the long form
		want := f.next().text
		if want != "true" && want != "false" {
			return nil, f.wrong()
		}
		if want == "false" {
			x = storage.Not{X: x}
		}
	}
	return column.wrap(x), nil
}

// queryFunction reads the arguments PropertyName, PropertyValue, PropertyValues
// of Microsoft.Dynamics.CRM functions, and what each makes of them.
func (f *filter) queryFunction(s scope, name string) (storage.Expr, error) {
	var column operand
	var values []token
	for !f.sign(')') {
		argument := f.next()
		if !f.sign('=') {
			return nil, f.wrong()
		}
		switch argument.text {
		case "PropertyName":
			inner := &filter{tokens: &tokens{text: f.text}, env: f.env, aliases: f.aliases, now: f.now}
			ts, err := scan(f.resolve(f.next()).text)
			if err != nil {
				return nil, err
			}
			inner.list = ts.list
			if column, _, err = inner.operand(s); err != nil {
				return nil, err
			}
		case "PropertyValue":
			values = append(values, f.resolve(f.next()))
		case "PropertyValues":
			if !f.sign('[') {
				return nil, f.wrong()
			}
			for !f.sign(']') {
				if f.peek().kind == 0 {
					return nil, f.wrong()
				}
				values = append(values, f.next())
				f.sign(',')
			}
		default:
			return nil, f.wrong()
		}
		f.sign(',')
		if f.peek().kind == 0 {
			return nil, f.wrong()
		}
	}
	if column.column == nil {
		return nil, badQuery("The function %s needs the parameter PropertyName.", name)
	}
	x, err := f.apply(name, column.column, values)
	if err != nil {
		return nil, err
	}
	return column.wrap(x), nil
}

func (f *filter) resolve(t token) token {
	if t.kind == 'w' && strings.HasPrefix(t.text, "@") {
		if list, err := scan(f.aliases[t.text]); err == nil && len(list.list) == 1 {
			return list.list[0]
		}
	}
	return t
}

func (f *filter) apply(name string, c *Column, raw []token) (storage.Expr, error) {
	property := c.Property()
	days := func(from, to int) storage.Expr {
		today := f.now.Truncate(24 * time.Hour)
		return between(property, today.AddDate(0, 0, from), today.AddDate(0, 0, to))
	}
	switch name {
	case "Today":
		return days(0, 1), nil
	case "Yesterday":
		return days(-1, 0), nil
	case "Tomorrow":
		return days(1, 2), nil
	case "EqualUserId", "NotEqualUserId", "ContainValues", "DoesNotContainValues":
		return nil, badQuery("The sandbox does not have the function %s.", name)
	}
	if strings.HasPrefix(name, "Last") && strings.HasSuffix(name, "Days") && len(raw) == 1 {
		n, err := strconv.Atoi(raw[0].text)
		if err != nil {
			return nil, f.wrong()
		}
		return between(property, f.now.Truncate(24*time.Hour).AddDate(0, 0, -n), f.now), nil
	}
	values := make([]any, len(raw))
	for i, t := range raw {
		if t.kind == 's' && kinds[c.Type] != storage.Text { // the functions take every value as text
			if ts, err := scan(t.text); err == nil && len(ts.list) == 1 {
				t = ts.list[0]
			}
		}
		v, p := value(c, t)
		if p != nil {
			return nil, p
		}
		values[i] = v
	}
	one, two := len(values) == 1, len(values) == 2
	test := func(op storage.Op, i int) storage.Expr {
		return storage.Compare{Column: property, Op: op, Value: values[i]}
	}
	switch {
	case name == "In":
		return storage.In{Column: property, Values: values}, nil
	case name == "NotIn":
		return storage.Not{X: storage.In{Column: property, Values: values}}, nil
	case name == "Between" && two:
		return storage.And{test(storage.Ge, 0), test(storage.Le, 1)}, nil
	case name == "NotBetween" && two:
		return storage.Not{X: storage.And{test(storage.Ge, 0), test(storage.Le, 1)}}, nil
	case name == "OnOrAfter" && one:
		return test(storage.Ge, 0), nil
	case name == "OnOrBefore" && one:
		if at, ok := values[0].(time.Time); ok {
			return storage.Compare{Column: property, Op: storage.Lt, Value: at.Truncate(24*time.Hour).AddDate(0, 0, 1)}, nil
		}
		return test(storage.Le, 0), nil
	case name == "On" && one:
		if at, ok := values[0].(time.Time); ok {
			day := at.Truncate(24 * time.Hour)
			return between(property, day, day.AddDate(0, 0, 1)), nil
		}
		return test(storage.Eq, 0), nil
	default:
		return nil, badQuery("The sandbox does not have the function %s with %d values.", name, len(values))
	}
}

func between(property string, from, to time.Time) storage.Expr {
	return storage.And{storage.Compare{Column: property, Op: storage.Ge, Value: from}, storage.Compare{Column: property, Op: storage.Lt, Value: to}}
}
