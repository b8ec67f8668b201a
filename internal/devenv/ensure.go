package devenv

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"patchbay/internal/fault"
)

// port is one port of a child.
type port struct {
	name   string // in the record
	wanted int    // 0: the last one, or any free one
	what   string // for people: "Temporal"
	flag   string // that changes it; empty when there is none
}

// ensure gets a child running: it adopts the one on record when that is healthy
// and was started with the same parameters, and ends it otherwise. build makes
// the spec from the ports in their order. A free port can be lost to another
// process before the child binds it, so free ones are tried three times.
func (e *Env) ensure(ctx context.Context, name string, ports []port, build func([]int) (spec, error)) error {
	began := time.Now()
	var failed error
	for try := range 3 {
		numbers, err := e.choose(ctx, name, ports, try > 0)
		if err != nil {
			return err
		}
		s, err := build(numbers)
		if err != nil {
			return err
		}
		adopted, err := e.adopt(ctx, s)
		if err != nil {
			return err
		}
		if adopted {
			e.options.Progress(s.title + " was still running")
			return nil
		}
		for i, p := range ports {
			if p.wanted == 0 {
				continue
			}
			if err := portFree(ctx, numbers[i], p.what, p.flag); err != nil {
				return err
			}
		}
		if failed = e.launch(ctx, s); failed == nil {
			e.options.Progress(fmt.Sprintf("%s is ready (%.1f s)", s.title, time.Since(began).Seconds()))
			return e.update(func(r *record) {
				for i, p := range ports {
					r.Ports[p.name] = numbers[i]
				}
			})
		}
		if !slices.ContainsFunc(ports, func(p port) bool { return p.wanted == 0 }) || ctx.Err() != nil {
			break
		}
	}
	return failed
}

// choose decides the ports. A wish is taken as it is; without one the last port
// is, when a child on record may still hold it or nobody does.
func (e *Env) choose(ctx context.Context, name string, ports []port, again bool) ([]int, error) {
	free, err := FreePorts(ctx, len(ports))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	last := e.record.Ports
	e.mu.Unlock()
	c, known := e.child(name)
	held := known && c.alive()
	numbers := make([]int, len(ports))
	for i, p := range ports {
		kept := last[p.name]
		switch {
		case p.wanted != 0:
			numbers[i] = p.wanted
		case kept != 0 && !again && (held || portFree(ctx, kept, p.what, p.flag) == nil):
			numbers[i] = kept
		default:
			numbers[i] = free[i]
		}
	}
	return numbers, nil
}

// adopt takes over the child on record, or ends it.
func (e *Env) adopt(ctx context.Context, s spec) (bool, error) {
	c, known := e.child(s.name)
	if !known {
		return false, nil
	}
	if c.alive() && c.Parameters == s.parameters() {
		soon, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if await(soon, s.title, c.alive, s.ready) == nil {
			e.running(s)
			return true, nil
		}
	}
	stop, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return false, e.endOne(stop, s.name)
}

// launch starts the child and waits until it is ready; when it does not get so,
// it is ended again.
func (e *Env) launch(ctx context.Context, s spec) error {
	log, err := openLog(e.dir, s.name)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	id, err := launch(s, log, func(id identity) error {
		return e.update(func(r *record) {
			r.Children = append(slices.DeleteFunc(r.Children, func(c child) bool { return c.Name == s.name }),
				child{Name: s.name, identity: id, Parameters: s.parameters()})
		})
	})
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	if err := await(waiting, s.title, id.alive, s.ready); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = e.endOne(stop, s.name) // the reason why it did not start matters more
		f := fault.Of(err)
		return fault.New(f.Class, f.Code, f.Text+"; its log is "+logPath(e.dir, s.name), err)
	}
	e.running(s)
	return nil
}

func (e *Env) running(s spec) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.specs[s.name] = s
}

// stopSignal is what makes a child stop in good order. PostgreSQL takes SIGTERM
// as a wish to wait for its clients.
func stopSignal(name string) syscall.Signal {
	if name == postgres {
		return syscall.SIGINT
	}
	return syscall.SIGTERM
}
