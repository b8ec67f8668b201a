package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// regional is `patchbay dev --regions de,fr,ch`.
type regional struct{ *patchbay }

var threeRegions = []string{"ch", "de", "fr"}

// One environment serves all of it, in this order: each leaves it as it was.
func TestRegionsOnOneMachineShareNothingButTheirBorders(t *testing.T) { //nolint:tparallel // its parts strike one environment in turn
	t.Parallel()
	begun := time.Now()
	r := regional{start(t, dataDir(t), "--regions", "de,fr,ch")}
	t.Logf("ready after %s", time.Since(begun).Round(100*time.Millisecond))
	for _, test := range []struct {
		name string
		run  func(*testing.T, regional)
	}{
		{"no process of one region holds another's credentials", credentialsStay},
		{"a role of one region opens nothing of another", rolesOpenNothing},
		{"a killed process of a region comes back and the others never stopped", killedProcess},
		{"a region without its database leaves the others serving", regionOutage},
		{"the doctor and the console know the regions", regionsAreShown},
		{"a killed Patchbay is taken over, with the regions that are wanted now", takenOver},
	} {
		t.Run(test.name, func(t *testing.T) { r.t = t; test.run(t, r) })
	}
}

func (r regional) pid(child string) int {
	require.True(r.t, r.reread())
	for _, c := range r.Children {
		if c.Name == child {
			return c.PID
		}
	}
	return 0
}

// environ is the environment of the process of a region, as it was told.
func (r regional) environ(region string) map[string]string {
	r.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", r.pid("region-"+region)))
	require.NoError(r.t, err)
	env := map[string]string{}
	for v := range strings.SplitSeq(string(b), "\x00") {
		if name, value, ok := strings.Cut(v, "="); ok {
			env[name] = value
		}
	}
	return env
}

func passwordOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	password, ok := u.User.Password()
	require.True(t, ok)
	return password
}

func credentialsStay(t *testing.T, r regional) {
	// Secrets by who may hold them: "de" alone, or "de" of those that read the border of "fr".
	secrets := map[string]string{}
	for _, of := range threeRegions {
		env := r.environ(of)
		require.Equal(t, of, env["PATCHBAY_REGION"])
		secrets[passwordOf(t, env["PATCHBAY_DATABASE"])] = of
		secrets["sandbox-secret-"+of] = of
		for _, other := range threeRegions {
			if address := env["PATCHBAY_EGRESS_"+strings.ToUpper(other)]; other == of {
				require.Empty(t, address)
			} else {
				secrets[passwordOf(t, address)] = of
			}
		}
	}
	secrets[passwordOf(t, r.Database)] = "nobody" // the owner of the server
	require.Len(t, secrets, 3*4+1, "each is another")
	for _, of := range threeRegions {
		for _, child := range []string{"region-" + of, "temporal-" + of} {
			for _, file := range []string{"environ", "cmdline"} {
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", r.pid(child), file))
				require.NoError(t, err)
				for secret, holder := range secrets {
					if holder != of || file == "cmdline" || child != "region-"+of {
						require.NotContains(t, string(b), secret, "%s of %s has what is for %s", file, child, holder)
					}
				}
				require.NotContains(t, string(b), "sandbox-secret\x00", "that of the systems of no region")
			}
		}
	}
	// Whom a process speaks to is another question than what it was told.
	for _, of := range threeRegions {
		for who, n := range r.sessions(r.pid("region-" + of)) {
			role, database, _ := strings.Cut(who, " at ")
			if own := userOf(t, r.environ(of)["PATCHBAY_DATABASE"]); role == own {
				require.Equal(t, "patchbay_"+of, database)
				continue
			}
			require.Equal(t, userOf(t, r.environ(of)["PATCHBAY_EGRESS_"+strings.ToUpper(strings.TrimPrefix(database, "patchbay_"))]), role, "%d connections of %s", n, of)
		}
	}
}

func userOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.User.Username()
}

// sessions counts the connections of a process to PostgreSQL, by "ROLE at DATABASE".
func (r regional) sessions(pid int) map[string]int {
	r.t.Helper()
	inodes := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(r.t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			inodes[strings.Trim(to, "socket:[]")] = true
		}
	}
	b, err := os.ReadFile("/proc/net/tcp")
	require.NoError(r.t, err)
	server, err := url.Parse(r.Database)
	require.NoError(r.t, err)
	to, err := strconv.ParseInt(server.Port(), 10, 64)
	require.NoError(r.t, err)
	var ports []int64
	for line := range strings.SplitSeq(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 9 && inodes[f[9]] && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", to)) { // another server may be spoken to from the port of somebody else
			_, hex, _ := strings.Cut(f[1], ":")
			port, err := strconv.ParseInt(hex, 16, 64)
			require.NoError(r.t, err)
			ports = append(ports, port)
		}
	}
	found := map[string]int{}
	rows, err := r.as(r.Database).Query(r.t.Context(), `select usename || ' at ' || datname, count(*) from pg_stat_activity where client_port = any($1) group by 1`, ports)
	require.NoError(r.t, err)
	var who string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&who, &n}, func() error { found[who] = n; return nil })
	require.NoError(r.t, err)
	require.NotEmpty(r.t, found, "it works with its database")
	return found
}

