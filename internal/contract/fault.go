package contract

import (
	"context"
	"errors"

	"go.temporal.io/sdk/temporal"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// ToTemporal turns what an activity or a workflow returns into what a history
// may hold: a fault as an application error of type Code with the fault as its
// detail, non-retryable unless the fault is and there is time, delayed as the
// fault asks. Temporal's
// own errors and cancellations pass. Anything else is a bug and shows its type
// only (promises 5 and 9).
func ToTemporal(err error) error {
	var f *fault.Fault
	var app *temporal.ApplicationError
	var cancelled *temporal.CanceledError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f): // a fault speaks for what caused it, a cancellation included
	case errors.As(err, &app), errors.As(err, &cancelled):
		return err
	case errors.Is(err, context.Canceled):
		return temporal.NewCanceledError()
	default:
		f = fault.Of(err)
	}
	return temporal.NewApplicationErrorWithOptions(f.Text, f.Code, temporal.ApplicationErrorOptions{
		NonRetryable:   f.Code == flow.DeadlineCode || !f.Retryable() && f.Class != fault.InDoubt,
		NextRetryDelay: f.After,
		Details:        []any{*f}, // by value: FromTemporal reads it before and after the wire
	})
}

// FromTemporal gives the fault behind an error of an activity or a child; nil
// for nil and for a cancellation. A timeout is the failure that came before it, else Unavailable with
// code flow.DeadlineCode.
func FromTemporal(err error) *fault.Fault {
	var app *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	switch {
	case err == nil, temporal.IsCanceledError(err):
		return nil
	case errors.As(err, &app):
		var f fault.Fault
		if app.Details(&f) == nil && f.Code != "" {
			return &f
		}
		return fault.New(fault.Bug, "bug", "unexpected failure of type "+app.Type(), err)
	case errors.As(err, &timeout):
		if last := FromTemporal(timeout.Unwrap()); last != nil {
			return last
		}
		return fault.New(fault.Unavailable, flow.DeadlineCode, "no answer within the time the flow allows", err)
	}
	return fault.Of(err)
}
