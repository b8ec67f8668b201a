package starters

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.uber.org/zap"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
)

const (
	// A canary is started every canaryEvery, at the same times by every process:
	// those of one time are one workflow. After a miss the next one follows at once,
	// so that three misses take less than thirty seconds.
	canaryEvery = 10 * time.Second
	canaryAgain = contract.CanaryLife
	// canaryMisses in a row make a process not ready.
	canaryMisses = 3
	// canaryAsks bounds each question about a canary that was missed.
	canaryAsks = time.Second
)

// Leg is a part of the way that a canary goes.
type Leg string

// The legs.
const (
	StoreLeg    Leg = "store"
	TemporalLeg Leg = "temporal"
	WorkerLeg   Leg = "worker"
)

// Legs are all of them, in the order of the way back.
var Legs = []Leg{StoreLeg, TemporalLeg, WorkerLeg}

type (
	// Song is what the canaries have told so far. The zero value has told nothing.
	Song struct {
		Passed time.Time     // when the last one came through; zero: none has
		Took   time.Duration // it
		Misses int           // since then
		Leg    Leg           // where the last one was missed; "" after a pass
		Detail string        // the same in words
		// Untaken: Temporal kept the last one for itself. No worker is there, or
		// Temporal hands out nothing.
		Untaken bool
	}

	// Canary starts canaries and knows what they told.
	Canary struct {
		// Changed is called from the goroutine of Run after every canary. It is set
		// before Run, or stays nil.
		Changed func(Song)
		// Back is called when one comes through after a miss. It is set before Run, or
		// stays nil.
		Back func()

		temporal  client.Client
		namespace string
		store     pinger
		log       *zap.Logger

		mu   sync.Mutex
		song Song
	}

	pinger interface {
		Ping(ctx context.Context) error
	}

	// miss is why a canary did not come through.
	miss struct {
		leg     Leg
		detail  string
		untaken bool
	}
)

// Well reports whether what the canaries told is good: one came through, and not
// three in a row were missed since.
func (s Song) Well() bool { return !s.Passed.IsZero() && s.Misses < canaryMisses }

// NewCanary builds a Canary.
func NewCanary(temporal client.Client, namespace string, store pinger, log *zap.Logger) *Canary {
	return &Canary{temporal: temporal, namespace: namespace, store: store, log: log}
}

// Song gives what the canaries have told.
func (c *Canary) Song() Song {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.song
}

// Run starts canaries until ctx ends, one after the other. Each is deleted from
// Temporal when the next has come through: they leave nothing behind.
func (c *Canary) Run(ctx context.Context) {
	last, at := "", time.Now()
	for {
		id := "canary/" + strconv.FormatInt(at.Unix(), 10)
		begun := time.Now()
		missed := c.send(ctx, id)
		if ctx.Err() != nil {
			return
		}
		song := c.note(missed, time.Since(begun))
		if missed == nil {
			c.forget(ctx, last)
			last = id
		}
		at = time.Now().Truncate(canaryEvery).Add(canaryEvery)
		if song.Misses > 0 {
			at = begun.Add(canaryAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(at)):
		}
	}
}

// note keeps what a canary told, and says so in the log where it changes anything.
func (c *Canary) note(missed *miss, took time.Duration) Song {
	c.mu.Lock()
	before := c.song
	if missed == nil {
		c.song = Song{Passed: time.Now(), Took: took}
	} else {
		c.song.Misses++
		c.song.Leg, c.song.Detail, c.song.Untaken = missed.leg, missed.detail, missed.untaken
	}
	now := c.song
	c.mu.Unlock()
	switch {
	case now.Misses == canaryMisses:
		c.log.Warn("canaries do not come through", zap.String("leg", string(now.Leg)), zap.String("detail", now.Detail))
	case missed == nil && before.Misses >= canaryMisses:
		c.log.Info("canaries come through again", zap.Duration("took", took))
	}
	if c.Changed != nil {
		c.Changed(now)
	}
	if missed == nil && before.Misses > 0 && c.Back != nil {
		c.Back()
	}
	return now
}

// send starts a canary, or finds the one that another process has just started, and
// waits for its end.
func (c *Canary) send(ctx context.Context, id string) *miss {
	limited, cancel := context.WithTimeout(ctx, contract.CanaryLife)
	defer cancel()
	run, err := contract.Canary.Start(limited, c.temporal, client.StartWorkflowOptions{
		ID:                       id,
		WorkflowExecutionTimeout: contract.CanaryLife,
		WorkflowIDReusePolicy:    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		StaticSummary:            "shows that every process works",
		Priority:                 temporal.Priority{PriorityKey: 1}, // before all that waits
	}, contract.CanaryInput{})
	if err != nil {
		return &miss{leg: TemporalLeg, detail: "Temporal did not take the start of a canary"}
	}
	err = run.Get(limited, nil)
	if err == nil {
		return nil
	}
	var failed *temporal.WorkflowExecutionError
	if f := contract.FromTemporal(err); errors.As(err, &failed) && ofStore(f) {
		return &miss{leg: StoreLeg, detail: "a worker could not read: " + f.Text}
	}
	return c.blame(ctx, id)
}

// ofStore reports whether a fault is the database's.
func ofStore(f *fault.Fault) bool { return f != nil && strings.HasPrefix(f.Code, "store.") }

// blame says where a canary is that did not come back in time. A worker that waits
// for the database looks as one that hangs, so the database is asked first.
func (c *Canary) blame(ctx context.Context, id string) *miss {
	asking, cancel := context.WithTimeout(ctx, canaryAsks)
	defer cancel()
	if err := c.store.Ping(asking); err != nil {
		return &miss{leg: StoreLeg, detail: "the database does not answer"}
	}
	asking, cancel = context.WithTimeout(ctx, canaryAsks)
	defer cancel()
	taken, err := c.taken(asking, id)
	switch {
	case err != nil:
		return &miss{leg: TemporalLeg, detail: "Temporal does not answer"}
	case taken:
		return &miss{leg: WorkerLeg, detail: "a worker took a canary and did not carry it out"}
	}
	return &miss{leg: WorkerLeg, untaken: true,
		detail: "no worker has taken a canary: none of the current build is at work, or Temporal hands out nothing"}
}

// taken reports whether a worker has begun with the canary.
func (c *Canary) taken(ctx context.Context, id string) (bool, error) {
	for events := c.temporal.GetWorkflowHistory(ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			return false, err
		}
		if event.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_STARTED {
			return true, nil
		}
	}
	return false, nil
}

// forget deletes a canary that has come through. One that stays is gone with the
// namespace's retention.
func (c *Canary) forget(ctx context.Context, id string) {
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, canaryAsks)
	defer cancel()
	_, _ = c.temporal.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace: c.namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: id}})
}
