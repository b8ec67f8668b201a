package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

func TestTheLocationOfA202IsPolledAsPowerAutomateDoes(t *testing.T) {
	t.Parallel()
	b := newBundle(t, serve)
	as := []string{"Authorization", "Bearer app", "Prefer", "respond-async"}
	started := b.do(http.MethodPost, pressPath, product, as...)
	require.Equal(t, http.StatusAccepted, started.status, started.body)
	id := started.run(t).RunID

	for range 3 { // 202 with Location and Retry-After, for as long as it takes
		polled := b.do(http.MethodGet, started.header.Get("Location"), "", as...)
		require.Equal(t, http.StatusAccepted, polled.status, polled.body)
		require.Equal(t, started.header.Get("Location"), polled.header.Get("Location"))
		require.Equal(t, "1", polled.header.Get("Retry-After"))
		require.Equal(t, id, polled.run(t).RunID)
		require.Equal(t, "no-store", polled.header.Get("Cache-Control"))
	}

	b.book.change(id, answerWith(flow.Row{"msx_attribute": "Weight"}))
	done := b.do(http.MethodGet, started.header.Get("Location"), "", as...)
	require.Equal(t, http.StatusOK, done.status, "not a redirect: Logic Apps follows none here")
	require.Empty(t, done.header.Get("Retry-After"))
	require.Equal(t, 1, done.run(t).Result.Count)

	final := b.do(http.MethodGet, "/v1/runs/"+id+"?wait=final", "", as...)
	require.Equal(t, http.StatusAccepted, final.status, "answered, and still writing")
	require.Equal(t, "/v1/runs/"+id+"?wait=final", final.header.Get("Location"))
	b.book.change(id, finish)
	require.Equal(t, http.StatusOK, b.do(http.MethodGet, "/v1/runs/"+id+"?wait=final", "", as...).status)
}

func TestAPollIsHeldUntilThereIsAnAnswer(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	go func() {
		<-b.book.watched
		b.book.change(id, answerWith())
	}()
	r := b.do(http.MethodGet, "/v1/runs/"+id+"?wait=answer", "", "Prefer", "wait=60")
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, "wait=60", r.header.Get("Preference-Applied"))
}

func TestAPollEndsWithTheAnswerThatThereNeverWillBe(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, status := range []flow.Status{flow.Failed, flow.Cancelled} {
		id := b.pressed()
		b.book.change(id, func(run *flow.Run) { finish(run); run.Status = status })
		r := b.do(http.MethodGet, "/v1/runs/"+id+"?wait=answer", "")
		require.Equal(t, http.StatusOK, r.status, "a run that has ended is not polled for ever")
		require.Equal(t, status, r.run(t).Status)
	}
}

func TestAPollThatAsksWronglyOrForNothingIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	bad := b.do(http.MethodGet, "/v1/runs/"+b.pressed()+"?wait=none", "")
	require.Equal(t, http.StatusBadRequest, bad.status)
	require.Equal(t, "query.invalid", bad.problem(t).Code)
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/v1/runs/none?wait=answer", "").status)
}

func TestACancelThatIsNotSettledIsPolledToItsEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	b.book.change(id, answerWith(flow.Row{"a": "b"}))
	b.book.change(id, func(run *flow.Run) { run.Cancelling = true })
	b.book.cancel = func(ctx context.Context, _ string) (flow.Certificate, error) {
		<-ctx.Done()
		return flow.Certificate{}, ctx.Err()
	}
	sealed := b.do(http.MethodPost, "/v1/runs/"+id+"/cancel", "", "Prefer", "wait=1")
	require.Equal(t, http.StatusAccepted, sealed.status)
	at := sealed.header.Get("Location")
	open := b.do(http.MethodGet, at, "", "Prefer", "wait=0")
	require.Equal(t, http.StatusAccepted, open.status, "an answer is not the end of a cancel")
	b.book.change(id, func(run *flow.Run) { finish(run); run.Status = flow.Cancelled })
	settled := b.do(http.MethodGet, at, "")
	require.Equal(t, http.StatusOK, settled.status)
	require.Equal(t, flow.Cancelled, settled.run(t).Status)
}

func TestAnAppThatShowsProgressStartsWithoutA202(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	key := []string{"Idempotency-Key", "k"}
	r := b.do(http.MethodPost, pressPath+"?wait=none", product, key...)
	require.Equal(t, http.StatusCreated, r.status, r.body)
	id := r.run(t).RunID
	require.Equal(t, "/v1/runs/"+id, r.header.Get("Location"))
	require.Empty(t, r.header.Get("Retry-After"))
	b.book.change(id, answerWith())
	again := b.do(http.MethodPost, pressPath+"?wait=none", product, key...)
	require.Equal(t, http.StatusOK, again.status, "a replay of what is answered is its answer")
}

