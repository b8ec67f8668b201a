package activities

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/contract"
	"patchbay/internal/decision"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/paid"
	"patchbay/internal/run"
)

type (
	// Rulings are the rules of hybrid flows. They do no I/O.
	Rulings interface {
		// Require gives why a case cannot be decided about; nil where it can.
		Require(plan *flow.Plan, of flow.Case) (*flow.Ruling, error)
		// Propose gives what the rules say, and how a referral goes, as of a time.
		Propose(plan *flow.Plan, of flow.Case, now time.Time) (decision.Proposal, error)
		// Question is the input of the calculator of a task, in canonical JSON.
		Question(plan *flow.Plan, in flow.Row) (json.RawMessage, error)
	}

	// Collects reads a source for a decision: as Source does, but what costs money is asked and
	// paid once.
	Collects interface {
		Collect(ctx context.Context, plan *flow.Plan, params flow.Row, q Inquiry) (Collection, error)
	}

	// Inquiry is for whom a source is asked, and how old an answer that somebody else paid for may be.
	Inquiry struct {
		Run, Source string
		Reuse       time.Duration
	}

	// Collection is what a source gave. AsOf is of when, of an answer that costs money; zero: now.
	Collection struct {
		Rows   []flow.Row
		AsOf   time.Time
		Price  string // "2.50 EUR"; empty: it costs nothing
		PaidBy string // run_id of another run that paid
	}

	// Computations are what calculators came to before; see paid.Computed.
	Computations interface {
		Find(ctx context.Context, q paid.Calculation) (paid.Output, bool, error)
		Keep(ctx context.Context, q paid.Calculation, body json.RawMessage) error
	}

	// Decisions keeps what was decided; see decision.Decisions.
	Decisions interface {
		Rule(ctx context.Context, p decision.Proposal) (decision.Standing, error)
		Standing(ctx context.Context, runID, workflow string) (decision.Standing, error)
	}
)

// mostFigures is the size of a calculator's input, which travels through Temporal.
const mostFigures = 60 << 10

// facts are what the tasks of the run came to, in the order of the plan.
func (d *doing) facts() (flow.Case, error) {
	c := flow.Case{Params: d.item.Params, Inputs: []flow.Collected{}, Computed: []flow.Computed{}, Gaps: []flow.Gap{}}
	for i := range d.whole.Saga.Tasks {
		t := &d.whole.Saga.Tasks[i]
		known, kind := d.tasks[t.Name], t.Kind()
		if kind != flow.TaskCollect && kind != flow.TaskCalculate {
			continue
		}
		if known.State == flow.TaskFailed {
			c.Gaps = append(c.Gaps, gap(t, known.Problem))
		}
		if known.State != flow.TaskDone {
			continue
		}
		if kind == flow.TaskCollect {
			var one flow.Collected
			if err := json.Unmarshal(known.About, &one); err != nil {
				return c, fault.New(fault.Bug, "hybrid.about", "where an input is from cannot be read", err)
			}
			one.Rows = known.Gave
			c.Inputs = append(c.Inputs, one)
			continue
		}
		var one flow.Computed
		if err := json.Unmarshal(known.About, &one); err != nil || len(known.Gave) != 1 {
			return c, fault.New(fault.Bug, "hybrid.about", "what was computed cannot be read", err)
		}
		var err error
		if one.Output, err = json.Marshal(known.Gave[0]); err != nil {
			return c, fault.New(fault.Bug, "hybrid.about", "what was computed cannot be read", err)
		}
		c.Computed = append(c.Computed, one)
	}
	return c, nil
}

// gap is why a task gave nothing, in words for customers.
func gap(t *flow.Task, p *flow.Problem) flow.Gap {
	g := flow.Gap{Task: t.Name, Kind: t.Kind()}
	if p != nil {
		g.Code, g.Why = p.Code, p.Detail
	}
	if t.Collect != nil {
		g.Why = t.Collect.Refuse
	}
	return g
}

// about is kept with a task.
func about(v any) json.RawMessage {
	body, err := json.Marshal(v)
	if err != nil {
		panic("activities: a record that cannot be encoded: " + err.Error())
	}
	return body
}

