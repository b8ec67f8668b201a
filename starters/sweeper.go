package starters

import (
	"context"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
)

const (
	// sweeperEvery is how often it is looked for sweeps that are due and for events
	// whose record has to be read.
	sweeperEvery = time.Second
	unreadPage   = 50
	// readTime bounds the reading of one record, sweepTime that of one page.
	readTime  = 20 * time.Second
	sweepTime = time.Minute
)

type (
	// Sweeps is the part of the inbox that a sweeper fills.
	Sweeps interface {
		TakeSweep(ctx context.Context, flow string) (inbox.Sweep, bool, error)
		Found(ctx context.Context, s inbox.Sweep, events []flow.Occurrence) (flow.Receipt, error)
		Swept(ctx context.Context, s inbox.Sweep, position string, done bool) error
		SweepFailed(ctx context.Context, s inbox.Sweep, why error) error
		Unread(ctx context.Context, limit int) ([]inbox.Unread, error)
		Learn(ctx context.Context, u inbox.Unread, row flow.Row) error
		Unreadable(ctx context.Context, u inbox.Unread, why error) error
		Forget(ctx context.Context) (more bool, err error)
	}

	// Catalogue knows the flows in force.
	Catalogue interface {
		List(ctx context.Context) ([]flow.Applied, error)
	}

	// Changes is one page of what change tracking tells; Cursor continues after it.
	Changes struct {
		Events []flow.Occurrence // without an ID where the system gives none
		Cursor string
		More   bool
	}

	// Systems reads from the systems that events are about.
	Systems interface {
		// Changed gives a page of changes of a table since a cursor.
		Changed(ctx context.Context, plan *flow.Plan, connection, table string, columns []string, cursor string) (Changes, error)
		// Record reads one record by its primary key; nil when there is none.
		Record(ctx context.Context, plan *flow.Plan, connection, table, record string, columns []string) (flow.Row, error)
	}

	// Sweeper finds by change tracking what no delivery told, and reads the records of
	// deliveries that left them out. Any number may run.
	Sweeper struct {
		flows   Catalogue
		inbox   Sweeps
		systems Systems
		log     *zap.Logger
		forgot  time.Time
	}
)

// NewSweeper builds a Sweeper.
func NewSweeper(flows Catalogue, in Sweeps, systems Systems, log *zap.Logger) *Sweeper {
	return &Sweeper{flows: flows, inbox: in, systems: systems, log: log}
}

// Run sweeps until ctx ends. It never gives up: what fails is tried again.
func (s *Sweeper) Run(ctx context.Context) {
	ticks := time.NewTicker(sweeperEvery)
	defer ticks.Stop()
	for {
		if err := s.round(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("sweeping for events", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (s *Sweeper) round(ctx context.Context) error {
	applied, err := s.flows.List(ctx)
	if err != nil {
		return err
	}
	plans := map[string]*flow.Plan{}
	for _, a := range applied {
		if a.Plan.Reaction != nil {
			plans[a.Plan.Flow] = a.Plan
		}
	}
	if len(plans) == 0 {
		return nil
	}
	if err := s.read(ctx, plans); err != nil {
		return err
	}
	for name, plan := range plans {
		for {
			sweep, found, err := s.inbox.TakeSweep(ctx, name)
			if err != nil {
				return err
			}
			if !found {
				break
			}
			if err := s.sweep(ctx, plan, sweep); err != nil {
				return err
			}
		}
	}
	return s.forget(ctx)
}

// sweep follows one table to the end of its changes.
func (s *Sweeper) sweep(ctx context.Context, plan *flow.Plan, sweep inbox.Sweep) error {
	for {
		page, err := s.changed(ctx, plan, sweep)
		if err != nil {
			s.log.Warn("a sweep did not come to its end", zap.String("flow", sweep.Flow), zap.String("table", sweep.Connection+"."+sweep.Table), zap.Error(err))
			return s.inbox.SweepFailed(ctx, sweep, err)
		}
		for len(page.Events) > 0 {
			n := min(len(page.Events), 500)
			if _, err := s.inbox.Found(ctx, sweep, page.Events[:n]); err != nil {
				return s.inbox.SweepFailed(ctx, sweep, err)
			}
			page.Events = page.Events[n:]
		}
		if page.More && page.Cursor == sweep.Position {
			return s.inbox.SweepFailed(ctx, sweep, fault.New(fault.Bug, "vendor.page_loop", sweep.Connection+" gave the same cursor twice", nil))
		}
		sweep.Position = page.Cursor
		if err := s.inbox.Swept(ctx, sweep, page.Cursor, !page.More); err != nil || !page.More {
			return err
		}
	}
}

func (s *Sweeper) changed(ctx context.Context, plan *flow.Plan, sweep inbox.Sweep) (Changes, error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	return s.systems.Changed(ctx, plan, sweep.Connection, sweep.Table, sweep.Columns, sweep.Position)
}

// read reads the records of events that came without them.
func (s *Sweeper) read(ctx context.Context, plans map[string]*flow.Plan) error {
	for {
		list, err := s.inbox.Unread(ctx, unreadPage)
		if err != nil {
			return err
		}
		for _, u := range list {
			if err := s.learn(ctx, plans[u.Flow], u); err != nil {
				return err
			}
		}
		if len(list) < unreadPage {
			return nil
		}
	}
}

func (s *Sweeper) learn(ctx context.Context, plan *flow.Plan, u inbox.Unread) error {
	if plan == nil {
		return s.inbox.Unreadable(ctx, u, fault.NotFoundf("flow.not_found", "the flow %s is not applied any more", u.Flow))
	}
	limited, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	row, err := s.systems.Record(limited, plan, u.Event.Connection, u.Event.Table, u.Event.Record, u.Columns)
	if err != nil {
		return s.inbox.Unreadable(ctx, u, err)
	}
	return s.inbox.Learn(ctx, u, row)
}

// forget deletes what is old, now and then.
func (s *Sweeper) forget(ctx context.Context) error {
	if time.Since(s.forgot) < time.Minute {
		return nil
	}
	more, err := s.inbox.Forget(ctx)
	if err == nil && !more {
		s.forgot = time.Now()
	}
	return err
}
