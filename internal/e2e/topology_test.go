package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/devenv"
	"patchbay/internal/flow"
)

// serverVersion is the full Temporal server that tools/install builds.
const serverVersion = "v1.32.1"

func TestTheFullServerThatGetsInstalledIsTheOneThatIsLookedFor(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../tools/install")
	require.NoError(t, err)
	require.Contains(t, string(script), "server_version="+serverVersion+"\n")
}

// What docker-compose.yml describes, as processes: the full Temporal server on
// PostgreSQL, schema and namespace by the jobs' own scripts, apply, two workers,
// serve with a file of keys, the stand-ins.
func TestTheComposedInstallationAnswersPressesAndOutlivesAKilledWorker(t *testing.T) {
	t.Parallel()
	p, c, key := compose(t)
	c.up(3*time.Minute, "temporal-schema", "temporal", "temporal-namespace", "sandbox", "apply", "worker", "serve")

	press := func(product, idempotencyKey string) flow.Run {
		t.Helper()
		var run flow.Run
		begun := time.Now()
		header := http.Header{"Authorization": {"Bearer " + key}, "Idempotency-Key": {idempotencyKey}}
		resp := p.do(http.MethodPost, p.HTTP+"/v1/flows/product-specs/runs", header, fmt.Sprintf(`{"product_id":%q}`, product), &run)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.NotEmpty(t, run.Result.Rows)
		p.await("final: run "+run.RunID, time.Minute, func() bool {
			var now flow.Run
			p.do(http.MethodGet, p.HTTP+"/v1/runs/"+run.RunID, http.Header{"Authorization": {"Bearer " + key}}, "", &now)
			require.NotEqual(t, flow.Failed, now.Status, "%+v", now.Problem)
			return now.Status == flow.Completed
		})
		t.Logf("%s: %s", idempotencyKey, time.Since(begun).Round(time.Millisecond))
		require.Len(t, p.specifications(product), run.Result.Count, "every row is in Dataverse, once")
		return run
	}
	written := func() int {
		return len(p.calls("dataverse", http.MethodPost, "UpsertMultiple")) + len(p.calls("dataverse", http.MethodPatch, ""))
	}

	require.Equal(t, http.StatusUnauthorized, p.do(http.MethodGet, p.HTTP+"/v1/flows", nil, "", nil).StatusCode, "serve knows keys only")
	first := press("AS54888", "composed")
	require.Equal(t, 1, written(), "one call carried the rows")
	require.Equal(t, first.RunID, press("AS54888", "composed").RunID, "the same key is the same press")
	require.Equal(t, 1, written())

	// Whichever worker took the first press: the other one is enough.
	c.kill("worker-1")
	second := press("AS54888", "after the kill")
	require.NotEqual(t, first.RunID, second.RunID)

	// A case changes in Dataverse, which delivers to serve; the worker sends a mail.
	p.desk().change(p.sampleCase())
	p.await("told of a case", time.Minute, func() bool { return len(p.letters("")) > 0 })
	require.Len(t, p.letters(""), 1)
	require.Equal(t, 1, p.count(`select count(*) from event where flow <> 'contract-changes'`), "a webhook told of it; the first sweep only learns what is there")

	// Graph asks serve for a word before it subscribes it, and there was no serve when apply ran.
	p.await("subscribed by a worker", 2*time.Minute, func() bool {
		return slices.ContainsFunc(p.calls("graph", http.MethodPost, "subscriptions"), func(c call) bool { return c.Status == http.StatusCreated })
	})
}

