package devenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

type (
	// Options say what to run and where. A port of 0 is the one used last time, or
	// any free one.
	Options struct {
		Dir          string  // data, record and logs
		HTTP         string  // HOST:PORT of the API, on loopback; empty: nobody listens
		Fresh        bool    // begin with empty data
		Speed        float64 // of the sandbox's limits; 0 is 1
		Lean         bool    // the sandbox keeps nothing and limits nothing
		Database     string  // URL of a PostgreSQL that is there; empty: a private cluster
		Temporal     string  // HOST:PORT of a Temporal that is there; empty: a development server
		TemporalPort int
		UIPort       int
		SandboxPort  int
		SMTPPort     int           // of the sandbox's mail server
		Regions      []string      // each gets a Temporal server and, from RunRegion, a process of its own
		Executable   string        // runs `sandbox`; empty: this program's own file
		Silence      time.Duration // after which a child that runs and does not answer is started anew; 0: 20 s
		Progress     func(string)  // told one line at a time, from several goroutines; may be nil
		Scratch      bool          // for tests: no sandbox and no UI; nothing is synced to disk or kept
	}

	// Env is a running environment. Its methods may be called from any goroutine.
	Env struct {
		options Options
		dir     string // absolute
		ours    bool   // nothing but an environment has used dir
		cluster string // where the private PostgreSQL cluster is, or would be
		lock    *os.File
		// listener is of the API. It is bound here, after the lock and before any
		// child, so that one look finds everything that is in the way.
		listener net.Listener
		made     bool        // this start made the cluster
		doubted  chan string // children that do not work whatever they answer

		mu     sync.Mutex // guards what follows
		record record
		specs  map[string]spec // of the children that run
	}
)

// The kinds of children. Those of a region are named KIND-REGION.
const (
	postgres = "postgres"
	temporal = "temporal"
	sandbox  = "sandbox"
	region   = "region"

	// Postgres and Temporal name children to Doubt.
	Postgres = postgres
	Temporal = temporal
)

// order is the one in which children start; they stop in the reverse one.
var order = []string{postgres, temporal, sandbox, region}

// kind is what a child of a name is.
func kind(name string) string {
	k, _, _ := strings.Cut(name, "-")
	return k
}

// Start starts the environment, or takes over what a killed Patchbay left, and
// returns when all of it is ready. When it fails nothing keeps running. The
// caller calls Run to have the children watched, and Close.
func Start(ctx context.Context, o Options) (*Env, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if o.HTTP != "" {
		if _, _, err := loopback(o.HTTP); err != nil {
			return nil, err
		}
	}
	ours, err := makeDir(dir)
	if err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	held, err := lock(dir)
	if err != nil {
		return nil, err
	}
	found, err := readRecord(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, release(held)) // nothing was begun, and the file stays for a person to read
	}
	e := &Env{options: o, dir: dir, ours: ours, lock: held, specs: map[string]spec{}, doubted: make(chan string, 1)}
	if err := e.start(ctx, found); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		ended := e.end(stop)
		if ended == nil {
			ended = e.unmake()
		}
		return nil, errors.Join(err, ended, release(held))
	}
	return e, nil
}

func (e *Env) start(ctx context.Context, found record) error {
	e.cluster = clusterDir(e.dir, found.Cluster)
	e.record = found
	e.record.Info = Info{Cluster: found.Cluster, Speed: e.options.Speed}
	e.record.PID = os.Getpid()
	if err := errors.Join(e.restrict(), e.bind(ctx)); err != nil {
		return err
	}
	if e.options.Fresh {
		if err := e.wipe(ctx); err != nil {
			return err
		}
	}
	if err := e.endStrays(ctx); err != nil {
		return err
	}
	servers, starting := errgroup.WithContext(ctx)
	servers.Go(func() error { return e.startPostgres(starting) })
	servers.Go(func() error { return e.startTemporal(starting) })
	for _, name := range e.options.Regions {
		servers.Go(func() error { return e.startRegionTemporal(starting, name) })
	}
	if err := servers.Wait(); err != nil {
		return err
	}
	if !e.options.Scratch {
		if err := e.startSandbox(ctx); err != nil {
			return err
		}
	}
	return e.update(func(*record) {})
}

