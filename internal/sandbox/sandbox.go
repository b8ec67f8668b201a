// Package sandbox is the stand-in for the systems that flows talk to: Oracle
// Fusion, Dataverse and the identity provider, speaking the vendors' documented
// wire protocols on tables of its own.
//
// The command `patchbay sandbox` runs it as a process with its own database, so
// that it survives a kill of Patchbay and can judge from outside: every call it
// answered is in a durable record. Connectors know nothing of it, and it knows
// nothing of them; the two share no code.
//
// It composes the sub-packages: storage (rows), seed (the first rows), faults,
// record, login, exchange (the way of a call) and one package a system. Another
// system is one more line in systems().
//
// Invariants: an answer is sent after its entry and effects are committed; lean
// mode has the same wire and neither limits nor record; GET /_sandbox/counts says
// in both modes how often each operation of a system was called. It imports pgx (through
// storage) and zap, nothing else of Patchbay.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"patchbay/internal/sandbox/dataverse"
	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/oracle"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/seed"
	"patchbay/internal/sandbox/storage"
)

// DefaultSeed is the seed of everything the sandbox begins with.
const DefaultSeed = 20251102

type (
	// Options describe a sandbox. DatabaseURL is required unless Lean. Speed
	// shortens token lifetimes and limit windows; 0 is 1. Seed 0 is DefaultSeed.
	// Products 0 is the whole catalogue; tests take a smaller one.
	Options struct {
		DatabaseURL string
		Lean        bool
		Speed       float64
		Seed        uint64
		Products    int
		Logger      *zap.Logger
	}

	// Server is a sandbox with its rows in place. It is safe for concurrent use;
	// whoever made it closes it.
	Server struct {
		opts      Options
		store     storage.Store
		book      *record.Book // nil when lean
		faults    *faults.Board
		authority *login.Authority
		env       *dataverse.Environment
		names     []string       // of the systems, in order
		products  []seed.Product // to try, on the index page
		lines     map[string]http.Handler
		tallies   map[string]*exchange.Tally // by system
	}

	system struct {
		name    string
		handler exchange.System
	}
)

// roots are first segments that belong to one system alone. Some client libraries
// keep only the host of a base URL; they find the system there.
var roots = map[string]string{"dataverse": "api", "oracle": "fscmRestApi"}

// New opens the store, makes what is missing in it and seeds it once.
func New(ctx context.Context, opts Options) (*Server, error) {
	if opts.Speed <= 0 {
		opts.Speed = 1
	}
	if opts.Seed == 0 {
		opts.Seed = DefaultSeed
	}
	if opts.Products <= 0 {
		opts.Products = seed.Products
	}
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	s := &Server{opts: opts, faults: faults.New(opts.Seed), authority: login.New(opts.Seed, opts.Speed), lines: map[string]http.Handler{},
		tallies: map[string]*exchange.Tally{}}
	s.products = seed.NewCatalogue(opts.Seed, min(opts.Products, 200)).Varied(6)
	s.env = dataverse.Build("dataverse", "883278f5-07af-45eb-a0bc-3fea67caa544", dataverse.Tables())
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		s.store.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	if s.opts.Lean {
		s.store = storage.NewMemory()
		return nil
	}
	if s.opts.DatabaseURL == "" {
		return errors.New("the sandbox needs a database: give --database URL, or --lean")
	}
	store, err := storage.OpenPostgres(ctx, s.opts.DatabaseURL)
	if err != nil {
		return err
	}
	s.store = store
	return nil
}

// systems are the stand-ins; the name is the prefix of the path.
func (s *Server) systems() []system {
	return []system{
		{"oracle", oracle.New(s.authority)},
		{s.env.Name, dataverse.New(s.env, s.authority, s.opts.Speed, s.opts.Lean)},
		{"login", identity{s.authority}},
	}
}

func (s *Server) prepare(ctx context.Context) error {
	tables := append(append(oracle.Tables(), s.env.Stored()...), record.Calls, seeded)
	if err := s.store.Create(ctx, tables...); err != nil {
		return err
	}
	if err := s.seedOnce(ctx); err != nil {
		return err
	}
	list := s.systems()
	for _, x := range list {
		s.names = append(s.names, x.name)
	}
	if !s.opts.Lean {
		var err error
		if s.book, err = record.Open(ctx, s.store, s.names); err != nil {
			return err
		}
	}
	for _, x := range list {
		s.tallies[x.name] = &exchange.Tally{}
		line := exchange.Line{Name: x.name, Prefix: "/" + x.name, System: x.handler, Store: s.store, Book: s.book,
			Faults: s.faults, Tally: s.tallies[x.name], Log: s.opts.Logger}
		s.lines[x.name] = &line
		if root, ok := roots[x.name]; ok {
			bare := line
			bare.Prefix = ""
			s.lines[root] = &bare
		}
	}
	return nil
}

// Handler serves every system under its prefix, and the controls under
// /_sandbox/. Paths reach the systems as they were sent: no cleaning.
func (s *Server) Handler() http.Handler {
	controls := s.controls()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch line := s.lines[first]; {
		case line != nil:
			line.ServeHTTP(w, r)
		case first == "_sandbox":
			controls.ServeHTTP(w, r)
		case r.URL.Path == "/":
			http.Redirect(w, r, "/_sandbox/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	})
}

// Run serves on the listener until ctx ends, then finishes what it has begun.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: zap.NewStdLog(s.opts.Logger), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the sandbox: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-running.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(last); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}

// Close ends the connections to the database.
func (s *Server) Close() { s.store.Close() }
