package contract

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Profile is a named set of timeouts and retries. A flow may tighten one, never
// invent one.
type Profile struct {
	Attempt     time.Duration // one attempt, start to close
	Total       time.Duration // all attempts and the waits between them
	Heartbeat   time.Duration // silence after which an attempt counts as lost; 0: no heartbeat
	MaxAttempts int32         // 0: as many as Total allows
	Initial     time.Duration // first wait; doubles
	MaxWait     time.Duration // longest wait
}

// The profiles.
var (
	// Interactive: somebody is looking at the screen. The flow's timeout tightens Total.
	Interactive = Profile{Attempt: 30 * time.Second, Total: 5 * time.Minute, Heartbeat: 5 * time.Second, Initial: 250 * time.Millisecond, MaxWait: 10 * time.Second}
	// Delivery: an accepted effect has to arrive, however long the target is away.
	// 76 hours is how long the longest of the known senders keeps trying.
	Delivery = Profile{Attempt: time.Minute, Total: 76 * time.Hour, Heartbeat: 5 * time.Second, Initial: time.Second, MaxWait: 5 * time.Minute}
	// Undoing: what was written has to be taken back, however long the target is away.
	Undoing = Profile{Attempt: time.Minute, Total: 76 * time.Hour, Heartbeat: 5 * time.Second, Initial: time.Second, MaxWait: 5 * time.Minute}
	// Transfer: a document of any size has to arrive, or to be taken back.
	Transfer = Profile{Attempt: 4 * time.Hour, Total: 76 * time.Hour, Heartbeat: 5 * time.Second, Initial: time.Second, MaxWait: 5 * time.Minute}
	// Carrying: a batch, once. An item that has no answer after two seconds leaves it,
	// so the whole is short; what was lost with a worker is put back by Release.
	Carrying = Profile{Attempt: 30 * time.Second, Total: time.Minute, Heartbeat: 5 * time.Second, MaxAttempts: 1}
	// Extraction: a source is read page by page, each committed with its cursor, so that
	// an attempt that was lost costs one page. A source that is away for too long is
	// missing, and the flow says what then.
	Extraction = Profile{Attempt: 12 * time.Hour, Total: 24 * time.Hour, Heartbeat: 15 * time.Second, Initial: time.Second, MaxWait: 30 * time.Second}
	// Crunching: our own database and processors only; what was lost is done again.
	Crunching = Profile{Attempt: 2 * time.Hour, Total: 12 * time.Hour, Heartbeat: 15 * time.Second, Initial: time.Second, MaxWait: time.Minute}
	// Computing: processors only, on a queue that may have no worker for a while. What was
	// lost with a worker is computed again; Deaths bounds how often.
	Computing = Profile{Attempt: 15 * time.Minute, Total: 24 * time.Hour, Heartbeat: 5 * time.Second, Initial: 500 * time.Millisecond, MaxWait: 10 * time.Second}
	// Bulk: accepted effects, chunk by chunk, each known to the ledger.
	Bulk = Profile{Attempt: 12 * time.Hour, Total: 76 * time.Hour, Heartbeat: 15 * time.Second, Initial: time.Second, MaxWait: 5 * time.Minute}
	// Standing: work that goes on as long as its flow is in force. An activity of it ends
	// by itself after a few minutes, and waits meanwhile where there is nothing to do; what
	// was lost with a worker is done again under a later fence.
	Standing = Profile{Attempt: 15 * time.Minute, Heartbeat: 15 * time.Second, Initial: time.Second, MaxWait: 30 * time.Second}
	// Bookkeeping: a statement on our own database that must come through.
	Bookkeeping = Profile{Attempt: 10 * time.Second, Initial: 200 * time.Millisecond, MaxWait: 10 * time.Second}
	// Probing: one look, whose failure is what it was made to find.
	Probing = Profile{Attempt: 3 * time.Second, Total: 4 * time.Second, MaxAttempts: 1}
)

// Tighten returns p with Total, and where needed Attempt, at most total. Zero
// leaves p as it is.
func (p Profile) Tighten(total time.Duration) Profile {
	if total <= 0 {
		return p
	}
	if p.Total == 0 || total < p.Total {
		p.Total = total
	}
	p.Attempt = min(p.Attempt, p.Total)
	return p
}

// options are the SDK's options of one call. An activity of the main queue stays
// on the queue of its workflow.
func (p Profile) options(queue Queue, summary string) workflow.ActivityOptions {
	if queue == Main {
		queue = ""
	}
	return workflow.ActivityOptions{
		TaskQueue:              string(queue),
		StartToCloseTimeout:    p.Attempt,
		ScheduleToCloseTimeout: p.Total,
		HeartbeatTimeout:       p.Heartbeat,
		Summary:                summary,
		WaitForCancellation:    true, // a certificate waits until no attempt is open (promise 3)
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    p.Initial,
			BackoffCoefficient: 2,
			MaximumInterval:    p.MaxWait,
			MaximumAttempts:    p.MaxAttempts,
		},
	}
}
