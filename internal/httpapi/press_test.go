package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	pressPath = "/v1/flows/product-specs/runs"
	product   = `{"product_id":"AS54888"}`
)

func TestPressAnswersAsSoonAsTheRunIsAnswered(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	go func() {
		id := <-b.book.watched
		b.book.change(id, answerWith(flow.Row{"msx_attribute": "Weight"}))
	}()
	r := b.do(http.MethodPost, pressPath, product, "Prefer", "wait=30", "Idempotency-Key", "k1")
	require.Equal(t, http.StatusOK, r.status, r.body)
	run := r.run(t)
	require.Equal(t, flow.Running, run.Status, "an answer after the read does not wait for the write")
	require.Equal(t, 1, run.Result.Count)
	require.Equal(t, "/v1/runs/"+run.RunID, r.header.Get("Location"))
	require.Equal(t, "wait=30", r.header.Get("Preference-Applied"))
	require.Empty(t, r.header.Get("Idempotency-Replayed"))
	require.Contains(t, r.body, `"effects":[]`)
	require.Contains(t, r.body, `"completeness":null`)

	again := b.do(http.MethodPost, pressPath, product, "Idempotency-Key", "k1")
	require.Equal(t, http.StatusOK, again.status)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, r.body, again.body, "the same key gives the same answer")

	other := b.do(http.MethodPost, pressPath, `{"product_id":"AS54889"}`, "Idempotency-Key", "k1")
	require.Equal(t, http.StatusConflict, other.status)
	require.Equal(t, "idem.reused", other.problem(t).Code)
}

func TestPressAnswers202WithALocationWhenTheWaitIsOver(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, prefer := range []string{"respond-async", "wait=0", "wait=1, respond-async", "respond-async;x=y, unknown"} {
		r := b.do(http.MethodPost, pressPath, product, "Prefer", prefer)
		require.Equal(t, http.StatusAccepted, r.status, prefer)
		require.Equal(t, "1", r.header.Get("Retry-After"))
		run := r.run(t)
		require.Equal(t, flow.Accepted, run.Status)
		require.Nil(t, run.Result)
		require.Equal(t, "/v1/runs/"+run.RunID+"?wait=answer", r.header.Get("Location"))
		polled := b.do(http.MethodGet, "/v1/runs/"+run.RunID, "")
		require.Equal(t, http.StatusOK, polled.status, "a run that exists is always 200 for who does not wait")
		require.Equal(t, run.RunID, polled.run(t).RunID)
	}
}

func TestPressThatIsAcceptedStaysAcceptedWhenTheStoreGoesAway(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.book.get = func(string) error { return fault.New(fault.Unavailable, "store.unavailable", "the store is away", nil) }
	r := b.do(http.MethodPost, pressPath, product, "Prefer", "wait=1")
	require.Equal(t, http.StatusAccepted, r.status, "promise 1: the row is committed, so the press is not refused any more")
}

func TestPressThatWaitsIsAnsweredWhenTheServerEnds(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	go func() {
		<-b.book.watched
		b.stop()
	}()
	r := b.do(http.MethodPost, pressPath, product, "Prefer", "wait=60")
	require.Equal(t, http.StatusAccepted, r.status)
}

func TestPressAnswers200ForAFinalFailure(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	go func() {
		b.book.change(<-b.book.watched, func(run *flow.Run) {
			finish(run)
			run.Status, run.Problem = flow.Failed, &flow.Problem{Code: "oracle.not_found", Detail: "no such product"}
		})
	}()
	r := b.do(http.MethodPost, pressPath, product)
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "oracle.not_found", r.run(t).Problem.Code)
}

