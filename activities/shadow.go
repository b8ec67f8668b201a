package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"patchbay/calculator"
	"patchbay/internal/contract"
	"patchbay/internal/flow"
)

// Shadows keeps how calculators compare with those in their shadow; see shadow.Shadows.
type Shadows interface {
	Keep(ctx context.Context, one flow.ShadowRun, output json.RawMessage) error
}

// Shadow compares what two calculators gave for the same figures, and keeps that beside the run.
func (a *Tasker) Shadow(ctx context.Context, in contract.ShadowInput) (contract.ShadowResult, error) {
	one := flow.ShadowRun{Run: in.Run, Flow: in.Flow, Step: in.Task, Live: in.Live, Beside: in.Beside}
	switch {
	case in.Fault != nil:
		one.Fault = in.Fault.Code
	default:
		if one.Equal = bytes.Equal(in.Output, in.Other); !one.Equal {
			one.Differ = calculator.Differences(in.Output, in.Other)
		}
	}
	if err := a.Shadows.Keep(ctx, one, in.Other); err != nil {
		return contract.ShadowResult{}, fmt.Errorf("keeping a comparison: %w", err)
	}
	return contract.ShadowResult{Equal: one.Equal}, nil
}
