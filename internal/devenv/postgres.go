package devenv

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/fault"
)

// The owner of the private cluster and the two databases in it: the sandbox has
// one of its own, so that it can judge what Patchbay did.
const (
	owner      = "patchbay"
	ownDB      = "patchbay"
	sandboxDB  = "sandbox"
	clusterDB  = "postgres" // exists in every cluster
	sharedData = "/var/lib/patchbay"
)

func (e *Env) startPostgres(ctx context.Context) error {
	address := e.options.Database
	if address != "" {
		if err := e.endOne(ctx, postgres); err != nil {
			return err
		}
		// Before anything is built on it, and apart from what is wrong with it later.
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || strings.Trim(u.Path, "/") == "" {
			return fault.Invalidf("devenv.database", "the database must be given as postgres://USER:PASSWORD@HOST:PORT/NAME")
		}
		if err := withDatabase(ctx, address, func(*pgx.Conn) error { return nil }); err != nil {
			return err
		}
	} else {
		var err error
		if address, err = e.startCluster(ctx); err != nil {
			return err
		}
	}
	return e.update(func(r *record) { r.Database = address })
}

// startCluster runs the private cluster and gives the URL of Patchbay's database.
func (e *Env) startCluster(ctx context.Context) (string, error) {
	as, err := postgresAccount()
	if err != nil {
		return "", err
	}
	if err := e.update(func(r *record) { r.Cluster = e.cluster }); err != nil { // before there is anything
		return "", err
	}
	data := filepath.Join(e.cluster, "data")
	version, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the cluster: %w", err)
	}
	bin, err := postgresBin(ctx, strings.TrimSpace(string(version)))
	if err != nil {
		return "", err
	}
	if !made {
		e.made = true
		e.options.Progress("PostgreSQL: creating a cluster in " + e.cluster)
		if err := e.initialise(ctx, bin, data, as); err != nil {
			return "", err
		}
	}
	password, err := readPassword(e.passfile(), e.cluster)
	if err != nil {
		return "", err
	}
	var at string
	ports := []port{{name: postgres, what: "PostgreSQL"}}
	err = e.ensure(ctx, postgres, ports, func(n []int) (spec, error) {
		at = address(n[0])
		return spec{
			name: postgres, title: "PostgreSQL on " + at,
			path: filepath.Join(bin, "postgres"), args: e.postgresArgs(data, n[0]), as: as, limit: 30 * time.Second,
			ready: func(ctx context.Context) error {
				return withDatabase(ctx, databaseURL(at, password, clusterDB), func(*pgx.Conn) error { return nil })
			},
		}, nil
	})
	if err != nil {
		return "", err
	}
	if err := createDatabases(ctx, databaseURL(at, password, clusterDB), ownDB, sandboxDB); err != nil {
		return "", fmt.Errorf("creating the databases: %w", err)
	}
	if len(e.options.Regions) > 0 {
		if err := seal(ctx, databaseURL(at, password, clusterDB), clusterDB, "template1", ownDB, sandboxDB); err != nil {
			return "", fmt.Errorf("closing the databases to regions: %w", err)
		}
	}
	return databaseURL(at, password, ownDB), nil
}

func (e *Env) postgresArgs(data string, port int) []string {
	settings := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(port), "unix_socket_directories=",
		"max_connections=300", "jit=off", "timezone=UTC", "log_timezone=UTC",
		// Tables are followed by logical replication; what a reader that is gone for
		// long holds back ends somewhere.
		"wal_level=logical", "max_replication_slots=100", "max_wal_senders=100", "max_slot_wal_keep_size=4GB", "track_commit_timestamp=on",
		// Rows and parameters stay out of the log (promise 5).
		"log_error_verbosity=terse", "log_min_error_statement=panic",
		"log_parameter_max_length=0", "log_parameter_max_length_on_error=0",
	}
	if e.options.Scratch {
		settings = append(settings, "fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")
	}
	args := []string{"-D", data}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// initialise makes the cluster under another name and renames it when it is
