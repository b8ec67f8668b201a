package run_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
	"patchbay/internal/store/storetest"
)

// BenchmarkOutcomes is what the books of items in batches cost: four batches of 64
// at a time, each item by itself from its answer over twelve writes to its end. The
// cluster of the tests does not wait for the disk.
func BenchmarkOutcomes(b *testing.B) {
	s := storetest.New(b)
	plans := run.NewPlans(s)
	book := run.NewBook(s, plans, run.Options{Solo: true})
	if _, err := plans.Apply(b.Context(), []*flow.Plan{specs(func(p *flow.Plan) { p.Limits.Queue = 1 << 30 })}, nil, "bench"); err != nil {
		b.Fatal(err)
	}
	if _, _, err := book.Accept(b.Context(), press("")); err != nil {
		b.Fatal(err)
	}
	const batches, size = 4, 64
	write := make([]ledger.Member, 12)
	for i := range write {
		write[i] = ledger.Member{Key: fmt.Sprintf(`["AS54888","Attribute %d"]`, i), Label: fmt.Sprintf("AS54888, Attribute %d", i), SHA256: make([]byte, 32)}
	}
	round := 0
	fill := func() []run.Start {
		b.StopTimer()
		defer b.StartTimer()
		round++
		if _, err := s.Pool().Exec(b.Context(), `update batch set settled_at = now() where settled_at is null`); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Pool().Exec(b.Context(), `
			insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, progress)
			select md5(n || '-' || $1::int), flow, pattern, principal, body_sha256, params, digest, timeout, now() + timeout, work_step('[]', 'accepted', '')
			from (select * from work limit 1) as w, generate_series(1, $2::int) as n`, round, batches*size); err != nil {
			b.Fatal(err)
		}
		starts, err := book.Claim(b.Context())
		if err != nil || len(starts) != batches {
			b.Fatal(len(starts), err)
		}
		return starts
	}
	n := 0
	for b.Loop() {
		var wg sync.WaitGroup
		for _, start := range fill() {
			wg.Go(func() { carry(b, book, start.BatchID, write) })
		}
		wg.Wait()
		n += batches * size
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "items/s")
}

func carry(b *testing.B, book *run.Book, batchID string, write []ledger.Member) {
	items, err := book.Take(b.Context(), batchID, "reading")
	if err != nil {
		b.Error(err)
		return
	}
	var wg sync.WaitGroup
	for _, item := range items {
		wg.Go(func() {
			if err := carryOne(b.Context(), book, item, write); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	if err := book.Settle(b.Context(), batchID); err != nil {
		b.Error(err)
	}
}

func carryOne(ctx context.Context, book *run.Book, item run.Item, write []ledger.Member) error {
	if err := book.Answer(ctx, item, answer(12), "12 rows", true, false); err != nil {
		return err
	}
	open, err := book.Attempt(ctx, item, "write", "crm.specification", write)
	if err != nil {
		return err
	}
	outcomes := make([]ledger.Outcome, len(open))
	for i, o := range open {
		outcomes[i] = ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Confirmed}
	}
	_, err = book.Complete(ctx, item, "write", outcomes, nil, "12 rows")
	return err
}
