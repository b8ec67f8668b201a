package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// patchbay runs a command line against a server of its own.
func patchbay(ctx context.Context, t *testing.T, serve http.HandlerFunc, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	server := httptest.NewServer(serve)
	defer server.Close()
	var out, note bytes.Buffer
	command := append([]string{"patchbay", args[0], "--server", server.URL}, args[1:]...)
	status = execute(ctx, command, &out, &note)
	return out.String(), strings.ReplaceAll(note.String(), server.URL, "SERVER"), status
}

func TestCancelAsksAgainUntilThereIsACertificate(t *testing.T) {
	t.Parallel()
	var asked []string
	stdout, stderr, status := patchbay(t.Context(), t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Prefer"))
		if len(asked) == 1 {
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"run_id":"abc","status":"running","cancelling":true,"effects":[{"step":"write","target":"crm"}]}`)
			return
		}
		fmt.Fprint(w, `{"status":"cancelled","done":[{"step":"write","target":"crm/1"}],"undone":[],"in_doubt":[]}`)
	}, "runs", "--cancel", "abc")
	require.Zero(t, status, stderr)
	require.Equal(t, []string{"POST /v1/runs/abc/cancel wait=1", "POST /v1/runs/abc/cancel wait=30"}, asked)
	require.Equal(t, "cancelled: 1 done, 0 undone, 0 in doubt\n  done      write  crm/1\n", stdout)
	require.Equal(t, "cancelling… a write that had begun is not settled yet\n", stderr)
}

func TestAnInterruptedCancelSaysThatItIsNotSettled(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stdout, stderr, status := patchbay(ctx, t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"run_id":"abc","status":"running","cancelling":true}`)
		w.(http.Flusher).Flush()
		interrupt()
	}, "runs", "--json", "--cancel", "abc")
	require.Equal(t, exitFailed, status)
	require.Empty(t, stdout, "a run is no certificate")
	require.Contains(t, stderr, "patchbay: not settled yet; ask again, or look at SERVER/runs/abc\n")
}

// Decoded as float64, the number would come out as 12345678901234567000.
func TestNumbersFromTheStreamStayExact(t *testing.T) {
	t.Parallel()
	const final = `{"run_id":"abc","status":"completed","result":{"rows":[{"price":12345678901234567890.10}],"count":1}}`
	serve := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"run_id":"abc","status":"running"}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: 1\ndata: %s\n\n", final)
	}
	stdout, stderr, status := patchbay(t.Context(), t, serve, "run", "specs")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "12345678901234567890.10")
	stdout, stderr, status = patchbay(t.Context(), t, serve, "run", "--json", "specs")
	require.Zero(t, status, stderr)
	require.True(t, json.Valid([]byte(stdout)))
	require.Contains(t, stdout, "12345678901234567890.10")
}

func TestAMistakeInTheArgumentsIsOneLineAndStatus2(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--nope":                     "there is no flag --nope; see patchbay --help",
		"dev --nope":                 "there is no flag --nope; see patchbay dev --help",
		"dev --http":                 "flag needs an argument: --http; see patchbay dev --help",
		"dev extra":                  `dev takes no argument "extra"; see patchbay dev --help`,
		"runs --limit x":             `invalid value "x" for --limit; see patchbay runs --help`,
		"apply --wait soon":          `invalid value "soon" for --wait`,
		"serve --database x":         `give --keys; see patchbay serve --help`,
		"runs --limit 0":             "--limit 0: give a whole number from 1 to 200",
		"runs --status done":         "--status done: give one of accepted, running, parked, completed, failed, cancelled",
		"check":                      "there is no ./flows here; give a directory: patchbay check DIR, or check those in the binary: patchbay check --examples",
		"check --examples flows":     "--examples takes no directory; leave out one of the two",
		"apply --database x":         "there is no ./flows here; give the directory of the flows: patchbay apply DIR",
		"serve":                      "give --database and --keys; see patchbay serve --help",
		"nosuch":                     `there is no command "nosuch"; patchbay --help lists them`,
		"help nosuch":                "there is no such command; patchbay --help lists them",
		"runs --cancel":              "name the run to cancel: patchbay runs --cancel RUN",
		"apply --database x nowhere": "nowhere is no directory of flow files",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			var out, note bytes.Buffer
			status := execute(t.Context(), append([]string{"patchbay"}, strings.Fields(line)...), &out, &note)
			require.Equal(t, exitUsage, status, note.String())
			require.Empty(t, out.String())
			require.Equal(t, 1, strings.Count(note.String(), "\n"), note.String())
			require.True(t, strings.HasPrefix(note.String(), "patchbay: "+want), note.String())
		})
	}
}

func TestAnEmptyKeyIsNoKey(t *testing.T) {
	t.Parallel()
	var out, note bytes.Buffer
	require.Equal(t, exitUsage, execute(t.Context(), []string{"patchbay", "explain", ""}, &out, &note))
	require.Equal(t, "patchbay: name one key, for example: patchbay explain AS54888\n", note.String())
}

func TestARecordThatCannotBeReadIsNoReasonToAskAnotherServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	address, err := discover(dir)
	require.NoError(t, err)
	require.Equal(t, defaultServer, address, "nothing was started here")
	file := filepath.Join(dir, "dev.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"http": "http://127.0.0.1:9`), 0o600))
	_, err = discover(dir)
	require.Equal(t, usage("%s cannot be read; name the server with --server URL", file), err)
	require.NoError(t, os.WriteFile(file, []byte(`{"http": "http://127.0.0.1:9000"}`), 0o600))
	address, err = discover(dir)
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:9000", address)
}

func TestTheVersionIsOneLine(t *testing.T) {
	t.Parallel()
	var out, note bytes.Buffer
	require.Zero(t, execute(t.Context(), []string{"patchbay", "--version"}, &out, &note))
	require.Regexp(t, `^patchbay version \S+\n$`, out.String())
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"dev", "serve", "worker", "sandbox", "apply", "check", "schema", "run", "runs", "explain"} {
		var out, note bytes.Buffer
		require.Zero(t, execute(t.Context(), []string{"patchbay", command, "--help"}, &out, &note))
		require.Contains(t, out.String(), "patchbay "+command)
		require.NotContains(t, out.String(), " string", "every flag names what it takes")
		require.Empty(t, note.String())
	}
}