// collect reads a source. Where that gives no row, or why says that it did not in time, the
// flow's substitute stands in its place, or the task fails.
func (d *doing) collect(ctx context.Context, why *fault.Fault) (run.TaskNews, error) {
	found := flow.Collected{Name: d.task.Name, Source: d.whole.Bindings[d.task.Read.Connection].Identity, AsOf: time.Now().UTC().Truncate(time.Microsecond)}
	if f := d.stuck(); f != nil && len(d.task.Collect.Substitute) == 0 { // what it is asked by is not there
		return run.TaskNews{State: flow.TaskSkipped, Note: f.Text}, nil
	} else if f != nil {
		return d.instead(found, f)
	}
	if why != nil {
		if why.Code == flow.DeadlineCode {
			why = fault.New(fault.Unavailable, "collect.deadline", fmt.Sprintf("%s gave no answer within %s", d.task.Read.Connection, d.task.Deadline), nil)
		}
		return d.instead(found, why)
	}
	got, err := d.Collects.Collect(ctx, d.plan, d.in, Inquiry{Run: d.item.RunID, Source: d.task.Name, Reuse: d.task.Collect.Reuse})
	if !got.AsOf.IsZero() {
		found.AsOf = got.AsOf.UTC().Truncate(time.Microsecond)
	}
	switch f := hopeless(ctx, err); {
	case f != nil:
		return d.instead(found, f)
	case err != nil:
		return run.TaskNews{}, fmt.Errorf("collecting: %w", err)
	case len(got.Rows) == 0 && d.task.Read.OneRow:
		return d.instead(found, fault.NotFoundf(flow.MissingCode, "%s has no such row", d.task.Read.Connection))
	}
	note := fmt.Sprintf("%s from %s", counted(len(got.Rows)), d.task.Read.Connection)
	switch {
	case got.PaidBy != "":
		note += ", paid by the run " + got.PaidBy
	case got.Price != "":
		note += ", for " + got.Price
	}
	return run.TaskNews{State: flow.TaskDone, Gave: given(got.Rows), About: about(found), Note: note}, nil
}

// stuck is why the task cannot be done: one that it needs gave nothing.
func (d *doing) stuck() *fault.Fault {
	for _, need := range d.task.Needs {
		if d.tasks[need].State != flow.TaskDone {
			return fault.New(fault.Rejected, "hybrid.needs", "it needs "+need+", which gave nothing", nil)
		}
	}
	return nil
}

// instead puts the substitute in the place of what a source did not give.
func (d *doing) instead(found flow.Collected, why *fault.Fault) (run.TaskNews, error) {
	failed := run.TaskNews{State: flow.TaskFailed, Note: why.Text, Problem: &flow.Problem{Code: why.Code, Detail: why.Text}}
	if len(d.task.Collect.Substitute) == 0 {
		return failed, nil
	}
	rows, err := d.rows(d.plan, []flow.Row{{}})
	if err != nil { // the substitute itself is made of what is not there
		f := fault.Of(err)
		failed.Problem = &flow.Problem{Code: f.Code, Detail: f.Text}
		return failed, nil
	}
	found.Substitute, found.Why = true, why.Text
	return run.TaskNews{State: flow.TaskDone, Gave: rows, About: about(found), Note: "a substitute: " + why.Text}, nil
}

// require looks at the figures before anything is computed of them.
func (d *doing) require() (run.TaskNews, error) {
	if f := d.stuck(); f != nil {
		return run.TaskNews{State: flow.TaskSkipped, Note: f.Text}, nil
	}
	c, err := d.facts()
	if err != nil {
		return run.TaskNews{}, err
	}
	refused, err := d.Rulings.Require(d.whole, c)
	if err != nil {
		return run.TaskNews{}, err
	}
	if refused != nil {
		why := strings.Join(refused.Reasons, " ")
		return run.TaskNews{State: flow.TaskFailed, Note: why, Problem: &flow.Problem{Code: "hybrid.require", Detail: why}}, nil
	}
	return run.TaskNews{State: flow.TaskDone, Gave: []flow.Row{}, Note: "the figures are as they have to be"}, nil
}

// calculate asks for a computation, and keeps what came of it.
func (d *doing) calculate(ctx context.Context, in contract.TaskInput) (run.TaskNews, error) {
	if f := d.stuck(); f != nil {
		return run.TaskNews{State: flow.TaskSkipped, Note: f.Text}, nil
	}
	if in.Fault != nil {
		return d.incomputable(in.Fault), nil
	}
	asked, err := d.question()
	if err != nil {
		return d.incomputable(fault.Of(err)), nil
	}
	c := d.task.Calculate
	seed, err := strconv.ParseUint(asked.Seed, 10, 64)
	if err != nil {
		return run.TaskNews{}, fault.New(fault.Bug, "hybrid.seed", "the seed of the plan is no number", err)
	}
	q := paid.Calculation{Function: c.Function, Version: c.Version, Model: c.Contract, Seed: seed, Input: asked.Input, Reuse: c.Reuse, Run: d.item.RunID}
	note, computed := c.Function+" "+c.Version, in.Computed
	switch {
	case computed != nil && c.Reuse > 0:
		if err := d.Computations.Keep(ctx, q, about(computed)); err != nil {
			return d.unkept(ctx, err)
		}
	case computed == nil && c.Reuse > 0:
		known, found, err := d.Computations.Find(ctx, q)
		if err != nil {
			return run.TaskNews{}, fmt.Errorf("looking for what was computed before: %w", err)
		}
		if found && json.Unmarshal(known.Body, &computed) == nil && known.Run != d.item.RunID {
			note += ", as the run " + known.Run + " computed it"
		}
	}
	if computed == nil {
		d.ask = &contract.ComputeInput{Function: c.Function, Version: c.Version, Seed: seed, Input: asked.Input}
		return run.TaskNews{}, nil
	}
	var row flow.Row
	numbers := json.NewDecoder(bytes.NewReader(computed.Output))
	numbers.UseNumber()
	if err := numbers.Decode(&row); err != nil {
		return d.incomputable(fault.New(fault.Rejected, "hybrid.output", c.Function+" "+c.Version+" gave what is no object of JSON", err)), nil
	}
	asked.Model = computed.Model
	return run.TaskNews{State: flow.TaskDone, Gave: []flow.Row{row}, About: about(asked), Note: note}, nil
}

