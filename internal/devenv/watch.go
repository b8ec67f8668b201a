package devenv

import (
	"context"
	"fmt"
	"time"

	"patchbay/internal/fault"
)

const (
	look      = 250 * time.Millisecond // between two looks at the children
	firstWait = 500 * time.Millisecond // before a child that does not start is tried again
	maxWait   = 15 * time.Second
)

// Run watches the children until ctx ends and starts one that has ended again,
// on the same ports and data, as often as it takes. Each is reported by
// Progress. Patchbay itself goes on meanwhile: presses wait in their rows. Run
// must have returned before Close is called.
func (e *Env) Run(ctx context.Context) error {
	type retry struct {
		at   time.Time
		wait time.Duration
	}
	retries := map[string]retry{}
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, name := range order {
			s, runs := e.spec(name)
			if c, known := e.child(name); !runs || known && c.alive() {
				continue
			}
			r := retries[name]
			if time.Now().Before(r.at) {
				continue
			}
			if r.wait == 0 {
				e.options.Progress(s.title + " has ended; starting it again")
			}
			err := e.launch(ctx, s)
			switch {
			case ctx.Err() != nil:
				return nil
			case err == nil:
				delete(retries, name)
				e.options.Progress(s.title + " is back")
			default:
				r.wait = min(max(2*r.wait, firstWait), maxWait)
				r.at = time.Now().Add(r.wait)
				retries[name] = r
				e.options.Progress(fmt.Sprintf("%s; next try in %s", fault.Of(err).Text, r.wait))
			}
		}
	}
}

// spec gives what runs under the name.
func (e *Env) spec(name string) (spec, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok := e.specs[name]
	return s, ok
}
