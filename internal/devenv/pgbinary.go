package devenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"patchbay/internal/fault"
)

// postgresBin finds the directory with initdb and postgres; with major not
// empty, of that major version, because a cluster is of one.
func postgresBin(ctx context.Context, major string) (string, error) {
	type install struct {
		dir   string
		major int
	}
	var found []install
	for _, dir := range postgresDirs() {
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
		fields := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian …)
		if err != nil || len(fields) < 3 {
			continue
		}
		version, _, _ := strings.Cut(fields[2], ".")
		n, err := strconv.Atoi(version) // not of a beta: "19beta1" is passed over
		if err == nil && (major == "" || version == major) {
			found = append(found, install{dir, n})
		}
	}
	if len(found) == 0 && major != "" {
		return "", fault.NotFoundf("devenv.no_postgres", "the data was made by PostgreSQL %s, which is not installed any more; install it, or begin anew with --fresh", major)
	}
	if len(found) == 0 {
		return "", fault.NotFoundf("devenv.no_postgres", "PostgreSQL is not installed (looked in PATH, /usr/lib/postgresql and Homebrew); run: make tools")
	}
	return slices.MaxFunc(found, func(a, b install) int { return a.major - b.major }).dir, nil
}

func postgresDirs() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if file, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		matches, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, dir := range matches {
			if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// postgresAccount is the user that runs the server when we are root, whom
// PostgreSQL refuses; nil otherwise.
func postgresAccount() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fault.New(fault.NotFound, "devenv.no_postgres_user",
			"PostgreSQL refuses to run as root and there is no user postgres to run it; run: make tools", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the user postgres: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the user postgres: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
