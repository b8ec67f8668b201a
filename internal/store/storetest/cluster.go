package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// guardian runs the server and, when the pipe from the test process closes (it
// has ended, or was killed), stops it and removes the cluster. SIGQUIT is an
// immediate shutdown: nothing of it is kept.
const guardian = `"$1/postgres" -D "$2/data" -p "$3" >"$2/log" 2>&1 & pid=$!; read -r _; kill -QUIT $pid; wait $pid; rm -rf "$2"`

// server is a running cluster. The guardian's pipe must stay reachable: collected,
// it would close, and the server would end.
type server struct {
	url  string
	pipe io.Closer // nil for a cluster that somebody else runs
}

// Cluster starts a server of the test's own, with settings beside those of every test
// cluster, and gives the URL of its owner. It ends with the test.
func Cluster(t testing.TB, settings ...string) (url string) {
	t.Helper()
	s, err := startCluster(settings...)
	if err != nil {
		t.Fatalf("starting a PostgreSQL for the test: %v", err)
	}
	t.Cleanup(func() { _ = s.pipe.Close() })
	return s.url
}

func startCluster(settings ...string) (server, error) {
	bin, err := binaries()
	if err != nil {
		return server{}, err
	}
	as, err := account()
	if err != nil {
		return server{}, err
	}
	dir, err := clusterDir(as)
	if err != nil {
		return server{}, err
	}
	secret := rand.Text()
	if err := initialise(bin, dir, secret, as, settings); err != nil {
		return server{}, errors.Join(err, os.RemoveAll(dir))
	}
	for range 3 { // a free port may be taken by another before PostgreSQL binds it
		port, err := freePort()
		if err != nil {
			return server{}, err
		}
		url := fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", secret, port)
		if pipe, err := serve(bin, dir, port, url, as); err == nil {
			return server{url, pipe}, nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	return server{}, fmt.Errorf("PostgreSQL did not start: %s", log)
}

// initialise makes a cluster that trades durability, which no test of a process
// needs, for speed. Tests of a crash bring their own.
func initialise(bin, dir, secret string, as *syscall.Credential, settings []string) error {
	passwords := filepath.Join(dir, "password")
	if err := os.WriteFile(passwords, []byte(secret), 0o600); err != nil {
		return err
	}
	if as != nil {
		if err := os.Chown(passwords, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	cmd := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "scram-sha-256",
		"--pwfile", passwords, "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(dir, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conf, "\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 300\nfsync = off\nfull_page_writes = off\n"+
		"autovacuum = off\nlog_error_verbosity = terse\n"+
		"wal_level = logical\nmax_replication_slots = 100\nmax_wal_senders = 100\ntrack_commit_timestamp = on\n%s\n", strings.Join(settings, "\n"))
	return errors.Join(err, conf.Close())
}

func serve(bin, dir string, port int, url string, as *syscall.Credential) (io.Closer, error) {
	cmd := exec.Command("/bin/sh", "-c", guardian, "guardian", bin, dir, strconv.Itoa(port))
	cmd.Dir = dir
	// Its own process group: an interrupt at the terminal ends the test process,
	// and the guardian then ends the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return pipe, conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			_ = pipe.Close()
			return nil, errors.Join(err, cmd.Wait())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// binaries finds the directory of initdb and postgres; the newest if there are several.
func binaries() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if found, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(found), nil
		}
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		dirs, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
				found = append(found, dir)
			}
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no PostgreSQL found in PATH or /usr/lib/postgresql: run `make tools`, or set %s to a superuser's URL", Env)
	}
	return slices.Max(found), nil
}

// account is the user that runs the server when the tests run as root, whom
// PostgreSQL refuses; nil otherwise.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL refuses to run as root and there is no user postgres: run `make tools`, or set %s", Env)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// clusterDir makes a directory that the server's user can enter; a TMPDIR below
// a private home would not do.
func clusterDir(as *syscall.Credential) (string, error) {
	var last error
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if as != nil && !enterable(base) {
			continue
		}
		dir, err := os.MkdirTemp(base, "patchbay-test-postgres-")
		if err != nil {
			last = err
			continue
		}
		if as != nil {
			err = os.Chown(dir, int(as.Uid), int(as.Gid))
		}
		return dir, err
	}
	return "", errors.Join(errors.New("no temporary directory that PostgreSQL's user can enter"), last)
}

func enterable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&fs.FileMode(0o001) == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir || strings.HasSuffix(parent, ":") {
			return true
		}
		dir = parent
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
