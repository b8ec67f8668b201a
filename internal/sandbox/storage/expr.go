package storage

import (
	"cmp"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Op is a comparison.
type Op string

// The comparisons.
const (
	Eq Op = "="
	Ne Op = "<>"
	Lt Op = "<"
	Le Op = "<="
	Gt Op = ">"
	Ge Op = ">="
)

type (
	// Expr is a predicate over one row: true, false or unknown. A nil Expr is
	// true.
	Expr interface{ predicate() }

	// And holds when all hold; empty it is true.
	And []Expr
	// Or holds when one holds; empty it is false.
	Or []Expr
	// Not turns true and false and leaves unknown.
	Not struct{ X Expr }

	// Compare sets a column beside a value that is not nil; Fold ignores case
	// even where the column does not.
	Compare struct {
		Column string
		Op     Op
		Value  any
		Fold   bool
	}
	// Columns sets two columns of one row beside each other.
	Columns struct {
		Left  string
		Op    Op
		Right string
	}
	// Like matches text against a pattern.
	Like struct {
		Column  string
		Pattern Pattern
		Fold    bool
	}
	// In holds when the column has one of the values.
	In struct {
		Column string
		Values []any
	}
	// Tuples holds when the columns together have one of the rows of values: the
	// lookup of many keys in one statement.
	Tuples struct {
		Columns []string
		Values  [][]any
	}
	// Null holds when the column has no value.
	Null struct{ Column string }

	// Exists holds when a row of another table, whose Inner columns equal the
	// Outer columns of this row, satisfies Where.
	Exists struct {
		Table        *Table
		Outer, Inner []string
		Where        Expr
	}
)

func (And) predicate()     {}
func (Or) predicate()      {}
func (Not) predicate()     {}
func (Compare) predicate() {}
func (Columns) predicate() {}
func (Like) predicate()    {}
func (In) predicate()      {}
func (Tuples) predicate()  {}
func (Null) predicate()    {}
func (Exists) predicate()  {}

// truth is the three-valued logic of SQL: -1 false, 0 unknown, 1 true.
type truth int8

func truthOf(b bool) truth {
	if b {
		return 1
	}
	return -1
}

// finder gives an evaluator the rows of other tables.
type finder func(t *Table, where Expr) []Row

// eval is the plain meaning of a predicate, the reference the SQL is held to.
func eval(t *Table, e Expr, row Row, find finder) truth {
	switch e := e.(type) {
	case nil:
		return 1
	case And:
		out := truth(1)
		for _, x := range e {
			out = min(out, eval(t, x, row, find))
		}
		return out
	case Or:
		out := truth(-1)
		for _, x := range e {
			out = max(out, eval(t, x, row, find))
		}
		return out
	case Not:
		return -eval(t, e.X, row, find)
	case Null:
		return truthOf(row[e.Column] == nil)
	case Compare:
		return compare(t.foldFor(e.Column, e.Fold), row[e.Column], e.Op, e.Value)
	case Columns:
		return compare(t.foldFor(e.Left, false), row[e.Left], e.Op, row[e.Right])
	case Like:
		s, ok := row[e.Column].(string)
		if !ok {
			return 0
		}
		return truthOf(e.Pattern.match(s, t.foldFor(e.Column, e.Fold)))
	case In:
		one := make(Or, len(e.Values))
		for i, v := range e.Values {
			one[i] = Compare{Column: e.Column, Op: Eq, Value: v}
		}
		return eval(t, one, row, find)
	case Tuples:
		one := make(Or, len(e.Values))
		for i, tuple := range e.Values {
			all := make(And, len(tuple))
			for j, v := range tuple {
				all[j] = Compare{Column: e.Columns[j], Op: Eq, Value: v}
			}
			one[i] = all
		}
		return eval(t, one, row, find)
	case Exists:
		where := make(And, 0, len(e.Outer)+1)
		for i, name := range e.Outer {
			if row[name] == nil {
				return -1
			}
			where = append(where, Compare{Column: e.Inner[i], Op: Eq, Value: row[name]})
		}
		if e.Where != nil {
			where = append(where, e.Where)
		}
		return truthOf(len(find(e.Table, where)) > 0)
	default:
		panic("storage: unknown predicate")
	}
}

func (t *Table) foldFor(column string, always bool) bool {
	return always || t.Columns[t.byName[column]].Fold
}

func compare(folded bool, a any, op Op, b any) truth {
	if a == nil || b == nil {
		return 0
	}
	c := order(folded, a, b)
	switch op {
	case Eq:
		return truthOf(c == 0)
	case Ne:
		return truthOf(c != 0)
	case Lt:
		return truthOf(c < 0)
	case Le:
		return truthOf(c <= 0)
	case Gt:
		return truthOf(c > 0)
	default:
		return truthOf(c >= 0)
	}
}

// order sets two values of one kind in order; text goes by its bytes.
func order(folded bool, a, b any) int {
	switch a := a.(type) {
	case string:
		b, _ := b.(string)
		if folded {
			return strings.Compare(fold(a), fold(b))
		}
		return strings.Compare(a, b)
	case int64:
		b, _ := b.(int64)
		return cmp.Compare(a, b)
	case bool:
		b, _ := b.(bool)
		return cmp.Compare(bit(a), bit(b))
	case time.Time:
		b, _ := b.(time.Time)
		return a.Compare(b)
	case json.Number:
		b, _ := b.(json.Number)
		x, okX := rat(a)
		y, okY := rat(b)
		if !okX || !okY {
			return strings.Compare(string(a), string(b))
		}
		return x.Cmp(y)
	case []byte:
		b, _ := b.([]byte)
		return slices.Compare(a, b)
	default:
		return 0
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func rat(n json.Number) (*big.Rat, bool) { return new(big.Rat).SetString(string(n)) }
