package durable

import (
	"context"
	"errors"

	"go.temporal.io/api/serviceerror"

	"patchbay/internal/fault"
)

const noNamespace = "temporal.no_namespace"

// Classify turns what the Temporal service answers into a fault. The service's
// own messages name IDs and hosts and stay in the cause.
func Classify(err error) error {
	var (
		notFound  *serviceerror.NotFound
		namespace *serviceerror.NamespaceNotFound
		denied    *serviceerror.PermissionDenied
		invalid   *serviceerror.InvalidArgument
		busy      *serviceerror.ResourceExhausted
		failed    *serviceerror.FailedPrecondition
	)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &namespace):
		return fault.New(fault.NotFound, noNamespace, "Temporal has no such namespace", err)
	case errors.As(err, &notFound):
		return fault.New(fault.NotFound, "temporal.not_found", "Temporal does not know it", err)
	case errors.As(err, &denied):
		return fault.New(fault.Unauthorized, "temporal.denied", "Temporal refuses these credentials", err)
	case errors.As(err, &invalid):
		return fault.New(fault.Bug, "temporal.invalid", "Temporal refuses the request as malformed", err)
	case errors.As(err, &busy):
		return fault.New(fault.Throttled, "temporal.busy", "Temporal is at a limit", err)
	case errors.As(err, &failed):
		return fault.New(fault.Conflict, "temporal.precondition", "Temporal is not in the state that this needs", err)
	}
	return fault.New(fault.Unavailable, "temporal.unavailable", "Temporal does not answer", err)
}