func TestOnlyMicrosoftsGatewayIsNamedInALocation(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const gateway = "https://default-1f.05.common.europe002.azure-apihub.net/apim/patchbay/9c0d"
	for name, c := range map[string]struct {
		header []string
		want   string
	}{
		"the gateway":            {[]string{gateway}, gateway},
		"the gateway of before":  {[]string{"https://europe-001.azure-apim.net/apim/patchbay/9c0d/"}, "https://europe-001.azure-apim.net/apim/patchbay/9c0d"},
		"no gateway":             {nil, ""},
		"somebody else":          {[]string{"https://evil.example/apim/a/b"}, ""},
		"a name that ends alike": {[]string{"https://evil-azure-apihub.net/apim/a/b"}, ""},
		"a name in the path":     {[]string{"https://evil.example/.azure-apihub.net/apim/"}, ""},
		"a name as a user":       {[]string{"https://x.azure-apihub.net@evil.example/apim/a/b"}, ""},
		"not encrypted":          {[]string{strings.Replace(gateway, "https", "http", 1)}, ""},
		"another port":           {[]string{"https://x.azure-apihub.net:8443/apim/a/b"}, ""},
		"another path":           {[]string{"https://x.azure-apihub.net/other"}, ""},
		"a query":                {[]string{gateway + "?to=x"}, ""},
		"two":                    {[]string{gateway, gateway}, ""},
		"no address":             {[]string{"::"}, ""},
		"too long":               {[]string{gateway + strings.Repeat("/a", 600)}, ""},
	} {
		header := []string{"Prefer", "wait=0"}
		for _, v := range c.header {
			header = append(header, "X-MS-APIM-Referrer-Prefix", v)
		}
		r := b.do(http.MethodPost, pressPath, product, header...)
		require.Equal(t, http.StatusAccepted, r.status, name)
		require.Equal(t, c.want+"/v1/runs/"+r.run(t).RunID+"?wait=answer", r.header.Get("Location"), name)
	}
}

func TestProgressSaysInWordsWhereARunStands(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	doubt := func(n int) func(*flow.Run) {
		return func(run *flow.Run) {
			for range n {
				run.Effects = append(run.Effects, flow.Effect{State: flow.Doubtful})
			}
		}
	}
	failed := func(run *flow.Run) {
		finish(run)
		run.Status, run.Problem = flow.Failed, &flow.Problem{Code: "oracle.not_found", Detail: "Oracle PLM has no such product", Retry: true}
	}
	for name, c := range map[string]struct {
		edits   []func(*flow.Run)
		message string
		percent int
	}{
		"accepted":         {nil, "Accepted", 5},
		"reading":          {[]func(*flow.Run){func(r *flow.Run) { step(r, "reading") }}, "Reading", 20},
		"answered":         {[]func(*flow.Run){answerWith(flow.Row{"a": "b"})}, "Answered", 60},
		"writing":          {[]func(*flow.Run){answerWith(), func(r *flow.Run) { step(r, "writing") }}, "Writing", 75},
		"waiting":          {[]func(*flow.Run){func(r *flow.Run) { r.Waiting = "Oracle PLM asks for a pause" }}, "Oracle PLM asks for a pause", 5},
		"parked":           {[]func(*flow.Run){func(r *flow.Run) { r.Status = flow.Parked }}, "Waiting for a person", 5},
		"cancelling":       {[]func(*flow.Run){func(r *flow.Run) { r.Cancelling = true }}, "Cancelling", 5},
		"done":             {[]func(*flow.Run){finish}, "Done", 100},
		"failed":           {[]func(*flow.Run){failed}, "Oracle PLM has no such product", 100},
		"failed for none":  {[]func(*flow.Run){finish, func(r *flow.Run) { r.Status = flow.Failed }}, "Failed", 100},
		"done, one doubt":  {[]func(*flow.Run){finish, doubt(1)}, "Done; nobody knows of one write whether it took effect", 100},
		"cancelled, doubt": {[]func(*flow.Run){finish, doubt(3), func(r *flow.Run) { r.Status = flow.Cancelled }}, "Cancelled; nobody knows of 3 writes whether they took effect", 100},
	} {
		id := b.pressed()
		for _, edit := range c.edits {
			b.book.change(id, edit)
		}
		r := b.do(http.MethodGet, "/v1/runs/"+id+"/progress", "")
		require.Equal(t, http.StatusOK, r.status, r.body)
		var p httpapi.Progress
		require.NoError(t, json.Unmarshal([]byte(r.body), &p))
		require.Equal(t, c.message, p.Message, name)
		require.Equal(t, c.percent, p.Percent, name)
		require.Equal(t, c.percent == 100, p.Final, name)
		require.Equal(t, c.percent >= 60, p.Answered, name)
		require.Equal(t, name == "failed", p.Retry, name)
	}
}

func TestRowsAreTextThatParses(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	get := func() (rows httpapi.Rows) {
		r := b.do(http.MethodGet, "/v1/runs/"+id+"/rows", "")
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.NoError(t, json.Unmarshal([]byte(r.body), &rows))
		return rows
	}
	require.Equal(t, httpapi.Rows{RunID: id, Text: "[]"}, get())
	b.book.change(id, answerWith(flow.Row{"price": json.Number("10.10"), "name": `6" <disk>`, "unit": nil}))
	rows := get()
	require.True(t, rows.Answered)
	require.Equal(t, 1, rows.Count)
	require.JSONEq(t, `[{"price":10.10,"name":"6\" <disk>","unit":null}]`, rows.Text)
	require.Contains(t, rows.Text, "10.10", "a decimal is exact")
}
