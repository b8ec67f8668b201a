package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
)

// tape records the transactions of a group and doubles what it is given.
type tape struct {
	mu   sync.Mutex
	took time.Duration // of one transaction
	all  [][]int
}

func (p *tape) run(_ context.Context, in []int) ([]Reply[int], error) {
	p.mu.Lock()
	p.all = append(p.all, slices.Clone(in))
	p.mu.Unlock()
	if p.took > 0 {
		<-time.After(p.took) // of a bubble
	}
	replies := make([]Reply[int], len(in))
	for i, n := range in {
		if n < 0 {
			return nil, fault.New(fault.Bug, "poison", "x", nil)
		}
		replies[i].Out = 2 * n
	}
	return replies, nil
}

func TestAnIdleGroupServesACallerAtOnceAndAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &tape{}
		g := New(8, 1, p.run)
		begun := time.Now()
		for n := range 3 {
			out, err := g.Do(t.Context(), n)
			require.NoError(t, err)
			require.Equal(t, 2*n, out)
		}
		require.Zero(t, time.Since(begun), "nobody waits for company")
		require.Equal(t, [][]int{{0}, {1}, {2}}, p.all)
	})
}

func TestThoseWhoComeWhileATransactionRunsShareTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &tape{took: time.Millisecond}
		g := New(4, 1, p.run)
		var callers sync.WaitGroup
		for n := range 7 {
			callers.Go(func() {
				out, err := g.Do(t.Context(), n)
				if err != nil || out != 2*n {
					t.Errorf("%d: %d, %v", n, out, err)
				}
			})
			synctest.Wait() // in this order
		}
		callers.Wait()
		require.Equal(t, [][]int{{0}, {1, 2, 3, 4}, {5, 6}}, p.all, "in the order they came, no transaction larger than allowed")
		synctest.Wait()
		require.Zero(t, g.serving, "nobody stays behind")
	})
}

func TestAGroupHasNoMoreTransactionsInFlightThanAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &tape{took: time.Millisecond}
		g := New(100, 2, p.run)
		begun := time.Now()
		var callers sync.WaitGroup
		for n := range 50 {
			callers.Go(func() { _, _ = g.Do(t.Context(), n) })
			synctest.Wait()
		}
		callers.Wait()
		require.Len(t, p.all, 3, "two alone, then all the others together")
		require.Equal(t, 2*time.Millisecond, time.Since(begun))
	})
}

func TestOneBadMemberSinksNobodyElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.IntRange(-1, 9), 1, 40).Draw(t, "in")
		p := &tape{}
		g := New(64, 1, p.run)
		turn := make([]*member[int, int], len(in))
		for i, n := range in {
			turn[i] = &member[int, int]{in: n, answered: make(chan struct{})}
		}
		g.commit(context.Background(), turn)
		for i, m := range turn {
			<-m.answered
			switch {
			case in[i] < 0 && fault.Of(m.reply.Err).Code != "poison":
				t.Fatalf("the bad one learned of %v", m.reply.Err)
			case in[i] >= 0 && (m.reply.Err != nil || m.reply.Out != 2*in[i]):
				t.Fatalf("a good one got %v, %v", m.reply.Out, m.reply.Err)
			}
		}
	})
}

func TestAStoreThatIsAwayIsNotAskedAgainForEachMember(t *testing.T) {
	t.Parallel()
	for _, away := range []error{
		fault.New(fault.Unavailable, "store.unavailable", "x", nil),
		fault.New(fault.InDoubt, "store.commit_unknown", "x", nil),
		fmt.Errorf("committing: %w", context.DeadlineExceeded),
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			g := New(64, 1, func(context.Context, []int) ([]Reply[int], error) {
				asked++
				<-time.After(time.Millisecond)
				return nil, away
			})
			var callers sync.WaitGroup
			for n := range 10 {
				callers.Go(func() {
					if _, err := g.Do(t.Context(), n); err != away { //nolint:errorlint // the very error
						t.Errorf("%v", err)
					}
				})
				synctest.Wait()
			}
			callers.Wait()
			require.Equal(t, 2, asked)
		})
	}
}

func TestACallerWhoLeavesIsServedIfItsTurnHadComeAndElseTakesNoPart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &tape{took: time.Second}
		g := New(64, 1, p.run)
		ctx, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() {
			out, err := g.Do(ctx, 1)
			if err != nil || out != 2 {
				t.Errorf("its transaction was on its way: %d, %v", out, err)
			}
		})
		synctest.Wait()
		callers.Go(func() {
			begun := time.Now()
			if _, err := g.Do(ctx, 2); err != context.Canceled || time.Since(begun) > 0 { //nolint:errorlint // the very error
				t.Errorf("it had no turn yet: %v", err)
			}
		})
		callers.Go(func() {
			if out, err := g.Do(t.Context(), 3); err != nil || out != 6 {
				t.Errorf("another's leaving is not its: %d, %v", out, err)
			}
		})
		synctest.Wait()
		leave()
		callers.Wait()
		require.Equal(t, [][]int{{1}, {3}}, p.all)
		_, err := g.Do(ctx, 4)
		require.ErrorIs(t, err, context.Canceled, "who has left before is not served")
		require.Len(t, p.all, 2)
	})
}

func TestInAHurriedGroupADeadlineIsKeptAndACancelWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &tape{took: time.Minute}
		g := New(64, 1, p.run)
		g.Hurried = true
		var callers sync.WaitGroup
		for n := range 2 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begun := time.Now()
				_, err := g.Do(ctx, n)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, n == 0, errors.Is(err, ErrUnheard), "only what is under way may take effect")
				require.Equal(t, time.Second, time.Since(begun))
			})
			synctest.Wait()
		}
		ctx, leave := context.WithCancel(t.Context())
		callers.Go(func() {
			out, err := g.Do(ctx, 2)
			require.NoError(t, err)
			require.Equal(t, 4, out)
		})
		<-time.After(90 * time.Second) // of the bubble: its turn has come
		leave()
		callers.Wait()
		require.Equal(t, [][]int{{0}, {2}}, p.all)
	})
}

func TestATransactionOutlivesTheCallersContext(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	g := New(1, 1, func(ctx context.Context, _ []int) ([]Reply[error], error) {
		leave()
		return []Reply[error]{{Out: ctx.Err()}}, nil
	})
	ended, err := g.Do(ctx, 1)
	require.NoError(t, err)
	require.NoError(t, ended)
}

func TestAPanicOrAMissingReplyAnswersTheCallersAndWedgesNothing(t *testing.T) {
	t.Parallel()
	g := New(1, 1, func(_ context.Context, in []int) ([]Reply[int], error) {
		switch in[0] {
		case 0:
			panic("x")
		case 1:
			return nil, nil
		}
		return make([]Reply[int], 1), nil
	})
	_, err := g.Do(t.Context(), 0)
	require.Equal(t, "store.panic", fault.Of(err).Code)
	_, err = g.Do(t.Context(), 1)
	require.Equal(t, "store.replies", fault.Of(err).Code)
	_, err = g.Do(t.Context(), 2)
	require.NoError(t, err)
}

func TestAnErrorOfOneMemberIsItsOwn(t *testing.T) {
	t.Parallel()
	g := New(1, 1, func(context.Context, []int) ([]Reply[int], error) {
		return []Reply[int]{{Err: fault.NotFoundf("it.is_not", "it is not there")}}, nil
	})
	_, err := g.Do(t.Context(), 0)
	require.Equal(t, "it.is_not", fault.Of(err).Code)
}
