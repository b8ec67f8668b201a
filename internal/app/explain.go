package app

import (
	"context"
	"slices"
	"strings"

	"patchbay/internal/advice"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
	"patchbay/internal/journal"
	"patchbay/internal/review"
	"patchbay/internal/stage"
	"patchbay/internal/topic"
)

// explainer tells of a business key what happened to its runs and to its events, and
// what consolidations made of it.
type explainer struct {
	journal *journal.Journal
	inbox   *inbox.Inbox
	topics  *topic.Topics
	stage   *stage.Stage
	reviews *review.Reviews
	borders borders
}

// plansTold bounds the action plans of a key that are told, the newest of them.
const plansTold = 20

// Explain gives all of it in the order of time.
func (e explainer) Explain(ctx context.Context, about string) ([]flow.Entry, error) {
	runs, err := e.journal.Explain(ctx, about)
	if err != nil {
		return nil, err
	}
	for i := range runs {
		narrow(&runs[i], about)
	}
	events, err := e.inbox.Explain(ctx, about)
	if err != nil {
		return nil, err
	}
	told, err := e.topics.Explain(ctx, about)
	if err != nil {
		return nil, err
	}
	rejects, err := e.rejects(ctx, about)
	if err != nil {
		return nil, err
	}
	plans, err := e.plans(ctx, about)
	if err != nil {
		return nil, err
	}
	shared, err := e.borders.explain(ctx, about)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(runs, events, told, rejects, plans, shared)
	slices.SortStableFunc(all, func(a, b flow.Entry) int { return a.At.Compare(b.At) })
	return all, nil
}

// rejects are the rows of a key that were not used, also those that are over.
func (e explainer) rejects(ctx context.Context, about string) ([]flow.Entry, error) {
	list, err := e.stage.Rejects(ctx, flow.RejectFilter{Key: about, Resolved: true})
	var all []flow.Entry
	for _, r := range list {
		detail := map[string]any{"code": r.Code, "why": r.Reason}
		if r.Source != "" {
			detail["source"], detail["row"] = r.Source, r.Identity
		}
		if r.ResolvedAt != nil {
			detail["over"] = r.ResolvedAt.UTC()
		}
		all = append(all, flow.Entry{At: r.At.UTC(), Flow: r.Flow, Run: r.RunID, What: "row", Reason: "rejected", Detail: detail})
	}
	return all, err
}

// plans are the action plans of a key.
func (e explainer) plans(ctx context.Context, about string) ([]flow.Entry, error) {
	list, err := e.reviews.List(ctx, flow.PlanFilter{Key: about, Limit: plansTold})
	var all []flow.Entry
	for _, p := range list {
		var plan advice.Plan
		if err := exact(p.Plan, &plan); err != nil {
			return nil, err
		}
		detail := map[string]any{"by": plan.Source, "evidence": strings.Join(plan.Evidence, ", ")}
		for name, text := range map[string]string{"action": plan.Action, "because": plan.Reason, "withheld": plan.Note, "why": p.Why, "decided_by": p.DecidedBy} {
			if text != "" {
				detail[name] = text
			}
		}
		all = append(all, flow.Entry{At: p.MadeAt, Flow: p.Flow, Run: p.RunID, What: "plan", Reason: p.State, Detail: detail})
	}
	return all, err
}

// narrow leaves of the effects that share their fate those of the key: a run of a
// consolidation has them of many.
func narrow(e *flow.Entry, about string) {
	labels, several := e.Detail["labels"].([]any)
	if e.What != "effect" || about == e.Run || !several || len(labels) < 2 {
		return
	}
	of := slices.DeleteFunc(slices.Clone(labels), func(label any) bool {
		text, _ := label.(string)
		return !slices.Contains(strings.Split(text, ", "), about)
	})
	switch {
	case len(of) == len(labels):
		return
	case len(of) == 0: // one of those that an entry does not name
		of = []any{about}
	}
	e.Detail["labels"], e.Detail["count"] = of, len(of)
}
