package storetest

import (
	"crypto/rand"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Backup dumps a database as it is, whoever works on it meanwhile, and gives what puts that
// in its place: under the same name and URL, as another database of the same server. What
// was in it until then is gone.
func Backup(t testing.TB, owner string) (restore func()) {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...)
		cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=10")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	run("pg_dump", "--format=custom", "--file="+file, owner)
	return func() {
		t.Helper()
		u, err := url.Parse(owner)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(u.Path, "/")
		fresh := name + "_" + strings.ToLower(rand.Text()[:6])
		as := func(sql ...string) {
			t.Helper()
			if err := admin(t.Context(), func(c *pgx.Conn) error {
				for _, s := range sql {
					if _, err := c.Exec(t.Context(), s); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		as(`create database ` + fresh + ` template template0`)
		u.Path = "/" + fresh
		run("pg_restore", "--exit-on-error", "--dbname="+u.String(), file)
		as(`drop database `+name+` with (force)`, `alter database `+fresh+` rename to `+name)
	}
}
