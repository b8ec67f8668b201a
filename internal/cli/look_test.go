package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// answering serves fixed answers by path; a path that is not there is a 404 as
// Patchbay writes it.
func answering(answers map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		if !ok {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			body = `{"status":404,"code":"flow.not_found","detail":"there is no flow \"nope\""}`
		}
		fmt.Fprint(w, body)
	}
}

const refusedRun = `{"run_id":"abc","flow":"specs","status":"failed","accepted_at":"2026-01-31T10:00:00Z",
	"progress":[{"name":"accepted","at":"2026-01-31T10:00:00Z"},{"name":"closed","at":"2026-01-31T10:00:02Z"}],
	"effects":[
		{"step":"write","target":"crm.specification AS1, Weight","state":"confirmed"},
		{"step":"write","target":"crm.specification AS1, Height","state":"refused","reason":"msx_value is too long"},
		{"step":"write","target":"crm.specification AS1, Width","state":"refused","reason":"msx_value is too long"},
		{"step":"write","target":"crm.specification AS1, Colour","state":"refused","reason":"msx_unit is no unit"}],
	"problem":{"code":"write.refused","detail":"the target refused 3 of 4 writes","retry":false}}`

func TestARunThatFailedEndsTheCommandThatStartedIt(t *testing.T) {
	t.Parallel()
	serve := answering(map[string]string{"/v1/flows/specs/runs": refusedRun})
	for _, json := range []bool{false, true} {
		args := []string{"run", "specs"}
		if json {
			args = []string{"run", "--json", "specs"}
		}
		_, stderr, status := patchbay(t.Context(), t, serve, args...)
		require.Equal(t, exitFailed, status, "json: %v", json)
		require.Contains(t, stderr, "patchbay: write.refused: the target refused 3 of 4 writes\n")
	}
}

func TestWhyWritesWereRefusedIsSaidOnceForEachReason(t *testing.T) {
	t.Parallel()
	stdout, stderr, status := patchbay(t.Context(), t, answering(map[string]string{"/v1/runs/abc": refusedRun}), "runs", "abc")
	require.Equal(t, exitOK, status, "the run was found")
	require.Equal(t, "    0 ms  accepted\n     2 s  failed\n", stdout)
	require.Equal(t, `failed, 1 write confirmed, 3 writes refused  SERVER/runs/abc
  2 refused: crm.specification AS1: msx_value is too long
  1 refused: crm.specification AS1, Colour: msx_unit is no unit
write.refused: the target refused 3 of 4 writes
`, stderr)
}

func TestOfManyReasonsThreeAreShown(t *testing.T) {
	t.Parallel()
	var effects []flow.Effect
	for i := range 5 {
		effects = append(effects, flow.Effect{Target: "crm", State: flow.Refused, Reason: fmt.Sprintf("reason %d", i)})
	}
	require.Equal(t, []string{
		"1 refused: crm: reason 0", "1 refused: crm: reason 1", "1 refused: crm: reason 2", "and 2 reasons more; the run has them all",
	}, reasons(effects))
}

func TestACancelThatCameTooLateSaysSo(t *testing.T) {
	t.Parallel()
	stdout, stderr, status := patchbay(t.Context(), t, answering(map[string]string{
		"/v1/runs/abc/cancel": `{"status":"completed","done":[{"step":"write","target":"crm"}],"undone":[],"in_doubt":[]}`,
	}), "runs", "--cancel", "abc")
	require.Equal(t, exitFailed, status)
	require.Contains(t, stdout, "completed: 1 done, 0 undone, 0 in doubt\n")
	require.Equal(t, "patchbay: the cancel came too late: the run had completed\n", stderr)
}

func TestAStoryHasALineForEqualEntriesOfARun(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 10, 0, 0, 123e6, time.UTC)
	entry := func(run, what, reason string, detail map[string]any) flow.Entry {
		return flow.Entry{At: at, Flow: "specs", Run: run, What: what, Reason: reason, Detail: detail}
	}
	var out bytes.Buffer
	require.NoError(t, printStory(&out, []flow.Entry{
		entry("r1", "accepted", "accepted", nil),
		entry("r1", "answered", "answered", map[string]any{"rows": 2}),
		entry("r1", "effect", "confirmed", map[string]any{"target": "crm.specification", "count": 30.0, "labels": []any{"AS1, Weight", "AS1, Depth"}}),
		entry("r1", "effect", "confirmed", map[string]any{"target": "crm.specification AS1, Height"}),
		entry("r1", "effect", "refused", map[string]any{"target": "crm.specification AS1, Colour", "why": "no unit"}),
		entry("r1", "closed", "rejected", map[string]any{"code": "write.refused", "problem": "the target refused 1 of 3 writes"}),
		entry("r2", "cancel", "cancel_asked", map[string]any{"by": "key:erp"}),
	}, time.UTC))
	require.Equal(t, `AT                        FLOW   RUN  WHAT        REASON        DETAIL
2026-01-31T10:00:00.123Z  specs  r1   accepted
2026-01-31T10:00:00.123Z  specs  r1   answered                  2 rows
2026-01-31T10:00:00.123Z  specs  r1   31 effects  confirmed     crm.specification AS1
2026-01-31T10:00:00.123Z  specs  r1   effect      refused       crm.specification AS1, Colour: no unit
2026-01-31T10:00:00.123Z  specs  r1   closed      rejected      write.refused: the target refused 1 of 3 writes
2026-01-31T10:00:00.123Z  specs  r2   cancel      cancel_asked  by key:erp
`, regexp.MustCompile(` +\n`).ReplaceAllString(out.String(), "\n"))
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	serve := answering(map[string]string{
		"/v1/runs": `{"runs":[]}`, "/v1/flows/specs": `{}`, "/v1/explain/NOPE": `{"key":"NOPE","entries":[]}`,
	})
	for line, want := range map[string]struct {
		status int
		text   string
	}{
		"runs --flow nope":     {exitFailed, "patchbay: flow.not_found: there is no flow \"nope\"\n"},
		"runs --flow specs":    {exitOK, "No run of specs yet; start one with `patchbay run specs name=value`.\n"},
		"runs --status failed": {exitOK, "No such run is failed.\n"},
		"explain NOPE":         {exitOK, "Nothing is known of \"NOPE\"; keys are case-sensitive.\n"},
	} {
		_, stderr, status := patchbay(t.Context(), t, serve, strings.Fields(line)...)
		require.Equal(t, want.status, status, line)
		require.Equal(t, want.text, stderr, line)
	}
}

