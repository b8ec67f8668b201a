package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestAPressAnswersWithRowsThatAreInDataverseOnce(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	status, run := p.press("AS54888", "readme", "")
	require.Equal(t, http.StatusOK, status)
	require.NotNil(t, run.Result, "a 200 has an answer")
	require.NotEmpty(t, run.Result.Rows)
	done := p.final(run.RunID, time.Minute)
	require.Equal(t, flow.Completed, done.Status, "%+v", done.Problem)
	require.Len(t, p.specifications("AS54888"), run.Result.Count, "every row is in Dataverse, once")
	written := len(p.calls("dataverse", http.MethodPost, "UpsertMultiple")) + len(p.calls("dataverse", http.MethodPatch, ""))
	require.Equal(t, 1, written, "one call carried them")

	status, again := p.press("AS54888", "readme", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, run.RunID, again.RunID)
	require.Equal(t, run.Result, again.Result, "the same key gives the same answer")
	require.Equal(t, written, len(p.calls("dataverse", http.MethodPost, "UpsertMultiple"))+len(p.calls("dataverse", http.MethodPatch, "")), "and no second write")

	var problem struct {
		Code string `json:"code"`
	}
	resp := p.do(http.MethodPost, p.HTTP+"/v1/flows/product-specs/runs", http.Header{"Idempotency-Key": {"readme"}}, `{"product_id":"AS54889"}`, &problem)
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Equal(t, "idem.reused", problem.Code)
}

func TestAKillBetweenAnswerAndWriteLosesNothingAndWritesOnce(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	p := start(t, dir)
	p.fault("dataverse", `{"status":503,"rate":1,"method":"POST"}`)
	status, run := p.press("AS54888", "", "")
	require.Equal(t, http.StatusOK, status, "the answer does not wait for the write")
	require.NotEmpty(t, run.Result.Rows)
	require.Empty(t, p.specifications("AS54888"))
	p.kill()
	p.heal("dataverse")

	p = start(t, dir)
	done := p.final(run.RunID, time.Minute)
	require.Equal(t, flow.Completed, done.Status, "%+v", done.Problem)
	require.Len(t, p.specifications("AS54888"), run.Result.Count)
	require.Len(t, accepted(p.calls("dataverse", http.MethodPost, "UpsertMultiple")), 1, "one write took effect")
}

// accepted keeps the calls that the system answered with success.
func accepted(calls []call) []call {
	var ok []call
	for _, c := range calls {
		if c.Status < 300 {
			ok = append(ok, c)
		}
	}
	return ok
}

func TestAWriteWhoseAnswerWasLostIsReadBackAndNotRepeated(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	p.fault("dataverse", `{"drop_after_commit":true,"rate":1,"count":1,"method":"POST"}`)
	_, run := p.press("AS54888", "", "")
	done := p.final(run.RunID, time.Minute)
	require.Equal(t, flow.Completed, done.Status, "%+v", done.Problem)
	require.Len(t, p.specifications("AS54888"), run.Result.Count)
	require.Len(t, p.calls("dataverse", http.MethodPost, "UpsertMultiple"), 1, "the rows were found by their keys: no second write")
}

func TestWithoutTemporalAPressIsAcceptedAndRunsLater(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	var temporal int
	for _, c := range p.Children {
		if c.Name == "temporal" {
			temporal = c.PID
		}
	}
	require.NotZero(t, temporal)
	require.NoError(t, syscall.Kill(temporal, syscall.SIGSTOP)) // alive, and answers nothing
	t.Cleanup(func() { _ = syscall.Kill(temporal, syscall.SIGCONT) })
	status, run := p.press("AS54888", "", "wait=1")
	require.Equal(t, http.StatusAccepted, status)
	require.Empty(t, p.specifications("AS54888"))
	require.NoError(t, syscall.Kill(temporal, syscall.SIGCONT))
	done := p.final(run.RunID, 90*time.Second)
	require.Equal(t, flow.Completed, done.Status, "%+v", done.Problem)
	require.Len(t, p.specifications("AS54888"), done.Result.Count)
	require.Len(t, p.calls("oracle", http.MethodGet, "itemsV2"), 1, "it ran once")
}

