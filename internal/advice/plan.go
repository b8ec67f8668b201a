package advice

import (
	"fmt"
	"slices"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Plan is what is proposed for one customer, proved.
type Plan struct {
	Key      string   `json:"key"`   // of the customer
	State    string   `json:"state"` // flow.AdviceProposed, flow.AdviceWithheld
	Action   string   `json:"action,omitempty"`
	Title    string   `json:"title,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
	Source   string   `json:"source"` // flow.AdviceOfModel, flow.AdviceOfRules
	// Model and Version are as the server reports them where it answered, and as they
	// were asked for where it did not. Digest is of the question, the last one asked.
	Model    string `json:"model"`
	Version  string `json:"version,omitempty"`
	Digest   string `json:"digest"`
	Attempts int    `json:"attempts"` // how often the model was asked
	Failure  string `json:"failure,omitempty"`
	Refused  bool   `json:"refused,omitempty"` // Failure is of an answer, not of the lack of one
	// Note says what is withheld and why. Stale are the sources that were not used.
	Note  string   `json:"note,omitempty"`
	Stale []string `json:"stale,omitempty"`
	Facts flow.Row `json:"facts"` // that are known
	// Review is why a person decides before it is written; empty: nobody has to.
	Review string `json:"review,omitempty"`
}

func (s *Spec) begun(in Input, a *asked) Plan {
	return Plan{Key: in.Key, State: flow.AdviceProposed, Source: flow.AdviceOfModel, Model: s.Model, Version: s.Version, Digest: a.digest,
		Stale: slices.Clone(a.evidence.stale), Facts: a.values()}
}

// propose puts an accepted answer into a plan.
func (s *Spec) propose(p *Plan, got answer) {
	i, _ := s.action(got.action)
	p.Action, p.Title, p.Reason, p.Evidence = got.action, s.Actions[i].Title, got.reason, got.evidence
}

// withhold says that there is no plan, because of what is not known.
func (s *Spec) withhold(p *Plan, action, why string) {
	p.State, p.Action, p.Title, p.Reason, p.Evidence = flow.AdviceWithheld, "", "", "", nil
	p.Note = "withheld: " + action + " depends on what is not known now: " + why
}

// decide lets the rules make the plan. One whose condition is not known ends the
// search: each that follows supposes that it did not hold.
func (s *Spec) decide(p *Plan, a *asked) {
	p.Source = flow.AdviceOfRules
	for i, r := range s.rules {
		if why := s.unknown(a, r.when, nil); why != "" {
			s.withhold(p, r.action, why)
			return
		}
		yes, err := r.when.holds(a.values())
		if err != nil {
			s.withhold(p, r.action, fmt.Sprintf("the condition of rule %d does not fit the facts", i+1))
			return
		}
		if !yes {
			continue
		}
		at, _ := s.action(r.action)
		if why := s.unknown(a, r.reason, nil); why != "" {
			s.withhold(p, r.action, why)
			return
		}
		if why, out := a.withheld[r.action]; out {
			s.withhold(p, r.action, why)
			return
		}
		if !slices.Contains(a.offered, r.action) {
			continue // the action's own condition does not hold
		}
		reason, err := r.reason.text(a)
		if err != nil {
			s.withhold(p, r.action, fmt.Sprintf("the reason of rule %d does not fit the facts", i+1))
			return
		}
		p.Action, p.Title, p.Reason = r.action, s.Actions[at].Title, reason
		p.Evidence = a.rowsBehind(append(slices.Clone(r.when.facts), r.reason.facts...), s.Limits.Evidence)
		return
	}
	s.withhold(p, "every action", "no rule applies whose action is possible")
}

func (c condition) text(a *asked) (string, error) {
	if c.program == nil {
		return "", nil
	}
	v, err := c.program.Eval(map[string]any{"facts": a.values()})
	if err != nil {
		return "", fmt.Errorf("writing the reason of a rule: %w", err)
	}
	text, ok := v.(string)
	if !ok {
		return "", fault.New(fault.Rejected, "advise.reason", "the reason of a rule is no text", nil)
	}
	return text, nil
}

// review says whether a person decides, and why.
func (s *Spec) review(p *Plan) {
	i, proposed := s.action(p.Action)
	failed := p.Source == flow.AdviceOfRules && p.Failure != ""
	switch {
	case p.State == flow.AdviceWithheld && s.Review != flow.ReviewAlways:
	case s.Review == flow.ReviewAlways:
		p.Review = "every plan is looked at"
	case proposed && s.Actions[i].Review:
		p.Review = "each " + p.Action + " is looked at"
	case failed && s.Review == flow.ReviewFailed, failed && p.Refused && s.Review == flow.ReviewRejected:
		p.Review = "the model failed: " + p.Failure
	}
}

// Row is a plan as the target has it, and the key of it. A column that uses a fact which
// is not known is left as it is.
func (s *Spec) Row(p Plan) (flow.Row, error) {
	list := func(texts []string) []any {
		out := make([]any, len(texts))
		for i, t := range texts {
			out[i] = t
		}
		return out
	}
	vars := map[string]any{"key": p.Key, "facts": p.Facts, "plan": map[string]any{
		"action": p.Action, "title": p.Title, "state": p.State, "reason": p.Reason, "evidence": list(p.Evidence), "source": p.Source, "model": p.Model,
		"version": p.Version, "digest": p.Digest, "failure": p.Failure, "note": p.Note, "stale": list(p.Stale),
	}}
	row := make(flow.Row, len(s.columns))
	for _, c := range s.columns {
		if slices.ContainsFunc(c.facts, func(f string) bool { _, ok := p.Facts[f]; return !ok }) {
			continue
		}
		v, err := c.program.Eval(vars)
		if err != nil {
			f := fault.Of(err)
			return nil, fault.New(f.Class, f.Code, "mapping "+c.name+" of a plan: "+f.Text, err)
		}
		if v != expr.Absent {
			row[c.name] = v
		}
	}
	for _, k := range s.Write.Key {
		if row[k] == nil {
			return nil, fault.New(fault.Rejected, expr.CodeKeyMissing, "the key column "+k+" of a plan is empty", nil)
		}
	}
	return row, nil
}

// Choose gives the plan with an action that a person chose instead, for the reason that
// the person gives. What is known to be impossible for the customer stays so; of what is
// not known a person may know more.
func (s *Spec) Choose(p Plan, action, reason string) (Plan, error) {
	i, ok := s.action(action)
	if !ok {
		return p, fault.Invalidf("advise.action", "there is no action %q", action).With(fault.Field{Path: "action", Code: "field.enum", Detail: "it is none of the flow's"})
	}
	if !slices.ContainsFunc(s.offers[i].facts, func(f string) bool { _, known := p.Facts[f]; return !known }) {
		if yes, err := s.offers[i].holds(p.Facts); err != nil || !yes {
			return p, fault.Invalidf("advise.action", "%s is not possible for this customer", action).With(fault.Field{Path: "action", Code: "field.enum", Detail: "its condition does not hold"})
		}
	}
	if reason == "" || len([]rune(reason)) > s.Limits.Reason {
		return p, fault.Invalidf("advise.reason", "a reason of 1 to %d characters is due", s.Limits.Reason).With(fault.Field{Path: "reason", Code: "field.range", Detail: "it is empty or too long"})
	}
	p.State, p.Action, p.Title, p.Reason, p.Note = flow.AdviceProposed, action, s.Actions[i].Title, reason, ""
	return p, nil
}
