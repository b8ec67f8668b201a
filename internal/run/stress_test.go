package run_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

// stress is many at work on one book; what they did is judged by the database.
type stress struct {
	*bundle
	books []*run.Book

	mu     sync.Mutex
	ends   map[string]int // how often somebody was told that he ended a run
	sealed map[string]bool
}

// expected are the faults of those who came too late.
var expected = map[string]bool{"run.closed": true, "run.fenced": true, "ledger.sealed": true, "run.effects_open": true, "run.not_found": true}

func (s *stress) ok(err error) bool {
	if err != nil && !expected[fault.Of(err).Code] {
		s.Error(err)
	}
	return err == nil
}

// carry takes a batch and does something with each of its items. Now and then it is
// a zombie: it goes on after its batch was given up as lost.
func (s *stress) carry(rnd *rand.Rand, batchID string) {
	book := s.books[rnd.IntN(len(s.books))]
	items, err := book.Take(s.Context(), batchID, "reading")
	if !s.ok(err) {
		return
	}
	var wg sync.WaitGroup
	for _, item := range items {
		dice, lost := rnd.IntN(20), rnd.IntN(40) == 0
		wg.Go(func() {
			if lost {
				_, err := book.PutBackAll(s.Context(), batchID, away)
				s.ok(err)
			}
			s.item(book, item, dice)
		})
	}
	wg.Wait()
	_, err = book.PutBackAll(s.Context(), batchID, away)
	s.ok(err)
}

func (s *stress) item(book *run.Book, item run.Item, dice int) {
	ctx := s.Context()
	switch dice {
	case 0:
		s.ok(book.PutBack(ctx, item, away))
		return
	case 1:
		s.ok(book.PutBack(ctx, item, fault.ThrottledFor(time.Millisecond, "x.quota", "patience", nil)))
		return
	case 2:
		status, err := book.Fail(ctx, item, fault.New(fault.Rejected, "x.no", "no", nil))
		s.over(item.RunID, status, err)
		return
	case 3:
		return // its holder is killed
	}
	if !s.ok(book.Answer(ctx, item, answer(1), "", true, false)) {
		return
	}
	s.mu.Lock()
	gone := s.sealed[item.RunID]
	s.mu.Unlock()
	open, err := book.Attempt(ctx, item, "write", "crm.specification", members())
	if !s.ok(err) {
		return
	}
	if gone {
		s.Errorf("an attempt of %s began after its cancel was committed", item.RunID)
	}
	outcomes := make([]ledger.Outcome, len(open))
	for i, o := range open {
		outcomes[i] = ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Confirmed}
	}
	if dice == 4 {
		s.ok(book.Record(ctx, item, "write", outcomes[:min(1, len(outcomes))]))
		return
	}
	status, err := book.Complete(ctx, item, "write", outcomes, nil, "")
	s.over(item.RunID, status, err)
}

func (s *stress) over(runID string, status flow.Status, err error) {
	if s.ok(err) && status.Final() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ends[runID]++
	}
}

func TestManyAtWorkLoseNothingAndEndNothingTwice(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(p *flow.Plan) { p.Limits.Timeout = time.Hour; p.Limits.Queue = 1000 })
	s := &stress{
		bundle: b, ends: map[string]int{}, sealed: map[string]bool{},
		books: []*run.Book{b.book, run.NewBook(b.store, run.NewPlans(b.store), run.Options{})},
	}
	const presses = 300
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var wg sync.WaitGroup
	starts := make(chan string, presses*20)
	for worker := range 6 {
		rnd := rand.New(rand.NewPCG(1, uint64(worker)))
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case id := <-starts:
					s.carry(rnd, id) //nolint:contextcheck // what was begun is carried to its end
				}
			}
		})
	}
	for relay := range 2 {
		wg.Go(func() {
			hints, look := s.books[relay].Waiting(ctx), time.NewTicker(20*time.Millisecond)
			defer look.Stop()
			for ctx.Err() == nil {
				claimed, err := s.books[relay].Claim(ctx)
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				for _, start := range claimed {
					starts <- start.BatchID
				}
				select {
				case <-ctx.Done():
				case <-hints:
				case <-look.C: // put back for later
				}
			}
		})
	}
	var ids []string
	for i := range presses {
		r, start, err := s.books[i%2].Accept(t.Context(), press(""))
		require.NoError(t, err)
		ids = append(ids, r.RunID)
		if start.BatchID != "" {
			starts <- start.BatchID
		}
		if i%10 == 9 {
			id := ids[i-3]
			_, err := s.books[0].Seal(t.Context(), id, "dev")
			require.NoError(t, err)
			s.mu.Lock()
			s.sealed[id] = true
			s.mu.Unlock()
		}
	}
	require.Eventually(t, func() bool {
		var open int
		err := b.store.Pool().QueryRow(t.Context(), `select count(*) from work where state in ('accepted', 'running', 'parked')`).Scan(&open)
		return err == nil && open == 0
	}, time.Minute, 20*time.Millisecond)
	stop()
	wg.Wait()

	var wrong, effects int
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `
		select count(*) filter (where (select count(*) from journal where run = run_id and final) <> 1
		                           or (select count(*) from journal where run = run_id and what = 'answered') <> (answered_at is not null)::int
		                           or tries > 6),
		       (select count(*) from effect where state = 'attempt')
		from work`).Scan(&wrong, &effects))
	require.Zero(t, wrong, "each run has one final reason and was answered at most once")
	require.Zero(t, effects, "no write is left open")
	for id, n := range s.ends {
		require.Equal(t, 1, n, id)
	}
	seen := map[flow.Status]int{}
	for _, id := range ids {
		seen[b.get(id).Status]++
	}
	require.Positive(t, seen[flow.Completed])
	require.Positive(t, seen[flow.Failed])
	require.Positive(t, seen[flow.Cancelled])
	t.Logf("ends: %v", seen)
}
