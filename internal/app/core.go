package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"patchbay/activities"
	"patchbay/flows"
	"patchbay/internal/alert"
	"patchbay/internal/claimcheck"
	"patchbay/internal/decision"
	"patchbay/internal/durable"
	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
	"patchbay/internal/journal"
	"patchbay/internal/paid"
	"patchbay/internal/quota"
	"patchbay/internal/replica"
	"patchbay/internal/review"
	"patchbay/internal/run"
	"patchbay/internal/shadow"
	"patchbay/internal/slot"
	"patchbay/internal/stage"
	"patchbay/internal/stop"
	"patchbay/internal/store"
	"patchbay/internal/telemetry"
	"patchbay/internal/topic"
	"patchbay/starters"
	"patchbay/workers"
)

type (
	// Settings are what every process of a Patchbay needs to know.
	Settings struct {
		Database  string  // URL of the application role
		Temporal  string  // HOST:PORT; empty: the SDK's environment configuration
		Namespace string  // empty: "default"
		Speed     float64 // divides durations; 1 is real time
		Region    string  // whose synchronizations this process carries out, and whose connections it dials besides those of no region; empty: none
		// CapsuleKey signs what was decided; the zero one: hybrid runs wait until there is one.
		CapsuleKey CapsuleKey
		// Queues are those that dev takes tasks from, as `patchbay worker --queues`; none: all.
		Queues []string
		// Computing is how many computations that nobody waits for the fleet does at a time; 0: 2.
		Computing int
		Solo      bool // no other process works on the database
		Resolve   func(text string) (string, error)
		Log       *zap.Logger
		Metrics   *telemetry.Metrics
	}

	// core is what every process stands on. Whoever opened it closes it.
	core struct {
		Settings
		store     *store.Store
		plans     *run.Plans
		book      *run.Book
		journal   *journal.Journal
		inbox     *inbox.Inbox
		topics    *topic.Topics
		board     *alert.Board
		mappers   *mappers
		systems   *systems
		quotas    *quota.Quotas
		checks    *claimcheck.Checks
		stops     *stop.Stops
		paid      *paid.Paid
		computed  *paid.Computed
		shadows   *shadow.Shadows
		stage     *stage.Stage
		slots     *slot.Ledger
		reviews   *review.Reviews
		decisions *decision.Decisions
		egress    *egress.Egress
		replica   *replica.Replica
		mirrors   *mirrors
		roots     *x509.CertPool // of servers whose certificates are looked at; nil: the system's
		giveBack  func()         // of the quotas, within seconds: what is not given back lapses
		temporal  client.Client
	}
)

// open connects the database, which must answer, and prepares the client of
// Temporal, which need not: presses are accepted without it.
func open(ctx context.Context, s Settings) (*core, error) {
	spareCollector()
	if s.Namespace == "" {
		s.Namespace = "default"
	}
	db, err := store.Open(ctx, s.Database, store.Options{})
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", s.located(err))
	}
	temporal, err := durable.Dial(ctx, durable.Options{Address: s.Temporal, Namespace: s.Namespace, Logger: s.Log, Metrics: s.Metrics.Temporal()})
	if err != nil {
		db.Close()
		return nil, err
	}
	if err := s.claim(ctx, db); err != nil {
		temporal.Close()
		db.Close()
		return nil, err
	}
	plans := run.NewPlans(db)
	expressions := &mappers{}
	systems := newSystems(plans, expressions, registry(), s.Resolve, s.Speed)
	systems.region = s.Region
	quotas := quota.New(db, quota.Options{Speed: s.Speed})
	systems.quotas = quotas
	checks := claimcheck.New(db)
	systems.checks = checks
	stops := stop.New(db, stop.Options{Speed: s.Speed, Say: s.resting})
	systems.stops = stops
	border := egress.New(db)
	border.Keep = time.Minute
	known := replica.New(db, border)
	return &core{
		Settings:  s,
		egress:    border,
		replica:   known,
		mirrors:   &mirrors{systems: systems, replica: known, border: border, resolve: s.Resolve, speed: s.Speed, region: s.Region, log: s.Log, bells: &bells{store: db, replica: known}},
		board:     alert.New(db, s.Speed),
		inbox:     inbox.New(db, plans, judges{expressions}, inbox.Options{Speed: s.Speed, Forecast: forecast(plans, quotas)}),
		topics:    topic.New(db, plans),
		mappers:   expressions,
		systems:   systems,
		quotas:    quotas,
		checks:    checks,
		stops:     stops,
		paid:      paid.New(db, paid.Options{Speed: s.Speed}),
		computed:  paid.NewComputed(db),
		shadows:   shadow.New(db),
		stage:     stage.New(db),
		slots:     slot.New(db),
		reviews:   review.New(db),
		decisions: decision.New(db, s.CapsuleKey.private),
		giveBack:  func() { quotas.Close(context.WithoutCancel(ctx)) },
		store:     db,
		plans:     plans,
		book:      run.NewBook(db, plans, run.Options{Solo: s.Solo, Closed: s.closed, Slots: workers.Slots, Computing: s.Computing, Stops: stops}),
		journal:   journal.New(db),
		temporal:  temporal,
	}, nil
}

