package fleet_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"patchbay/calculator"
	"patchbay/fleet"
	"patchbay/internal/contract"
)

// child is a process of the fleet: what `patchbay worker --queues risk` is, with calculators
// of this test.
func child() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := fleet.Run(ctx, fleet.Options{
		Temporal: os.Getenv("FLEET_TEST_CHILD"), Namespace: os.Getenv("FLEET_TEST_NAMESPACE"), Queues: []string{"risk"}, Tuning: fleet.Tuning{Slots: 2}, Log: zap.NewNop(),
	}, chain, doubles,
		act("test.die", func(context.Context, int, calculator.Run) (int, error) {
			f, err := os.OpenFile(os.Getenv("FLEET_TEST_DEATHS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err == nil {
				_, _ = f.WriteString("x")
				err = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			return 0, err
		}),
		act("test.never", func(context.Context, int, calculator.Run) (int, error) { select {} }))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// chain takes about n times 5 ms, and its result depends on each step and on the seed.
var chain = act("test.chain", func(ctx context.Context, n int, run calculator.Run) (int, error) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, run.Seed))
	for i := range n {
		for range 10_000 {
			sum = sha256.Sum256(sum[:])
		}
		run.Progress(i, n)
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	return int(binary.BigEndian.Uint32(sum[:])), nil
})

// supervised is a process that is begun anew whenever it ends, until the test does.
type supervised struct {
	mu    sync.Mutex
	pid   int
	exits []int // codes; -1: by a signal
}

func (b *bundle) command(deaths string) *exec.Cmd {
	c := exec.CommandContext(b.ctx, os.Args[0])
	c.Env = []string{"FLEET_TEST_CHILD=" + b.address, "FLEET_TEST_NAMESPACE=" + b.namespace, "FLEET_TEST_DEATHS=" + deaths, "GOMAXPROCS=2"}
	c.Stderr = os.Stderr
	return c
}

func (b *bundle) supervise(deaths string) *supervised {
	s := &supervised{}
	ctx, stop := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			c := b.command(deaths)
			if c.Start() != nil {
				return
			}
			s.mu.Lock()
			s.pid = c.Process.Pid
			s.mu.Unlock()
			killed := context.AfterFunc(ctx, func() { _ = c.Process.Kill() })
			_ = c.Wait()
			killed()
			s.mu.Lock()
			s.pid = 0
			s.exits = append(s.exits, c.ProcessState.ExitCode())
			s.mu.Unlock()
		}
	}()
	b.Cleanup(func() { stop(); <-ended })
	return s
}

// kill ends the process, if there is one, and reports whether there was.
func (s *supervised) kill(sig syscall.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid != 0 && syscall.Kill(s.pid, sig) == nil
}

func (s *supervised) ended() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int(nil), s.exits...)
}

// One application whose figures kill whoever computes them is taken out after three workers;
// those of others are computed.
func TestFiguresThatKillTheirWorkerAreIsolatedAfterThreeDeaths(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	deaths := filepath.Join(t.TempDir(), "deaths")
	b.supervise(deaths)
	b.supervise(deaths)
	poison := b.start(job{In: asks("test.die", `{"n":1}`)})
	var others []client.WorkflowRun
	for i := range 10 {
		others = append(others, b.start(job{In: asks("test.chain", fmt.Sprintf(`{"n":%d}`, 20+i))}))
	}
	f := b.fault(poison)
	require.Equal(t, contract.PoisonCode, f.Code)
	require.False(t, f.Retryable())
	died, err := os.ReadFile(deaths)
	require.NoError(t, err)
	require.Len(t, died, contract.Deaths)
	for _, run := range others {
		require.NoError(t, run.Get(b.ctx, nil))
	}
}

// Workers that are killed at random change when a result comes, and nothing of it.
func TestResultsAreTheSameBitsHoweverOftenWorkersAreKilled(t *testing.T) {
	t.Parallel()
	kills := 10
	if text := os.Getenv("KILLS"); text != "" {
		_, err := fmt.Sscan(text, &kills)
		require.NoError(t, err)
	}
	b := newBundle(t)
	s := []*supervised{b.supervise(""), b.supervise("")}
	random := rand.New(rand.NewPCG(1, 2))
	runs := map[client.WorkflowRun]contract.ComputeInput{}
	done := 0
	for n := 0; done < kills; n++ {
		in := asks("test.chain", fmt.Sprintf(`{"n":%d}`, 20+random.IntN(60)))
		in.Seed = random.Uint64()
		runs[b.start(job{In: in})] = in
		select {
		case <-time.After(time.Duration(200+random.IntN(800)) * time.Millisecond):
		case <-b.ctx.Done():
			t.Fatal("it took too long")
		}
		if s[random.IntN(2)].kill(syscall.SIGKILL) {
			done++
		}
	}
	for run, in := range runs {
		var out contract.ComputeResult
		require.NoError(t, run.Get(b.ctx, &out))
		want, err := chain.Compute(t.Context(), in.Input, calculator.Run{Seed: in.Seed})
		require.NoError(t, err)
		require.Equal(t, string(want), string(out.Output))
	}
	t.Logf("%d kills, %d computations", done, len(runs))
}

// A worker that is asked to end takes nothing new and finishes what it has.
func TestAWorkerThatIsAskedToEndFinishesWhatItHas(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	c := b.command("")
	require.NoError(t, c.Start())
	run := b.start(job{In: asks("test.chain", `{"n":400}`)}) // some seconds
	b.begun(run)
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.NoError(t, c.Wait())
	var out contract.ComputeResult
	require.NoError(t, run.Get(b.ctx, &out), "there is no other worker")
}

// begun waits until a computation is with a worker.
func (b *bundle) begun(run client.WorkflowRun) {
	require.Eventually(b, func() bool {
		d, err := b.client.DescribeWorkflowExecution(b.ctx, run.GetID(), "")
		require.NoError(b, err)
		p := d.GetPendingActivities()
		return len(p) == 1 && p[0].GetHeartbeatDetails() != nil
	}, time.Minute, 20*time.Millisecond)
}

// Functions that go on after their time use up a process: it ends by itself, and what else it
// had is computed by its successor.
func TestAProcessWithTooManyRunawaysEndsItselfAndItsSuccessorGoesOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.supervise("")
	never := asks("test.never", `{"n":1}`)
	never.Within = 500 * time.Millisecond
	first, second := b.start(job{In: never}), b.start(job{In: never})
	require.Equal(t, "calculator.runaway", b.fault(first).Code)
	require.Equal(t, "calculator.runaway", b.fault(second).Code)
	require.Eventually(t, func() bool { return len(s.ended()) == 1 }, time.Minute, 50*time.Millisecond)
	require.Equal(t, []int{1}, s.ended(), "with an error, so that a supervisor sees it")
	require.NoError(t, b.start(job{In: asks("test.double", `{"n":1}`)}).Get(b.ctx, nil))
}
