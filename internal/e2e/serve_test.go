package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// freePort gives a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// process runs a command of the binary until the test ends.
func (p *patchbay) process(args ...string) {
	p.t.Helper()
	cmd := exec.Command(p.cmd.Path, args...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Env = append(os.Environ(), "PATCHBAY_SANDBOX="+p.Sandbox, "PATCHBAY_SANDBOX_SECRET=sandbox-secret", "PATCHBAY_SANDBOX_HOOK=c2FuZGJveC1jYWxsYmFjay1zZWNyZXQtMzItYnl0ZXM=", "PATCHBAY_SANDBOX_SMTP="+p.SMTP)
	require.NoError(p.t, cmd.Start())
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

func TestServeTakesOnlyKeysAndAWorkerOfItsOwnDoesTheWork(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	keys := filepath.Join(p.dir, "keys")
	lines := ""
	for name, role := range map[string]string{"app": "press", "other": "press", "desk": "operate"} {
		sum := sha256.Sum256([]byte("key-of-" + name))
		lines += fmt.Sprintf("%s %s %s\n", name, hex.EncodeToString(sum[:]), role)
	}
	require.NoError(t, os.WriteFile(keys, []byte(lines), 0o600))
	address := freePort(t)
	p.process("serve", "--database", p.Database, "--temporal", p.Temporal, "--http", address, "--keys", keys)
	probes := freePort(t)
	p.process("worker", "--database", p.Database, "--temporal", p.Temporal, "--http", probes)
	base := "http://" + address
	p.await("serving", time.Minute, func() bool {
		resp, err := http.Get(base + "/healthz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	p.await("working", time.Minute, func() bool {
		resp, err := http.Get("http://" + probes + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(b), "temporal_num_pollers")
	})
	var health struct {
		Status string `json:"status"`
		Checks []struct{ Name, Status string }
	}
	require.Equal(t, http.StatusOK, p.do(http.MethodGet, "http://"+probes+"/readyz", nil, "", &health).StatusCode)
	require.Equal(t, "ok", health.Status)
	require.Len(t, health.Checks, 3, "database, temporal and whether its build is current")
	as := func(name string) http.Header { return http.Header{"Authorization": {"Bearer key-of-" + name}} }

	var problem struct {
		Code string `json:"code"`
	}
	resp := p.do(http.MethodPost, base+"/v1/flows/product-specs/runs", nil, `{"product_id":"AS54888"}`, &problem)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode, "loopback or not: serve knows keys only")
	require.Equal(t, "auth.missing", problem.Code)
	resp = p.do(http.MethodGet, base+"/v1/flows", http.Header{"Authorization": {"Bearer wrong"}}, "", nil)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	require.Empty(t, p.calls("oracle", http.MethodGet, "itemsV2"))

	var run flow.Run
	resp = p.do(http.MethodPost, base+"/v1/flows/product-specs/runs", as("app"), `{"product_id":"AS54888"}`, &run)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NotEmpty(t, run.Result.Rows)
	for name, status := range map[string]int{"app": 200, "desk": 200, "other": 404} {
		resp = p.do(http.MethodGet, base+"/v1/runs/"+run.RunID, as(name), "", nil)
		require.Equal(t, status, resp.StatusCode, "%s asks for a run of app", name)
	}
	require.Equal(t, flow.Completed, p.final(run.RunID, time.Minute).Status)
	require.Len(t, p.specifications("AS54888"), run.Result.Count)
}
