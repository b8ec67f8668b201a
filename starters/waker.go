package starters

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/contract"
	"patchbay/internal/decision"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/topic"
)

const (
	// wakerEvery is how often events are looked for that nobody told of here.
	wakerEvery = time.Second
	// expireEvery is how often the time of events is ended.
	expireEvery = 10 * time.Second
	// mostWoken bounds the events that are told of at a time.
	mostWoken = 200
)

type (
	// Events is what the waker needs of business events.
	Events interface {
		Due(ctx context.Context, after int64, most int) ([]topic.Due, error)
		Dispatched(ctx context.Context, ids []int64) error
		Gone(ctx context.Context, s topic.Sleeper) error
		Starters(ctx context.Context, d topic.Due) ([]*flow.Plan, error)
		Started(ctx context.Context, id int64, s flow.TopicStart) error
		Expire(ctx context.Context) (int, error)
	}

	// Decisions is what the waker needs of referrals that people decided.
	Decisions interface {
		Asleep(ctx context.Context, most int) ([]decision.Sleeper, error)
		Woken(ctx context.Context, runIDs []string) error
	}

	// Waker wakes the runs whose event came or about which a person has decided, makes runs of the flows that it starts, and ends
	// the time of events that nobody came for. A run that is woken twice looks twice, and takes
	// once; a run that is started has the event as its key: any number may run.
	Waker struct {
		events   Events
		decided  Decisions
		press    Pressers
		temporal client.Client
		log      *zap.Logger
		wake     chan struct{}
	}
)

// NewWaker builds a Waker.
func NewWaker(e Events, d Decisions, p Pressers, temporal client.Client, log *zap.Logger) *Waker {
	return &Waker{events: e, decided: d, press: p, temporal: temporal, log: log, wake: make(chan struct{}, 1)}
}

// Wake makes the waker look at once. It never blocks.
func (w *Waker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run wakes until ctx ends.
func (w *Waker) Run(ctx context.Context) {
	look, expire := time.NewTicker(wakerEvery), time.NewTicker(expireEvery)
	defer look.Stop()
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-expire.C:
			if n, err := w.events.Expire(ctx); err != nil {
				w.log.Debug("the time of events was not ended", zap.Error(err))
			} else if n > 0 {
				w.log.Warn("business events expired: nobody came for them", zap.Int("events", n))
			}
		case <-look.C:
			w.round(ctx)
		case <-w.wake:
			w.round(ctx)
		}
	}
}

// round tells of decisions and events until none is left, or Temporal does not answer.
func (w *Waker) round(ctx context.Context) {
	w.decisions(ctx)
	for after := int64(0); ; {
		due, err := w.events.Due(ctx, after, mostWoken)
		if err != nil || len(due) == 0 {
			return // the next tick asks again
		}
		after = due[len(due)-1].ID
		told := make([]int64, 0, len(due))
		for _, d := range due {
			if err := w.tell(ctx, d); err != nil {
				w.log.Debug("not everybody was told of an event", zap.Error(err))
				if away(err) {
					return
				}
				continue // a flow that has no room keeps no other from it
			}
			told = append(told, d.ID)
		}
		if len(told) > 0 {
			if err := w.events.Dispatched(ctx, told); err != nil {
				return
			}
		}
	}
}

// decisions wakes the runs about which people decided.
func (w *Waker) decisions(ctx context.Context) {
	for {
		all, err := w.decided.Asleep(ctx, mostWoken)
		if err != nil || len(all) == 0 {
			return // the next tick asks again
		}
		told := make([]string, 0, len(all))
		for _, s := range all {
			if err := w.signal(ctx, s.Workflow, flow.ReviewStep); err == nil || gone(err) {
				told = append(told, s.RunID)
			} else {
				w.log.Debug("a run was not told what was decided about it", zap.Error(err))
			}
		}
		if err := w.decided.Woken(ctx, told); err != nil || len(told) < len(all) {
			return
		}
	}
}

func (w *Waker) signal(ctx context.Context, workflow, task string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return w.temporal.SignalWorkflow(ctx, workflow, "", contract.Came(task), nil)
}

func (w *Waker) tell(ctx context.Context, d topic.Due) error {
	for _, s := range d.Waits {
		err := w.signal(ctx, s.Workflow, s.Task)
		if gone(err) {
			err = w.events.Gone(ctx, s)
		}
		if err != nil {
			return fault.New(fault.Unavailable, unavailable, "Temporal did not take the signal", err)
		}
	}
	plans, err := w.events.Starters(ctx, d)
	if err != nil {
		return err
	}
	for _, p := range plans {
		if err := w.start(ctx, p, d); err != nil {
			return err
		}
	}
	return nil
}

// start makes the run of a flow that an event starts. What a flow refuses for good is told
// with the event (promise 4).
func (w *Waker) start(ctx context.Context, p *flow.Plan, d topic.Due) error {
	started := flow.TopicStart{Flow: p.Flow}
	run, err := w.press.Press(ctx, flow.Press{
		Flow: p.Flow, Principal: "event:" + d.Topic, Key: d.Event, Params: p.Accepted(d.Topic).Known(d.Data), Class: flow.Background,
	})
	started.Run = run.RunID
	if f := fault.Of(err); err != nil {
		started.Run = ""
		if f.Retryable() || f.Class == fault.InDoubt || ctx.Err() != nil {
			return err
		}
		started.Problem = &flow.Problem{Code: f.Code, Detail: f.Text}
		w.log.Warn("an event could not start a flow", zap.String("topic", d.Topic), zap.String("flow", p.Flow), zap.Error(err))
	}
	return w.events.Started(ctx, d.ID, started)
}