func TestPressRefusesBadInputWithAStableCode(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		path, body string
		header     []string
		status     int
		code       string
	}{
		"unknown flow":            {path: "/v1/flows/none/runs", body: product, status: 404, code: "flow.not_found"},
		"missing parameter":       {body: `{}`, status: 422, code: "params.invalid"},
		"no body":                 {status: 422, code: "params.invalid"},
		"no body, but its type":   {header: []string{"Content-Type", "application/json"}, status: 422, code: "params.invalid"},
		"no body, another type":   {header: []string{"Content-Type", "text/plain"}, status: 415, code: "body.media_type"},
		"wrong type":              {body: `{"product_id":7}`, status: 422, code: "params.invalid"},
		"against the pattern":     {body: `{"product_id":"a b"}`, status: 422, code: "params.invalid"},
		"unknown parameter":       {body: `{"product_id":"AS1","x":1}`, status: 422, code: "params.invalid"},
		"key in other case":       {body: `{"Product_ID":"AS1"}`, status: 422, code: "params.invalid"},
		"not JSON":                {body: `{`, status: 400, code: "json.syntax"},
		"NaN":                     {body: `{"product_id":NaN}`, status: 400, code: "json.syntax"},
		"bad UTF-8":               {body: "{\"product_id\":\"\xff\"}", status: 400, code: "json.syntax"},
		"byte order mark":         {body: "\ufeff" + product, status: 400, code: "json.syntax"},
		"duplicate key":           {body: `{"product_id":"A","product_id":"B"}`, status: 400, code: "json.duplicate_key"},
		"two documents":           {body: product + product, status: 400, code: "json.syntax"},
		"too deep":                {body: strings.Repeat("[", 65) + strings.Repeat("]", 65), status: 400, code: "json.too_deep"},
		"a list":                  {body: `[1]`, status: 400, code: "json.not_an_object"},
		"over 1 MiB":              {body: `{"product_id":"` + long + `"}`, status: 413, code: "body.too_large"},
		"a form":                  {body: "product_id=A", header: []string{"Content-Type", "x"}, status: 415, code: "body.media_type"},
		"an unknown encoding":     {body: product, header: []string{"Content-Encoding", "br"}, status: 415, code: "body.encoding"},
		"gzip twice":              {body: product, header: []string{"Content-Encoding", "gzip", "Content-Encoding", "gzip"}, status: 415, code: "body.encoding"},
		"not gzip":                {body: product, header: []string{"Content-Encoding", "gzip"}, status: 400, code: "body.gzip"},
		"a bomb":                  {body: zipped(t, strings.Repeat(long, 4)), header: []string{"Content-Encoding", "gzip"}, status: 413, code: "body.expands"},
		"long key":                {body: product, header: []string{"Idempotency-Key", strings.Repeat("k", 256)}, status: 400, code: "idem.malformed"},
		"empty key":               {body: product, header: []string{"Idempotency-Key", ""}, status: 400, code: "idem.malformed"},
		"key that is not ASCII":   {body: product, header: []string{"Idempotency-Key", "schlüssel"}, status: 400, code: "idem.malformed"},
		"two keys":                {body: product, header: []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, status: 400, code: "idem.malformed"},
		"unknown wait":            {path: pressPath + "?wait=answer", body: product, status: 400, code: "query.invalid"},
		"method override":         {body: product, header: []string{"X-HTTP-Method-Override", "DELETE"}, status: 405, code: "method.not_allowed"},
		"dot segments, twice":     {path: "/v1/flows/%252e%252e/runs", body: product, status: 400, code: "path.invalid"},
		"a NUL in the path":       {path: "/v1/flows/a%00b/runs", body: product, status: 400, code: "path.invalid"},
		"encoded dot segments":    {path: "/v1/flows/%2e%2e/runs", body: product, status: 400, code: "path.invalid"},
		"unknown path of the API": {path: "/v1/nothing", body: product, status: 404, code: "path.unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			path := c.path
			if path == "" {
				path = pressPath
			}
			r := b.do(http.MethodPost, path, c.body, c.header...)
			require.Equal(t, c.status, r.status, r.body)
			p := r.problem(t)
			require.Equal(t, c.code, p.Code)
			if c.code == "params.invalid" {
				require.NotEmpty(t, p.Errors, "each wrong parameter is named")
				require.NotEmpty(t, p.Errors[0].Path)
			}
			require.Empty(t, b.book.runs, "nothing was started")
		})
	}
}

func TestPressAcceptsOneGzip(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r := b.do(http.MethodPost, pressPath, zipped(t, product), "Content-Encoding", "gzip", "Prefer", "wait=0")
	require.Equal(t, http.StatusAccepted, r.status, r.body)
}

func TestFaultsOfThePressBecomeTheirStatus(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial postgres://user:geheim@host: refused")
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
		after  string
	}{
		"store down":     {fault.New(fault.Unavailable, "store.unavailable", "the store does not answer", secret), 503, "store.unavailable", "2"},
		"unknown commit": {fault.New(fault.InDoubt, "store.commit_unknown", "ask again with the same key", secret), 503, "store.commit_unknown", "2"},
		"queue full":     {fault.ThrottledFor(1500e6, "queue.full", "too many presses wait", nil), 429, "queue.full", "2"},
		"a bug":          {secret, 500, "bug", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			b.book.press = func(flow.Press) error { return c.err }
			r := b.do(http.MethodPost, pressPath, product)
			require.Equal(t, c.status, r.status)
			p := r.problem(t)
			require.Equal(t, c.code, p.Code)
			require.Equal(t, c.after, r.header.Get("Retry-After"))
			require.Equal(t, c.after != "", p.Retry)
			require.NotContains(t, r.body, "geheim", "promise 5: the cause stays inside")
		})
	}
}

func TestARouteThatPanicsAnswersWithoutItsValue(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.book.press = func(flow.Press) error { b.book.mu.Unlock(); defer b.book.mu.Lock(); panic("row: geheim") }
	r := b.do(http.MethodPost, pressPath, product)
	require.Equal(t, http.StatusInternalServerError, r.status)
	require.Equal(t, "bug", r.problem(t).Code)
	require.NotContains(t, r.body, "geheim")
}

func zipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}
