package web_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/web"
)

func (w *world) page(t *testing.T, path string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+path, nil)
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header, string(body)
}

func TestARunIsToldInOneSentence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := time.Now().Add(-time.Minute)
	doubt := closed(writing(answered(reading(fresh("doubt", at)), 5), 3), flow.Failed,
		&flow.Problem{Code: "dataverse.unavailable", Detail: "Dataverse stopped answering", Retry: true})
	doubt.Effects[3].State, doubt.Effects[4].State = flow.Refused, flow.Doubtful
	waiting := fresh("waiting", at)
	waiting.Waiting = "waiting 12s for oracle-plm: oracle-plm is not available (503)"
	parked := writing(answered(reading(fresh("parked", at)), 2), 0)
	parked.Status, parked.Waiting = flow.Parked, "waiting for dataverse: dataverse did not accept the credentials (401)"
	late := closed(reading(fresh("late", at)), flow.Failed, &flow.Problem{Code: flow.DeadlineCode, Retry: true,
		Detail: "the run was not done in time; it was waiting for oracle-plm: oracle-plm is not available (503)"})
	cancelling := reading(fresh("cancelling", at))
	cancelling.Cancelling = true
	for id, c := range map[string]struct {
		run  flow.Run
		want []string
	}{
		"accepted":   {fresh("accepted", at), []string{"Starting for AS54888."}},
		"waiting":    {waiting, []string{"Oracle PLM is not available (503); asked again after 12 s.", "Starting"}},
		"reading":    {reading(fresh("reading", at)), []string{"Reading from Oracle PLM for AS54888.", "data-cancel"}},
		"cancelling": {cancelling, []string{"Cancelling: what has begun is being settled"}},
		"parked":     {parked, []string{"Parked: Dataverse did not accept the credentials (401); asked again once the connection is put right."}},
		"late":       {late, []string{"it was waiting: Oracle PLM is not available (503)."}},
		"writing": {writing(answered(reading(fresh("writing", at)), 8), 3), []string{
			"8 rows for AS54888 were read from Oracle PLM in 210 ms; writing to Dataverse.", "3 of 8 rows written to Dataverse"}},
		"completed": {completed("completed", at, 1), []string{
			"1 row for AS54888 was read from Oracle PLM in 210 ms and written to Dataverse once.", "1 row written to Dataverse",
			"http://127.0.0.1:8233/namespaces/default/workflows/instant%2Fproduct-specs%2Fcompleted", "/flows/product-specs?product_id=AS54888"}},
		"nothing": {closed(answered(reading(fresh("nothing", at)), 0), flow.Completed, nil), []string{
			"0 rows for AS54888 were read from Oracle PLM in 210 ms; nothing was written.", "The source answered with no rows."}},
		"failed": {failed("failed", at, flow.Problem{Code: "oracle.not_found", Detail: "oracle-plm has no such product"}), []string{
			"Reading from Oracle PLM for AS54888 failed.", "Oracle PLM has no such product.", "Nothing was written.", "This run is a dead letter."}},
		"doubt": {doubt, []string{"5 rows for AS54888 were read from Oracle PLM in 210 ms; 1 write in doubt.",
			"3 rows were written to Dataverse; 1 is in doubt.", "This run is a dead letter.</b> 1 write in doubt: a redrive looks for it in Dataverse before it sends anything.", `href="/dead/doubt"`,
			"Sent; no answer came.", "Redrive the run: it looks whether Dataverse has this row", "Put right what Dataverse says, then redrive the run",
			"3 of 5 rows written to Dataverse, 1 refused, 1 in doubt"}},
		"cancelled": {closed(writing(answered(reading(fresh("cancelled", at)), 5), 3), flow.Cancelled, nil), []string{
			"Cancelled after 866 ms: 3 rows were written to Dataverse, 2 rows were never sent."}},
	} {
		w.put(c.run)
		status, _, body := w.page(t, "/runs/"+id)
		require.Equal(t, http.StatusOK, status, id)
		for _, want := range c.want {
			require.Contains(t, body, want, id)
		}
		require.Equal(t, !c.run.Status.Final() && !c.run.Cancelling, strings.Contains(body, "data-cancel"), "%s: Cancel only where it can do something", id)
	}
}

func TestACancelledRunCountsWhatNobodyKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := closed(writing(answered(reading(fresh("cancelled", time.Now())), 12), 0), flow.Cancelled, nil)
	for i := range run.Effects {
		run.Effects[i].State, run.Effects[i].Reason = flow.Doubtful, "no answer came back"
	}
	w.put(run)
	_, _, body := w.page(t, "/runs/cancelled")
	require.Contains(t, body, "Cancelled after 866 ms: 12 writes in doubt.")
	require.Contains(t, body, "12 of 12 writes to Dataverse in doubt")
	require.Contains(t, body, "A press writes by key: what is there already is not written twice.")
	require.NotContains(t, body, "othing was written")
	require.NotContains(t, body, "read back", "nobody read back")
}

func TestRefusedWritesSayWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := closed(writing(answered(reading(fresh("refused", time.Now())), 5), 0), flow.Failed,
		&flow.Problem{Code: "write.refused", Detail: "the target refused 5 of 5 writes: dataverse.no_column: dataverse has no column msx_unit"})
	for i := range run.Effects {
		run.Effects[i].State, run.Effects[i].Reason = flow.Refused, "dataverse has no column msx_unit"
	}
	run.Effects[4].Reason = "dataverse refused the value as too long"
	run.Progress[3].Note = "0 rows in dataverse"
	run.Progress[4].Note = "0 rows in dataverse"
	w.put(run)
	_, _, body := w.page(t, "/runs/refused")
	require.Contains(t, body, "The target refused 5 of 5 writes: Dataverse has no column msx_unit.")
	require.Equal(t, 1, strings.Count(body, "<b>4 rows.</b> Dataverse has no column msx_unit."), "one line for those with the same reason")
	require.Contains(t, body, "<b>1 row.</b> Dataverse refused the value as too long.")
	require.Contains(t, body, "5 of 5 writes to Dataverse refused")
	require.NotContains(t, body, "0 rows", "nothing is not a count")
	require.NotContains(t, body, "0 of 5")
}

func TestWhatNeedsAPersonComesFirstAndOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now()
	doubt := closed(writing(answered(reading(fresh("doubt-run", now.Add(-30*time.Hour))), 2), 1), flow.Cancelled, nil)
	doubt.Effects[1].State = flow.Doubtful
	parked := writing(answered(reading(fresh("parked-run", now.Add(-time.Hour))), 2), 0)
	parked.Status, parked.Waiting = flow.Parked, "waiting for dataverse: dataverse did not accept the credentials (401)"
	for _, run := range []flow.Run{
		doubt, parked,
		failed("failed-run", now.Add(-time.Minute), flow.Problem{Code: "oracle.unavailable", Detail: "oracle-plm is not available (503)", Retry: true}),
		failed("mistaken-run", now.Add(-time.Second), flow.Problem{Code: "source.not_found", Detail: "there is no row in oracle-plm.items with this ItemNumber"}),
		completed("completed-run", now, 1),
	} {
		w.put(run)
	}
	_, _, body := w.page(t, "/")
	_, body, _ = strings.Cut(body, "What needs you")
	needs, rest, _ := strings.Cut(body, "Other runs")
	at := func(part, id string) int { return strings.Index(part, `/`+id+`">`) }
	require.Positive(t, at(needs, "doubt-run"))
	require.Contains(t, needs, "<span>In doubt</span>")
	require.Contains(t, needs, "1 write to Dataverse in doubt")
	require.Less(t, at(needs, "doubt-run"), at(needs, "parked-run"), "the oldest first")
	require.Less(t, at(needs, "parked-run"), at(needs, "failed-run"))
	require.Negative(t, at(needs, "mistaken-run"), "a caller's mistake is the caller's")
	require.Positive(t, at(rest, "mistaken-run"))
	require.Contains(t, rest, "no row in oracle-plm.items with", "a table keeps its name")
	for _, id := range []string{"doubt-run", "parked-run", "failed-run"} {
		require.Negative(t, at(rest, id), "%s is shown once", id)
	}
}

