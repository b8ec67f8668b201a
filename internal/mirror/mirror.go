package mirror

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// Side is one synchronization in its own region: what is known of the shared records
	// and the system that has them. It is safe for concurrent use.
	Side struct {
		Place   replica.Place
		System  any // the connector; what it can do it says by its interfaces
		Replica *replica.Replica
		// Poll is how long a source that has to be asked is left alone, and Speed divides
		// what we wait; 0 is 1.
		Poll  time.Duration
		Speed float64
		// Bell, where it is not nil, gives what rings when something changed in a table. Seldom
		// is how long a source is left alone whose bell can be relied on.
		Bell   func(table string) *Bell
		Seldom time.Duration
		// Held is asked before every write: its error is why nothing may be sent any more.
		Held func() error
		// Told, where it is not nil, hears what the tables suffer from, when it changes and
		// now and then.
		Told func(trouble map[string]*fault.Fault)
		// Broke, where it is not nil, hears where the work on a table broke off: a mistake of
		// ours, with the trace that nobody else is shown.
		Broke func(table, trace string)
	}

	// Counts is what was done: changes, the batches they came or went in, what became of
	// them, and what the tables suffer from, by name.
	Counts struct {
		Changes  int64
		Batches  int64
		Outcomes map[flow.SyncOutcome]int64
		Trouble  map[string]*fault.Fault
	}

	// tally collects what the tables did.
	tally struct {
		mu sync.Mutex
		Counts

		pausing sync.Mutex
		paused  []replica.Paused // as it was then
		then    time.Time
	}
)

// pausesFor is how long what is on hold is taken as it was read.
const pausesFor = time.Second

// pauses gives what is on hold, as of a moment ago: all tables ask.
func (t *tally) pauses(ctx context.Context, s *Side) ([]replica.Paused, error) {
	t.pausing.Lock()
	defer t.pausing.Unlock()
	if time.Since(t.then) < s.brief(pausesFor) {
		return t.paused, nil
	}
	list, err := s.Replica.Pauses(ctx, s.Place)
	if err == nil {
		t.paused, t.then = list, time.Now()
	}
	return list, err
}

const (
	// most is how many records go in one transaction.
	most = 5000
	// firstPause and lastPause bound the wait after a failure of one table.
	firstPause = 500 * time.Millisecond
	// tellEvery is how often trouble is looked at, and tellAnyway after how many looks it is
	// told again.
	tellEvery  = 2 * time.Second
	tellAnyway = 15
	lastPause  = 30 * time.Second
)

func newTally() *tally {
	return &tally{Counts: Counts{Outcomes: map[flow.SyncOutcome]int64{}, Trouble: map[string]*fault.Fault{}}}
}

func (t *tally) add(batches int64, c replica.Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Changes += c.Changes
	t.Batches += batches
	for outcome, n := range c.Outcomes {
		t.Outcomes[outcome] += n
	}
}

func (t *tally) trouble(table string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.Trouble, table)
		return
	}
	t.Trouble[table] = fault.Of(err)
}

func (t *tally) counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.Counts
	c.Outcomes, c.Trouble = maps.Clone(t.Outcomes), maps.Clone(t.Trouble)
	return c
}

// each has every table of the plan carried out by itself until ctx ends or the time is
// over. What a table fails with is tried again after a pause that grows; nothing of it
// reaches the others.
func (s *Side) each(ctx context.Context, until time.Time, done *tally, carry func(ctx context.Context, t *flow.SyncTable) error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	var tables sync.WaitGroup
	for i := range s.Place.Sync.Tables {
		t := &s.Place.Sync.Tables[i]
		tables.Go(func() {
			for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
				began := time.Now()
				err := s.guarded(ctx, t, carry)
				if ctx.Err() != nil {
					return
				}
				done.trouble(t.Name, err)
				if time.Since(began) > lastPause {
					pause = firstPause // it was well for a while
				}
				s.sleep(ctx, pause)
			}
		})
	}
	told := make(chan struct{})
	go func() { defer close(told); s.tell(ctx, done) }()
	tables.Wait()
	cancel()
	<-told
}

// guarded carries a table out; what breaks it is its own, and ends no process that carries
// the others.
func (s *Side) guarded(ctx context.Context, t *flow.SyncTable, carry func(context.Context, *flow.SyncTable) error) (err error) {
	defer func() {
		if x := recover(); x != nil {
			if s.Broke != nil {
				what := fmt.Sprintf("%T", x) // the value may be a row
				if e, ok := x.(runtime.Error); ok {
					what = e.Error()
				}
				s.Broke(t.Name, what+"\n"+string(debug.Stack()))
			}
			err = fault.New(fault.Bug, "sync.panic", "the work on table "+t.Name+" broke off; it is begun anew", nil)
		}
	}()
	return carry(ctx, t)
}

// tell has Told hear of trouble until ctx ends.
func (s *Side) tell(ctx context.Context, done *tally) {
	if s.Told == nil {
		return
	}
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for last, n := "", 0; ; n++ {
		trouble := done.counts().Trouble
		if now := fmt.Sprint(trouble); now != last || n%tellAnyway == 0 {
			s.Told(trouble)
			last = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sleep waits for d at our speed, or until ctx ends; false: it ended.
func (s *Side) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(s.brief(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (s *Side) brief(d time.Duration) time.Duration {
	if s.Speed > 1 {
		return max(time.Duration(float64(d)/s.Speed), 10*time.Millisecond)
	}
	return d
}

// columnsOf are the names of the columns of a table that may cross.
func columnsOf(t *flow.SyncTable) []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

// idOf is the column of the system's own ID of records; "" where the key is all there is.
func (s *Side) idOf(table string) string {
	if i, ok := s.System.(connector.Identifier); ok {
		return i.Identify(table)
	}
	return ""
}

// lacks is the fault of a system without a capability.
func (s *Side) lacks(what string) error {
	return fault.New(fault.Rejected, "connection.capability", "the system of region "+s.Place.Region+" cannot "+what, nil)
}

// origin marks our writes, so that whoever reads them knows whose they are.
func (s *Side) origin() string { return "patchbay:" + s.Place.Flow }
