package main

import (
	"context"
	"sync"
	"time"
)

// apart is how long an item number rests before it is pressed again: longer than
// the bucket of share_identical, so that no two presses share a run.
const apart = 6 * time.Second

// shelf hands out item numbers. A contender has one of its own.
type shelf struct {
	mu    sync.Mutex
	items []string
	used  []time.Time
	at    int
}

func newShelf(items []string) *shelf {
	return &shelf{items: items, used: make([]time.Time, len(items))}
}

// next is the item number that has rested longest; false while none has rested
// long enough.
func (s *shelf) next() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.at % len(s.items)
	if time.Since(s.used[i]) < apart {
		return "", false
	}
	s.used[i] = time.Now()
	s.at++
	return s.items[i], true
}

// rest waits until there is one.
func (s *shelf) rest(ctx context.Context) error {
	s.mu.Lock()
	left := apart - time.Since(s.used[s.at%len(s.items)])
	s.mu.Unlock()
	return pause(ctx, left)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// round is what clients measured who pressed at the same time.
type round struct {
	took      []time.Duration // of every right answer
	failed    int
	failure   error         // the first
	answered  time.Duration // until the last answer
	completed time.Duration // until no run was open; as answered where the answer is the end
	writes    float64       // completed runs
	actions   float64       // Temporal's, all together
	stored    tables        // PostgreSQL's
	cpu       map[string]float64
	resident  map[string]int64
}

func (r round) answers() float64 { return float64(len(r.took)) / r.answered.Seconds() }
func (r round) written() float64 { return r.writes / r.completed.Seconds() }

// perPress spreads a cost over what was done, answered in time or not.
func (r round) perPress(value float64) float64 { return value / max(1, r.writes) }

func (r round) quantile(q float64) float64 { return milliseconds(quantile(r.took, q)) }

// crowd has clients press one after the other, each its own next product, for as
// long as told; it returns when all have their answers.
func crowd(ctx context.Context, b *button, clients int, lasting time.Duration, goods *shelf) (round, error) {
	if err := goods.rest(ctx); err != nil {
		return round{}, err
	}
	var mu sync.Mutex
	var r round
	var all sync.WaitGroup
	began := time.Now()
	for range clients {
		all.Go(func() {
			for time.Since(began) < lasting && ctx.Err() == nil {
				product, ok := goods.next()
				if !ok {
					return
				}
				pressed := time.Now()
				err := b.press(ctx, product)
				took := time.Since(pressed)
				mu.Lock()
				if err != nil {
					r.failed++
					if r.failure == nil {
						r.failure = err
					}
				} else {
					r.took = append(r.took, took)
				}
				mu.Unlock()
				if err != nil { // a refusal costs nothing; hammering would
					_ = pause(ctx, 50*time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	r.answered = time.Since(began)
	r.completed, r.writes = r.answered, float64(len(r.took))
	return r, ctx.Err()
}
