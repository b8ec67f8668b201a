package starters_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/starters"
)

// backlog is a book of runs in memory: batches that wait to be claimed, batches
// that are due again, and what became of them.
type backlog struct {
	mu      sync.Mutex
	waiting []run.Start
	free    int // batches that may be claimed
	lapsed  map[string]time.Time
	started map[string]run.Start // by ID, whether Temporal has them or not
	relayed map[string]bool
	claims  int // how often Claim was asked
	dues    int
	extends int
	hints   chan struct{}
}

func newBacklog(free int) *backlog {
	return &backlog{free: free, lapsed: map[string]time.Time{}, started: map[string]run.Start{}, relayed: map[string]bool{}, hints: make(chan struct{}, 1)}
}

func (b *backlog) add(ids ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		b.waiting = append(b.waiting, run.Start{BatchID: id, Flow: "specs", Pattern: string(flow.Instant), Size: 1, RunIDs: []string{id}})
	}
}

func (b *backlog) hint() { b.hints <- struct{}{} }

func (b *backlog) Claim(context.Context) ([]run.Start, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims++
	n := min(b.free, len(b.waiting))
	starts := b.waiting[:n:n]
	b.waiting, b.free = b.waiting[n:], b.free-n
	for _, s := range starts {
		b.started[s.BatchID] = s
	}
	return starts, nil
}

func (b *backlog) Due(_ context.Context, limit int) ([]run.Start, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dues++
	var due []run.Start
	for id, at := range b.lapsed {
		if len(due) < limit && !time.Now().Before(at) {
			due = append(due, b.started[id])
			delete(b.lapsed, id)
		}
	}
	return due, nil
}

func (b *backlog) Extend(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.extends++
	return nil
}

func (b *backlog) Waiting(context.Context) <-chan struct{} { return b.hints }

func (b *backlog) Relayed(_ context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.relayed[id] = true
	return nil
}

func (b *backlog) Lapse(_ context.Context, id string, wait time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lapsed[id] = time.Now().Add(wait)
	return nil
}

func (b *backlog) SealedOpen(context.Context) ([]run.Handed, error) { return nil, nil }
func (b *backlog) Open(context.Context, time.Duration, string, int) ([]run.Handed, error) {
	return nil, nil
}
func (b *backlog) SettleEmpty(context.Context, time.Duration) (int, error)          { return 0, nil }
func (b *backlog) Close(context.Context, string, *fault.Fault) (flow.Status, error) { return "", nil }
func (b *backlog) PutBackAll(context.Context, string, *fault.Fault) (int, error)    { return 0, nil }
func (b *backlog) Settle(context.Context, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free++
	return nil
}

// counts gives how often the backlog was looked at and how many batches Temporal has.
func (b *backlog) counts() (claims, dues, relayed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.claims, b.dues, len(b.relayed)
}

// stage is a Temporal that does with a start what the test says.
type stage struct {
	client.Client
	mu     sync.Mutex
	starts int
	on     func(ctx context.Context, id string) error
}

func (s *stage) ExecuteWorkflow(ctx context.Context, o client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	s.mu.Lock()
	s.starts++
	on := s.on
	s.mu.Unlock()
	return nil, on(ctx, o.ID)
}

func (s *stage) CheckHealth(ctx context.Context, _ *client.CheckHealthRequest) (*client.CheckHealthResponse, error) {
	s.mu.Lock()
	on := s.on
	s.mu.Unlock()
	return &client.CheckHealthResponse{}, on(ctx, "")
}

func (s *stage) act(on func(ctx context.Context, id string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
}

func (s *stage) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}

func takes(context.Context, string) error   { return nil }
func refuses(context.Context, string) error { return errors.New("connection refused") }
func hangs(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// relaying runs f with a relay at work, in a time of its own.
func relaying(t *testing.T, book *backlog, temporal *stage, f func(relay *starters.Relay)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		book.hints = make(chan struct{}, 1) // of the bubble
		relay := starters.NewRelay(book, temporal, starters.Never, zap.NewNop())
		done := make(chan struct{})
		go func() { defer close(done); _ = relay.Run(ctx) }()
		synctest.Wait()
		f(relay)
		cancel()
		<-done
	})
}

// pass lets time go by and what falls due in it be done.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func names(from, to int) (ids []string) {
	for i := from; i < to; i++ {
		ids = append(ids, fmt.Sprintf("b%03d", i))
	}
	return ids
}

func TestAStartThatHangsDelaysNoOther(t *testing.T) {
	t.Parallel()
	temporal := &stage{on: func(ctx context.Context, id string) error {
		if id == "instant/specs/b000" {
			return hangs(ctx, id)
		}
		return nil
	}}
	book := newBacklog(100)
	relaying(t, book, temporal, func(*starters.Relay) {
		book.add(names(0, 50)...)
		book.hint()
		pass(10 * time.Millisecond)
		_, _, relayed := book.counts()
		require.Equal(t, 49, relayed)
		book.add(names(50, 60)...)
		book.hint()
		pass(10 * time.Millisecond)
		_, _, relayed = book.counts()
		require.Equal(t, 59, relayed, "nor those that come while it hangs")
	})
}

