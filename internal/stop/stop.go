package stop

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Stops are what is stopped, as one process knows it. It is safe for concurrent use.
	Stops struct {
		store *store.Store
		trial time.Duration
		say   func(connection string, resting bool, why string)

		mu    sync.Mutex
		known map[subject]stopped
		// told are rests, and ends of them, that the database has not yet heard of.
		told map[string]Rest
		wake chan struct{} // of Run: told is not empty
		ends func()
	}

	// Rest is that the system of a connection is left alone, until one request tries. The
	// zero value: it is not.
	Rest struct {
		Since, Until time.Time
		Times        int    // rests in a row
		Why          string // safe to show
	}

	// Options tune Stops.
	Options struct {
		Speed float64 // divides the time that a start has to try a connection; 0 and 1 are real time
		// Say is told when this process finds that a system does not answer, and that it
		// does again; nil: nobody is.
		Say func(connection string, resting bool, why string)
	}

	subject struct {
		kind  flow.StopKind
		name  string
		cause flow.StopCause
	}

	stopped struct {
		flow.Stop
		until time.Time // by the clock of this process; zero for what is held
		times int
	}
)

const (
	// refreshEvery is how long a process may not know what others found.
	refreshEvery = 500 * time.Millisecond
	// trial is how long the one start has that tries a connection.
	trial  = 10 * time.Second
	within = 3 * time.Second // a transaction
)

// New gives the stops of a store. Nothing is known before Refresh, or Run, which
// refreshes.
func New(s *store.Store, o Options) *Stops {
	if o.Say == nil {
		o.Say = func(string, bool, string) {}
	}
	return &Stops{store: s, trial: time.Duration(float64(trial) / max(o.Speed, 1e-3)), say: o.Say, ends: func() {},
		known: map[subject]stopped{}, told: map[string]Rest{}, wake: make(chan struct{}, 1)}
}

// Run keeps the process and the database in step until ctx ends. What cannot be told
// or read is tried again. ends is called whenever the process finds that something is not
// stopped any more.
func (s *Stops) Run(ctx context.Context, ends func()) error {
	s.mu.Lock()
	s.ends = ends
	s.mu.Unlock()
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		_ = errors.Join(s.tell(ctx), s.Refresh(ctx)) // what is known stays, and the store says that it is away
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// Refresh reads what is stopped.
func (s *Stops) Refresh(ctx context.Context) error {
	list, err := s.read(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	next := make(map[subject]stopped, len(list))
	for _, one := range list {
		next[subject{one.Kind, one.Name, one.Cause}] = one
	}
	for name, r := range s.told { // it is newer than what was read
		s.note(next, name, r)
	}
	over := false
	for at := range s.known {
		_, still := next[at]
		over = over || !still
	}
	s.known = next
	ends := s.ends
	s.mu.Unlock()
	if over {
		ends()
	}
	return nil
}

// note enters a rest, or its end.
func (s *Stops) note(into map[subject]stopped, connection string, r Rest) {
	at := subject{flow.StopConnection, connection, flow.StopResting}
	if r.Until.IsZero() {
		delete(into, at)
		return
	}
	until := r.Until
	into[at] = stopped{until: until, times: r.Times,
		Stop: flow.Stop{Kind: at.kind, Name: connection, Cause: at.cause, Since: r.Since, Until: &until, Reason: r.Why}}
}

// Resting notes that a connection rests, or, with a zero Rest, that it was answered. It
// returns at once; all processes know it within half a second.
func (s *Stops) Resting(connection string, r Rest) {
	s.mu.Lock()
	s.told[connection] = r
	s.note(s.known, connection, r)
	ends := s.ends
	s.mu.Unlock()
	switch {
	case r.Until.IsZero():
		s.say(connection, false, "")
		go ends() // whoever tells holds the connection
	case r.Times == 1:
		s.say(connection, true, r.Why)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Rested gives the rest of a connection, zero when it has none, and why a person holds
// it, "" when nobody does.
func (s *Stops) Rested(connection string) (r Rest, held string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, ok := s.known[subject{flow.StopConnection, connection, flow.StopResting}]; ok {
		r = Rest{Since: one.Since, Until: one.until, Times: one.times, Why: one.Reason}
	}
	if one, ok := s.known[subject{flow.StopConnection, connection, flow.StopHeld}]; ok {
		held = one.Reason + " (" + one.By + ")"
	}
	return r, held
}

// Any reports whether anything is stopped.
func (s *Stops) Any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.known) > 0
}

// Of gives what keeps runs of a flow that needs these connections from starting, nil
// when nothing does: of several what keeps them for longest. over says that it is a rest
// whose time is over, so that one of them may try.
func (s *Stops) Of(name string, needs []string) (stop *flow.Stop, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) == 0 {
		return nil, false
	}
	if one, ok := s.known[subject{flow.StopFlow, name, flow.StopHeld}]; ok {
		return &one.Stop, false
	}
	var until time.Time
	for _, connection := range needs {
		if one, ok := s.known[subject{flow.StopConnection, connection, flow.StopHeld}]; ok {
			return &one.Stop, false
		}
		if one, ok := s.known[subject{flow.StopConnection, connection, flow.StopResting}]; ok && (stop == nil || one.until.After(until)) {
			stop, until = &one.Stop, one.until
		}
	}
	return stop, stop != nil && !time.Now().Before(until)
}

// Allow gives how many runs may be started of a flow that needs these connections: none
// while one of them is stopped, one when its rest is over and nobody else tries, and
// otherwise any number, which is below 0.
func (s *Stops) Allow(ctx context.Context, name string, needs []string) (int, error) {
	switch stop, over := s.Of(name, needs); {
	case stop == nil:
		return -1, nil
	case !over:
		return 0, nil
	}
	return s.try(ctx, needs)
}

// try takes the right to try those connections whose rest is over, all or none.
func (s *Stops) try(ctx context.Context, connections []string) (int, error) {
	var got int64
	err := s.store.Tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			update stop set trying = now() + $2::interval
			where kind = 'connection' and cause = 'resting' and name = any ($1)
			  and (select bool_and(until <= now() and (trying is null or trying <= now())) from (
				select until, trying from stop where kind = 'connection' and cause = 'resting' and name = any ($1) order by name for update) as s)`,
			connections, s.trial)
		got = tag.RowsAffected()
		return err
	})
	return int(min(got, 1)), err
}

// Hold has no run started of a flow, or none that needs a connection. What is held
// already keeps the time since when, and gets the new reason.
func (s *Stops) Hold(ctx context.Context, kind flow.StopKind, name, by, reason string) error {
	err := s.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into stop (kind, name, cause, by, reason) values ($1, $2, 'held', $3, $4)
			on conflict (kind, name, cause) do update set by = excluded.by, reason = excluded.reason`,
			kind, store.Text(name), store.Text(by), store.Text(reason))
		return err
	})
	if err != nil {
		return err
	}
	return s.Refresh(ctx)
}

