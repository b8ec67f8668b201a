package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"patchbay/internal/check"
	"patchbay/internal/config"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
	"patchbay/internal/run"
)

// apply compiles every flow file and puts the flows in force. A directory with
// an error changes nothing. name stands before file names in messages. It gives
// the connections.
func apply(ctx context.Context, plans *run.Plans, files fs.FS, name string, speed float64, by string) ([]flow.Connection, error) {
	report, err := check.Dir(files, check.Options{Name: name, Compile: flowfile.Options{Speed: speed, Identity: Identity(config.Resolve)}})
	if err != nil {
		return nil, err
	}
	if report.Failed() {
		var wrong []error
		for _, p := range report.Problems {
			if p.Severity == flowfile.Error {
				wrong = append(wrong, errors.New(Line(p)))
			}
		}
		return nil, fault.Invalidf("flows.invalid", "the flows cannot be applied:\n%s", errors.Join(wrong...))
	}
	compiled := make([]*flow.Plan, len(report.Flows))
	for i, f := range report.Flows {
		compiled[i] = f.Plan
	}
	if _, err := plans.Apply(ctx, compiled, report.Connections, by); err != nil {
		return nil, fmt.Errorf("applying the flows: %w", err)
	}
	return report.Connections, nil
}

// Line is a diagnostic in the form that editors understand.
func Line(d flowfile.Diagnostic) string {
	line := fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Col, d.Message)
	if d.Fix != "" {
		line += "; " + d.Fix
	}
	return line + " (" + d.Code + ")"
}
