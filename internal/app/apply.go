package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"patchbay/internal/alert"
	"patchbay/internal/check"
	"patchbay/internal/config"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
	"patchbay/internal/run"
	"patchbay/internal/slot"
)

// compileAll compiles every flow file for a process of a region; "" is one of none. One
// with an error compiles none. name stands before file names in messages.
func compileAll(files fs.FS, name string, speed float64, region string) ([]*flow.Plan, check.Report, error) {
	regions, err := regional(files)
	if err != nil {
		return nil, check.Report{}, err
	}
	report, err := check.Dir(files, check.Options{Name: name, Compile: flowfile.Options{Speed: speed, Identity: regions.identity(region, config.Resolve)}})
	if err != nil {
		return nil, report, err
	}
	regions.label(report.Connections, region)
	if report.Failed() {
		var wrong []error
		for _, p := range report.Problems {
			if p.Severity == flowfile.Error {
				wrong = append(wrong, errors.New(Line(p)))
			}
		}
		return nil, report, fault.Invalidf("flows.invalid", "the flows cannot be applied:\n%s", errors.Join(wrong...))
	}
	compiled := make([]*flow.Plan, len(report.Flows))
	for i, f := range report.Flows {
		compiled[i] = f.Plan
	}
	return compiled, report, nil
}

// applying says what is put in force, where and by whom.
type applying struct {
	files  fs.FS
	name   string // stands before file names in messages
	speed  float64
	by     string
	held   string // why new schedules are held; empty: they are not
	region string // of the processes that will run the flows; empty: of none
	// shared leaves out what is no region's: the flows that are no synchronization, and
	// the connections that they alone need.
	shared bool
}

// apply compiles every flow file and puts the flows in force, with their schedules. A
// directory with an error changes nothing. It gives what is in force. Temporal's
// schedules are made by whoever keeps them.
func apply(ctx context.Context, plans *run.Plans, board *alert.Board, slots *slot.Ledger, a applying) (inForce, error) {
	compiled, report, err := compileAll(a.files, a.name, a.speed, a.region)
	if err != nil {
		return inForce{}, err
	}
	f := a.choose(compiled, report)
	left, err := leaving(ctx, plans, f.without)
	if err != nil {
		return inForce{}, err
	}
	if _, err := plans.Apply(ctx, slices.Concat(f.plans, left), f.connections, a.by); err != nil {
		return inForce{}, fmt.Errorf("applying the flows: %w", err)
	}
	if err := plans.Report(ctx, reports(f.plans, report, a.by)); err != nil {
		return inForce{}, fmt.Errorf("keeping what crosses borders: %w", err)
	}
	if err := board.Apply(ctx, report.Alerts); err != nil {
		return inForce{}, fmt.Errorf("applying who is told of alerts: %w", err)
	}
	if err := slots.Apply(ctx, entries(f.plans), a.by, a.held); err != nil {
		return inForce{}, fmt.Errorf("applying the schedules: %w", err)
	}
	return f, nil
}

// leaving gives those of some plans whose flow is in force: of a region that has no part in
// them any more, all that follows from the plan before ends by that.
func leaving(ctx context.Context, plans *run.Plans, without []*flow.Plan) (left []*flow.Plan, err error) {
	if len(without) == 0 {
		return nil, nil
	}
	before, err := plans.List(ctx)
	for _, p := range without {
		if slices.ContainsFunc(before, func(a flow.Applied) bool { return a.Plan.Flow == p.Flow }) {
			left = append(left, p)
		}
	}
	return left, err
}

// Line is a diagnostic in the form that editors understand.
func Line(d flowfile.Diagnostic) string {
	line := fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Col, d.Message)
	if d.Fix != "" {
		line += "; " + d.Fix
	}
	return line + " (" + d.Code + ")"
}