// unkept is what becomes of a computation that cannot be kept: one that gave something else before
// is no function of its figures, and nothing is decided by it.
func (d *doing) unkept(ctx context.Context, err error) (run.TaskNews, error) {
	if f := hopeless(ctx, err); f != nil {
		return d.incomputable(f), nil
	}
	return run.TaskNews{}, fmt.Errorf("keeping what was computed: %w", err)
}

func (d *doing) incomputable(f *fault.Fault) run.TaskNews {
	text := "The figures could not be computed (" + d.task.Name + "): " + f.Text + "."
	return run.TaskNews{State: flow.TaskFailed, Note: f.Text, Problem: &flow.Problem{Code: f.Code, Detail: text}}
}

// question is what the calculator is asked: the same for every attempt. A seed that the flow does
// not give follows from the figures, so that nobody draws again with the same ones.
func (d *doing) question() (flow.Computed, error) {
	c := d.task.Calculate
	asked := flow.Computed{Name: d.task.Name, Function: c.Function, Version: c.Version, Contract: c.Contract, Seed: c.Seed}
	var err error
	if asked.Input, err = d.Rulings.Question(d.plan, d.in); err != nil {
		return asked, err
	}
	if len(asked.Input) > mostFigures {
		return asked, fault.New(fault.Rejected, "hybrid.figures", fmt.Sprintf("there are more figures than %d KiB", mostFigures>>10), nil)
	}
	from := string(asked.Input)
	if c.Seed == flow.SeedOfRun {
		from, asked.Seed = d.item.RunID+"\n"+d.task.Name, ""
	}
	if asked.Seed == "" {
		sum := sha256.Sum256([]byte(c.Function + " " + c.Version + "\n" + from))
		asked.Seed = strconv.FormatUint(binary.BigEndian.Uint64(sum[:8]), 10)
	}
	return asked, nil
}

// decide keeps what the rules say, as a decision or as a referral to a person.
func (d *doing) decide(ctx context.Context) (run.TaskNews, error) {
	c, err := d.facts()
	if err != nil {
		return run.TaskNews{}, err
	}
	p, err := d.Rulings.Propose(d.whole, c, time.Now())
	if err != nil {
		return run.TaskNews{}, err
	}
	if r := d.whole.Review; r != nil && r.Others {
		p.Conflicts = append(p.Conflicts, d.item.Principal)
	}
	p.RunID, p.Flow, p.Plan, p.Workflow = d.item.RunID, d.item.Flow, d.item.Digest, activity.GetInfo(ctx).WorkflowExecution.ID
	s, err := d.Decisions.Rule(ctx, p)
	if err != nil {
		return run.TaskNews{}, fmt.Errorf("keeping the decision: %w", err)
	}
	if s.Decision == nil {
		return run.TaskNews{State: flow.TaskDone, Gave: []flow.Row{}, Note: "referred to a person: " + p.Ruling.Rule}, nil
	}
	return decided(s.Decision), nil
}

// review waits until a person has decided what the rules referred.
func (d *doing) review(ctx context.Context) (run.TaskNews, error) {
	if len(d.tasks[flow.DecideStep].Gave) > 0 {
		return run.TaskNews{State: flow.TaskSkipped, Note: "not needed: the rules decided"}, nil
	}
	s, err := d.Decisions.Standing(ctx, d.item.RunID, activity.GetInfo(ctx).WorkflowExecution.ID)
	switch {
	case err != nil:
		return run.TaskNews{}, fmt.Errorf("asking how the referral stands: %w", err)
	case s.Decision != nil:
		return decided(s.Decision), nil
	}
	if err := d.Runs.Wait(ctx, d.item, flow.Running, "a person to decide, until "+s.Due.Format(time.DateTime)+" UTC"); err != nil {
		return run.TaskNews{}, fmt.Errorf("saying what the run waits for: %w", err)
	}
	d.left = max(s.Left, leastLeft)
	return run.TaskNews{State: flow.TaskRunning}, nil
}

func decided(one *flow.Decision) run.TaskNews {
	list := func(texts []string) []any {
		out := make([]any, len(texts))
		for i, text := range texts {
			out[i] = text
		}
		return out
	}
	row := flow.Row{
		"outcome": string(one.Outcome), "rule": one.Rule, "by": one.By, "at": one.At.Format(time.RFC3339Nano),
		"reasons": list(one.Reasons), "partial": list(one.Partial),
	}
	return run.TaskNews{State: flow.TaskDone, Gave: []flow.Row{row}, Note: string(one.Outcome) + ", by " + cmp.Or(one.By, "rules")}
}
