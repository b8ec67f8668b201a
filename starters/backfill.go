package starters

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"patchbay/internal/calendar"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	// mostBackfilled is how many slots one backfill asks for: Temporal keeps half of its
	// buffer of a thousand for them.
	mostBackfilled = 500
	// backfillPage is how many one request to Temporal carries.
	backfillPage = 100
)

// Backfill has Temporal start the slots of a flow between two times, both included,
// that have no run: those that were missed or that nobody expected, and of the others
// those whose outcome is one of besides. They run one after the other, or all at once
// where the flow lets its runs overlap, whether or not the schedule is paused.
func (s *Schedules) Backfill(ctx context.Context, b flow.Backfill) (flow.Backfilled, error) {
	st, err := s.ledger.Schedule(ctx, b.Flow)
	if err != nil {
		return flow.Backfilled{}, err
	}
	if b.To.Before(b.From) {
		return flow.Backfilled{}, fault.Invalidf("backfill.range", "it ends at %s, before it begins at %s", b.To.Format(time.RFC3339), b.From.Format(time.RFC3339))
	}
	if err := s.keep(ctx, st, false); err != nil { // what is undecided still is not missing yet
		return flow.Backfilled{}, err
	}
	missing, err := s.ledger.Missing(ctx, b.Flow, b.From, b.To, b.Besides)
	if err != nil {
		return flow.Backfilled{}, err
	}
	done := flow.Backfilled{Flow: b.Flow, From: b.From, To: b.To, Slots: missing, Plan: b.Plan}
	if len(missing) > mostBackfilled {
		return flow.Backfilled{}, fault.Invalidf("backfill.size", "%d slots of %s are missing in that time, and a backfill takes at most %d; choose a shorter one", len(missing), b.Flow, mostBackfilled)
	}
	if b.Plan || len(missing) == 0 {
		return done, nil
	}
	times, err := calendar.Compile(st.Schedule)
	if err != nil {
		return flow.Backfilled{}, err
	}
	if done.Slots, err = s.ledger.Ask(ctx, b.Flow, b.By, missing); err != nil {
		return flow.Backfilled{}, err
	}
	policy := overlaps[flow.OverlapBufferAll]
	if st.Schedule.Policy() == flow.OverlapAllow {
		policy = overlaps[flow.OverlapAllow]
	}
	for rest := done.Slots; len(rest) > 0; {
		n := min(len(rest), backfillPage)
		list := make([]client.ScheduleBackfill, n)
		for i, at := range rest[:n] {
			list[i] = client.ScheduleBackfill{Start: at, End: endOf(times, at), Overlap: policy}
		}
		if err := s.backfill(ctx, b.Flow, list); err != nil {
			// What Temporal may not have is missing again; what it has, it starts.
			for _, at := range rest {
				_ = s.ledger.Decide(ctx, b.Flow, at, flow.SlotMissed, "Temporal did not take the backfill")
			}
			return flow.Backfilled{}, err
		}
		rest = rest[n:]
	}
	return done, nil
}

func (s *Schedules) backfill(ctx context.Context, name string, list []client.ScheduleBackfill) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.handle(ctx, name).Backfill(ctx, client.ScheduleBackfillOptions{Backfill: list}); err != nil {
		return refused(err, "take a backfill")
	}
	return nil
}

// endOf is the end of the span that has one slot alone: jitter may move the slot as far
// as the next one.
func endOf(t *calendar.Times, at time.Time) time.Time {
	d := t.Jitter
	if gap := t.Gap(at); gap > 0 {
		d = min(d, gap)
	}
	return at.Add(max(d-time.Millisecond, 0))
}
