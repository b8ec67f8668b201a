package devenv

import (
	"context"
	"fmt"
	"sync"
	"time"

	"patchbay/internal/fault"
)

const (
	look      = 250 * time.Millisecond // between two looks at the children
	firstWait = 500 * time.Millisecond // before a child that does not start is tried again
	maxWait   = 15 * time.Second
	// A child is asked whether it works: one that runs and gives no answer is as
	// good as dead, and nobody else would notice.
	askEvery   = 2 * time.Second
	askTimeout = 3 * time.Second
	silence    = 20 * time.Second // without an answer; then it is started anew
	mostMissed = 3                // answers besides: it may be we who slept
	trust      = time.Minute      // for a child that was started anew on somebody's doubt
	lastWords  = 2 * time.Second  // for such a child to end by itself
)

type (
	// ward is what Run knows of one child.
	ward struct {
		retryAt time.Time     // it has ended and did not start again: not before this
		wait    time.Duration // before the next try
		asking  bool
		askedAt time.Time
		silent  time.Time     // since when it has not answered; zero: it has
		missed  int           // answers since then
		doubts  chan struct{} // somebody has one
		doubted time.Time     // when it was last ended on somebody's doubt
	}

	// answer is what a child said when it was asked whether it works.
	answer struct {
		who identity
		err error
	}
)

// Run watches the children until ctx ends, each by itself: none waits for another to
// come back. One that has ended is started again, on the same ports and data, as often
// as it takes; one that runs and has not answered for Silence is ended, and so started
// again; so is one that was doubted. Each is reported by Progress. Patchbay itself goes
// on meanwhile: presses wait in their rows. Run must have returned before Close is
// called, and knows of the regions that run when it begins.
func (e *Env) Run(ctx context.Context) error {
	wards := map[string]*ward{}
	e.mu.Lock()
	for name := range e.specs {
		wards[name] = &ward{doubts: make(chan struct{}, 1)}
	}
	e.mu.Unlock()
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for name, w := range wards {
		watching.Go(func() { e.watch(ctx, name, w) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case name := <-e.doubted:
			w, known := wards[name]
			if !known {
				continue
			}
			select {
			case w.doubts <- struct{}{}:
			default:
			}
		}
	}
}

// watch looks after one child until ctx ends.
func (e *Env) watch(ctx context.Context, name string, w *ward) {
	var asking sync.WaitGroup
	defer asking.Wait()
	answers := make(chan answer, 1) // a child is asked one thing at a time
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-answers:
			e.hear(ctx, name, w, a)
			continue
		case <-w.doubts:
			e.judge(ctx, name, w)
			continue
		case <-ticker.C:
		}
		s, _ := e.spec(name)
		switch c, known := e.child(name); {
		case known && c.alive():
			w.ask(ctx, &asking, answers, s, c.identity)
		case time.Now().After(w.retryAt):
			e.revive(ctx, w, s)
		}
	}
}

// ask lets the child say whether it works; the answer comes by the channel.
func (w *ward) ask(ctx context.Context, running *sync.WaitGroup, answers chan<- answer, s spec, who identity) {
	if w.asking || time.Since(w.askedAt) < askEvery {
		return
	}
	w.asking, w.askedAt = true, time.Now()
	running.Go(func() {
		soon, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		answers <- answer{who: who, err: s.ready(soon)}
	})
}

// hear ends a child that has been silent for too long.
func (e *Env) hear(ctx context.Context, name string, w *ward, a answer) {
	w.asking = false
	c, known := e.child(name)
	switch {
	case ctx.Err() != nil || !known || c.identity != a.who:
		return
	case a.err == nil:
		w.silent, w.missed = time.Time{}, 0
		return
	case w.silent.IsZero():
		w.silent = time.Now()
	}
	w.missed++
	most := e.options.Silence
	if most <= 0 {
		most = silence
	}
	if time.Since(w.silent) < most || w.missed < mostMissed {
		return
	}
	s, _ := e.spec(name)
	e.options.Progress(fmt.Sprintf("%s runs and has not answered for %s; ending it", s.title, time.Since(w.silent).Round(time.Second)))
	e.finish(ctx, name)
}

// Doubt says that a child does not work, though it may run and answer: Run starts
// it anew, at most once a minute. It does not block, and says nothing of a child
// that does not run.
func (e *Env) Doubt(name string) {
	select {
	case e.doubted <- name:
	default:
	}
}

// judge ends a child that is doubted.
func (e *Env) judge(ctx context.Context, name string, w *ward) {
	s, runs := e.spec(name)
	if c, known := e.child(name); !runs || !known || !c.alive() || time.Since(w.doubted) < trust {
		return
	}
	w.doubted = time.Now()
	e.options.Progress(s.title + " runs and does not work; ending it")
	e.finish(ctx, name)
}

// finish ends a child, so that the next look starts it again.
func (e *Env) finish(ctx context.Context, name string) {
	soon, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	if err := e.endOne(soon, name); err != nil {
		e.options.Progress(fault.Of(err).Text)
	}
}

// revive starts a child that has ended.
func (e *Env) revive(ctx context.Context, w *ward, s spec) {
	if w.wait == 0 {
		e.options.Progress(s.title + " has ended; starting it again")
	}
	err := e.launch(ctx, s)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		*w = ward{asking: w.asking, doubts: w.doubts, doubted: w.doubted}
		e.options.Progress(s.title + " is back")
	default:
		w.wait = min(max(2*w.wait, firstWait), maxWait)
		w.retryAt = time.Now().Add(w.wait)
		e.options.Progress(fmt.Sprintf("%s; next try in %s", fault.Of(err).Text, w.wait))
	}
}

// spec gives what runs under the name.
func (e *Env) spec(name string) (spec, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok := e.specs[name]
	return s, ok
}
