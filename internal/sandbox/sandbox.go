// Package sandbox is the stand-in for the systems that flows talk to: Oracle
// Fusion, SAP, IBM's content services, SharePoint, Dataverse, Maersk, a credit bureau, core banking (tables of PostgreSQL), a model server, the identity
// provider and a mail server, speaking the vendors' documented wire protocols on tables of its own.
//
// The command `patchbay sandbox` runs it as a process with its own database, so
// that it survives a kill of Patchbay and can judge from outside: every call it
// answered is in a durable record. Connectors know nothing of it, and it knows
// nothing of them; the two share no code.
//
// It composes the sub-packages: storage (rows), seed (the first rows), faults,
// record, login, exchange (the way of a call), mail, and one package a system of
// HTTP. Another of those is one more line in systems().
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
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"patchbay/internal/sandbox/bank"
	"patchbay/internal/sandbox/bureau"
	"patchbay/internal/sandbox/dataverse"
	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/graph"
	"patchbay/internal/sandbox/ibm"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/maersk"
	"patchbay/internal/sandbox/mail"
	"patchbay/internal/sandbox/model"
	"patchbay/internal/sandbox/oracle"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/sap"
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
		// WebhookHosts are the hosts that webhooks may go to, besides this machine.
		WebhookHosts []string
		Logger       *zap.Logger
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
		crm       *dataverse.System
		regions   []*region
		model     *model.System
		maersk    *maersk.System
		files     *graph.System
		names     []string       // of the systems, in order
		products  []seed.Product // to try, on the index page
		lines     map[string]http.Handler
		tallies   map[string]*exchange.Tally // by system
		drop      *mail.Drop
		mailAt    atomic.Value // string: HOST:PORT of the mail server, once it listens
	}

	system struct {
		name    string
		handler exchange.System
	}
)

// roots are first segments of a path, one or two, that belong to one system alone.
// Some client libraries keep only the host of a base URL; they find the system there.
var roots = map[string]string{"dataverse": "api", "ibm": "content-services-graphql", "oracle": "fscmRestApi", "sap": "sap/opu"}

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
	s.maersk = maersk.New(s.authority, opts.Seed, opts.Speed, opts.WebhookHosts)
	s.products = seed.NewCatalogue(opts.Seed, min(opts.Products, 200)).Varied(6)
	s.env = dataverse.Build("dataverse", "883278f5-07af-45eb-a0bc-3fea67caa544", dataverse.Tables())
	for i, env := range dataverse.Regional() {
		s.regions = append(s.regions, &region{of: s, number: i, env: env, made: make(chan struct{})})
	}
	var err error
	if s.model, err = model.New(s.authority); err != nil {
		return nil, err
	}
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
		{"oracle", oracle.New(s.authority, s.store)},
		{"sap", sap.New(s.authority, s.store, s.opts.Seed, s.opts.Speed)},
		{s.env.Name, s.crm},
		{"ibm", ibm.New(s.authority, s.store, s.opts.Seed, s.opts.Speed)},
		{maersk.Name, s.maersk},
		{"graph", s.files},
		{"model", s.model},
		{bureau.Name, bureau.New(s.authority, s.opts.Speed, s.opts.Lean)},
		{"login", identity{s.authority}},
	}
}

// stored are the tables of the systems, which the seed fills.
func (s *Server) stored() []*storage.Table {
	list := slices.Concat(oracle.Tables(), sap.Tables(), ibm.Tables(), maersk.Tables(), graph.Tables(), bureau.Tables(), bank.Tables(), s.env.Stored())
	for _, r := range s.awake() {
		list = append(list, r.env.Stored()...)
	}
	return list
}

func (s *Server) prepare(ctx context.Context) error {
	tables := append(s.stored(), record.Calls, mail.Box, seeded, regionsMade)
	if err := s.store.Create(ctx, tables...); err != nil {
		return err
	}
	if err := s.seedOnce(ctx); err != nil {
		return err
	}
	drawn, err := s.ready(ctx)
	if err != nil {
		return err
	}
	s.crm = s.organisation(s.env, drawn)
	s.files = graph.New(s.authority, s.store, s.opts.Seed, s.opts.Speed, s.opts.Lean, s.opts.WebhookHosts)
	list := s.systems()
	for _, x := range list {
		s.names = append(s.names, x.name)
	}
	for _, r := range s.regions {
		s.names = append(s.names, r.env.Name)
	}
	s.names = append(s.names, mail.System)
	if !s.opts.Lean {
		if s.book, err = record.Open(ctx, s.store, s.names); err != nil {
			return err
		}
	}
	for _, name := range s.names {
		s.tallies[name] = &exchange.Tally{}
	}
	for _, x := range list {
		line := s.line(x.name, x.handler)
		s.lines[x.name] = line
		if root, ok := roots[x.name]; ok {
			bare := *line
			bare.Prefix = ""
			s.lines[root] = &bare
		}
	}
	for _, r := range s.regions {
		s.lines[r.env.Name] = r
	}
	if err := s.wakeMade(ctx); err != nil {
		return err
	}
	tally := s.tallies[mail.System]

	s.drop, err = mail.New(ctx, mail.Options{Store: s.store, Book: s.book, Count: tally.Add, Speed: s.opts.Speed, Log: s.opts.Logger})
	return err
}

func (s *Server) line(name string, system exchange.System) *exchange.Line {
	return &exchange.Line{Name: name, Prefix: "/" + name, System: system, Store: s.store, Book: s.book,
		Faults: s.faults, Tally: s.tallies[name], Log: s.opts.Logger}
}

func (s *Server) organisation(env *dataverse.Environment, drawn int64) *dataverse.System {
	return dataverse.New(env, s.authority, s.opts.Speed, s.opts.Lean, drawn, s.opts.WebhookHosts)
}

// Mail takes mail on the listener until ctx ends.
func (s *Server) Mail(ctx context.Context, listener net.Listener) error {
	s.mailAt.Store(listener.Addr().String())
	return s.drop.Serve(ctx, listener)
}

// Handler serves every system under its prefix, and the controls under
// /_sandbox/. Paths reach the systems as they were sent: no cleaning.
func (s *Server) Handler() http.Handler {
	controls := s.controls()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		second, _, _ := strings.Cut(rest, "/")
		line := s.lines[first+"/"+second]
		if line == nil {
			line = s.lines[first]
		}
		switch {
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
	group.Go(func() error { return s.Deliver(running) })
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

// Deliver sends the webhooks that are due, and moves what timers move, until ctx ends; Run does so by itself.
func (s *Server) Deliver(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	deliver := func(crm *dataverse.System) error {
		d := &dataverse.Deliverer{System: crm, Store: s.store, Book: s.book, Faults: s.faults, Log: s.opts.Logger}
		return d.Run(running)
	}
	group.Go(func() error { return deliver(s.crm) })
	group.Go(func() error {
		r := &maersk.Runner{System: s.maersk, Store: s.store, Book: s.book, Faults: s.faults, Log: s.opts.Logger}
		return r.Run(running)
	})
	group.Go(func() error {
		d := &graph.Deliverer{System: s.files, Name: "graph", Store: s.store, Book: s.book, Faults: s.faults, Log: s.opts.Logger}
		return d.Run(running)
	})
	for _, r := range s.regions {
		group.Go(func() error {
			select {
			case <-r.made:
				return deliver(r.crm)
			case <-running.Done():
				return nil
			}
		})
	}
	return group.Wait()
}

// Close ends the connections to the database.
func (s *Server) Close() { s.store.Close() }