// as connects until the test ends.
func (r regional) as(address string) *pgx.Conn {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), address)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// forbidden tells that PostgreSQL forbids something, for want of a right and of nothing else.
func forbidden(t *testing.T, err error, what string) {
	t.Helper()
	var refusal *pgconn.PgError
	require.ErrorAs(t, err, &refusal, what)
	require.Equal(t, "42501", refusal.Code, "%s: %s", what, refusal.Message)
}

func rolesOpenNothing(t *testing.T, r regional) {
	de := r.environ("de")
	own, border := de["PATCHBAY_DATABASE"], de["PATCHBAY_EGRESS_FR"]
	in := func(address, database string) string {
		u, err := url.Parse(address)
		require.NoError(t, err)
		u.Path = database
		return u.String()
	}
	for address, mayEnter := range map[string]string{own: "patchbay_de", border: "patchbay_fr"} {
		for _, database := range []string{"patchbay", "patchbay_de", "patchbay_fr", "patchbay_ch", "sandbox", "postgres", "template1"} {
			conn, err := pgx.Connect(t.Context(), in(address, database))
			if database == mayEnter {
				require.NoError(t, err)
				require.NoError(t, conn.Close(t.Context()))
				continue
			}
			forbidden(t, err, userOf(t, address)+" enters "+database)
		}
	}

	// The role that de has at fr: every table, then what else a session could try.
	owner, peer := r.as(r.Regions["fr"].Database), r.as(border)
	rows, err := owner.Query(t.Context(), `select format('%I.%I', n.nspname, c.relname), n.nspname = 'egress' from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p', 'v', 'm', 'S') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`)
	require.NoError(t, err)
	tables := map[string]bool{}
	var table string
	var ofBorder bool
	_, err = pgx.ForEachRow(rows, []any{&table, &ofBorder}, func() error { tables[table] = ofBorder; return nil })
	require.NoError(t, err)
	require.Greater(t, len(tables), 40)
	readable := 0
	for table, ofBorder := range tables {
		_, err := peer.Exec(t.Context(), "select * from "+table+" limit 1")
		if ofBorder && err == nil {
			readable++
		} else {
			forbidden(t, err, "reading "+table)
		}
		for _, sql := range []string{"delete from %s", "insert into %s default values", "truncate %s", "drop table %s", "create index on %s ((1))"} {
			if _, err := peer.Exec(t.Context(), fmt.Sprintf(sql, table)); err == nil {
				t.Errorf("%s is done", fmt.Sprintf(sql, table))
			} else if sql != "drop table %s" && !strings.Contains(sql, "index") { // of a sequence, another error comes first
				continue
			}
		}
	}
	require.Positive(t, readable, "what it is for")
	var leaked int
	require.NoError(t, owner.QueryRow(t.Context(), `select count(*) from information_schema.columns where table_schema = 'egress' and column_name in ('msx_diagnosis', 'msx_patientid', 'description')`).Scan(&leaked))
	require.Zero(t, leaked, "what may not cross has no place at the border")
	for _, sql := range []string{
		"create table public.mine (n int)", "create schema mine", "create temporary table mine (n int)", "create role mine", "create database mine",
		"alter role current_user superuser", "set role patchbay", "set session authorization patchbay",
		"select * from pg_authid", "select pg_read_file('postgresql.conf')", "copy (select 1) to program 'true'", "create extension dblink",
		"select pg_terminate_backend(pid) from pg_stat_activity where usename = 'patchbay'",
	} {
		_, err := peer.Exec(t.Context(), sql)
		require.Error(t, err, sql)
	}

	// What the stand-in of one region is asked with the secret of another.
	for secret, of := range map[string]string{"sandbox-secret-de": "fr", "sandbox-secret": "de"} {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"patchbay-" + of}, "client_secret": {secret}, "scope": {r.Sandbox + "/dataverse-" + of + "/.default"}}
		resp, err := http.PostForm(r.Sandbox+"/login/contoso/oauth2/v2.0/token", form)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	}
}