// claim makes the database the region's own, or finds that it is: a process that was
// told another region than the one that the rows are of would move them across a border.
func (s Settings) claim(ctx context.Context, db *store.Store) error {
	if s.Region == "" {
		return nil
	}
	of, err := db.Setting(ctx, "region", func() []byte { return []byte(s.Region) })
	if err != nil {
		return fmt.Errorf("asking whose database it is: %w", err)
	}
	if string(of) != s.Region {
		return fault.New(fault.Conflict, "region.other", "the database belongs to region "+string(of)+"; this process was told --region "+s.Region, nil)
	}
	return nil
}

// spareCollector lets the heap grow to three times what is in use before it is
// collected: that is a few dozen megabytes here, and under load a tenth of all
// work. GOGC, where it is set, decides.
func spareCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}

// located adds to a fault of a server that does not answer where it was sought:
// host and port, and nothing else of an address.
func (s Settings) located(err error) error {
	f := fault.Of(err)
	switch {
	case err == nil || strings.Contains(f.Text, " at "):
	case f.Code == "store.unavailable":
		if c, wrong := pgx.ParseConfig(s.Database); wrong == nil {
			return fault.New(f.Class, f.Code, f.Text+" at "+net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), err)
		}
	case f.Code == "temporal.unavailable" && s.Temporal != "":
		return fault.New(f.Class, f.Code, f.Text+" at "+s.Temporal, err)
	}
	return err
}

// resting says in the log that a system is left in peace, and that it is back.
func (s Settings) resting(connection string, resting bool, why string) {
	if resting {
		s.Log.Warn("a connection rests: its system does not answer", zap.String("connection", connection), zap.String("why", why))
		return
	}
	s.Log.Info("a connection is in use again", zap.String("connection", connection))
}

// closed counts the end of a run; it belongs to no request.
func (s Settings) closed(name string, status flow.Status, took time.Duration) {
	s.Metrics.RunClosed(name, string(status), took)
}

func (c *core) close() {
	c.mirrors.close()
	c.temporal.Close()
	c.giveBack()
	c.store.Close()
}

// withBook runs f with a book that is at work until f has returned: what is under
// way when ctx ends is still recorded.
func (c *core) withBook(ctx context.Context, f func(context.Context) error) error {
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	parts, base := errgroup.WithContext(base)
	parts.Go(func() error { return c.book.Run(base) })
	parts.Go(func() error { return c.stops.Run(base, c.book.Look) })
	parts.Go(func() error {
		defer end()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(base, cancel)()
		return f(ctx)
	})
	return parts.Wait()
}

// What one run of a consolidation reads and writes at a time: more than one of each, so
// that one waits for the network while another is decoded, and few, for each holds a
// page or a chunk in memory.
const (
	sourcesAtOnce = 3
	chunksAtOnce  = 2
	// A model takes its time for each question.
	questionsAtOnce = 8
)

