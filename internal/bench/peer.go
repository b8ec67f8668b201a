package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc/grpclog"
)

// peerCommand is how this program starts itself as the peer. The peer is a process
// of its own, so that its CPU time is not the clients', and listens as an app's
// back end would.
const peerCommand = "peer"

// runPeer serves presses with one bare workflow each: two activities, the SDK's
// defaults, worker and starter in one process so that starts are eager, as
// Patchbay's are. It ends with its standard input.
func runPeer(args []string) error {
	if len(args) != 3 {
		return errors.New("give the addresses of Temporal, of the sandbox and of its mail server")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	c, err := client.DialContext(ctx, client.Options{HostPort: args[0], Logger: silent{}})
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := newVendors(ctx, args[1])
	if err != nil {
		return err
	}
	w := worker.New(c, peerQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(bareWorkflow, workflow.RegisterOptions{Name: "bare"})
	w.RegisterActivityWithOptions(v.Read, activity.RegisterOptions{Name: "read"})
	w.RegisterActivityWithOptions(v.Write, activity.RegisterOptions{Name: "write"})
	w.RegisterWorkflowWithOptions(bareSaga, workflow.RegisterOptions{Name: "bare-saga"})
	registerTelling(w, args[2])
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	mux := http.NewServeMux()
	for path, name := range map[string]string{"/press": "bare", "/saga": "bare-saga"} {
		mux.HandleFunc("POST "+path, pressed(func(ctx context.Context, product string) ([]specification, error) {
			run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "bare-" + rand.Text(), TaskQueue: peerQueue, EnableEagerStart: true}, name, product)
			if err != nil {
				return nil, err
			}
			var rows []specification
			return rows, run.Get(ctx, &rows)
		}))
	}
	mux.HandleFunc("POST /nothing", pressed(func(_ context.Context, product string) ([]specification, error) {
		rows := make([]specification, 12) // as many as a product has
		for i := range rows {
			rows[i] = specification{Product: product, Attribute: "Weight, packaged", Value: "1.24", Unit: "kg"}
		}
		return rows, nil
	}))
	mux.HandleFunc("POST /tell", tellWith(c))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	fmt.Println("http://" + ln.Addr().String())
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

const peerQueue = "bench-bare"

func bareWorkflow(ctx workflow.Context, product string) ([]specification, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
	var rows []specification
	if err := workflow.ExecuteActivity(ctx, "read", product).Get(ctx, &rows); err != nil {
		return nil, err
	}
	return rows, workflow.ExecuteActivity(ctx, "write", rows).Get(ctx, nil)
}

// pressed answers a press in the form that Patchbay's API has.
func pressed(carry func(context.Context, string) ([]specification, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var params struct {
			Product string `json:"product_id"`
		}
		err := json.NewDecoder(r.Body).Decode(&params)
		var a answer
		if err == nil {
			a.Result.Rows, err = carry(r.Context(), params.Product)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		a.Result.Count = len(a.Result.Rows)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a)
	}
}

// peer is the other process, seen from here.
type peer struct {
	url  string
	cmd  *exec.Cmd
	stop func()
}

func startPeer(temporal, sandbox, smtp string) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, peerCommand, temporal, sandbox, smtp)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &peer{cmd: cmd, stop: sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("the bare workflow's process did not start: %w", err)
	}
	p.url = strings.TrimSpace(line)
	return p, nil
}

// silent drops the SDK's log lines.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
