package activities

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// Moved is the code of the fault of a connection that by now names another system
// than the run was accepted for (promise 6).
const Moved = "connection.moved"

// configured reports whether a failure is about how the connection is set up and
// not about what was asked of the system: a person has to put something right,
// and then the same request may succeed.
func configured(f *fault.Fault) bool {
	return f.Class == fault.Unauthorized || strings.HasPrefix(f.Code, "secret.") || slices.Contains([]string{
		Moved, "egress.blocked", "connector.url", "connector.auth", "connector.option", "connector.reference", "connector.unknown_system",
		"connector.markers",
	}, f.Code)
}

// refused reports whether a failure is the target's answer about a row, which
// asking again does not change.
func refused(f *fault.Fault) bool {
	return f != nil && !f.Retryable() && f.Class != fault.InDoubt && !configured(f)
}

// asleep gives the fault of a call on a connection that rests or is held such a pause
// that Temporal does not try in vain: whoever knows that the connection is in use again,
// or that this run may try, wakes the activity. One that has to end before keeps the
// pause that the connection named. Any other error is left as it is.
func asleep(ctx context.Context, err error) error {
	f := fault.Of(err)
	if err == nil || f.Code != "connector.resting" && f.Code != "connector.held" || !activity.IsActivity(ctx) {
		return err
	}
	info := activity.GetInfo(ctx)
	if info.ScheduleToCloseTimeout-time.Since(info.ScheduledTime) < 2*flow.Asleep {
		return err
	}
	sleeps := fault.New(f.Class, f.Code, f.Text, err)
	sleeps.After = flow.Asleep
	return sleeps
}

// waiter is where a run keeps what it waits for.
type waiter interface {
	Wait(ctx context.Context, item run.Item, status flow.Status, note string) error
}

// tell writes on the run's row what it waits for when err will be tried again, so
// that a person sees it. The note is a courtesy: that it could not be written
// must not hide err.
func tell(ctx context.Context, runs waiter, item run.Item, status flow.Status, connection string, err error) {
	f := fault.Of(err)
	if errors.Is(err, context.Canceled) || f.Code == flow.DeadlineCode || !f.Retryable() && f.Class != fault.InDoubt {
		return
	}
	note := flow.Obstacle{Connection: connection, After: f.After, Why: f.Text}
	_ = runs.Wait(context.WithoutCancel(ctx), item, status, note.String())
}