func TestTheJournalIsGatheredAndExact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := time.Date(2026, 11, 22, 14, 3, 5, 42e6, time.UTC)
	entry := func(what, reason string, detail map[string]any) {
		w.entries = append(w.entries, flow.Entry{At: at, Flow: "product-specs", Run: "first-run", What: what, Reason: reason, Detail: detail})
	}
	entry("accepted", "accepted", nil)
	entry("answered", "answered", map[string]any{"rows": 12})
	// Effects that share their fate are one entry, or one each as they once were.
	entry("effect", "confirmed", map[string]any{"step": "write", "target": "dataverse.msx_specification", "count": 11.0,
		"labels": []any{"AS54888, Weight", "AS54888, Height"}})
	entry("effect", "confirmed", map[string]any{"step": "write", "target": "dataverse.msx_specification AS54888, Depth"})
	entry("effect", "in_doubt", map[string]any{"step": "write", "target": "dataverse.msx_specification AS54888, Width", "why": "no answer came back"})
	entry("closed", "failed", map[string]any{"status": "failed", "code": "write.in_doubt"})
	_, _, body := w.page(t, "/explain?key=AS54888")
	require.Equal(t, 1, strings.Count(body, "<b>12 rows confirmed</b>"))
	require.Contains(t, body, "<b>1 row in doubt</b>")
	require.Contains(t, body, "<b>Accepted</b>")
	require.Contains(t, body, "<b>Failed</b>")
	require.Contains(t, body, "<dt>why</dt> <dd>no answer came back</dd>")
	require.Contains(t, body, "<dt>targets</dt>")
	for _, label := range []string{"Weight", "Height", "Depth", "Width"} {
		require.Contains(t, body, "<li>AS54888, "+label+"</li>")
	}
	require.Equal(t, 2, strings.Count(body, "dataverse.msx_specification"), "a table is named once for the rows that share their fate")
	require.NotContains(t, body, "<dt>labels</dt>")
	require.Contains(t, body, "22 Nov 2026 14:03:05.042 UTC")
	require.Contains(t, body, "6 entries in the journal")
}

func TestWhatSystemsSendIsTextOnAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := `<script>alert(1)</script>`
	run := completed("evil", time.Now(), 1)
	run.Params = flow.Row{"product_id": evil}
	run.Result.Rows = []flow.Row{{"msx_value": evil, `"><img src=x>`: json.Number("1")}}
	run.Effects[0].Target = evil
	run.Progress[1].Note = evil
	w.put(run)
	for _, path := range []string{"/runs/evil", "/", "/runs", "/runs/evil/live", "/explain?key=%3Cscript%3Ealert(1)%3C/script%3E", "/flows/product-specs?product_id=%3Cscript%3E"} {
		_, header, body := w.page(t, path)
		require.NotContains(t, body, "<script>alert", path)
		require.NotContains(t, body, "<img", path)
		require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'", path)
		require.NotContains(t, header.Get("Content-Security-Policy"), "unsafe", path)
		require.NotContains(t, body, " style=", "%s: the policy allows nothing inline", path)
		require.NotContains(t, body, "<style", path)
		require.Equal(t, "no-store", header.Get("Cache-Control"), path)
	}
}

func TestEmptyPagesSayWhatWouldAppear(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, want := range map[string]string{
		"/":                     "Open a flow and press Run",
		"/runs":                 "patchbay run FLOW",
		"/runs?status=failed":   "No run matches.",
		"/flows/product-specs":  "Fill the form and press Run.",
		"/explain":              "kept under its business keys",
		"/explain?key=unknown1": "Nothing in the journal has this key.",
	} {
		status, _, body := w.page(t, path)
		require.Equal(t, http.StatusOK, status, path)
		require.Contains(t, body, want, path)
	}
	w.plans = nil
	_, _, body := w.page(t, "/")
	require.Contains(t, body, "patchbay apply flows")
}

