package starters

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/calendar"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/forecast"
	"patchbay/internal/slot"
)

const (
	slotsEvery = time.Second
	// compareEvery is how often every schedule is compared with Temporal's, however
	// quiet it is: somebody may have changed it there.
	compareEvery = 30 * time.Second
	undecidedOf  = 50 // slots of one flow and question
	// orphaned is how long a run is open before the book is asked whether it has ended.
	orphaned = time.Second
	// nudgeAgain is how long after a nudge the next one comes.
	nudgeAgain = time.Minute
	// tellAgain is how long after a failure the next one is logged.
	tellAgain = 30 * time.Second
)

// canceled is how Temporal says that a workflow was cancelled, of which it is no news to
// its run.
var canceled = strings.ToLower(enums.WORKFLOW_EXECUTION_STATUS_CANCELED.String())

// Run keeps the slot ledger until ctx ends: it fills it ahead, makes Temporal's
// schedules what they have to be, decides about slots that nobody told of and ends the
// runs that ended without a word. It never gives up.
func (s *Schedules) Run(ctx context.Context) {
	ticks := time.NewTicker(slotsEvery)
	defer ticks.Stop()
	for {
		if err := s.Round(ctx); err != nil && ctx.Err() == nil && time.Since(s.told) > tellAgain {
			s.log.Warn("keeping the slots of schedules", zap.Error(err))
			s.told = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// Round does all of it once.
func (s *Schedules) Round(ctx context.Context) error {
	all, err := s.ledger.Schedules(ctx)
	if err != nil {
		return err
	}
	compare := time.Since(s.looked) >= compareEvery
	var failed []error
	for _, st := range all {
		if err := s.keep(ctx, st, compare); err != nil {
			failed = append(failed, fault.New(fault.Of(err).Class, fault.Of(err).Code, st.Flow+": "+fault.Of(err).Text, err))
		}
	}
	if compare {
		s.looked = time.Now()
	}
	failed = append(failed, s.endings(ctx))
	return errors.Join(failed...)
}

// keep keeps one schedule. What Temporal does not answer to keeps the ledger from
// being decided, not from being filled.
func (s *Schedules) keep(ctx context.Context, st slot.Standing, compare bool) error {
	if st.Dropped {
		return s.make(ctx, st)
	}
	for more := true; more; {
		var err error
		if more, err = s.ledger.Fill(ctx, st.Flow); err != nil {
			return err
		}
	}
	if err := s.make(ctx, st); err != nil {
		return err
	}
	if err := s.judge(ctx, st, compare); err != nil {
		return err
	}
	if !compare {
		return nil
	}
	if _, err := s.ledger.Forget(ctx, st.Flow); err != nil {
		return err
	}
	return s.foresee(ctx, st)
}

// judge decides about the slots of a flow that nobody told of.
func (s *Schedules) judge(ctx context.Context, st slot.Standing, compare bool) error {
	times, err := calendar.Compile(st.Schedule)
	if err != nil {
		return err
	}
	gap := times.Gap(times.Next(st.Now))
	list, err := s.ledger.Undecided(ctx, st.Flow, graceOf(gap)+min(st.Schedule.Jitter, max(gap, 0)), gap, undecidedOf)
	if err != nil || len(list) == 0 && !compare {
		if err == nil && st.Silent != nil {
			err = s.ledger.Silence(ctx, st.Flow, nil, false)
		}
		return err
	}
	d, err := s.describe(ctx, st.Flow)
	if err != nil {
		return err
	}
	if d == nil { // somebody removed it there; the next round makes it again
		s.log.Warn("Temporal has lost a schedule", zap.String("flow", st.Flow))
		if err := s.ledger.Unmade(ctx, st.Flow); err != nil {
			return err
		}
	} else if err := s.adopt(ctx, st, d, times); err != nil {
		return err
	}
	var silent *time.Time
	for _, u := range list {
		v, err := s.verdict(ctx, st, u, d)
		if err != nil {
			return err
		}
		if v.silent && silent == nil {
			silent = &u.At
		}
		if err := s.carryOut(ctx, st.Flow, u.At, v); err != nil {
			return err
		}
	}
	return s.silent(ctx, st, silent, d)
}

// adopt takes over what somebody did in Temporal: a pause is a pause, and times are
// made again what the file says.
func (s *Schedules) adopt(ctx context.Context, st slot.Standing, d *workflowservice.DescribeScheduleResponse, times *calendar.Times) error {
	if !st.Told || st.Made != st.Digest() {
		return nil
	}
	is := d.GetSchedule().GetState()
	switch {
	case is.GetPaused() && st.Pause == nil:
		if err := s.ledger.Adopt(ctx, st.Flow, noteOf(is.GetNotes())); err != nil {
			return err
		}
	case !is.GetPaused() && st.Pause != nil:
		if err := s.ledger.Resume(ctx, st.Flow, true); err != nil {
			return err
		}
	}
	if words := shapeIn(d.GetSchedule()).changed(shapeOf(st.Entry, times)); len(words) > 0 {
		s.log.Warn("a schedule was changed in Temporal; it is made again what its file says", zap.String("flow", st.Flow), zap.Strings("changes", words))
		return s.ledger.Unmade(ctx, st.Flow)
	}
	return nil
}

func noteOf(notes string) string {
	if notes == "" {
		return "paused in Temporal, without a reason"
	}
	return "paused in Temporal: " + notes
}

func (s *Schedules) verdict(ctx context.Context, st slot.Standing, u slot.Undecided, d *workflowservice.DescribeScheduleResponse) (verdict, error) {
	see := sight{policy: st.Schedule.Policy(), window: st.Schedule.Window(), now: st.Now, buffered: d.GetInfo().GetBufferSize()}
	if is := d.GetSchedule().GetState(); is.GetPaused() {
		see.paused = noteOf(is.GetNotes())
		if st.Pause != nil {
			see.paused = st.Pause.Reason
		}
	}
	var err error
	if see.found, err = s.find(ctx, SlotWorkflow(st.Flow, u.At)); err != nil {
		return verdict{}, err
	}
	if see.policy == flow.OverlapSkip && u.During == "" && u.Before != nil && see.found == nil {
		if see.lingered, err = s.lingered(ctx, st.Flow, *u.Before, u.At); err != nil {
			return verdict{}, err
		}
	}
	return decide(u, see), nil
}

// lingered reports whether the workflow of a slot was open at a later time. A run ends
// in our books before its workflow does; where a worker dies in between that is long
// before, and Temporal takes it for open until then.
func (s *Schedules) lingered(ctx context.Context, name string, slot, at time.Time) (bool, error) {
	f, err := s.find(ctx, SlotWorkflow(name, slot))
	return f != nil && (f.closed == "" || f.until.After(at)), err
}

// find looks for the workflow of a slot.
func (s *Schedules) find(ctx context.Context, workflowID string) (*found, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d, err := s.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, refused(err, "say whether a slot was started")
	}
	info := d.GetWorkflowExecutionInfo()
	f := &found{since: info.GetStartTime().AsTime()}
	if info.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		f.closed, f.until = strings.ToLower(info.GetStatus().String()), info.GetCloseTime().AsTime()
	}
	return f, nil
}

func (s *Schedules) carryOut(ctx context.Context, name string, at time.Time, v verdict) error {
	switch {
	case v.outcome != "":
		if v.outcome == flow.SlotMissed {
			s.log.Warn("a slot was missed", zap.String("flow", name), zap.Time("at", at), zap.String("why", v.reason))
		}
		return s.ledger.Decide(ctx, name, at, v.outcome, v.reason)
	case v.taken != nil:
		return s.ledger.Taken(ctx, name, at, *v.taken)
	}
	return s.ledger.Explain(ctx, name, at, v.reason)
}

// silent notes that a schedule starts nothing, or speaks again. One that has lost its
// timer is woken by any word: it then catches up by itself.
func (s *Schedules) silent(ctx context.Context, st slot.Standing, at *time.Time, d *workflowservice.DescribeScheduleResponse) error {
	if at == nil {
		if st.Silent == nil {
			return nil
		}
		return s.ledger.Silence(ctx, st.Flow, nil, false)
	}
	nudge := d != nil && !d.GetSchedule().GetState().GetPaused() && (st.Nudged == nil || st.Now.Sub(*st.Nudged) > nudgeAgain)
	if nudge {
		s.log.Warn("a schedule is silent and is woken", zap.String("flow", st.Flow), zap.String("why", silence(st.Flow, *at)))
		limited, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		if err := s.handle(ctx, st.Flow).Unpause(limited, client.ScheduleUnpauseOptions{Note: "woken: " + silence(st.Flow, *at)}); err != nil {
			nudge = false
		}
	}
	return s.ledger.Silence(ctx, st.Flow, at, nudge)
}

// endings ends the runs of the ledger that have ended without a word: their row says
// so, or Temporal does, which is told sooner.
func (s *Schedules) endings(ctx context.Context) error {
	for after := ""; ; {
		list, err := s.ledger.OpenRuns(ctx, orphaned, after, undecidedOf)
		if err != nil {
			return err
		}
		for _, r := range list {
			after = r.RunID
			status, err := s.ended(ctx, r)
			if err != nil {
				return err
			}
			if status.Final() {
				if err := s.ledger.Close(ctx, r.RunID, slot.Closing{Status: status}); err != nil {
					return err
				}
				if err := s.prune(ctx, r.RunID); err != nil {
					return err
				}
			}
		}
		if len(list) < undecidedOf {
			return nil
		}
	}
}

// prune drops what only a run needed that was ended by others than itself.
func (s *Schedules) prune(ctx context.Context, runID string) error {
	if s.Prune == nil {
		return nil
	}
	return s.Prune(ctx, runID)
}

// Open gives the place of a flow to a run, see slot.Ledger. Where the run that has it
// has ended and nobody has closed its place, that is done now.
func (s *Schedules) Open(ctx context.Context, o slot.Opening) (slot.Opened, error) {
	opened, err := s.ledger.Open(ctx, o)
	if err != nil || opened.Busy == nil {
		return opened, err
	}
	status, err := s.ended(ctx, *opened.Busy)
	if err != nil || !status.Final() { // a Temporal that does not say leaves the place taken
		return opened, nil
	}
	if err := s.ledger.Close(ctx, opened.Busy.RunID, slot.Closing{Status: status}); err != nil {
		return opened, err
	}
	return s.ledger.Open(ctx, o)
}

// Stopped notes why a slot does not begin, see slot.Ledger.
func (s *Schedules) Stopped(ctx context.Context, o slot.Opening, over bool, why string) error {
	return s.ledger.Stopped(ctx, o, over, why)
}

// Close ends a run and its slot, see slot.Ledger.
func (s *Schedules) Close(ctx context.Context, runID string, c slot.Closing) error {
	return s.ledger.Close(ctx, runID, c)
}

// ended says how a run stands: the book does, and of one that never got a row its
// workflow.
func (s *Schedules) ended(ctx context.Context, r slot.Run) (flow.Status, error) {
	run, err := s.runs.Get(ctx, r.RunID)
	switch {
	case err == nil && run.Status.Final():
		return run.Status, nil
	case err == nil: // what it was writing when it was terminated is still heard out: the book says when it is over
		return flow.Running, nil
	case !fault.Is(err, fault.NotFound): // it may not have a row yet
		return "", err
	}
	f, err := s.find(ctx, r.WorkflowID)
	switch {
	case err != nil:
		return "", err
	case f != nil && f.closed != "" && f.closed != canceled: // nobody will make its row any more
		return flow.Failed, nil
	case f == nil && time.Since(r.OpenedAt) > time.Minute:
		return flow.Failed, nil
	case f != nil && f.closed == canceled:
		return flow.Cancelled, nil
	}
	return flow.Running, nil
}

// historyOf is how many runs a forecast is made of at most.
const historyOf = 200

// foresee makes the forecast of a flow anew when a run has ended since the last one.
func (s *Schedules) foresee(ctx context.Context, st slot.Standing) error {
	history, err := s.ledger.History(ctx, st.Flow, historyOf)
	if err != nil || len(history) == 0 {
		return err
	}
	last := *history[len(history)-1].ClosedAt
	if s.foreseen[st.Flow].Equal(last) {
		return nil
	}
	times, err := calendar.Compile(st.Schedule)
	if err != nil {
		return err
	}
	points := make([]forecast.Point, len(history))
	for i, r := range history {
		points[i] = forecast.Point{At: *r.At, Took: r.ClosedAt.Sub(r.OpenedAt), Rows: r.Rows}
	}
	if f, enough := forecast.Of(st.Flow, calendar.Words(st.Schedule), points, times, st.Now); enough {
		if err := s.ledger.Foresee(ctx, f); err != nil {
			return err
		}
	}
	s.foreseen[st.Flow] = last
	return nil
}
