package run_test

import (
	"testing"

	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
	"patchbay/internal/store/storetest"
)

// BenchmarkPress is what the books of one press cost, by part; the cluster of the
// tests does not wait for the disk.
func BenchmarkPress(b *testing.B) {
	s := storetest.New(b)
	plans := run.NewPlans(s)
	book := run.NewBook(s, plans, run.Options{Solo: true})
	// A queue that the benchmark does not fill.
	if _, err := plans.Apply(b.Context(), []*flow.Plan{specs(func(p *flow.Plan) { p.Limits.Queue = 1 << 30 })}, nil, "bench"); err != nil {
		b.Fatal(err)
	}
	accept := func(b *testing.B) run.Start {
		_, start, err := book.Accept(b.Context(), press(""))
		if err != nil {
			b.Fatal(err)
		}
		return start
	}
	begin := func(b *testing.B) run.Item {
		items, err := book.Take(b.Context(), accept(b).BatchID, "reading")
		if err != nil {
			b.Fatal(err)
		}
		return items[0]
	}
	closeRun := func(b *testing.B, item run.Item) {
		if _, err := book.Close(b.Context(), item.BatchID, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("accept and close", func(b *testing.B) {
		for b.Loop() {
			closeRun(b, run.Item{BatchID: accept(b).BatchID})
		}
	})
	b.Run("accept to answer", func(b *testing.B) {
		for b.Loop() {
			item := begin(b)
			if err := book.Relayed(b.Context(), item.BatchID); err != nil {
				b.Fatal(err)
			}
			if err := book.Answer(b.Context(), item, answer(12), "12 rows", true, true); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("attempt and complete", func(b *testing.B) {
		for b.Loop() {
			item := begin(b)
			open, err := book.Attempt(b.Context(), item, "write", "crm.specification", members())
			if err != nil {
				b.Fatal(err)
			}
			outcomes := make([]ledger.Outcome, len(open))
			for i, o := range open {
				outcomes[i] = ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Confirmed}
			}
			if _, err := book.Complete(b.Context(), item, "write", outcomes, nil, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}
