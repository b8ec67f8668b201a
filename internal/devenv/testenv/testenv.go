// Package testenv gives tests a real Temporal server.
//
// `make test` starts one server (and one PostgreSQL) for all packages by the
// command in testenv/with and names it in the environment; a single `go test`
// without it gets a server of its own, once per test process, in memory, ended
// with the process. A missing binary fails the test: nothing is skipped.
//
// Tests of every package may import it; product code never does. Tests share
// the server, so each takes task queues and workflow IDs that are its own.
package testenv

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"patchbay/internal/devenv"
)

// The variables by which a test run names its environment.
const (
	DatabaseVar = "PATCHBAY_TEST_DATABASE"         // PostgreSQL URL of an administrator
	TemporalVar = "PATCHBAY_TEST_TEMPORAL"         // HOST:PORT of the frontend
	MetricsVar  = "PATCHBAY_TEST_TEMPORAL_METRICS" // URL of the server's Prometheus endpoint
)

var shared = sync.OnceValues(start)

// AtATime has n tests of a package run at a time, unless -parallel says how many: for
// packages that wait for timers and servers rather than compute, so that more tests than
// there are processors cost little more than one. TestMain calls it before it runs them.
func AtATime(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(n)) // the flag is package testing's own
	}
}

type server struct {
	address, metricsURL string
	// alive is the pipe's end that keeps a server of our own running: a file that
	// nobody refers to would be closed by the garbage collector.
	alive *os.File
}

// Temporal gives the address of a Temporal server with the namespace "default",
// and the URL of its metrics (empty when the environment names none).
func Temporal(t testing.TB) (address, metricsURL string) {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("no Temporal for the tests: %v", err)
	}
	return s.address, s.metricsURL
}

func start() (server, error) {
	if address := os.Getenv(TemporalVar); address != "" {
		return server{address: address, metricsURL: os.Getenv(MetricsVar)}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // for all tests, so of none
	defer cancel()
	binary, err := devenv.TemporalBinary()
	if err != nil {
		return server{}, err
	}
	ports, err := devenv.FreePorts(ctx, 2)
	if err != nil {
		return server{}, err
	}
	s := devenv.TemporalServer{Port: ports[0], MetricsPort: ports[1]}
	log, err := os.CreateTemp("", "patchbay-temporal-*.log")
	if err != nil {
		return server{}, err
	}
	_ = os.Remove(log.Name()) // read by descriptor only, so nothing is left behind
	alive, err := startUntilExit(binary, s.Args(), log)
	if err != nil {
		return server{}, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", s.Port)
	metricsURL := fmt.Sprintf("http://127.0.0.1:%d/metrics", s.MetricsPort)
	if err := ready(ctx, address, metricsURL); err != nil {
		tail := make([]byte, 4096)
		n, _ := log.ReadAt(tail, 0)
		return server{}, fmt.Errorf("%w; its log begins:\n%s", err, tail[:n])
	}
	return server{address, metricsURL, alive}, nil
}

// startUntilExit starts the program and has it killed when this process ends,
// however that happens: a shell waits for the end of a pipe that only this
// process holds open. There is no hook at the end of a test process.
func startUntilExit(path string, args []string, log *os.File) (alive *os.File, err error) {
	const script = `"$@" </dev/null & child=$!; cat >/dev/null; kill -9 $child`
	held, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "sh", path}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = held, log, log
	err = cmd.Start()
	_ = held.Close()
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	return ours, nil
}

func ready(ctx context.Context, address, metricsURL string) error {
	if err := devenv.AwaitTemporal(ctx, address, client.DefaultNamespace); err != nil {
		return err
	}
	// Without keep-alive: a connection that lingers is a goroutine in every leak test.
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metricsURL, nil)
	if err != nil {
		return err
	}
	response, err := once.Do(request)
	if err != nil {
		return fmt.Errorf("reading the server's metrics: %w", err)
	}
	return response.Body.Close()
}
