package expr

import (
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
)

// The bounds of an expression.
const (
	Budget    = 1_000_000 // cost of one evaluation: about 0.1 s, as Kubernetes counts it
	MaxRegex  = 1_000     // characters of a regular expression
	maxSource = 10_000    // characters of an expression
)

// What the cost estimate assumes of values whose size is not known.
const (
	assumedList = 100   // elements of a list
	assumedText = 1_000 // characters of a string
)

// Env holds the declared variables of expressions.
type Env struct {
	cel      *cel.Env
	types    *provider
	names    []string
	declared map[string]Type
}

// base is built once: the language costs milliseconds, a set of variables
// microseconds.
var base = sync.OnceValues(language)

// New declares variables. A variable whose type is Anything may be selected from
// freely; an Object knows its columns, and an expression that names another is
// refused.
func New(vars ...Var) (*Env, error) {
	b, err := base()
	if err != nil {
		return nil, err
	}
	p := &provider{Provider: b.CELTypeProvider(), objects: map[string]Type{}}
	e := &Env{types: p, declared: map[string]Type{}}
	opts := []cel.EnvOption{cel.CustomTypeProvider(p), cel.CustomTypeAdapter(adapter{b.CELTypeAdapter()})}
	for _, v := range vars {
		opts = append(opts, cel.Variable(v.Name, p.declare(v.Name, v.Type)))
		e.names = append(e.names, v.Name)
		e.declared[v.Name] = v.Type
	}
	e.cel, err = b.Extend(opts...)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// sizes tells the cost estimate how large values are taken to be.
type sizes struct{}

// EstimateSize implements cost.Estimator.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if n.ComputedSize() != nil {
		return nil
	}
	most := uint64(assumedList)
	switch n.Type().Kind() {
	case types.StringKind, types.BytesKind:
		most = assumedText
	case types.BoolKind, types.IntKind, types.NullTypeKind, types.TimestampKind, types.DurationKind:
		most = 1
	case types.OpaqueKind:
		if !strings.HasPrefix(n.Type().TypeName(), "optional") {
			most = 1
		}
	}
	s := cost.RangedSizeEstimate(0, most)
	return &s
}