// set builds the activities of the main queue.
func (c *core) set() activities.Set {
	set := activities.NewSet(c.plans, c.systems, c.mappers, c.book)
	set.Reader.Events = c.topics
	set.Canary = &activities.Canary{Store: c.store}
	set.Consolidator = &activities.Consolidator{Plans: c.plans, Runs: c.book, Slots: c.schedules(), Stops: c.stops, Counts: c.stage, Parallel: sourcesAtOnce}
	set.Advisor = &activities.Advisor{Plans: c.plans, Runs: c.book, Customers: c.stage, Adviser: adviser{c.mappers, c.systems}, Proposals: c.reviews,
		Writer: &activities.Writer{Plans: c.plans, Target: c.systems, Effects: c.book, Runs: c.book, Step: activities.AdviseStep}, Parallel: questionsAtOnce}
	set.Extractor = &activities.Extractor{Plans: c.plans, Runs: c.book, Sheets: c.systems, Staging: c.stage, Patience: time.Duration(float64(patience) / max(c.Speed, 1))}
	set.Joiner = &activities.Joiner{Plans: c.plans, Runs: c.book, Joining: joins{c.stage, c.systems}, Turns: c.slots}
	set.Deliverer = &activities.Deliverer{Plans: c.plans, Runs: c.book, Effects: c.book, Outputs: c.stage, Counts: c.stage, Target: c.systems, Parallel: chunksAtOnce}
	set.Tasker = &activities.Tasker{Plans: c.plans, Source: c.systems, Mapper: c.mappers, Steps: sagas{c.mappers}, Target: c.systems, Look: c.systems, Runs: c.book, Effects: c.book, Events: c.topics,
		Rulings: rulings{c.mappers}, Decisions: c.decisions, Documents: c.systems, Collects: sources{c.systems, c.paid}, Computations: outputs{c.computed, hosted()}, Shadows: c.shadows}
	set.Synchronizer = &activities.Synchronizer{Plans: c.plans, Mirrors: c.mirrors, Round: mirrorRound}
	return set
}

// sweeper looks for what no delivery told. It belongs beside a worker, which has the
// secrets of the systems.
func (c *core) sweeper() *starters.Sweeper {
	return starters.NewSweeper(c.plans, forgetful{c.inbox, c.paid}, c.systems, c.Log)
}

// forgetful is an inbox with which paid answers are erased when their time is over.
type forgetful struct {
	*inbox.Inbox
	paid *paid.Paid
}

func (f forgetful) Forget(ctx context.Context) (bool, error) {
	more, err := f.Inbox.Forget(ctx)
	return more, errors.Join(err, f.paid.Forget(ctx))
}

// follower reads what systems tell of by themselves. It belongs beside the sweeper.
func (c *core) follower() *starters.Follower {
	return starters.NewFollower(c.plans, c.inbox, tails{c.systems, c.store}, c.Log)
}

// listen hears what webhooks tell of the tables that a synchronization follows.
func (c *core) listen(ctx context.Context) {
	if c.Region != "" {
		c.mirrors.bells.run(ctx)
	}
}

// catalogue serves the flows in force to the API and the console.
type catalogue struct{ plans *run.Plans }

func (c catalogue) Flows(ctx context.Context) ([]flow.Applied, error) { return c.plans.List(ctx) }

func (c catalogue) Flow(ctx context.Context, name string) (flow.Applied, error) {
	all, err := c.plans.List(ctx)
	if err != nil {
		return flow.Applied{}, err
	}
	if i := slices.IndexFunc(all, func(a flow.Applied) bool { return a.Plan.Flow == name }); i >= 0 {
		return all[i], nil
	}
	_, _, err = c.plans.Current(ctx, name) // says what is unknown, and what may be meant
	return flow.Applied{}, err
}

// Logger logs JSON for machines, or lines for people, to w; verbose shows more
// than warnings.
func Logger(w io.Writer, json, verbose bool) *zap.Logger {
	level := zapcore.WarnLevel
	if verbose {
		level = zapcore.InfoLevel
	}
	return telemetry.NewLogger(w, json, level)
}

// Examples are the flow files in the binary.
func Examples() fs.FS { return flows.Files }

// Build is the build ID of this program, as Temporal knows it.
func Build() string { return workers.Build() }
