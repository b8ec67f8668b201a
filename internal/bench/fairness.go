package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	waiting   = 5000 // presses of one user
	samples   = 25   // presses of the other
	fillLimit = 40 * time.Second
	turnLimit = 25 * time.Second
	// slowSource is what Oracle takes in the second setting. A system that answers
	// in a millisecond is none that anybody waits for.
	slowSource = 100 * time.Millisecond
)

// fairness lets one user's presses pile up and measures another user's, beside
// the same presses on an idle system.
func fairness(ctx context.Context, env *environment, _ options) error {
	in, err := env.install(ctx, env.sandbox)
	if err != nil {
		return err
	}
	defer in.stop()
	person := of(in.api, queued, personKey)
	goods := newShelf(env.products)
	settings := []struct {
		name    string
		latency time.Duration
		idle    []time.Duration
	}{{name: fmt.Sprintf("a source that takes %s", slowSource), latency: slowSource}, {name: "the lean sandbox as it is"}}
	for i := range settings {
		s := &settings[i]
		if err := setLatency(ctx, env.sandbox, s.latency); err != nil {
			return err
		}
		if _, _, err := inTurn(ctx, person, goods, 5); err != nil { // connections and caches
			return err
		}
		var failure error
		if s.idle, failure, err = inTurn(ctx, person, goods, samples); errors.Join(failure, err) != nil {
			return errors.Join(failure, err)
		}
	}
	fmt.Printf("\nOne user with thousands of presses waiting, another user's presses, %d one after the other\n", samples)
	for _, s := range settings {
		// Filled with the slow source, so that the queue is long in both settings.
		if err := setLatency(ctx, env.sandbox, slowSource); err != nil {
			return err
		}
		accepted, refused, err := fill(ctx, in, goods)
		if err != nil {
			return err
		}
		if err := setLatency(ctx, env.sandbox, s.latency); err != nil {
			return err
		}
		begun, err := in.open(ctx)
		if err != nil {
			return err
		}
		busy, failure, err := inTurn(ctx, person, goods, samples)
		if err != nil {
			return err
		}
		left, err := in.open(ctx)
		if err != nil {
			return err
		}
		note := ""
		if left == 0 {
			note = " THE QUEUE ENDED BEFORE THE MEASUREMENT;"
		}
		if failure != nil {
			note += fmt.Sprintf(" A PRESS WITHOUT A RIGHT ANSWER: %v;", failure)
		}
		fmt.Printf("  %s: idle p50 %.1f, p95 %.1f ms; with the queue p50 %.1f, p95 %.1f ms; ratio of p50s %.2f, goal at most 2\n", s.name,
			milliseconds(quantile(s.idle, 0.5)), milliseconds(quantile(s.idle, 0.95)), milliseconds(quantile(busy, 0.5)), milliseconds(quantile(busy, 0.95)),
			float64(quantile(busy, 0.5))/float64(quantile(s.idle, 0.5)))
		fmt.Printf("   %s %d presses more accepted, %d refused; open %d at the first press, %d after the last\n", note, accepted, refused, begun, left)
	}
	return nil
}

// inTurn has one client press n times, or until time is up, and gives how long
// each press took. A press without a right answer counts with the time it had.
func inTurn(ctx context.Context, b *button, goods *shelf, n int) (took []time.Duration, failure, err error) {
	end := time.Now().Add(turnLimit)
	for range n {
		if err := goods.rest(ctx); err != nil {
			return nil, nil, err
		}
		product, _ := goods.next()
		began := time.Now()
		if err := b.press(ctx, product); err != nil {
			failure = err
		}
		took = append(took, time.Since(began))
		if time.Now().After(end) {
			break
		}
	}
	return took, failure, ctx.Err()
}

// fill has one user press without waiting until as many runs are open as shall
// wait, or time is up.
func fill(ctx context.Context, in *installation, goods *shelf) (accepted, refused int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, fillLimit)
	defer cancel()
	b := of(in.api, queued, crowdKey)
	b.prefer = "respond-async"
	var took, turned atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	enough := make(chan struct{})
	for range callers {
		all.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
				}
				product, ok := goods.next()
				if !ok {
					if goods.rest(ctx) != nil {
						return
					}
					continue
				}
				status, body, err := b.send(ctx, product)
				switch {
				case ctx.Err() != nil:
					return
				case err == nil && status < 300:
					took.Add(1)
				case err == nil && status == http.StatusTooManyRequests:
					turned.Add(1)
					_ = pause(ctx, 100*time.Millisecond)
				default:
					once.Do(func() { failed = errors.Join(err, fmt.Errorf("a press was not accepted: %d %.300s", status, body)) })
					return
				}
			}
		})
	}
	for ctx.Err() == nil {
		open, err := in.open(ctx)
		if err != nil || open >= waiting {
			break
		}
		_ = pause(ctx, 20*time.Millisecond)
	}
	close(enough)
	all.Wait()
	return took.Load(), turned.Load(), failed
}

// setLatency makes Oracle's stand-in take that long for an answer; 0 as before.
func setLatency(ctx context.Context, sandbox string, latency time.Duration) error {
	method, body := http.MethodDelete, ""
	if latency > 0 {
		method, body = http.MethodPut, fmt.Sprintf(`{"latency_ms":%d}`, latency.Milliseconds())
	}
	req, err := http.NewRequestWithContext(ctx, method, sandbox+"/_sandbox/faults/oracle", strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("setting the latency of the sandbox: %s", resp.Status)
	}
	return nil
}
