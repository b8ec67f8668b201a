package activities

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sync/errgroup"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
	"patchbay/internal/review"
	"patchbay/internal/run"
	"patchbay/internal/stage"
	"patchbay/internal/strictjson"
)

// AdviseStep is the step's name in the ledger.
const AdviseStep = "advise"

// Customers that are looked up, asked about and written at a time. A look passes over
// whole sources, a model is asked about one, and what was decided is kept soon.
const (
	lookedUp   = 200
	askedAbout = 20
)

type (
	// Customers gives what there is of the keys that a run has joined.
	Customers interface {
		Chunks(ctx context.Context, runID string) (chunks, next int, err error)
		Chunk(ctx context.Context, plan *flow.Plan, runID string, n int) (stage.Chunk, error)
		Customers(ctx context.Context, plan *flow.Plan, runID string, keys []string) ([]stage.Customer, error)
		Completeness(ctx context.Context, runID string) (flow.Completeness, bool, error)
	}

	// Adviser has a plan proposed for one customer. A model that fails, in whatever way,
	// is no error of it.
	Adviser interface {
		Advise(ctx context.Context, plan *flow.Plan, c stage.Customer) (review.Proposal, error)
		// Delivery is a plan that writes what was proposed, and nothing else; the same each
		// time.
		Delivery(plan *flow.Plan) (*flow.Plan, error)
	}

	// Proposals keeps what was proposed.
	Proposals interface {
		Known(ctx context.Context, runID string, keys []string) (map[string]bool, error)
		Keep(ctx context.Context, flow, runID string, list []review.Proposal) error
		Due(ctx context.Context, flow, runID string, limit int) ([]flow.ActionPlan, error)
		Heard(ctx context.Context, refused map[int64]string) error
		Wrote(ctx context.Context, ids []int64) error
		Outdated(ctx context.Context, flow, runID string, sources []string, limit int) ([]string, error)
		Tally(ctx context.Context, runID string) (flow.AdviceTally, error)
	}

	// Advisor is the activity consolidation.advise.v1: an action plan for each customer
	// whose row differs from before, or whose last plan lacked what is there by now.
	Advisor struct {
		Plans     Plans
		Runs      Writes
		Customers Customers
		Adviser   Adviser
		Proposals Proposals
		Writer    *Writer // with Step AdviseStep
		Parallel  int     // questions under way
	}

	// advising is one attempt of the activity.
	advising struct {
		*Advisor
		plan, delivery *flow.Plan
		item           run.Item
		held           func() error
	}
)

// Advise has plans proposed, keeps each before anything of it is written (a second
// attempt finds the first answer) and writes those that no person has to see.
func (a *Advisor) Advise(ctx context.Context, in contract.Batch) (contract.AdviseResult, error) {
	ctx, held, stop := alive(ctx)
	defer stop()
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.AdviseResult{}, fmt.Errorf("loading the plan: %w", err)
	}
	delivery, err := a.Adviser.Delivery(plan)
	if err != nil {
		return contract.AdviseResult{}, err
	}
	item, err := alone(ctx, a.Runs, in.BatchID, "advising")
	if err != nil {
		return contract.AdviseResult{}, fmt.Errorf("beginning to advise: %w", err)
	}
	d := &advising{a, plan, delivery, item, held}
	if err := d.all(ctx); err != nil {
		tell(ctx, a.Runs, item, flow.Running, delivery.Write.Connection, err)
		return contract.AdviseResult{}, fmt.Errorf("advising: %w", err)
	}
	t, err := a.Proposals.Tally(ctx, item.RunID)
	if err != nil {
		return contract.AdviseResult{}, fmt.Errorf("counting the plans: %w", err)
	}
	return contract.AdviseResult{Written: t.Written, Fallback: t.Rules, Review: t.Review, Withheld: t.Withheld}, nil
}

func (d *advising) all(ctx context.Context) error {
	chunks, _, err := d.Customers.Chunks(ctx, d.item.RunID)
	if err != nil {
		return err
	}
	for n := range chunks {
		chunk, err := d.Customers.Chunk(ctx, d.plan, d.item.RunID, n)
		if err != nil {
			return err
		}
		for begin := 0; begin < len(chunk.Keys); begin += lookedUp {
			if err := d.about(ctx, chunk.Keys[begin:min(begin+lookedUp, len(chunk.Keys))]); err != nil {
				return err
			}
		}
	}
	if err := d.again(ctx); err != nil {
		return err
	}
	return d.write(ctx, "") // what people have approved of since the last run
}

