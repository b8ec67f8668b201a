package e2e

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sockets gives where a process is connected to and where it listens, by HOST:PORT of IPv4,
// and its other sockets by kind.
func sockets(t *testing.T, pid int) (remote, listening, other []string) {
	t.Helper()
	mine := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.Trim(to, "socket:[]")] = true
		}
	}
	require.NotEmpty(t, mine, "it has a connection to Temporal")
	for kind, inode := range map[string]int{"tcp": 9, "tcp6": 9, "udp": 9, "udp6": 9, "unix": 6} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, kind))
		require.NoError(t, err)
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) <= inode || !mine[fields[inode]] {
				continue
			}
			switch {
			case kind != "tcp":
				other = append(other, kind)
			case fields[3] == "0A":
				listening = append(listening, ipv4(t, fields[1]))
			case slices.Contains(listening, ipv4(t, fields[1])): // somebody asks its probes; those that listen come first
			default:
				remote = append(remote, ipv4(t, fields[2]))
			}
		}
		require.NoError(t, f.Close())
	}
	return remote, listening, other
}

// ipv4 reads an address as the kernel writes it: "0100007F:1F90".
func ipv4(t *testing.T, text string) string {
	host, port, _ := strings.Cut(text, ":")
	ip, err := hex.DecodeString(host)
	require.NoError(t, err)
	var n int
	_, err = fmt.Sscanf(port, "%X", &n)
	require.NoError(t, err)
	return net.JoinHostPort(net.IPv4(ip[3], ip[2], ip[1], ip[0]).String(), fmt.Sprint(n))
}

// A worker of the fleet needs Temporal's address and nothing else, and opens nothing else.
func TestAWorkerOfTheFleetHoldsNoCredentials(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	probes := freePort(t)
	cmd := exec.Command(p.cmd.Path, "worker", "--queues", "risk", "--temporal", p.Temporal, "--http", probes)
	cmd.Env = []string{"GOMAXPROCS=2"} // neither a database nor a secret, nor a home to look for them
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = p.log, p.log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	scrape := func(address string) string {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	p.await("the fleet", time.Minute, func() bool {
		return regexp.MustCompile(`(?m)^temporal_num_pollers\{[^}]*task_queue="risk"[^}]*\} [1-9]`).MatchString(scrape(probes))
	})
	p.await("its backlog", time.Minute, func() bool {
		return strings.Contains(scrape(strings.TrimPrefix(p.HTTP, "http://")), `patchbay_queue_backlog{queue="risk"} 0`)
	})
	remote, listening, other := sockets(t, cmd.Process.Pid)
	require.NotEmpty(t, remote)
	for _, to := range remote {
		require.Equal(t, p.Temporal, to)
	}
	require.Equal(t, []string{probes}, listening)
	require.Empty(t, other)
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid))
	require.NoError(t, err)
	require.Equal(t, "GOMAXPROCS=2\x00", string(environment))
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "it ends in order")
}
