package claimcheck_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/claimcheck"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// owners are the runs and events of a test: those in the maps are known, and true is that
// they need what they hold.
type owners struct {
	mu     sync.Mutex
	runs   map[string]bool
	events map[int64]bool
}

func (o *owners) Needing(_ context.Context, ids []string) (map[string]bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]bool{}
	for _, id := range ids {
		if needs, known := o.runs[id]; known {
			out[id] = needs
		}
	}
	return out, nil
}

func (o *owners) Waiting(_ context.Context, ids []int64) (map[int64]bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[int64]bool{}
	for _, id := range ids {
		out[id] = o.events[id]
	}
	return out, nil
}

func (o *owners) set(run string, needs bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.runs[run] = needs
}

type bundle struct {
	*testing.T
	*claimcheck.Checks
	*claimcheck.Cleaner
	*owners
	store *store.Store
}

func newBundle(t *testing.T) *bundle {
	t.Helper()
	s := storetest.New(t)
	checks := claimcheck.New(s)
	known := &owners{runs: map[string]bool{}, events: map[int64]bool{}}
	return &bundle{T: t, Checks: checks, Cleaner: &claimcheck.Cleaner{Checks: checks, Runs: known, Events: known}, owners: known, store: s}
}

// together is work side by side, which has failed where any of it has.
type together struct {
	wait sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (t *together) Go(do func() error) {
	t.wait.Go(func() {
		err := do()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.errs = append(t.errs, err)
	})
}

func (t *together) Wait() error {
	t.wait.Wait()
	return errors.Join(t.errs...)
}

// part is how many bytes a row has.
const part = 256 << 10

func content(seed uint64, size int) []byte {
	out := make([]byte, size)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(out)
	return out
}

func (b *bundle) keep(run string, body []byte) flow.Claim {
	b.Helper()
	b.set(run, true)
	claim, err := b.Keep(b.Context(), run, bytes.NewReader(body))
	require.NoError(b, err)
	sum := sha256.Sum256(body)
	require.Equal(b, flow.Claim{Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}, claim)
	return claim
}

func (b *bundle) read(claim flow.Claim, from int64) ([]byte, error) {
	r, err := b.Open(b.Context(), claim, from)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (b *bundle) clean() int {
	b.Helper()
	n, err := b.Clean(b.Context())
	require.NoError(b, err)
	return n
}

func (b *bundle) rows(table string) (n int) {
	b.Helper()
	require.NoError(b, b.store.Pool().QueryRow(b.Context(), `select count(*) from `+table).Scan(&n))
	return n
}

func TestWhatIsKeptIsReadFromAnyOffset(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for i, size := range []int{0, 1, part - 1, part, part + 1, 2 * part, 8 * part, 8*part + 1, 3_333_333} {
		body := content(uint64(i), size)
		claim := b.keep(fmt.Sprint("run", i), body)
		for _, from := range []int{0, 1, part - 1, part, part + 1, size - 1, size} {
			if from < 0 || from > size {
				continue
			}
			got, err := b.read(claim, int64(from))
			require.NoError(t, err)
			require.True(t, bytes.Equal(body[from:], got), "size %d from %d", size, from)
		}
		_, err := b.read(claim, int64(size)+1)
		require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	}
}

func TestOneContentIsKeptOnceHoweverManyNeedIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	body := content(1, 1_000_000)
	var group together
	for i := range 8 {
		b.set(fmt.Sprint("run", i), true)
		group.Go(func() error {
			_, err := b.Keep(t.Context(), fmt.Sprint("run", i), bytes.NewReader(body))
			return err
		})
	}
	require.NoError(t, group.Wait())
	documents, size, err := b.Kept(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, documents)
	require.EqualValues(t, len(body), size)
	require.Equal(t, 4, b.rows("content_part"), "the parts of those that came second are gone")
	claim := b.keep("run0", body)
	for i := range 8 {
		require.Zero(t, b.clean())
		_, err := b.read(claim, 0)
		require.NoError(t, err)
		b.set(fmt.Sprint("run", i), false)
	}
	require.Equal(t, 1, b.clean())
	_, err = b.read(claim, 0)
	require.Equal(t, flow.DocumentUnknownCode, fault.Of(err).Code)
	require.Zero(t, b.rows("content_part"))
}

func TestAReaderThatFailsLeavesNothingThatAnybodyFinds(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.set("run", true)
	broken := errors.New("the line broke")
	_, err := b.Keep(t.Context(), "run", io.MultiReader(bytes.NewReader(content(1, 2_000_000)), iotestErr{broken}))
	require.ErrorIs(t, err, broken)
	_, err = b.Keep(t.Context(), "run", io.LimitReader(zeros{}, flow.MostDocument+1))
	require.Equal(t, flow.DocumentLargeCode, fault.Of(err).Code)
	documents, _, err := b.Kept(t.Context())
	require.NoError(t, err)
	require.Zero(t, documents)
	require.Zero(t, b.clean(), "somebody may still be reading it")
	require.NotZero(t, b.rows("content_part"))
	_, err = b.store.Pool().Exec(t.Context(), `update content set touched_at = now() - interval '16 minutes'`)
	require.NoError(t, err)
	require.Equal(t, 2, b.clean())
	require.Zero(t, b.rows("content_part"))
}

type iotestErr struct{ err error }

func (e iotestErr) Read([]byte) (int, error) { return 0, e.err }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAReadingThatWasCleanedAwayDoesNotGoOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.set("run", true)
	r, w := io.Pipe()
	kept := make(chan error, 1)
	go func() { _, err := b.Keep(t.Context(), "run", r); kept <- err }()
	_, err := w.Write(content(1, 8*part+1)) // the first parts are on their way when this returns
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.rows("content_part") == 8 }, 10*time.Second, 10*time.Millisecond)
	_, err = b.store.Pool().Exec(t.Context(), `update content set touched_at = now() - interval '16 minutes'`)
	require.NoError(t, err)
	require.Equal(t, 1, b.clean())
	require.NoError(t, w.Close())
	require.Equal(t, "document.lost", fault.Of(<-kept).Code)
	require.Zero(t, b.rows("content_part"), "no parts without their content")
}

