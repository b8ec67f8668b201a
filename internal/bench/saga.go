package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/workflow"
)

const (
	sagaSteps   = 5
	sagaRuns    = 40 // of one contender in a round, one after the other
	sagaBeside  = 16 // clients of the part under load
	sagaFlow    = "bench-saga"
	sagaGoal    = 1.3
	sagaActions = 2*sagaSteps + 3
)

// sagaAttributes are what the steps write, a row each.
var sagaAttributes = [sagaSteps]string{"One", "Two", "Three", "Four", "Five"}

// writeSaga puts a service of five steps into a directory of flows; each writes one row, and
// can be taken back.
func writeSaga(dir string) error {
	var steps strings.Builder
	for i, name := range sagaAttributes {
		fmt.Fprintf(&steps, "  - step: step%d\n    call: dataverse.msx_specification\n    key: [msx_productnumber, msx_attribute]\n"+
			"    with: { msx_productnumber: params.product_id, msx_attribute: '\"Saga %s\"', msx_value: '\"1\"' }\n    undo: { msx_value: '\"0\"' }\n", i+1, name)
	}
	text := "flow: " + sagaFlow + "\npattern: service\nsummary: Five rows, or none\nparams: { product_id: { type: string } }\nsteps:\n" + steps.String() + "limits: { queue: 6000 }\n"
	return os.WriteFile(filepath.Join(dir, sagaFlow+".yaml"), []byte(text), 0o644)
}

// bareSaga does the same writes in as many activities, and nothing else: it takes nothing
// back, and records nothing.
func bareSaga(ctx workflow.Context, product string) ([]specification, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
	var rows []specification
	for _, name := range sagaAttributes {
		rows = []specification{{Product: product, Attribute: "Saga " + name, Value: "1"}}
		if err := workflow.ExecuteActivity(ctx, "write", rows).Get(ctx, nil); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// saga measures a service of five steps beside a bare workflow of five activities.
func saga(ctx context.Context, env *environment, p *peer, o options) error {
	ours, bare := of(env.api, sagaFlow, ""), newButton(p.url+"/saga")
	ours.prefer = "wait=60"
	fmt.Printf("\nA service of %d steps beside a bare workflow of %[1]d activities, the same writes\n", sagaSteps)
	for _, warm := range []*button{ours, bare} {
		if err := warm.press(ctx, env.products[0]); err != nil {
			return err
		}
	}
	var steps, bares, ratio, actions, bareActions, loaded []float64
	for range o.rounds {
		one, n, err := env.sagas(ctx, ours, 1, sagaRuns)
		if err != nil {
			return err
		}
		other, m, err := env.sagas(ctx, bare, 1, sagaRuns)
		if err != nil {
			return err
		}
		many, _, err := env.sagas(ctx, ours, sagaBeside, 4*sagaRuns)
		if err != nil {
			return err
		}
		manyBare, _, err := env.sagas(ctx, bare, sagaBeside, 4*sagaRuns)
		if err != nil {
			return err
		}
		steps, bares = append(steps, milliseconds(one)/sagaSteps), append(bares, milliseconds(other)/sagaSteps)
		ratio, loaded = append(ratio, float64(one)/float64(other)), append(loaded, float64(many)/float64(manyBare))
		actions, bareActions = append(actions, n), append(bareActions, m)
	}
	fmt.Printf("  %-34s %24s ms a step, median of %d runs of one client\n", "patchbay", spread(steps, 2), sagaRuns)
	fmt.Printf("  %-34s %24s ms an activity\n", "bare workflow", spread(bares, 2))
	fmt.Printf("  %-34s %24s; goal at most %.1f\n", "a step / an activity", spread(ratio, 2), sagaGoal)
	fmt.Printf("  %-34s %24s, %d clients\n", "the same under load", spread(loaded, 2), sagaBeside)
	fmt.Printf("  %-34s %24s Temporal actions a run; goal at most %d\n", "patchbay", spread(actions, 1), sagaActions)
	fmt.Printf("  %-34s %24s\n", "bare workflow", spread(bareActions, 1))
	return nil
}

// sagas presses so often, by so many clients, and gives the median of how long a run took, and
// Temporal's actions for each, those of what always runs among them.
func (e *environment) sagas(ctx context.Context, b *button, clients, runs int) (took time.Duration, actions float64, err error) {
	before, err := e.actions(ctx)
	if err != nil {
		return 0, 0, err
	}
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var pressing sync.WaitGroup
	for c := range clients {
		pressing.Go(func() {
			for i := c; i < runs; i += clients {
				began := time.Now()
				err := b.press(ctx, e.products[i%len(e.products)])
				mu.Lock()
				all = append(all, time.Since(began))
				if err != nil && failed == nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	pressing.Wait()
	if failed != nil {
		return 0, 0, failed
	}
	if err := e.quiet(ctx, time.Minute); err != nil {
		return 0, 0, err
	}
	after, err := e.actions(ctx)
	return quantile(all, 0.5), (after - before) / float64(runs), err
}