func TestAnInterruptEndsEveryChildAndASecondStartKeepsTheData(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	p := start(t, dir)
	_, run := p.press("AS54888", "kept", "")
	p.final(run.RunID, time.Minute)
	children := p.Children
	require.GreaterOrEqual(t, len(children), 3)
	p.stop()
	for _, c := range children {
		require.False(t, alive(c.PID), "%s still runs", c.Name)
	}

	p = start(t, dir)
	status, again := p.press("AS54888", "kept", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, run.RunID, again.RunID)
	require.Len(t, p.specifications("AS54888"), run.Result.Count)
}

func TestAfterAKillTheNextStartLeavesNoChildTwice(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	p := start(t, dir)
	before := p.Children
	p.kill()
	p = start(t, dir)
	now := map[int]bool{}
	for _, c := range p.Children {
		now[c.PID] = true
	}
	for _, c := range before {
		require.True(t, now[c.PID] || !alive(c.PID), "%s of the killed environment was neither adopted nor ended", c.Name)
	}
}

func TestAProductThatDoesNotExistIsATypedAnswerAndIsAskedForOnce(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	status, run := p.press("NO-SUCH-PRODUCT", "", "")
	require.Equal(t, http.StatusOK, status, "a final failure is an answer")
	require.Equal(t, flow.Failed, run.Status)
	require.Equal(t, "source.not_found", run.Problem.Code)
	require.False(t, run.Problem.Retry)
	require.Len(t, p.calls("oracle", http.MethodGet, "itemsV2"), 1)
	require.Empty(t, p.calls("dataverse", http.MethodPost, "UpsertMultiple"))
}

func TestAThrottledSourceIsAskedAgainWhenItSaysSo(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	p.fault("oracle", `{"path":"itemsV2","status":429,"retry_after":2,"rate":1,"count":1}`)
	began := time.Now()
	status, run := p.press("AS54888", "", "wait=20")
	require.Equal(t, http.StatusOK, status)
	require.NotNil(t, run.Result, "%+v", run.Problem)
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second, "it was told to wait two seconds")
	require.Len(t, p.calls("oracle", http.MethodGet, "itemsV2"), 2)
}

func TestATruncatedAnswerIsAskedForAgainAndNothingOfItShows(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	p.fault("oracle", `{"path":"itemsV2","body":"truncated","rate":1,"count":1}`)
	status, run := p.press("AS54888", "", "wait=20")
	require.Equal(t, http.StatusOK, status)
	require.NotNil(t, run.Result, "%+v", run.Problem)
	require.Len(t, p.calls("oracle", http.MethodGet, "itemsV2"), 2)
}

func TestACancelWhileOracleIsSlowLeavesNothingWrittenAndTheCertificateSaysSo(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	p.fault("oracle", `{"path":"itemsV2","latency_ms":12000,"rate":1}`)
	status, run := p.press("AS54888", "", "wait=0")
	require.Equal(t, http.StatusAccepted, status)
	p.await("reading", time.Minute, func() bool {
		var now flow.Run
		p.do(http.MethodGet, p.HTTP+"/v1/runs/"+run.RunID, nil, "", &now)
		return now.Status == flow.Running
	})
	var first, second flow.Certificate
	resp := p.do(http.MethodPost, p.HTTP+"/v1/runs/"+run.RunID+"/cancel", nil, "", &first)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, flow.Cancelled, first.Status)
	require.Empty(t, first.Done)
	require.Empty(t, first.InDoubt)
	p.do(http.MethodPost, p.HTTP+"/v1/runs/"+run.RunID+"/cancel", nil, "", &second)
	require.Equal(t, first, second, "the same certificate, however often it is asked for")
	p.heal("oracle")
	require.Empty(t, p.specifications("AS54888"))
	require.Empty(t, p.calls("dataverse", http.MethodPost, "UpsertMultiple"))
}

