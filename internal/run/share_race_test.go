package run_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Whoever joins, answers, ends or leaves at the same time: every press has one end
// and one reason, and none waits for ever.
func TestJoinsAnswersEndsAndCancelsRaceToOneConsistentEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sharing)
	ends := map[flow.Status]int{}
	for round := range 25 {
		product := string(rune('A'+round)) + "-1"
		p := press("")
		p.Params["product_id"] = product
		b.exec(`update batch set claimed_at = claimed_at - interval '1 minute'`)
		leader, s := b.press(p)
		item := b.begin(s.BatchID, "reading")
		var mu sync.Mutex
		ids := []string{leader.RunID}
		for n := range 6 {
			b.waiting.Go(func() {
				p := press("")
				p.Params["product_id"] = product
				r, _, err := b.book.Accept(b.Context(), p)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ids = append(ids, r.RunID)
				mu.Unlock()
				if n%3 == 0 {
					if _, err := b.book.Seal(b.Context(), r.RunID, "ben"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		b.waiting.Go(func() {
			if round%2 == 0 {
				if _, err := b.book.Seal(b.Context(), leader.RunID, "dev"); err != nil {
					t.Error(err)
				}
			}
		})
		b.waiting.Go(func() {
			var err error
			if round%3 == 0 {
				_, err = b.book.Fail(b.Context(), item, fault.New(fault.Unavailable, "oracle.down", "away", nil))
			} else {
				err = b.book.Answer(b.Context(), item, answer(1), "", true, true)
			}
			if err != nil && fault.Of(err).Code != "run.closed" {
				t.Error(err)
			}
		})
		b.waiting.Wait()
		// Those who came after the end work by themselves.
		for _, id := range ids {
			r := b.get(id)
			if r.Shared == "" && !r.Status.Final() && id != leader.RunID {
				b.exec(`update work set batch_id = run_id where run_id = $1 and batch_id is null`, id)
				if _, err := b.book.Close(t.Context(), id, fault.New(fault.Bug, "x", "x", nil)); err != nil {
					require.Equal(t, "run.not_found", fault.Of(err).Code)
				}
			}
		}
		for _, id := range ids {
			r := b.get(id)
			require.True(t, r.Status.Final(), "%s of %s: %s", id, r.Shared, r.Status)
			require.Len(t, b.finals(id), 1)
			if r.Status == flow.Completed {
				require.NotNil(t, r.Result)
			}
			ends[r.Status]++
		}
	}
	require.Zero(t, b.count(`select count(*) from work where state in ('accepted', 'running', 'parked')`))
	t.Logf("ends: %v", ends)
}