// wipe ends what runs and removes what was kept: the names that this package
// makes, nothing else that a directory may hold.
func (e *Env) wipe(ctx context.Context) error {
	stop, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := e.endAll(stop); err != nil {
		return err
	}
	paths := []string{e.cluster, filepath.Join(e.dir, "log"), e.passfile(), filepath.Join(e.dir, RecordFile)}
	files, err := filepath.Glob(filepath.Join(e.dir, temporalFiles))
	if err != nil {
		return err
	}
	for _, path := range append(paths, files...) {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("removing the old data: %w", err)
		}
	}
	return nil
}

// Info tells where everything is.
func (e *Env) Info() Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.record.Info
}

// Listener is where the API listens, when Options named an address. Close closes
// it, unless its server has.
func (e *Env) Listener() net.Listener { return e.listener }

// OpenLog opens the log that Patchbay itself keeps beside those of the children.
func (e *Env) OpenLog() (*os.File, error) { return openLog(e.dir, "patchbay") }

// Dir is the absolute directory of the environment.
func (e *Env) Dir() string { return e.dir }

// PIDs are the processes of the children, by name.
func (e *Env) PIDs() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	pids := map[string]int{}
	for _, c := range e.record.Children {
		pids[c.Name] = c.PID
	}
	return pids
}

// Announce puts the address of the API on record, for the other commands.
func (e *Env) Announce(httpURL string) error {
	return e.update(func(r *record) { r.HTTP = httpURL })
}

// Close stops the children, the last first, and gives up the directory. Children
// that have not stopped when ctx ends are killed.
func (e *Env) Close(ctx context.Context) error { return errors.Join(e.end(ctx), release(e.lock)) }

func (e *Env) end(ctx context.Context) error {
	err := e.endAll(ctx)
	err = errors.Join(err, e.update(func(r *record) { r.Info = Info{Cluster: r.Cluster} }))
	if err == nil && e.options.Scratch {
		err = os.RemoveAll(e.cluster)
	}
	if e.listener != nil {
		_ = e.listener.Close() // closed twice where a server had it; the second changes nothing
	}
	return err
}

// endAll ends every child on record: those of one kind together, whatever becomes of
// the others.
func (e *Env) endAll(ctx context.Context) error {
	var failed error
	for _, k := range slices.Backward(order) {
		failed = errors.Join(failed, e.endThose(ctx, func(name string) bool { return kind(name) == k }))
	}
	return failed
}

// endThose ends the children on record that are meant.
func (e *Env) endThose(ctx context.Context, meant func(name string) bool) error {
	e.mu.Lock()
	children := e.record.Children
	e.mu.Unlock()
	var ending errgroup.Group // without a context: no failure keeps another child alive
	for _, c := range children {
		if meant(c.Name) {
			ending.Go(func() error { return e.endOne(ctx, c.Name) })
		}
	}
	return ending.Wait()
}

// endStrays ends what a killed Patchbay left and nobody will take over: processes of
// regions, whose passwords are new with each start, and what belongs to regions that
// are not wanted any more.
func (e *Env) endStrays(ctx context.Context) error {
	stop, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return e.endThose(stop, func(name string) bool {
		_, of, regional := strings.Cut(name, "-")
		return regional && (kind(name) == region || !slices.Contains(e.options.Regions, of))
	})
}

func (e *Env) endOne(ctx context.Context, name string) error {
	c, known := e.child(name)
	if !known {
		return nil
	}
	offspring := c.offspring()
	if err := c.end(ctx, stopSignal(name)); err != nil {
		return fmt.Errorf("stopping %s: %w", name, err)
	}
	// What a killed child had started is to go with it: one that is frozen would
	// hold on to what the next one needs, as a backend of PostgreSQL does.
	for _, p := range offspring {
		p.signal(syscall.SIGKILL)
	}
	return e.update(func(r *record) {
		r.Children = slices.DeleteFunc(r.Children, func(c child) bool { return c.Name == name })
	})
}

func (e *Env) child(name string) (child, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.record.Children, func(c child) bool { return c.Name == name })
	if i < 0 {
		return child{}, false
	}
	return e.record.Children[i], true
}

// update changes the record and writes it.
func (e *Env) update(change func(*record)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.record.Children = slices.Clone(e.record.Children)
	e.record.Ports = maps.Clone(e.record.Ports)
	e.record.Regions = maps.Clone(e.record.Regions)
	change(&e.record)
	return e.record.write(e.dir)
}
