package activities

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Codes by which the book and the ledger say whose an item is, and our own of an
// item that panicked.
const (
	closedCode = "run.closed"
	fencedCode = "run.fenced"
	sealedCode = "ledger.sealed"
	panicCode  = "item.panic"
)

// ended reports whether err says that a run has ended already.
func ended(err error) bool {
	f := fault.Of(err)
	return f != nil && f.Class == fault.Conflict && f.Code == closedCode
}

// final reports whether a failed read fails for good: another try would not help,
// or come too late.
func final(f *fault.Fault) bool {
	return f.Code == flow.DeadlineCode || !f.Retryable() && f.Class != fault.InDoubt
}

// panicked logs where an item panicked, and gives a fault that does not say with
// what: the value of a panic may hold a row. Texts of the Go runtime hold no data.
func panicked(ctx context.Context, runID string, p any) *fault.Fault {
	what := fmt.Sprintf("%T", p)
	if e, ok := p.(runtime.Error); ok {
		what = e.Error()
	}
	activity.GetLogger(ctx).Error("an item of a batch panicked", "run_id", runID, "value", what, "stack", string(debug.Stack()))
	return fault.New(fault.Bug, panicCode, "carrying this run stopped in a panic; the log of the process has more", nil)
}

// rests knows which connections asked for silence while a batch is carried, so
// that those of its items that have not begun a call on one need not ask again.
type rests struct {
	mu    sync.Mutex
	until map[string]rest
}

type rest struct {
	end time.Time
	why *fault.Fault
}

// heard takes how a call on a connection ended, and gives it back.
func (r *rests) heard(connection string, err error) error {
	f := fault.Of(err)
	if f == nil || f.After <= 0 || f.Code == unsettledCode { // of this item alone
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]rest{}
	}
	if end := time.Now().Add(f.After); end.After(r.until[connection].end) {
		r.until[connection] = rest{end: end, why: f}
	}
	return err
}

// on gives the fault of a connection that asked for silence, with what is left of
// its time; nil when it may be called.
func (r *rests) on(connection string) error {
	r.mu.Lock()
	known := r.until[connection]
	r.mu.Unlock()
	wait := time.Until(known.end)
	if wait <= 0 {
		return nil
	}
	f := *known.why
	f.After = wait
	return &f
}