// whole, so that a kill leaves none that is half made.
func (e *Env) initialise(ctx context.Context, bin, data string, as *syscall.Credential) error {
	dir := filepath.Dir(data)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the shared parent is for another user to pass
		return fault.New(fault.Invalid, "devenv.cluster_dir", fmt.Sprintf("the directory %s for PostgreSQL cannot be made", dir), err)
	}
	password := rand.Text()
	pwfile := filepath.Join(dir, "initial-password")
	if err := errors.Join(os.RemoveAll(data+".new"), os.WriteFile(pwfile, []byte(password), 0o600)); err != nil {
		return err
	}
	defer func() { _ = os.Remove(pwfile) }()
	if as != nil {
		// Whatever our umask is, that user has to get to the directory.
		var err error
		if filepath.Dir(dir) == sharedData {
			err = os.Chmod(sharedData, 0o755) //nolint:gosec // it holds directories that only that user may enter
		}
		err = errors.Join(err, os.Chmod(dir, 0o700)) //nolint:gosec // a directory that cannot be entered is none
		if err = errors.Join(err, os.Chown(dir, int(as.Uid), int(as.Gid)), os.Chown(pwfile, int(as.Uid), int(as.Gid))); err != nil {
			return fmt.Errorf("handing %s to PostgreSQL's user: %w", dir, err)
		}
	}
	// Synced by the server's first checkpoint as far as it is written again; what
	// is not can be made anew, there is no data yet.
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data+".new", "-U", owner, "--auth=scram-sha-256",
		"--pwfile", pwfile, "--encoding=UTF8", "--locale=C", "--lc-ctype="+ctype(), "--no-sync", "--no-instructions")
	cmd.Dir, cmd.Env = "/", environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	log, err := openLog(e.dir, "initdb")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fault.New(fault.Unavailable, "devenv.initdb", "PostgreSQL's initdb failed; its log is "+logPath(e.dir, "initdb"), err)
	}
	if err := writePassword(e.passfile(), owner, password); err != nil {
		return err
	}
	return os.Rename(data+".new", data)
}

// ctype lets upper and lower work beyond ASCII where the system can.
func ctype() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}
	return "C"
}

// clusterDir decides where the private cluster lives: with the rest of the data,
// unless PostgreSQL has to run as a user who cannot get there. It stays where it
// was made.
func clusterDir(dir, recorded string) string {
	beside := filepath.Join(dir, "postgres")
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	if _, err := os.Stat(recorded); recorded != "" && err == nil {
		return recorded
	}
	if os.Geteuid() != 0 || enterable(dir) {
		return beside
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(sharedData, hex.EncodeToString(sum[:6]))
}

// enterable tells whether every user may pass through dir and all above it.
func enterable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

func databaseURL(address, password, name string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(owner, password), Host: address, Path: name, RawQuery: "sslmode=disable"}
	return u.String()
}

func createDatabases(ctx context.Context, address string, names ...string) error {
	return withDatabase(ctx, address, func(conn *pgx.Conn) error {
		for _, name := range names {
			var exists bool
			if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&exists); err != nil {
				return err
			}
			if exists {
				continue
			}
			if _, err := conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()); err != nil {
				return err
			}
		}
		return nil
	})
}

// unanswered says which server did not let us in and why, as far as that can be
// told: what pgx says itself names users and addresses as they were given.
func unanswered(address string, err error) error {
	at := "PostgreSQL at an address that cannot be read"
	if c, wrong := pgx.ParseConfig(address); wrong == nil {
		at = "PostgreSQL at " + net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
	}
	refusal, text := new(pgconn.PgError), at+" does not answer"
	switch {
	case errors.As(err, &refusal) && strings.HasPrefix(refusal.Code, "28"):
		text = at + " refuses the user or its password"
	case errors.As(err, &refusal) && refusal.Code == "3D000":
		text = at + " has no database of that name"
	case errors.Is(err, syscall.ECONNREFUSED):
		text += ": connection refused"
	case errors.Is(err, context.DeadlineExceeded):
		text += " in time"
	}
	return fault.New(fault.Unavailable, "devenv.database", text, err)
}

func withDatabase(ctx context.Context, address string, do func(*pgx.Conn) error) error {
	connecting, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(connecting, address)
	if err != nil {
		return unanswered(address, err)
	}
	defer func() { _ = conn.Close(ctx) }()
	return do(conn)
}