func TestAStartThatTemporalRefusesDelaysNoOther(t *testing.T) {
	t.Parallel()
	temporal := &stage{on: func(_ context.Context, id string) error {
		if id == "instant/specs/b000" {
			return serviceerror.NewInvalidArgument("no mapping defined for search attribute")
		}
		return nil
	}}
	book := newBacklog(100)
	relaying(t, book, temporal, func(*starters.Relay) {
		for i := range 10 {
			book.add(names(10*i, 10*i+10)...)
			book.hint()
			pass(time.Second)
		}
		_, _, relayed := book.counts()
		require.Equal(t, 99, relayed)
		require.LessOrEqual(t, temporal.count(), 101, "it is tried again, but not all the time")
	})
}

func TestWhileTemporalIsAwayNothingIsClaimedAndOneStartASecondTriesIt(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(context.Context, string) error{"refusing": refuses, "hanging": hangs} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temporal := &stage{on: gone}
			book := newBacklog(20)
			relaying(t, book, temporal, func(relay *starters.Relay) {
				book.add(names(0, 20)...)
				book.hint()
				pass(5 * time.Second)
				claims, _, _ := book.counts()
				before := temporal.count()
				book.add(names(20, 300)...)
				book.mu.Lock()
				book.free = 1000
				book.mu.Unlock()
				for range 60 {
					relay.Wake()
					book.hint()
					pass(time.Second)
					select { // nobody listens while Temporal is away
					case <-book.hints:
					default:
					}
				}
				after, _, relayed := book.counts()
				require.Zero(t, relayed)
				require.Equal(t, claims, after, "a row that waits can still be cancelled and keeps its place")
				require.LessOrEqual(t, temporal.count()-before, 61)
				require.Positive(t, temporal.count()-before, "or nobody would learn that it is back")
				temporal.act(takes)
				pass(4 * time.Second) // one that hangs is waited for, then one succeeds
				_, _, relayed = book.counts()
				require.Equal(t, 300, relayed, "everything goes on at once")
				require.Equal(t, 2, book.extends, "at the beginning, and once Temporal was back")
			})
		})
	}
}

func TestTemporalIsAskedWhenNoStartIsLeftToTryItWith(t *testing.T) {
	t.Parallel()
	temporal := &stage{on: refuses}
	book := newBacklog(1)
	relaying(t, book, temporal, func(*starters.Relay) {
		book.add("b000")
		book.hint()
		pass(100 * time.Millisecond)
		book.mu.Lock()
		clear(book.lapsed) // cancelled
		book.free = 1
		book.mu.Unlock()
		book.add("b001")
		pass(5 * time.Second)
		require.Equal(t, 1, temporal.count())
		temporal.act(takes)
		pass(2 * time.Second)
		_, _, relayed := book.counts()
		require.Equal(t, 1, relayed)
	})
}

func TestABatchThatSettlesUnheardIsFollowedByTheNext(t *testing.T) {
	t.Parallel()
	temporal := &stage{on: takes}
	book := newBacklog(4)
	relaying(t, book, temporal, func(*starters.Relay) {
		book.add(names(0, 8)...)
		book.hint()
		pass(10 * time.Millisecond)
		for settled := range 4 {
			pass(time.Second)
			_ = book.Settle(t.Context(), "")
			pass(150 * time.Millisecond)
			_, _, relayed := book.counts()
			require.Equal(t, 5+settled, relayed, "another process settled it, and this one looks")
		}
	})
}

func TestARelayWithoutWorkLooksOnceASecond(t *testing.T) {
	t.Parallel()
	book := newBacklog(4)
	relaying(t, book, &stage{on: takes}, func(*starters.Relay) {
		book.add("b000")
		book.hint()
		pass(10 * time.Second)
		claims, dues, _ := book.counts()
		require.LessOrEqual(t, claims, 70, "it looks less and less often")
		pass(time.Minute)
		later, laterDue, _ := book.counts()
		require.LessOrEqual(t, later-claims, 61)
		require.LessOrEqual(t, laterDue-dues, 61)
	})
}

func TestHintsUnderLoadAreGathered(t *testing.T) {
	t.Parallel()
	book := newBacklog(0)
	relaying(t, book, &stage{on: takes}, func(*starters.Relay) {
		before, _, _ := book.counts()
		for range 1000 {
			select {
			case book.hints <- struct{}{}:
			default:
			}
			pass(time.Millisecond)
		}
		claims, _, _ := book.counts()
		require.LessOrEqual(t, claims-before, 201, "a claim each 5 ms at most")
		require.GreaterOrEqual(t, claims-before, 100)
	})
}

func TestARelayThatEndsFinishesWhatItClaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		gate := make(chan struct{})
		book, temporal := newBacklog(100), &stage{on: func(ctx context.Context, _ string) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		relay := starters.NewRelay(book, temporal, starters.Never, zap.NewNop())
		done := make(chan struct{})
		go func() { defer close(done); _ = relay.Run(ctx) }()
		book.add(names(0, 20)...)
		relay.Wake()
		pass(50 * time.Millisecond)
		require.Equal(t, 20, temporal.count())
		cancel()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("starts are under way")
		default:
		}
		close(gate)
		<-done
		_, _, relayed := book.counts()
		require.Equal(t, 20, relayed)
	})
}