func TestWhatAnswersAndIsNoPatchbayIsCalledSo(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusOK, http.StatusNotFound} {
		_, stderr, exit := patchbay(t.Context(), t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, "<html>")
		}, "runs")
		require.Equal(t, exitFailed, exit)
		require.Equal(t, "patchbay: this is no Patchbay: SERVER; name one with --server\n", stderr)
	}
}

func TestAWrongParameterIsACodeAndAFix(t *testing.T) {
	t.Parallel()
	_, stderr, status := patchbay(t.Context(), t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"status":422,"code":"params.invalid","detail":"product_id is missing","errors":[{"path":"params.product_id","fix":"give a string such as AS54888"}]}`)
	}, "run", "specs")
	require.Equal(t, exitFailed, status)
	require.Equal(t, "patchbay: params.invalid: product_id is missing\n  product_id: give a string such as AS54888\n", stderr)
}

func TestColumnsStandInTheOrderOfTheFlow(t *testing.T) {
	t.Parallel()
	stdout, _, status := patchbay(t.Context(), t, answering(map[string]string{
		"/v1/flows/specs":      `{"plan":{"map":[{"name":"number"},{"name":"attribute"},{"name":"value"}]}}`,
		"/v1/flows/specs/runs": `{"run_id":"abc","flow":"specs","status":"completed","result":{"rows":[{"attribute":"Weight","number":"AS1"},{"number":"AS1","more":[1],"value":"2"}]}}`,
	}), "run", "specs")
	require.Zero(t, status)
	require.Equal(t, "number  attribute  value  more\nAS1     Weight            \nAS1                2      [1]\n", stdout)
}

func TestProgressWithoutATerminalTellsWhatARunWaitsFor(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := newBar(&out)
	at := time.Now()
	run := flow.Run{Status: flow.Running, AcceptedAt: at, Progress: []flow.Step{{Name: "accepted", At: at}}}
	b.show(run)
	run.Waiting = "waiting for crm: it answered 503"
	b.show(run)
	b.show(run)
	for _, waiting := range []string{"", run.Waiting, ""} {
		run.Waiting = waiting
		b.show(run)
	}
	run.Status, run.Progress = flow.Cancelled, append(run.Progress, flow.Step{Name: "closed", At: at.Add(time.Second), Note: "as asked"})
	b.show(run)
	lines := strings.Split(out.String(), "\n")
	require.Len(t, lines, 4, out.String())
	require.Equal(t, "    0 ms  accepted", lines[0])
	require.True(t, strings.HasSuffix(lines[1], "  waiting for crm: it answered 503"), lines[1])
	require.Equal(t, "     1 s  cancelled  as asked", lines[2])
}

func TestCheckSaysWhatItLookedAt(t *testing.T) {
	t.Parallel()
	var out, note bytes.Buffer
	require.Equal(t, exitOK, execute(t.Context(), []string{"patchbay", "check", "--examples", "--test"}, &out, &note), note.String())
	require.Empty(t, out.String())
	require.True(t, strings.HasPrefix(note.String(), "17 files, 11 flows, 0 errors, 0 warnings; flow tests: "), note.String())

	file := filepath.Join(t.TempDir(), "specs.yaml")
	require.NoError(t, os.WriteFile(file, []byte("flow: specs\n"), 0o600))
	note.Reset()
	require.Equal(t, exitUsage, execute(t.Context(), []string{"patchbay", "check", file}, &out, &note))
	require.Equal(t, "patchbay: "+file+" is one file; a flow is read with its connections, so give the directory: "+filepath.Dir(file)+"\n", note.String())
}

func TestAServerFailureIsNotTakenForAStranger(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer server.Close()
	var out, note bytes.Buffer
	require.Equal(t, exitFailed, execute(t.Context(), []string{"patchbay", "runs", "--server", server.URL}, &out, &note))
	require.Equal(t, "patchbay: "+server.URL+" answered 502 Bad Gateway\n", note.String())
}
