package durable

import (
	"errors"
	"fmt"
	"strings"

	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
)

// NewFailureConverter is the choke point for errors on their way into a history
// (promises 5 and 9). It passes faults, application errors and what Temporal
// itself says; of any other error it tells the Go type alone. Wrappers around
// those are dropped, and with them their text: the SDK would take a wrapped
// refusal for something to retry. There are no stack traces.
func NewFailureConverter() converter.FailureConverter {
	data := plainConverter() // a detail that is too large is cut here, not refused
	return choke{temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{DataConverter: data}), data}
}

type choke struct {
	sdk  converter.FailureConverter
	data converter.DataConverter
}

// maxFailure leaves room below MaxPayload for what surrounds a failure.
const maxFailure = MaxPayload - 4<<10

func (c choke) ErrorToFailure(err error) *failurepb.Failure {
	if err == nil {
		return nil
	}
	node := speakable(err)
	f := proto.Clone(c.sdk.ErrorToFailure(node)).(*failurepb.Failure) // the SDK keeps its own and may share it
	f.StackTrace = ""
	f.Cause = c.ErrorToFailure(errors.Unwrap(node))
	if proto.Size(f) > maxFailure {
		return c.cut(f)
	}
	return f
}

func (c choke) FailureToError(f *failurepb.Failure) error { return c.sdk.FailureToError(f) }

// cut is a failure that would not fit, reduced to type and text.
func (c choke) cut(f *failurepb.Failure) *failurepb.Failure {
	known := fault.New(fault.Bug, "durable.failure_too_large", "the failure was too large to keep", nil)
	info := f.GetApplicationFailureInfo()
	if info == nil {
		return c.sdk.ErrorToFailure(contract.ToTemporal(known))
	}
	if p := info.GetDetails().GetPayloads(); len(p) == 0 || c.data.FromPayload(p[0], known) != nil || known.Code == "" {
		known.Code, known.Text = info.GetType(), f.GetMessage()
	}
	known.Code, known.Text, known.Fields = shorten(known.Code), shorten(known.Text), nil
	return c.sdk.ErrorToFailure(temporal.NewApplicationErrorWithOptions(known.Text, known.Code, temporal.ApplicationErrorOptions{
		NonRetryable:   info.GetNonRetryable(),
		NextRetryDelay: info.GetNextRetryDelay().AsDuration(),
		Details:        []any{*known},
	}))
}

func shorten(s string) string {
	if len(s) > 1024 {
		return strings.ToValidUTF8(s[:1024], "")
	}
	return s
}

// speakable finds the first error in the chain that may be told, and makes one
// when there is none.
func speakable(err error) error {
	if found := firstSpeakable(err); found != nil {
		return found
	}
	// Whoever raises faults has been through contract.ToTemporal. What comes here
	// bare is the SDK's own (an activity that is not registered yet, say) or a
	// panic, and the SDK means both to be tried again.
	f := fault.New(fault.Bug, "bug", fmt.Sprintf("unexpected %T; the log of the process has more", err), nil)
	return temporal.NewApplicationErrorWithOptions(f.Text, f.Code, temporal.ApplicationErrorOptions{Details: []any{*f}})
}

func firstSpeakable(err error) error {
	switch e := err.(type) { //nolint:errorlint // each link of the chain is looked at by itself
	case nil:
		return nil
	case *fault.Fault:
		return contract.ToTemporal(e)
	case *temporal.ApplicationError, *temporal.CanceledError, *temporal.TimeoutError, *temporal.TerminatedError,
		*temporal.ServerError, *temporal.ActivityError, *temporal.ChildWorkflowExecutionError:
		return err
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if found := firstSpeakable(inner); found != nil {
				return found
			}
		}
		return nil
	}
	return firstSpeakable(errors.Unwrap(err))
}
