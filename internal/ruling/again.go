package ruling

import (
	"bytes"
	"encoding/json"

	"patchbay/internal/capsule"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Again lets the rules in a capsule say again what they said, of what is in it alone. It gives nil
// when it is the same, word for word; else an Invalid fault: capsule.rules when these are not the rules
// that the decision names, capsule.ruling when they say something else, capsule.decision when the
// decision is not what they said, though nobody else decided.
func Again(c capsule.Capsule) error {
	var plan flow.Plan
	if err := numbers(c.Rules, &plan); err != nil || plan.Decide == nil {
		return fault.New(fault.Invalid, "capsule.rules", "the capsule holds no rules", err)
	}
	if plan.RulesDigest() != c.Decision.Rules {
		return fault.Invalidf("capsule.rules", "the rules in the capsule are not those that the decision names")
	}
	var was flow.Ruling
	facts, err := caseOf(c)
	if err == nil {
		err = numbers(c.Ruling, &was)
	}
	if err != nil {
		return fault.New(fault.Invalid, "capsule.data", "the capsule holds what no rule can read", err)
	}
	rules, err := New(&plan)
	if err != nil {
		return fault.New(fault.Invalid, "capsule.rules", "the rules in the capsule cannot be applied", err)
	}
	again, err := json.Marshal(rules.Judge(facts))
	if err != nil {
		return fault.New(fault.Bug, "capsule.ruling", "a ruling that cannot be encoded", err)
	}
	before, err := json.Marshal(was)
	if err != nil || !bytes.Equal(again, before) {
		return fault.New(fault.Invalid, "capsule.ruling", "the rules say something else now", err)
	}
	if c.Decision.By == "rules" && c.Decision.Outcome != string(was.Outcome) {
		return fault.Invalidf("capsule.decision", "the decision is not what the rules said")
	}
	return nil
}

// caseOf is what the rules knew.
func caseOf(c capsule.Capsule) (flow.Case, error) {
	of := flow.Case{Inputs: []flow.Collected{}, Computed: []flow.Computed{}, Gaps: []flow.Gap{}}
	for _, in := range c.Inputs {
		if in.Name == "params" {
			if err := numbers(in.Data, &of.Params); err != nil {
				return of, err
			}
			continue
		}
		one := flow.Collected{Name: in.Name, Source: in.Source, AsOf: in.AsOf, Substitute: in.Substitute != "", Why: in.Substitute}
		if err := numbers(in.Data, &one.Rows); err != nil {
			return of, err
		}
		of.Inputs = append(of.Inputs, one)
	}
	for _, done := range c.Computed {
		of.Computed = append(of.Computed, flow.Computed{Name: done.Task, Function: done.Name, Version: done.Version, Output: done.Output})
	}
	return of, numbers(c.Gaps, &of.Gaps)
}

func numbers(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return d.Decode(into)
}