func TestADeadlineEndsAPressInWords(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t), "--speed", "10") // 30 s become 3 s
	p.fault("oracle", `{"path":"itemsV2","status":503,"rate":1}`)
	status, run := p.press("AS54888", "", "wait=20")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, flow.Failed, run.Status)
	require.NotEmpty(t, run.Problem.Code)
	require.True(t, run.Problem.Retry, "later it may work")
}

func TestTheCommandLineRunsExplainsAndRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	out, note, status := p.cli("run", "product-specs", "product_id=AS54888", "--json")
	require.Equal(t, 0, status, note)
	var run flow.Run
	require.NoError(t, json.Unmarshal([]byte(out), &run))
	require.Equal(t, flow.Completed, run.Status)

	out, note, status = p.cli("explain", "AS54888")
	require.Equal(t, 0, status, note)
	require.Contains(t, out, run.RunID)
	require.Contains(t, out, "delivered")

	out, _, status = p.cli("runs")
	require.Equal(t, 0, status)
	require.Contains(t, out, run.RunID)

	out, note, status = p.cli("doctor", "--json")
	require.Equal(t, 0, status, out+note)
	var found struct {
		Checks []struct{ Name, Status, Detail string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &found))
	var names []string
	for _, k := range found.Checks {
		require.Equal(t, "ok", k.Status, "%+v", k)
		names = append(names, k.Name)
	}
	require.Equal(t, []string{"server", "build", "store", "schema", "temporal", "attributes", "canary", "relay", "clock", "drift", "repairs", "disk",
		"connection bureau", "connection core-banking", "connection dataverse", "connection dataverse-ch", "connection dataverse-de", "connection dataverse-fr", "connection ibm", "connection maersk", "connection mail", "connection model", "connection oracle-plm", "connection oracle-scm", "connection sap", "connection sharepoint"}, names)
	p.fault("dataverse", `{"status":401,"rate":1}`)
	out, note, status = p.cli("doctor")
	require.Equal(t, 2, status, out+note)
	require.Regexp(t, `(?m)^fail +connection dataverse +\S`, out)
	require.Regexp(t, `(?m)^ok +connection oracle-plm +\S`, out)
	require.Regexp(t, `[1-9] failed`, note)
	require.NotContains(t, out+note, "sandbox-secret")
	p.heal("dataverse")

	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"run", "product-spec"}, 1, "product-spec"},
		{[]string{"run", "product-specs", "product_id=as54888"}, 1, "product_id"},
		{[]string{"run", "product-specs", "product_id"}, 2, "name=value"},
		{[]string{"run"}, 2, "name the flow"},
		{[]string{"frobnicate"}, 2, "frobnicate"},
		{[]string{"runs", "--server", "nowhere"}, 2, "--server"},
		{[]string{"runs", "--server", "http://127.0.0.1:1"}, 1, "patchbay dev"},
		{[]string{"explain"}, 2, "name one key"},
	} {
		_, note, status := p.cli(c.args...)
		require.Equal(t, c.status, status, "%v: %s", c.args, note)
		require.Contains(t, note, c.says)
		require.LessOrEqual(t, strings.Count(strings.TrimSpace(note), "\n"), 2, "%v: a mistake is a line, not a page: %s", c.args, note)
	}
}

func TestAWrongSecretReferenceIsNamedAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	flows := filepath.Join(dir, "flows")
	require.NoError(t, os.CopyFS(flows, os.DirFS("../../flows")))
	path := filepath.Join(flows, "connections.yaml")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	text := strings.ReplaceAll(string(b), "${env:PATCHBAY_SANDBOX_SECRET}", "${env:NO_SUCH_SECRET}")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	p := start(t, dir)
	status, run := p.press("AS54888", "", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, flow.Failed, run.Status)
	require.Contains(t, run.Problem.Detail, "NO_SUCH_SECRET")
}