// again asks about those whose plan lacked a source that is there by now.
func (d *advising) again(ctx context.Context) error {
	counts, _, err := d.Customers.Completeness(ctx, d.item.RunID)
	if err != nil {
		return err
	}
	var fresh []string
	for name, s := range counts.Sources {
		if s.State == flow.Fresh {
			fresh = append(fresh, name)
		}
	}
	for {
		keys, err := d.Proposals.Outdated(ctx, d.plan.Flow, d.item.RunID, fresh, lookedUp)
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := d.about(ctx, keys); err != nil {
			return err
		}
	}
}

// about has plans proposed for customers that have none of this run.
func (d *advising) about(ctx context.Context, keys []string) error {
	known, err := d.Proposals.Known(ctx, d.item.RunID, keys)
	if err != nil {
		return err
	}
	var todo []string
	for _, key := range keys {
		if !known[key] {
			todo = append(todo, key)
		}
	}
	if len(todo) == 0 {
		return d.write(ctx, d.item.RunID)
	}
	customers, err := d.Customers.Customers(ctx, d.plan, d.item.RunID, todo)
	if err != nil {
		return err
	}
	for begin := 0; begin < len(customers); begin += askedAbout {
		some := customers[begin:min(begin+askedAbout, len(customers))]
		proposals := make([]review.Proposal, len(some))
		side, within := errgroup.WithContext(ctx)
		side.SetLimit(max(d.Parallel, 1))
		for i, c := range some {
			side.Go(func() error {
				var err error
				proposals[i], err = d.Adviser.Advise(within, d.plan, c)
				return err
			})
		}
		if err := side.Wait(); err != nil {
			return err
		}
		if err := d.Proposals.Keep(ctx, d.plan.Flow, d.item.RunID, proposals); err != nil {
			return fmt.Errorf("keeping plans: %w", err)
		}
		if err := d.write(ctx, d.item.RunID); err != nil {
			return err
		}
	}
	return nil
}

// write writes plans that are due, each once: the ledger knows them by their key in
// the target, of which a run writes one. Those of earlier runs therefore come last, when
// no new one can take their place any more.
func (d *advising) write(ctx context.Context, runID string) error {
	for {
		due, err := d.Proposals.Due(ctx, d.plan.Flow, runID, askedAbout)
		if err != nil || len(due) == 0 {
			return err
		}
		if err := d.some(ctx, due); err != nil {
			return err
		}
	}
}

func (d *advising) some(ctx context.Context, due []flow.ActionPlan) error {
	rows := make([]flow.Row, len(due))
	ids := make([]int64, len(due))
	for i, p := range due {
		ids[i] = p.ID
		row, err := strictjson.Decode(p.Row, "row")
		if err != nil {
			return fmt.Errorf("reading a plan: %w", err)
		}
		rows[i], _ = row.(flow.Row)
	}
	members, err := d.Writer.freeze(ctx, d.delivery, rows)
	if err != nil {
		return err
	}
	outcomes, err := d.Writer.send(ctx, d.delivery, d.item, members, patience{held: d.held})
	if err != nil {
		return err
	}
	ctx, done := committed(ctx)
	defer done()
	refused, why := map[int64]string{}, map[string]string{}
	for _, o := range outcomes {
		if o.State != flow.Confirmed {
			why[o.Key] = o.Reason
		}
	}
	if len(why) > 0 {
		at := keysOf(d.delivery.Write.Key, rows)
		for i, id := range ids {
			if reason, no := why[at[i]]; no {
				refused[id] = reason
			}
		}
	}
	// Why plans were not taken is kept before the ledger has it, and that they are done
	// after: what the ledger knows is not sent again, and nobody is told of it a second time.
	if err := d.Proposals.Heard(ctx, refused); err != nil {
		return fmt.Errorf("keeping what was refused: %w", err)
	}
	if err := d.Writer.Effects.Record(ctx, d.item, AdviseStep, outcomes); err != nil {
		return fmt.Errorf("recording outcomes: %w", err)
	}
	return d.Proposals.Wrote(ctx, ids)
}

// keysOf gives the keys of rows as the ledger has them.
func keysOf(key []string, rows []flow.Row) []string {
	out := make([]string, len(rows))
	for i, row := range rows {
		values := make([]any, len(key))
		for n, k := range key {
			values[n] = row[k]
		}
		id, _ := json.Marshal(values) // freeze has encoded it
		out[i] = string(id)
	}
	return out
}