// serves reports what a Patchbay says of itself: 0 nobody answers.
func serves(address string) int {
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := once.Get(address + "/readyz")
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// undisturbed runs f and then tells that all children but the named ones are those of
// before, and that the other regions and the main process are ready.
func (r regional) undisturbed(but []string, f func()) {
	r.t.Helper()
	require.True(r.t, r.reread())
	before := r.Children
	f()
	require.True(r.t, r.reread())
	for i, c := range before {
		struck := false
		for _, name := range but {
			struck = struck || c.Name == name
		}
		if !struck {
			require.Contains(r.t, r.Children, before[i], "%s has run all the time", c.Name)
		}
	}
	for _, address := range []string{r.HTTP, r.Regions["de"].HTTP, r.Regions["ch"].HTTP} {
		require.Equal(r.t, http.StatusOK, serves(address))
	}
}

func killedProcess(t *testing.T, r regional) {
	for _, child := range []string{"region-fr", "temporal-fr"} {
		r.undisturbed([]string{child}, func() {
			old := r.pid(child)
			begun := time.Now()
			require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
			r.await(child+" back", time.Minute, func() bool {
				for _, other := range []string{"de", "ch"} {
					require.Equal(t, http.StatusOK, serves(r.Regions[other].HTTP), "%s serves while %s is away", other, child)
				}
				now := r.pid(child)
				return now != 0 && now != old && serves(r.Regions["fr"].HTTP) == http.StatusOK
			})
			t.Logf("%s is back after %s", child, time.Since(begun).Round(100*time.Millisecond))
		})
	}
}

func regionOutage(t *testing.T, r regional) {
	owner := r.as(r.Database)
	allow := func(yes bool) {
		_, err := owner.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf("alter database patchbay_fr with allow_connections %t", yes))
		require.NoError(t, err)
	}
	defer allow(true)
	r.undisturbed(nil, func() {
		allow(false)
		_, err := owner.Exec(t.Context(), "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'patchbay_fr'")
		require.NoError(t, err)
		r.await("told of its outage", time.Minute, func() bool { return serves(r.Regions["fr"].HTTP) == http.StatusServiceUnavailable })
		watched := time.Now() // for a second: the others are what is looked at
		r.await("a second older", time.Minute, func() bool {
			for _, other := range []string{"de", "ch"} {
				require.Equal(t, http.StatusOK, serves(r.Regions[other].HTTP), "%s does without fr", other)
			}
			return time.Since(watched) > time.Second
		})
		allow(true)
		r.await("back", time.Minute, func() bool { return serves(r.Regions["fr"].HTTP) == http.StatusOK })
	})
}

func regionsAreShown(t *testing.T, r regional) {
	stdout, stderr, status := r.cli("doctor")
	require.Equal(t, 0, status, "%s%s", stdout, stderr)
	for _, name := range threeRegions {
		require.Regexp(t, `(?m)^ok +region `+name+` +ready at `+r.Regions[name].HTTP, stdout)
		require.Regexp(t, `(?m)^ok +connection dataverse-`+name+` +not tried: it is dialled in region `+name+` alone`, stdout)
	}
	page, err := http.Get(r.HTTP + "/flows")
	require.NoError(t, err)
	defer page.Body.Close()
	b, err := io.ReadAll(page.Body)
	require.NoError(t, err)
	for _, name := range threeRegions {
		require.Contains(t, string(b), `href="`+r.Regions[name].HTTP+`"`)
	}
	// In its own region a system is tried, and is not said to be elsewhere.
	var found struct {
		Checks []struct{ Name, Status, Detail string }
	}
	r.do(http.MethodGet, r.Regions["de"].HTTP+"/v1/doctor", nil, "", &found)
	for _, c := range found.Checks {
		require.NotEqual(t, "fail", c.Status, "%s: %s", c.Name, c.Detail)
		if c.Name == "connection dataverse-de" {
			require.Contains(t, c.Detail, "signed in")
		}
	}
}

func takenOver(t *testing.T, r regional) {
	before := map[string]int{}
	for _, c := range r.Children {
		before[c.Name] = c.PID
	}
	r.kill()
	for _, name := range threeRegions {
		require.Equal(t, http.StatusOK, serves(r.Regions[name].HTTP), "%s does without the process that started it", name)
	}
	again := regional{start(t, r.dir, "--regions", "de,fr")}
	for _, name := range []string{"postgres", "temporal", "temporal-de", "temporal-fr", "sandbox"} {
		require.Equal(t, before[name], again.pid(name), "%s is adopted", name)
	}
	for _, name := range []string{"region-de", "region-fr", "region-ch", "temporal-ch"} {
		require.NotEqual(t, before[name], again.pid(name))
		require.False(t, runs(before[name]), "%s has been ended", name)
	}
	require.Len(t, again.Regions, 2)
}

// runs reports whether a process runs, and not only waits to be reaped.
func runs(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return !errors.Is(err, os.ErrNotExist) && !strings.Contains(string(b), ") Z ")
}
