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
	waiting.Waiting = "quota of oracle-plm, for 12 s"
	cancelling := reading(fresh("cancelling", at))
	cancelling.Cancelling = true
	for id, c := range map[string]struct {
		run  flow.Run
		want []string
	}{
		"accepted":   {fresh("accepted", at), []string{"Starting for AS54888."}},
		"waiting":    {waiting, []string{"Waiting: quota of oracle-plm, for 12 s"}},
		"reading":    {reading(fresh("reading", at)), []string{"Reading from Oracle PLM for AS54888.", "data-cancel"}},
		"cancelling": {cancelling, []string{"Cancelling: what has begun is being settled"}},
		"writing": {writing(answered(reading(fresh("writing", at)), 8), 3), []string{
			"8 rows for AS54888 were read from Oracle PLM in 210 ms; writing to Dataverse.", "3 of 8 rows written to Dataverse"}},
		"completed": {completed("completed", at, 1), []string{
			"1 row for AS54888 was read from Oracle PLM in 210 ms and written to Dataverse once.", "1 row written to Dataverse",
			"http://127.0.0.1:8233/namespaces/default/workflows/instant%2Fproduct-specs%2Fcompleted", "/flows/product-specs?product_id=AS54888"}},
		"nothing": {closed(answered(reading(fresh("nothing", at)), 0), flow.Completed, nil), []string{
			"0 rows for AS54888 were read from Oracle PLM in 210 ms; nothing was written.", "The source answered with no rows."}},
		"failed": {failed("failed", at, flow.Problem{Code: "oracle.not-found", Detail: "Oracle PLM has no such product"}), []string{
			"Reading from Oracle PLM for AS54888 failed.", "Oracle PLM has no such product.", "will fail the same way. Nothing was written."}},
		"doubt": {doubt, []string{"writing to Dataverse failed.", "3 rows were written to Dataverse; 1 is in doubt.",
			"once it is known", "3 of 5 rows written to Dataverse, 1 refused, 1 in doubt"}},
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
	require.Len(t, paths, 3, "an icon, a style sheet and a script")
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