// compose prepares the composition, its secrets and PostgreSQL; key is the
// operator's. The address of serve and of the sandbox is in the patchbay.
func compose(t *testing.T) (p *patchbay, c *composition, key string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	path, err := binary()
	require.NoError(t, err)
	p = &patchbay{t: t, dir: dataDir(t), done: make(chan struct{}), cmd: exec.Command(path)}
	p.log, err = os.Create(filepath.Join(p.dir, "log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.log.Close() })

	// PostgreSQL as the image starts it: the owner and a database of that name.
	env, err := devenv.Start(t.Context(), devenv.Options{Dir: filepath.Join(p.dir, "pg"), Scratch: true, Temporal: "127.0.0.1:1"})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, env.Close(ctx))
	})
	database, err := url.Parse(env.Info().Database)
	require.NoError(t, err)
	password, _ := database.User.Password()
	secrets := filepath.Join(p.dir, "secrets")
	require.NoError(t, os.Mkdir(secrets, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(secrets, "owner_password"), []byte(password), 0o600))
	made, err := exec.CommandContext(t.Context(), filepath.Join(root, "deploy/make-secrets"), secrets).Output()
	require.NoError(t, err)
	_, key, _ = strings.Cut(strings.TrimSpace(string(made)), ": ")

	c = &composition{t: t, log: p.log, services: loadCompose(t, root), state: map[string]*state{}}
	ports := lowPorts(t, 14)
	local := make([]string, len(ports))
	for i, port := range ports {
		local[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	p.HTTP, p.Sandbox, p.Database = "http://"+local[0], "http://"+local[1], env.Info().Database
	number := func(i int) string { return fmt.Sprint(ports[i]) }
	c.here = func(i int, text string) string {
		return strings.NewReplacer(
			"/run/secrets/", secrets+"/",
			"postgres:5432", database.Host,
			"0.0.0.0:8080", local[0], "127.0.0.1:8080", local[0],
			"0.0.0.0:8090", local[1], "127.0.0.1:8090", local[1], "sandbox:8090", local[1],
			"temporal:7233", local[2], "127.0.0.1:7243", local[3],
			"127.0.0.1:8081", local[10+i],
			"serve:8080", local[0], "--webhook-host=serve", "--webhook-host=127.0.0.1",
			"sandbox:8025", local[13], "--smtp-port=8025", "--smtp-port="+fmt.Sprint(ports[13]),
		).Replace(text)
	}
	c.set = map[string]string{
		"SQL_HOST": database.Hostname(), "SQL_PORT": database.Port(), "FRONTEND_IP": "127.0.0.1",
		"FRONTEND_PORT": number(2), "FRONTEND_HTTP_PORT": number(3), "FRONTEND_MEMBERSHIP_PORT": number(4),
		"HISTORY_PORT": number(5), "HISTORY_MEMBERSHIP_PORT": number(6),
		"MATCHING_PORT": number(7), "MATCHING_MEMBERSHIP_PORT": number(8),
		"WORKER_PORT": number(9), "WORKER_MEMBERSHIP_PORT": number(10),
	}
	tools := fullServer(t)
	c.set["PATH"] = strings.Join([]string{tools["temporal-server"], tools["temporal"], os.Getenv("PATH")}, string(os.PathListSeparator))
	c.find = func(service, word string) string {
		if c.services[service].Build != nil {
			return path
		}
		return filepath.Join(tools[word], word) // of "/bin/sh" itself
	}

	postgres := c.services["postgres"]
	require.Equal(t, "patchbay", *postgres.Environment["POSTGRES_USER"], "as here")
	require.Equal(t, "patchbay", *postgres.Environment["POSTGRES_DB"], "as here")
	init := exec.CommandContext(t.Context(), filepath.Join(root, "deploy/postgres/init.sh"))
	init.Env = append(os.Environ(), "PGHOST="+database.Hostname(), "PGPORT="+database.Port(), "PGPASSWORD="+password)
	for variable, value := range postgres.Environment {
		init.Env = append(init.Env, variable+"="+c.here(1, *value))
	}
	out, err := init.CombinedOutput()
	require.NoError(t, err, "%s", out)
	c.provide("postgres")
	return p, c, key
}

// lowPorts gives free ports below 32768: Temporal's schema keeps those of its
// services as signed numbers of 16 bits.
func lowPorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for at := 12000 + rand.IntN(10000); len(ports) < n; at++ {
		require.Less(t, at, 32768, "no free ports")
		if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", at)); err == nil {
			ports = append(ports, at)
			require.NoError(t, l.Close())
		}
	}
	return ports
}

// fullServer gives the directory of each of Temporal's programs.
func fullServer(t *testing.T) map[string]string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	full := filepath.Join(cache, "patchbay", "temporal-server-"+serverVersion)
	for _, name := range []string{"temporal-server", "temporal-sql-tool"} {
		_, err := os.Stat(filepath.Join(full, name))
		require.NoError(t, err, "the full Temporal server is missing; run: make test-tools")
	}
	binary, err := devenv.TemporalBinary()
	require.NoError(t, err)
	return map[string]string{"temporal-server": full, "temporal": filepath.Dir(binary)}
}
