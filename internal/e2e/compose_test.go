package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// composition runs services of docker-compose.yml as processes of this machine:
// their commands, environments, secrets, mounted files, health checks, restarts
// and the conditions they wait for, with addresses and paths replaced.
type composition struct {
	t        *testing.T
	log      *os.File
	services types.Services
	// here replaces what stands in the file by what is so on this machine, for the
	// i-th instance of a service.
	here func(i int, text string) string
	// set overrides variables; add to it before up.
	set map[string]string
	// find gives the program of a service by the first word of its command.
	find func(service, word string) string

	state map[string]*state // by service
	mu    sync.Mutex
	live  map[string]*exec.Cmd // by instance: "worker-1"
	gone  map[string]bool      // instances that are not started again
}

// state is how far a service has come; a channel is closed when it is so.
type state struct{ started, healthy, ended chan struct{} }

func loadCompose(t *testing.T, root string) types.Services {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")}, cli.WithWorkingDirectory(root), cli.WithEnv(nil))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project.Services
}

// provide says that somebody else runs a service, and that it is healthy.
func (c *composition) provide(name string) {
	c.state[name] = &state{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	close(c.state[name].started)
	close(c.state[name].healthy)
}

// up starts the services, each as soon as what it waits for is so, and returns
// when all jobs have ended and all servers are healthy. Whatever runs is ended
// with the test.
func (c *composition) up(within time.Duration, names ...string) {
	c.t.Helper()
	c.live, c.gone = map[string]*exec.Cmd{}, map[string]bool{}
	for _, name := range names {
		c.state[name] = &state{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	}
	limited, cancel := context.WithTimeout(c.t.Context(), within)
	defer cancel()
	starting, ctx := errgroup.WithContext(limited)
	begun := time.Now()
	tell := func(name, what string) { c.t.Logf("%5.1f s: %s %s", time.Since(begun).Seconds(), name, what) }
	for _, name := range names {
		s, state := c.services[name], c.state[name]
		running, stop := context.WithCancel(context.Background()) // beyond the test's own context: cleanups run after it
		var instances sync.WaitGroup
		c.t.Cleanup(func() { stop(); instances.Wait() }) // in reverse order, as Docker does
		starting.Go(func() error {
			if err := c.awaitNeeds(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			defer close(state.ended)
			if s.Restart == types.RestartPolicyNo {
				close(state.started)
				if err := c.command(ctx, name, 1).Run(); err != nil {
					return fmt.Errorf("the job %s: %w", name, err)
				}
				tell(name, "has ended well")
				return nil
			}
			for i := range max(1, s.GetScale()) {
				instances.Go(func() { c.keep(running, name, i+1) })
			}
			close(state.started)
			for i := range max(1, s.GetScale()) {
				if err := c.awaitHealth(ctx, name, i+1); err != nil {
					return err
				}
			}
			close(state.healthy)
			tell(name, "is healthy")
			return nil
		})
	}
	if err := starting.Wait(); err != nil {
		b, _ := os.ReadFile(c.log.Name())
		c.t.Fatalf("%v; the log ends:\n%s", err, tail(b, 8000))
	}
}

func (c *composition) awaitNeeds(ctx context.Context, s types.ServiceConfig) error {
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		state, wait := c.state[name], chan struct{}(nil)
		switch s.DependsOn[name].Condition {
		case types.ServiceConditionStarted:
			wait = state.started
		case types.ServiceConditionHealthy:
			wait = state.healthy
		case types.ServiceConditionCompletedSuccessfully:
			wait = state.ended // a job that fails ends ctx
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", name, ctx.Err())
		}
	}
	return ctx.Err()
}

// awaitHealth asks what the health check asks.
func (c *composition) awaitHealth(ctx context.Context, name string, i int) error {
	test := c.services[name].HealthCheck.Test
	address := c.here(i, test[len(test)-1])
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		response, err := once.Do(request)
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s %d is not healthy at %s: %w", name, i, address, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// keep runs an instance until ctx ends, and starts it again as Docker would.
func (c *composition) keep(ctx context.Context, name string, i int) {
	instance := fmt.Sprintf("%s-%d", name, i)
	for ctx.Err() == nil {
		cmd := c.command(ctx, name, i)
		c.mu.Lock()
		if c.gone[instance] {
			c.mu.Unlock()
			return
		}
		err := cmd.Start()
		c.live[instance] = cmd
		c.mu.Unlock()
		if err == nil {
			err = cmd.Wait()
		}
		fmt.Fprintf(c.log, "%s has ended: %v\n", instance, err)
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// kill ends an instance as kill -9 does; it is not started again.
func (c *composition) kill(instance string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone[instance] = true
	require.NoError(c.t, c.live[instance].Process.Kill())
}

func (c *composition) command(ctx context.Context, name string, i int) *exec.Cmd {
	s := c.services[name]
	// A mounted file is the one that is mounted.
	var mounts []string
	for _, v := range s.Volumes {
		mounts = append(mounts, v.Target, v.Source)
	}
	mounted := strings.NewReplacer(mounts...)
	local := func(text string) string { return c.here(i, mounted.Replace(text)) }
	words := slices.Concat(s.Entrypoint, s.Command)
	for n := range words {
		words[n] = local(words[n])
	}
	path := c.find(name, words[0])
	if s.Build == nil {
		words = words[1:]
	}
	cmd := exec.CommandContext(ctx, path, words...)
	cmd.Dir = filepath.Dir(c.log.Name())
	cmd.Env = []string{"HOME=" + cmd.Dir, "PATH=" + os.Getenv("PATH")}
	for variable, value := range s.Environment {
		text := local(*value)
		if other, ok := c.set[variable]; ok {
			text = other
		}
		cmd.Env = append(cmd.Env, variable+"="+text)
	}
	for variable, value := range c.set {
		if _, ok := s.Environment[variable]; !ok {
			cmd.Env = append(cmd.Env, variable+"="+value)
		}
	}
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's interrupt is the test's to handle
	if s.Build != nil {
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // others are not ours to test
	}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
