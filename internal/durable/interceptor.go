package durable

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.uber.org/zap"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
)

// NewInterceptor turns what activities return, and the panics they die of, into
// what a history may hold. It is the one place that logs a bug with its chain of
// error types; messages of foreign errors are not logged either.
func NewInterceptor(l *zap.Logger) interceptor.WorkerInterceptor {
	return &activities{log: l, choke: NewFailureConverter()}
}

type (
	activities struct {
		interceptor.WorkerInterceptorBase
		log   *zap.Logger
		choke converter.FailureConverter
	}

	activityCall struct {
		interceptor.ActivityInboundInterceptorBase
		log   *zap.Logger
		choke converter.FailureConverter
	}
)

func (a *activities) InterceptActivity(ctx context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	call := &activityCall{log: a.log, choke: a.choke}
	call.Next = next
	return call
}

func (a *activityCall) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, contract.ToTemporal(a.panicked(ctx, p))
		}
	}()
	out, err = a.Next.ExecuteActivity(ctx, in)
	return out, a.convert(ctx, err)
}

func (a *activityCall) convert(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, activity.ErrResultPending) {
		return err
	}
	if f := new(fault.Fault); errors.As(err, &f) {
		return contract.ToTemporal(f)
	}
	if errors.Is(err, context.Canceled) || temporal.IsCanceledError(err) {
		if temporal.IsCanceledError(context.Cause(ctx)) {
			return temporal.NewCanceledError()
		}
		// The worker stops, or the activity is paused. The server would not try a
		// cancelled activity again, and the workflow would take itself for cancelled.
		return contract.ToTemporal(fault.New(fault.Unavailable, "activity.interrupted", "the worker stopped before the activity was done", err))
	}
	if app := new(temporal.ApplicationError); errors.As(err, &app) {
		return a.choke.FailureToError(a.choke.ErrorToFailure(err)) // without the text of its cause
	}
	f := fault.Of(err)
	if f.Class == fault.Bug {
		a.log.Error("activity failed unexpectedly", append(where(ctx), zap.String("cause", fault.Describe(err)))...)
	}
	return contract.ToTemporal(f)
}

// panicked logs where, and gives a fault that does not say with what: the value
// of a panic may hold a row. Texts of the Go runtime hold no data.
func (a *activityCall) panicked(ctx context.Context, p any) *fault.Fault {
	what := fmt.Sprintf("%T", p)
	if e, ok := p.(runtime.Error); ok {
		what = e.Error()
	}
	a.log.Error("activity panicked", append(where(ctx), zap.String("value", what), zap.ByteString("stack", debug.Stack()))...)
	return fault.New(fault.Bug, "bug.panic", "an activity stopped in a panic; the log of the process has more", nil)
}

func where(ctx context.Context) []zap.Field {
	info := activity.GetInfo(ctx)
	return []zap.Field{
		zap.String("activity", info.ActivityType.Name),
		zap.String("workflow_id", info.WorkflowExecution.ID),
		zap.Int32("attempt", info.Attempt),
	}
}
