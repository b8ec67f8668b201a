package app

import (
	"context"
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
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/journal"
	"patchbay/internal/run"
	"patchbay/internal/store"
	"patchbay/internal/telemetry"
	"patchbay/workers"
)

type (
	// Settings are what every process of a Patchbay needs to know.
	Settings struct {
		Database  string  // URL of the application role
		Temporal  string  // HOST:PORT; empty: the SDK's environment configuration
		Namespace string  // empty: "default"
		Speed     float64 // divides durations; 1 is real time
		Solo      bool    // no other process works on the database
		Resolve   func(text string) (string, error)
		Log       *zap.Logger
		Metrics   *telemetry.Metrics
	}

	// core is what every process stands on. Whoever opened it closes it.
	core struct {
		Settings
		store    *store.Store
		plans    *run.Plans
		book     *run.Book
		journal  *journal.Journal
		temporal client.Client
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
	plans := run.NewPlans(db)
	return &core{
		Settings: s,
		store:    db,
		plans:    plans,
		book:     run.NewBook(db, plans, run.Options{Solo: s.Solo, Closed: s.closed, Slots: workers.Slots}),
		journal:  journal.New(db),
		temporal: temporal,
	}, nil
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
func (s Settings) resting(connection string, resting bool) {
	if resting {
		s.Log.Warn("a connection rests: its system does not answer", zap.String("connection", connection))
		return
	}
	s.Log.Info("a connection is in use again", zap.String("connection", connection))
}

// closed counts the end of a run; it belongs to no request.
func (s Settings) closed(name string, status flow.Status, took time.Duration) {
	s.Metrics.RunClosed(name, string(status), took)
}

func (c *core) close() {
	c.temporal.Close()
	c.store.Close()
}

// withBook runs f with a book that is at work until f has returned: what is under
// way when ctx ends is still recorded.
func (c *core) withBook(ctx context.Context, f func(context.Context) error) error {
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	parts, base := errgroup.WithContext(base)
	parts.Go(func() error { return c.book.Run(base) })
	parts.Go(func() error {
		defer end()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(base, cancel)()
		return f(ctx)
	})
	return parts.Wait()
}

// set builds the activities of the main queue.
func (c *core) set() activities.Set {
	expressions := &mappers{}
	systems := newSystems(c.plans, expressions, registry(), c.Resolve, c.Speed)
	systems.resting = c.resting
	set := activities.NewSet(c.plans, systems, expressions, c.book)
	set.Canary = &activities.Canary{Store: c.store}
	return set
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
