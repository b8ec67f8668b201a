package starters

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/calendar"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/slot"
)

type (
	// Schedules makes Temporal's schedules equal to those in force, and asks Temporal
	// about slots that nobody told of. Any number may run.
	Schedules struct {
		// Prune drops what only a run needed that did not end by itself; it may be nil.
		Prune func(ctx context.Context, runID string) error

		ledger    *slot.Ledger
		runs      RunReader
		temporal  client.Client
		namespace string
		log       *zap.Logger
		looked    time.Time            // when all schedules were last compared
		foreseen  map[string]time.Time // end of the last run of each forecast
		told      time.Time            // when a failure was last logged
	}

	// RunReader tells how a run stands.
	RunReader interface {
		Get(ctx context.Context, runID string) (flow.Run, error)
	}

	// ScheduleChange is what Temporal's schedule of a flow lacks of the one in force.
	ScheduleChange struct {
		Flow  string   `json:"flow"`
		Kind  string   `json:"kind"` // create, update, delete, pause or resume
		Words []string `json:"words"`
	}
)

// The kinds of changes of schedules.
const (
	createSchedule = "create"
	updateSchedule = "update"
	deleteSchedule = "delete"
	pauseSchedule  = "pause"
	resumeSchedule = "resume"
)

// describeTime bounds the description of a schedule: it is a query of the workflow that
// a schedule is in Temporal, which a busy server takes its time to begin.
const describeTime = 8 * time.Second

// NewSchedules builds Schedules.
func NewSchedules(ledger *slot.Ledger, runs RunReader, temporal client.Client, namespace string, log *zap.Logger) *Schedules {
	return &Schedules{ledger: ledger, runs: runs, temporal: temporal, namespace: namespace, log: log, foreseen: map[string]time.Time{}}
}

// Diff says what is to be done so that Temporal has the schedules of the list and no
// others of ours. It changes nothing.
func (s *Schedules) Diff(ctx context.Context, list []slot.Entry) ([]ScheduleChange, error) {
	known, err := s.ledger.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	there, err := s.listed(ctx)
	if err != nil {
		return nil, err
	}
	changes := []ScheduleChange{}
	for _, e := range list {
		change, err := s.diff(ctx, e, known)
		if err != nil {
			return nil, err
		}
		if change != nil {
			changes = append(changes, *change)
		}
	}
	for _, k := range known {
		there = append(there, k.Flow)
	}
	slices.Sort(there)
	for _, name := range slices.Compact(there) {
		if slices.ContainsFunc(list, func(e slot.Entry) bool { return e.Flow == name }) {
			continue
		}
		if d, err := s.describe(ctx, name); err != nil || d != nil {
			if err != nil {
				return nil, err
			}
			changes = append(changes, ScheduleChange{Flow: name, Kind: deleteSchedule, Words: []string{"the flow is gone, or has no schedule any more"}})
		}
	}
	return changes, nil
}

func (s *Schedules) diff(ctx context.Context, e slot.Entry, known []slot.Standing) (*ScheduleChange, error) {
	times, err := calendar.Compile(e.Schedule)
	if err != nil {
		return nil, err
	}
	d, err := s.describe(ctx, e.Flow)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(known, func(k slot.Standing) bool { return k.Flow == e.Flow && !k.Dropped })
	paused := e.Schedule.Paused
	if i >= 0 && known[i].Schedule.Paused == paused { // a person decides while the file says the same
		if paused = ""; known[i].Pause != nil {
			paused = known[i].Pause.Reason
		}
	}
	if d == nil {
		words := []string{calendar.Words(e.Schedule)}
		if paused != "" {
			words = append(words, "paused: "+paused)
		}
		return &ScheduleChange{Flow: e.Flow, Kind: createSchedule, Words: words}, nil
	}
	words := shapeIn(d.GetSchedule()).changed(shapeOf(e, times))
	kind := updateSchedule
	switch is := d.GetSchedule().GetState(); {
	case paused != "" && !is.GetPaused():
		words = append(words, "paused: "+paused)
		if len(words) == 1 {
			kind = pauseSchedule
		}
	case paused == "" && is.GetPaused():
		words = append(words, "no longer paused")
		if len(words) == 1 {
			kind = resumeSchedule
		}
	}
	if len(words) == 0 {
		return nil, nil
	}
	return &ScheduleChange{Flow: e.Flow, Kind: kind, Words: words}, nil
}

// listed are the flows of all schedules of ours that Temporal lists.
func (s *Schedules) listed(ctx context.Context) ([]string, error) {
	list, err := s.temporal.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: 1000})
	if err != nil {
		return nil, refused(err, "list its schedules")
	}
	var names []string
	for list.HasNext() {
		entry, err := list.Next()
		if err != nil {
			return nil, refused(err, "list its schedules")
		}
		if name, ours := strings.CutPrefix(entry.ID, schedulePrefix); ours {
			names = append(names, name)
		}
	}
	return names, nil
}

// describe gives what Temporal has; nil: nothing.
func (s *Schedules) describe(ctx context.Context, name string) (*workflowservice.DescribeScheduleResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	d, err := s.temporal.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: s.namespace, ScheduleId: ScheduleID(name)})
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, refused(err, "tell of a schedule")
	}
	return d, nil
}

