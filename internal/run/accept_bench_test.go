package run_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/store/storetest"
)

// BenchmarkAccept is what a press costs on its way in, with so many callers at a
// time; and what a caller who asks how its run stands costs.
func BenchmarkAccept(b *testing.B) {
	for _, callers := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("%d callers", callers), func(b *testing.B) {
			book := benchBook(b)
			crowd(b, callers, func() error {
				_, _, err := book.Accept(b.Context(), press(""))
				return err
			})
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, callers := range []int{1, 256} {
		b.Run(fmt.Sprintf("%d callers", callers), func(b *testing.B) {
			book := benchBook(b)
			r, _, err := book.Accept(b.Context(), press(""))
			if err != nil {
				b.Fatal(err)
			}
			crowd(b, callers, func() error {
				_, err := book.Get(b.Context(), r.RunID)
				return err
			})
		})
	}
}

func benchBook(b *testing.B) *run.Book {
	s := storetest.New(b)
	plans := run.NewPlans(s)
	if _, err := plans.Apply(b.Context(), []*flow.Plan{specs(func(p *flow.Plan) { p.Limits.Queue = 1 << 30 })}, nil, "bench"); err != nil {
		b.Fatal(err)
	}
	// What waits is claimed all the time, as by a relay: a queue is short.
	ctx, cancel := context.WithCancel(b.Context())
	var relay sync.WaitGroup
	relay.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_, _ = s.Pool().Exec(ctx, `update work set batch_id = run_id
					where batch_id is null and leader is null and state in ('accepted', 'running')`)
			}
		}
	})
	b.Cleanup(func() { cancel(); relay.Wait() })
	return run.NewBook(s, plans, run.Options{Solo: true})
}

// crowd has callers do b.N things together.
func crowd(b *testing.B, callers int, do func() error) {
	todo := make(chan struct{})
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			for range todo {
				if err := do(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ResetTimer()
	for range b.N {
		todo <- struct{}{}
	}
	close(todo)
	done.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "/s")
}