func TestEventsAndRunsThatAreNotYetThereKeepDocuments(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	claim := b.keep("first", content(1, 10_000))
	var event int64
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `insert into topic_event (topic, event_id, key, data, sum, source, received_at, expires_at)
		values ('stored.v1', '1', 'k', '{}', '\x00', 'test', now(), now() + interval '1 day') returning id`).Scan(&event))
	var missing []string
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) (err error) {
		missing, err = claimcheck.Hold(t.Context(), tx, claimcheck.Owner{Event: event}, claim.SHA256, hex.EncodeToString(make([]byte, 32)))
		return err
	}))
	require.Len(t, missing, 1)
	b.events[event] = true
	b.set("first", false)
	require.Zero(t, b.clean())
	require.NoError(t, b.Reserve(t.Context(), "second", claim.SHA256))
	b.events[event] = false
	require.Zero(t, b.clean(), "the run is about to be accepted")
	_, err := b.store.Pool().Exec(t.Context(), `with old as (delete from claim where run_id is not null returning *) insert into claim (content, run_id, made_at) select content, run_id || '!', now() - interval '61 minutes' from old`)
	require.NoError(t, err)
	require.Equal(t, 1, b.clean())
	err = b.Reserve(t.Context(), "third", claim.SHA256)
	require.Equal(t, flow.DocumentUnknownCode, fault.Of(err).Code)
}

// TestCleanersNeverTakeWhatIsNeeded lets runs come and go that share a few documents, hand them
// on to each other and read them, beside cleaners that do nothing else.
func TestCleanersNeverTakeWhatIsNeeded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx, stop := context.WithCancel(t.Context())
	var cleaners together
	removed := make([]int, 3)
	for i := range removed {
		cleaners.Go(func() error {
			for ctx.Err() == nil {
				n, err := b.Clean(t.Context()) //nolint:contextcheck // it ends what it has begun
				if err != nil {
					return err
				}
				removed[i] += n
			}
			return nil
		})
	}
	var runs together
	for worker := range 6 {
		runs.Go(func() error {
			random := rand.New(rand.NewPCG(7, uint64(worker)))
			for n := range 40 {
				run, next := fmt.Sprintf("%d/%d", worker, n), fmt.Sprintf("%d/%d then", worker, n)
				body := content(uint64(random.IntN(4)), 30_000)
				b.set(run, true)
				claim, err := b.Keep(t.Context(), run, bytes.NewReader(body))
				if err != nil {
					return err
				}
				b.set(next, true)
				if err := b.Reserve(t.Context(), next, claim.SHA256); err != nil {
					return fmt.Errorf("handing on what %s needs: %w", run, err)
				}
				b.set(run, false)
				got, err := b.read(claim, 0)
				if err != nil || !bytes.Equal(got, body) {
					return fmt.Errorf("reading what %s needs: %w", next, err)
				}
				b.set(next, false)
			}
			return nil
		})
	}
	require.NoError(t, runs.Wait())
	stop()
	require.NoError(t, cleaners.Wait())
	b.clean()
	require.Zero(t, b.rows("content"))
	require.Zero(t, b.rows("content_part"))
	require.NotZero(t, removed[0]+removed[1]+removed[2], "the cleaners had something to do beside the runs")
}

func BenchmarkKeepAndRead(bench *testing.B) {
	s := storetest.New(bench)
	checks := claimcheck.New(s)
	const size = 100_000_000
	bench.SetBytes(size)
	for n := range bench.N {
		claim, err := checks.Keep(bench.Context(), fmt.Sprint("run", n), io.LimitReader(rand.NewChaCha8([32]byte{byte(n)}), size))
		require.NoError(bench, err)
		kept := bench.Elapsed()
		r, err := checks.Open(bench.Context(), claim, 0)
		require.NoError(bench, err)
		read, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 64<<10))
		require.NoError(bench, err)
		require.EqualValues(bench, size, read)
		bench.ReportMetric(float64(kept.Milliseconds()), "ms-until-kept")
	}
}