func TestASynchronizationSaysWhatIsSharedAndThatNobodyStartsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plan := &flow.Plan{Flow: "account-sync", Pattern: flow.Synchronization, Summary: "Accounts are the same in every region", Sync: &flow.Sync{
		Regions: []flow.Region{{Name: "de", Connection: "dataverse-de"}, {Name: "fr", Connection: "dataverse-fr"}},
		Tables:  []flow.SyncTable{{Name: "account", Key: []string{"accountnumber"}, Columns: []flow.SyncColumn{{Name: "name", Type: flow.String}}}},
	}}
	w.plans = append(w.plans, flow.Applied{Plan: plan, Digest: plan.Digest()})
	status, _, body := w.page(t, "/flows/account-sync")
	require.Equal(t, http.StatusOK, status)
	for _, want := range []string{"runs for no region lists it and shares nothing", "de (dataverse-de), fr (dataverse-fr)", "<dt>account</dt><dd>accountnumber, name</dd>"} {
		require.Contains(t, body, want)
	}
	for _, no := range []string{"data-press", "press Run", "Answers"} {
		require.NotContains(t, body, no, "there is nothing to press")
	}
}

func TestPagesThatDoNotExistSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/nothing", "/runs/none", "/flows/none", "/assets/none.css", "/runs/none/live"} {
		status, _, body := w.page(t, path)
		require.Equal(t, http.StatusNotFound, status, path)
		require.Contains(t, body, "Not found", path)
	}
	w.samples = false
	status, _, _ := w.page(t, "/flows/product-specs/sample")
	require.Equal(t, http.StatusNotFound, status)
}

func TestTheFormTakesValuesFromItsAddressOrASample(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, body := w.page(t, "/flows/product-specs?product_id=AS1")
	require.Contains(t, body, `value="AS1"`)
	_, _, body = w.page(t, "/flows/product-specs?sample=1")
	require.Contains(t, body, `value="AS54888"`)
	_, header, body := w.page(t, "/flows/product-specs/sample")
	require.Equal(t, "application/json", header.Get("Content-Type"))
	require.JSONEq(t, `{"product_id":"AS54888"}`, body)
}

func TestTheThemeIsRememberedAndAssetsAreImmutable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, body := w.page(t, "/", "Cookie", "theme=dark")
	require.Contains(t, body, `data-theme="dark"`)
	_, _, body = w.page(t, "/", "Cookie", "theme=<x>")
	require.NotContains(t, body, "data-theme=")
	paths := regexp.MustCompile(`/assets/[^"]+`).FindAllString(body, -1)
	require.Len(t, paths, 3, "an icon, a style sheet and a script; dead letters have another")
	_, _, body = w.page(t, "/dead")
	paths = append(paths, regexp.MustCompile(`/assets/letters[^"]+`).FindAllString(body, -1)...)
	require.Len(t, paths, 4)
	for _, path := range paths {
		status, header, _ := w.page(t, path)
		require.Equal(t, http.StatusOK, status, path)
		require.Contains(t, header.Get("Cache-Control"), "immutable", path)
	}
}

func TestAPrincipalOfRolePressSeesItsOwnRunsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(completed("theirs", time.Now(), 1))
	console := web.New(web.Options{Runs: w, Flows: w, Explainer: w,
		Principal: func(*http.Request) flow.Principal { return flow.Principal{Name: "key:app", Role: flow.RolePress} }})
	for path, want := range map[string]int{"/runs/theirs": 404, "/runs/theirs/live": 404, "/explain?key=AS54888": 403, "/runs": 200, "/": 200} {
		rec := httptest.NewRecorder()
		console.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, want, rec.Code, path)
		require.NotContains(t, rec.Body.String(), "theirs\"", path)
		require.NotContains(t, rec.Body.String(), `href="/explain"`, "what a role may not do is not offered")
	}
	rec := httptest.NewRecorder()
	console.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, rec.Code)
}

func TestAStoreThatIsAwayIsAPageThatSaysSo(t *testing.T) {
	t.Parallel()
	console := web.New(web.Options{Flows: away{}, Principal: func(*http.Request) flow.Principal { return flow.Principal{} }})
	rec := httptest.NewRecorder()
	console.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/flows", nil))
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Contains(t, rec.Body.String(), "The store does not answer.")
	require.Contains(t, rec.Body.String(), "Try again in a moment.")
}

type away struct{}

func (away) Flows(context.Context) ([]flow.Applied, error) {
	return nil, fault.New(fault.Unavailable, "store.unavailable", "the store does not answer", nil)
}

func (a away) Flow(ctx context.Context, _ string) (flow.Applied, error) {
	_, err := a.Flows(ctx)
	return flow.Applied{}, err
}