// Make makes Temporal's schedules equal to those in force. Strays are removed too:
// schedules of ours that no database knows.
func (s *Schedules) Make(ctx context.Context) error {
	all, err := s.ledger.Schedules(ctx)
	if err != nil {
		return err
	}
	there, err := s.listed(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, st := range all {
		failed = append(failed, s.make(ctx, st))
	}
	for _, name := range there {
		if !slices.ContainsFunc(all, func(st slot.Standing) bool { return st.Flow == name }) {
			failed = append(failed, s.remove(ctx, name))
		}
	}
	return errors.Join(failed...)
}

// make makes one schedule equal, where the ledger says that it is not.
func (s *Schedules) make(ctx context.Context, st slot.Standing) error {
	switch {
	case st.Dropped:
		if err := s.remove(ctx, st.Flow); err != nil {
			return err
		}
		return s.ledger.Removed(ctx, st.Flow)
	case st.Made == st.Digest() && st.Told:
		return nil
	}
	times, err := calendar.Compile(st.Schedule)
	if err != nil {
		return err
	}
	d, err := s.describe(ctx, st.Flow)
	if err != nil {
		return err
	}
	if d == nil {
		err = s.create(ctx, st, times)
	} else {
		err = s.update(ctx, st, times)
	}
	if err != nil {
		return err
	}
	from, err := s.since(ctx, st.Flow)
	if err != nil {
		return err
	}
	s.log.Info("a schedule was made equal to its file", zap.String("flow", st.Flow), zap.Bool("new", d == nil), zap.Bool("paused", st.Pause != nil))
	return s.ledger.Made(ctx, st.Entry, from)
}

// since is when Temporal has had a schedule as it is now.
func (s *Schedules) since(ctx context.Context, name string) (time.Time, error) {
	d, err := s.describe(ctx, name)
	if err != nil {
		return time.Time{}, err
	}
	from := d.GetInfo().GetCreateTime().AsTime()
	if at := d.GetInfo().GetUpdateTime(); at != nil && at.AsTime().After(from) {
		from = at.AsTime()
	}
	return from, nil
}

func (s *Schedules) create(ctx context.Context, st slot.Standing, times *calendar.Times) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	action := actionOf(st.Flow)
	options := client.ScheduleOptions{ID: ScheduleID(st.Flow), Spec: specOf(st.Schedule, times), Action: action,
		Overlap: overlaps[st.Schedule.Policy()], CatchupWindow: st.Schedule.Window(), TypedSearchAttributes: action.TypedSearchAttributes}
	if st.Pause != nil {
		options.Paused, options.Note = true, st.Pause.Reason
	}
	_, err := s.temporal.ScheduleClient().Create(ctx, options)
	if err != nil {
		return refused(err, "take a schedule")
	}
	return nil
}

func (s *Schedules) update(ctx context.Context, st slot.Standing, times *calendar.Times) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	spec := specOf(st.Schedule, times)
	err := s.handle(ctx, st.Flow).Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		state := in.Description.Schedule.State
		if state == nil {
			state = &client.ScheduleState{}
		}
		if !st.Told {
			state.Paused, state.Note = st.Pause != nil, ""
			if st.Pause != nil {
				state.Note = st.Pause.Reason
			}
		}
		return &client.ScheduleUpdate{Schedule: &client.Schedule{Spec: &spec, Action: actionOf(st.Flow), State: state,
			Policy: &client.SchedulePolicies{Overlap: overlaps[st.Schedule.Policy()], CatchupWindow: st.Schedule.Window()}}}, nil
	}})
	if err != nil {
		return refused(err, "take the change of a schedule")
	}
	return nil
}

// remove removes a schedule; one that is gone already is removed.
func (s *Schedules) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := s.handle(ctx, name).Delete(ctx)
	if err == nil || gone(err) {
		return nil
	}
	return refused(err, "remove a schedule")
}

func (s *Schedules) handle(ctx context.Context, name string) client.ScheduleHandle {
	return s.temporal.ScheduleClient().GetHandle(ctx, ScheduleID(name))
}

// Hold pauses the schedule of a flow for a reason: no slot starts from here on, and
// what is open goes on. Temporal is told first: what it took is true, whatever
// becomes of our own note of it.
func (s *Schedules) Hold(ctx context.Context, name, by, reason string) (flow.Rhythm, error) {
	if strings.TrimSpace(reason) == "" {
		return flow.Rhythm{}, fault.Invalidf("schedule.reason", "say why the schedule of %s is held", name)
	}
	if _, err := s.ledger.Schedule(ctx, name); err != nil {
		return flow.Rhythm{}, err
	}
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.handle(ctx, name).Pause(limited, client.SchedulePauseOptions{Note: reason}); err != nil {
		return flow.Rhythm{}, refused(err, "pause a schedule")
	}
	if err := s.ledger.Hold(ctx, name, by, reason, true); err != nil {
		return flow.Rhythm{}, err
	}
	return s.ledger.Rhythm(ctx, name)
}

// Resume ends the pause of a schedule. The slots of the pause stay paused; a backfill
// may take them.
func (s *Schedules) Resume(ctx context.Context, name, by string) (flow.Rhythm, error) {
	if _, err := s.ledger.Schedule(ctx, name); err != nil {
		return flow.Rhythm{}, err
	}
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.handle(ctx, name).Unpause(limited, client.ScheduleUnpauseOptions{Note: "resumed by " + by}); err != nil {
		return flow.Rhythm{}, refused(err, "resume a schedule")
	}
	if err := s.ledger.Resume(ctx, name, true); err != nil {
		return flow.Rhythm{}, err
	}
	return s.ledger.Rhythm(ctx, name)
}
