package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/failpoint"
)

// guard keeps one process of patchbay running, as a supervisor does: one that ends
// is started again at once.
type guard struct {
	name    string
	at      string // http://HOST:PORT of its probes
	control string // HOST:PORT of its failpoints
	command func() *exec.Cmd
	ended   chan struct{} // closed when Run has returned

	mu     sync.Mutex
	cmd    *exec.Cmd
	first  *failpoint.Order // what the next start begins with
	starts int
	over   bool
}

// guard starts a process of the world and keeps it running until the test ends.
func (w *world) guard(name string, args ...string) *guard {
	w.t.Helper()
	g := &guard{name: name, at: "http://" + freePort(w.t), control: freePort(w.t), ended: make(chan struct{})}
	g.command = func() *exec.Cmd {
		cmd := exec.Command(w.path, append(args, "--http", g.at[len("http://"):])...)
		cmd.Dir, cmd.Env = w.dir, append(w.environ(), failpoint.Env+"="+g.control)
		cmd.Stdout, cmd.Stderr = w.log, w.log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}
	require.NoError(w.t, g.start())
	go g.run()
	w.t.Cleanup(g.stop)
	return g
}

func (g *guard) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	cmd := g.command()
	if g.first != nil {
		cmd.Env = append(cmd.Env, ordered(*g.first))
		g.first = nil
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	g.cmd, g.starts = cmd, g.starts+1
	return nil
}

// run starts the process again until stop is called.
func (g *guard) run() {
	defer close(g.ended)
	for {
		g.mu.Lock()
		cmd := g.cmd
		g.mu.Unlock()
		began := time.Now()
		_ = cmd.Wait()
		if g.done() {
			return
		}
		if time.Since(began) < time.Second { // it could not begin: what it needs may be coming
			<-time.After(200 * time.Millisecond)
		}
		if g.done() || g.start() != nil {
			return
		}
	}
}

func (g *guard) done() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.over }

// begin ends the process and has the next one begin with an order.
func (g *guard) begin(o failpoint.Order) {
	g.mu.Lock()
	g.first = &o
	g.mu.Unlock()
	g.signal(syscall.SIGKILL)
}

// ordered is the variable of a process that begins with an order.
func ordered(o failpoint.Order) string {
	text, _ := json.Marshal(o) // texts and a number
	return failpoint.First + "=" + string(text)
}

// generation counts the starts of the process.
func (g *guard) generation() int { g.mu.Lock(); defer g.mu.Unlock(); return g.starts }

func (g *guard) signal(s syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.cmd.Process.Signal(s)
}

// stop ends the process in order.
func (g *guard) stop() {
	g.mu.Lock()
	g.over = true
	cmd := g.cmd
	g.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.ended:
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		<-g.ended
	}
}

// ready reports whether the process says that it is.
func (g *guard) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, _ := get(ctx, g.at+"/readyz", nil)
	return status == http.StatusOK
}

// orders is what the failpoints of the process say of themselves.
type orders struct {
	Struck int            `json:"struck"`
	Met    map[string]int `json:"met"`
}

// arm has something happen to the process, and says what had happened before.
func (g *guard) arm(ctx context.Context, o failpoint.Order) (orders, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return orders{}, err
	}
	return g.ask(ctx, http.MethodPut, body)
}

func (g *guard) ask(ctx context.Context, method string, body []byte) (now orders, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+g.control, bytes.NewReader(body))
	if err != nil {
		return now, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return now, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return now, fmt.Errorf("the failpoints of %s answered %s", g.name, resp.Status)
	}
	return now, json.NewDecoder(resp.Body).Decode(&now)
}

// get asks for a page and decodes it into into, which may be nil.
func get(ctx context.Context, url string, into any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if into == nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.NewDecoder(resp.Body).Decode(into)
}

// freePort gives HOST:PORT that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// environ is the environment of patchbay's processes.
func (w *world) environ() []string {
	return append(os.Environ(), "PATCHBAY_SANDBOX="+w.sandbox, "PATCHBAY_SANDBOX_SECRET=sandbox-secret", "PATCHBAY_SANDBOX_HOOK=c2FuZGJveC1jYWxsYmFjay1zZWNyZXQtMzItYnl0ZXM=", "PATCHBAY_SANDBOX_SMTP="+w.mail,
		"PATCHBAY_ERP="+w.gallery.url, "PATCHBAY_ERP_PASSWORD="+w.gallery.password)
}
