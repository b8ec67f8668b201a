package advice

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Spec is the compiled section advise of a plan. It is safe for concurrent use.
	Spec struct {
		flow.Advise

		schema  *jsonschema.Schema // of an answer, whatever is offered
		where   []*expr.Program    // of each fact; nil: all rows
		offers  []condition        // of each action
		rules   []rule
		columns []column
	}

	// condition is an expression over facts; a nil program always holds.
	condition struct {
		program *expr.Program
		facts   []string // that it uses
	}

	rule struct {
		when, reason condition
		action       string
	}

	column struct {
		name    string
		program *expr.Program
		facts   []string
	}
)

// New compiles the section advise of a plan. What does not compile is a Bug: flowfile
// has compiled it before.
func New(a flow.Advise) (*Spec, error) {
	s := &Spec{Advise: a}
	if err := s.check(); err != nil {
		return nil, err
	}
	var err error
	if s.schema, err = compileSchema(s.answerSchema(nil)); err != nil {
		return nil, fault.New(fault.Bug, "bug.plan", "the schema of an answer does not compile", err)
	}
	facts, err := expr.New(FactsVar(a))
	if err != nil {
		return nil, fmt.Errorf("declaring facts: %w", err)
	}
	row, err := expr.New(expr.Var{Name: "row"})
	if err != nil {
		return nil, fmt.Errorf("declaring row: %w", err)
	}
	all, err := expr.New(WriteVars(a)...)
	if err != nil {
		return nil, fmt.Errorf("declaring plan: %w", err)
	}
	c := compiler{}
	for _, f := range a.Facts {
		s.where = append(s.where, c.compile(row, f.Where))
	}
	for _, action := range a.Actions {
		s.offers = append(s.offers, c.condition(facts, action.When, a))
	}
	for _, r := range a.Rules {
		s.rules = append(s.rules, rule{when: c.condition(facts, r.When, a), reason: c.condition(facts, r.Reason, a), action: r.Action})
	}
	for _, col := range a.Write.Map {
		p := c.condition(all, col.Expr, a)
		s.columns = append(s.columns, column{col.Name, p.program, p.facts})
	}
	if c.err != nil {
		return nil, c.err
	}
	return s, nil
}

// FactsVar declares facts, for whoever checks the expressions of a section.
func FactsVar(a flow.Advise) expr.Var {
	columns := make(map[string]expr.Type, len(a.Facts))
	for _, f := range a.Facts {
		columns[f.Name] = expr.Scalar(f.Type)
	}
	return expr.Var{Name: "facts", Type: expr.Object(columns)}
}

// WriteVars declares what the columns of the target are made of.
func WriteVars(a flow.Advise) []expr.Var {
	text := expr.Scalar(flow.String)
	plan := map[string]expr.Type{"evidence": expr.List(text), "stale": expr.List(text)}
	for _, name := range []string{"action", "title", "state", "reason", "source", "model", "version", "digest", "failure", "note"} {
		plan[name] = text
	}
	return []expr.Var{FactsVar(a), {Name: "key", Type: text}, {Name: "plan", Type: expr.Object(plan)}}
}

// check refuses a section that could not keep its promises.
func (s *Spec) check() error {
	sources, actions, facts := map[string]bool{}, map[string]bool{}, map[string]bool{}
	wrong := func(format string, args ...any) error {
		return fault.New(fault.Bug, "bug.plan", "advise: "+fmt.Sprintf(format, args...), nil)
	}
	for _, x := range s.Sources {
		if sources[x.Name] || x.Name == "" || strings.ContainsAny(x.Name, "/ ") || len(x.ID) == 0 || len(x.Columns) == 0 {
			return wrong("source %q is twice, or has no name, id or columns", x.Name)
		}
		sources[x.Name] = true
	}
	for _, x := range s.Facts {
		if facts[x.Name] || !sources[x.Source] || !slices.Contains([]flow.AdviseDo{flow.AdviseCount, flow.AdviseSum, flow.AdviseLeast, flow.AdviseMost, flow.AdviseNewest}, x.Do) {
			return wrong("fact %q is twice, or of an unknown source or kind", x.Name)
		}
		facts[x.Name] = true
	}
	for _, x := range s.Actions {
		if actions[x.Name] || x.Name == "" || slices.ContainsFunc(x.Needs, func(n string) bool { return !sources[n] }) {
			return wrong("action %q is twice, or needs an unknown source", x.Name)
		}
		actions[x.Name] = true
	}
	for _, x := range s.Rules {
		if !actions[x.Action] {
			return wrong("a rule proposes the unknown action %q", x.Action)
		}
	}
	if n := len(s.Rules); n == 0 || s.Rules[n-1].When != "" {
		return wrong("the last rule has a condition, so that there may be no plan")
	}
	if s.Limits.Reason <= 0 || s.Limits.Evidence <= 0 || s.Limits.Request <= 0 || s.Attempts > 0 && s.Timeout <= 0 {
		return wrong("a limit is missing")
	}
	return nil
}

type compiler struct{ err error }

func (c *compiler) compile(env *expr.Env, source string) *expr.Program {
	if source == "" || c.err != nil {
		return nil
	}
	p, issues := env.Compile(source, expr.Anything)
	if p == nil {
		c.err = fault.New(fault.Bug, "bug.plan", "an expression of advise does not compile: "+issues[0].Message, nil)
	}
	return p
}

func (c *compiler) condition(env *expr.Env, source string, a flow.Advise) condition {
	p := c.compile(env, source)
	if p == nil {
		return condition{}
	}
	names, whole := p.Uses("facts")
	if whole {
		names = nil
		for _, f := range a.Facts {
			names = append(names, f.Name)
		}
	}
	return condition{p, names}
}

// answerSchema is what an answer has to be. offered are the actions it may name; nil
// leaves that to who reads it.
func (s *Spec) answerSchema(offered []string) map[string]any {
	action := map[string]any{"type": "string"}
	if offered != nil {
		action["enum"] = offered
	}
	return map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"action", "reason", "evidence"},
		"properties": map[string]any{
			"action":   action,
			"reason":   map[string]any{"type": "string", "minLength": 1, "maxLength": s.Limits.Reason},
			"evidence": map[string]any{"type": "array", "minItems": 1, "maxItems": s.Limits.Evidence, "items": map[string]any{"type": "string"}},
		},
	}
}

func compileSchema(schema map[string]any) (*jsonschema.Schema, error) {
	text, err := marshal(schema)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	const name = "mem:///answer.json"
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	return c.Compile(name)
}

func (s *Spec) action(name string) (int, bool) {
	i := slices.IndexFunc(s.Actions, func(a flow.AdviseAction) bool { return a.Name == name })
	return i, i >= 0
}
