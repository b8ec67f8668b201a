package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/store"
)

// Env names the variable with the superuser's URL of a running cluster.
const Env = "PATCHBAY_TEST_DATABASE"

// The application role of test databases; its own name, so that tests on a
// shared cluster leave the role of a real installation alone.
const (
	role     = "patchbay_test_app"
	password = "patchbay-test"
)

// Database is one test's own database, by its two URLs.
type Database struct {
	Owner string // of the role that owns the tables
	App   string // of the application role; what store.Open gets
}

// cluster and template are made once per process.
var (
	cluster  = sync.OnceValues(findCluster)
	template = sync.OnceValues(makeTemplate)
)

// New gives a Store on a new database. Both end with the test.
func New(t testing.TB) *store.Store {
	t.Helper()
	return Open(t, NewDatabase(t).App)
}

// URL gives the application's URL of a new database, which ends with the test.
func URL(t testing.TB) string {
	t.Helper()
	return NewDatabase(t).App
}

// Open opens a Store that is closed at the end of the test, for a second process'
// view of a database.
func Open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url, store.Options{MaxConns: 8, Application: "test"})
	if err != nil {
		t.Fatalf("opening the test database: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// NewDatabase copies the migrated template into a database of its own.
func NewDatabase(t testing.TB) Database {
	t.Helper()
	from, err := template()
	if err != nil {
		t.Fatalf("preparing PostgreSQL for tests: %v", err)
	}
	owner := copied(t, from)
	return Database{Owner: owner, App: withUser(owner)}
}

// Empty gives the owner's URL of a new database without a schema, on a cluster that has
// the application role.
func Empty(t testing.TB) string {
	t.Helper()
	if _, err := template(); err != nil {
		t.Fatalf("preparing PostgreSQL for tests: %v", err)
	}
	return copied(t, "template0")
}

// copied makes a database of the test's own and gives the owner's URL.
func copied(t testing.TB, from string) string {
	t.Helper()
	name := "t_" + strings.ToLower(rand.Text()[:16])
	if err := admin(t.Context(), func(c *pgx.Conn) error { return copyTemplate(t.Context(), c, name, from) }); err != nil {
		t.Fatalf("creating the test database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own context has ended
		defer cancel()
		if err := dropDatabase(ctx, name); err != nil {
			t.Errorf("dropping the test database: %v", err)
		}
	})
	base, _ := cluster()
	return withDatabase(base.url, name)
}

func dropDatabase(ctx context.Context, name string) error {
	return admin(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, `drop database if exists `+name+` with (force)`)
		return err
	})
}

func findCluster() (server, error) {
	if given := os.Getenv(Env); given != "" {
		return server{url: given}, nil
	}
	return startCluster()
}

// makeTemplate migrates a database once per cluster and schema. It gets its final
// name only when it is complete.
func makeTemplate() (string, error) {
	base, err := cluster()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name := "patchbay_template_" + store.SchemaDigest()[:16]
	err = admin(ctx, func(c *pgx.Conn) error {
		// Test processes that share the cluster wait for the first.
		if _, err := c.Exec(ctx, `select pg_advisory_lock(hashtext($1))`, name); err != nil {
			return err
		}
		var exists bool
		if err := c.QueryRow(ctx, `select exists (select from pg_database where datname = $1)`, name).Scan(&exists); err != nil || exists {
			return err
		}
		building := name + "_building"
		for _, sql := range []string{`drop database if exists ` + building + ` with (force)`, `create database ` + building} {
			if _, err := c.Exec(ctx, sql); err != nil {
				return err
			}
		}
		if _, err := store.Migrate(ctx, withDatabase(base.url, building), store.MigrateOptions{Role: role, Password: password}); err != nil {
			return err
		}
		for _, sql := range []string{`alter database ` + building + ` rename to ` + name, `alter database ` + name + ` is_template true allow_connections false`} {
			if _, err := c.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	return name, err
}

// copyTemplate retries while another process is still busy with the template.
func copyTemplate(ctx context.Context, c *pgx.Conn, name, from string) error {
	for {
		_, err := c.Exec(ctx, `create database `+name+` template `+from)
		if err == nil || !strings.Contains(err.Error(), "55006") { // object_in_use
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func admin(ctx context.Context, fn func(*pgx.Conn) error) error {
	base, err := cluster()
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, base.url)
	if err != nil {
		return fmt.Errorf("connecting to the cluster of %s: %w", Env, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return fn(conn)
}

func withDatabase(base, name string) string {
	u, err := url.Parse(base)
	if err != nil {
		panic("storetest: " + Env + " is no URL")
	}
	u.Path = "/" + name
	return u.String()
}

func withUser(owner string) string {
	u, err := url.Parse(owner)
	if err != nil {
		panic("storetest: " + Env + " is no URL")
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}