// Resume ends what a person holds; NotFound "stop.not_held" when nobody does.
func (s *Stops) Resume(ctx context.Context, kind flow.StopKind, name string) error {
	var ended int64
	err := s.store.Tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from stop where kind = $1 and name = $2 and cause = 'held'`, kind, name)
		ended = tag.RowsAffected()
		return err
	})
	switch {
	case err != nil:
		return err
	case ended == 0:
		return fault.NotFoundf("stop.not_held", "nobody holds the %s %.60q; GET /v1/stops lists what is held", kind, name)
	}
	return s.Refresh(ctx)
}

// List gives what is stopped, by kind and name.
func (s *Stops) List(ctx context.Context) ([]flow.Stop, error) {
	all, err := s.read(ctx)
	list := make([]flow.Stop, len(all))
	for i, one := range all {
		list[i] = one.Stop
	}
	return list, err
}

func (s *Stops) read(ctx context.Context) (list []stopped, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err = s.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select kind, name, cause, since, until, by, reason, times, extract(epoch from until - now())::float8
			from stop order by kind, name, cause`)
		if err != nil {
			return err
		}
		now := time.Now()
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (one stopped, err error) {
			var left *float64
			err = row.Scan(&one.Kind, &one.Name, &one.Cause, &one.Since, &one.Until, &one.By, &one.Reason, &one.times, &left)
			if left != nil {
				one.until = now.Add(time.Duration(*left * float64(time.Second)))
			}
			return one, err
		})
		return err
	})
	return list, err
}

// tell writes what connectors told.
func (s *Stops) tell(ctx context.Context) error {
	s.mu.Lock()
	told := maps.Clone(s.told)
	s.mu.Unlock()
	if len(told) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := s.store.Tx(ctx, func(tx pgx.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(told)) {
			if err := put(ctx, tx, name, told[name]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, r := range told {
		if s.told[name] == r {
			delete(s.told, name)
		}
	}
	return nil
}

// put keeps a rest; of two the one that ends later counts.
func put(ctx context.Context, tx pgx.Tx, connection string, r Rest) error {
	if r.Until.IsZero() {
		_, err := tx.Exec(ctx, `delete from stop where kind = 'connection' and name = $1 and cause = 'resting'`, connection)
		return err
	}
	_, err := tx.Exec(ctx, `
		insert into stop (kind, name, cause, since, until, times, reason) values ('connection', $1, 'resting', now() - $2::interval, now() + $3::interval, $4, $5)
		on conflict (kind, name, cause) do update set until = greatest(stop.until, excluded.until),
			times = greatest(stop.times, excluded.times), reason = excluded.reason, trying = null`,
		connection, max(time.Since(r.Since), 0), max(time.Until(r.Until), 0), r.Times, store.Text(r.Why))
	return err
}
