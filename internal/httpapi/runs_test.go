package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// pressed is the ID of a fresh, unanswered run.
func (b *bundle) pressed() string {
	b.Helper()
	r := b.do(http.MethodPost, pressPath, product, "Prefer", "wait=0")
	require.Equal(b, http.StatusAccepted, r.status, r.body)
	return r.run(b.T).RunID
}

// follow opens the event stream and hands out one event after the other.
func (b *bundle) follow(id, last string) (status int, next func() (eventID int, run flow.Run, more bool)) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	b.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.addr+"/v1/runs/"+id+"/events", nil)
	require.NoError(b, err)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(b, err)
	b.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	return res.StatusCode, func() (event int, run flow.Run, more bool) {
		for lines.Scan() {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
			case "id":
				event, err = strconv.Atoi(value)
				require.NoError(b, err)
			case "data":
				require.NoError(b, json.Unmarshal([]byte(value), &run))
				return event, run, true
			}
		}
		return 0, flow.Run{}, false
	}
}

func TestEventsShowEachChangeUntilTheRunEnds(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	status, next := b.follow(id, "")
	require.Equal(t, http.StatusOK, status)
	event, run, _ := next()
	require.Equal(t, 1, event)
	require.Equal(t, flow.Accepted, run.Status)

	b.book.change(id, answerWith(flow.Row{"a": "b"}))
	event, run, _ = next()
	require.Equal(t, 2, event)
	require.Equal(t, 1, run.Result.Count)

	b.book.change(id, func(r *flow.Run) { r.Effects = []flow.Effect{{Step: "write", State: flow.Attempt}} })
	event, run, _ = next()
	require.Equal(t, 2, event, "an effect is news without being a step")
	require.Len(t, run.Effects, 1)

	b.book.change(id, finish)
	event, run, _ = next()
	require.Equal(t, 3, event)
	require.Equal(t, flow.Completed, run.Status)
	_, _, more := next()
	require.False(t, more, "the stream ends with the run")
}

func TestEventsResumeAfterTheLastOneReceived(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	_, next := b.follow(id, "1")
	require.Equal(t, id, <-b.book.watched)
	b.book.change(id, answerWith())
	event, _, _ := next()
	require.Equal(t, 2, event, "what the client had is not sent again")

	b.book.change(id, finish)
	status, _ := b.follow(id, "3")
	require.Equal(t, http.StatusNoContent, status, "204 tells an EventSource to stay away")
	status, next = b.follow(id, "2")
	require.Equal(t, http.StatusOK, status)
	event, _, _ = next()
	require.Equal(t, 3, event)

	require.Equal(t, 400, b.do(http.MethodGet, "/v1/runs/"+id+"/events", "", "Last-Event-ID", "x").status)
	require.Equal(t, 404, b.do(http.MethodGet, "/v1/runs/none/events", "").status)
}

func TestEventsEndWhenTheServerEnds(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, next := b.follow(b.pressed(), "")
	_, _, more := next()
	require.True(t, more)
	b.stop()
	_, _, more = next()
	require.False(t, more)
}

func TestCancelAnswersWithTheCertificate(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	b.book.cancel = func(_ context.Context, id string) (flow.Certificate, error) {
		return flow.Certificate{RunID: id, Status: flow.Cancelled, Done: []flow.Effect{{Step: "write", State: flow.Confirmed}}}, nil
	}
	r := b.do(http.MethodPost, "/v1/runs/"+id+"/cancel", "")
	require.Equal(t, http.StatusOK, r.status)
	var certificate flow.Certificate
	require.NoError(t, json.Unmarshal([]byte(r.body), &certificate))
	require.Equal(t, flow.Cancelled, certificate.Status)
	require.Contains(t, r.body, `"undone":[],"in_doubt":[]`)
	require.Equal(t, 404, b.do(http.MethodPost, "/v1/runs/none/cancel", "").status)
	require.Equal(t, 405, b.do(http.MethodGet, "/v1/runs/"+id+"/cancel", "").status)
}

func TestCancelAnswers202WhileAWriteIsOpenAnd503WithoutASeal(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	b.book.cancel = func(ctx context.Context, _ string) (flow.Certificate, error) {
		<-ctx.Done()
		return flow.Certificate{}, ctx.Err()
	}
	unsealed := b.do(http.MethodPost, "/v1/runs/"+id+"/cancel", "", "Prefer", "wait=1")
	require.Equal(t, http.StatusServiceUnavailable, unsealed.status, "promise 3: nothing is confirmed that was not recorded")
	require.Equal(t, "cancel.unconfirmed", unsealed.problem(t).Code)

	b.book.change(id, func(r *flow.Run) { r.Cancelling = true })
	sealed := b.do(http.MethodPost, "/v1/runs/"+id+"/cancel", "", "Prefer", "wait=1")
	require.Equal(t, http.StatusAccepted, sealed.status)
	require.Equal(t, "/v1/runs/"+id+"?wait=final", sealed.header.Get("Location"))
	require.True(t, sealed.run(t).Cancelling)
}

func TestListFiltersAndPages(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r := b.do(http.MethodGet, "/v1/runs?flow=product-specs&status=failed&limit=7&before=c", "")
	require.Equal(t, http.StatusOK, r.status)
	require.JSONEq(t, `{"runs":[],"next":"cursor"}`, r.body)
	require.Equal(t, []flow.RunFilter{{Flow: "product-specs", Status: flow.Failed, Before: "c", Limit: 7}}, b.book.filters)
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "status=gone"} {
		bad := b.do(http.MethodGet, "/v1/runs?"+query, "")
		require.Equal(t, http.StatusBadRequest, bad.status, query)
		require.Equal(t, "query.invalid", bad.problem(t).Code, query)
	}
}

func TestExplainFindsKeysWithAnyCharacter(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r := b.do(http.MethodGet, "/v1/explain/a%2Fb%20100%25", "")
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Contains(t, r.body, `"key":"a/b 100%"`)
	require.Contains(t, r.body, `"reason":"delivered"`)
	require.Contains(t, b.do(http.MethodGet, "/v1/explain/nobody", "").body, `"entries":[]`)
}

func TestTheDoctorSaysWhatItFoundWhateverThatIs(t *testing.T) {
	t.Parallel()
	r := newBundle(t).do(http.MethodGet, "/v1/doctor", "")
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Contains(t, r.body, `"checks":[{"name":"clock","status":"warn","detail":"2s apart"}]`)
}

func TestReadyzSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	require.Equal(t, 200, newBundle(t).do(http.MethodGet, "/readyz", "").status)
	b := newBundle(t, func(o *httpapi.Options) {
		o.Readiness = checks{{Name: "store", Status: "ok"}, {Name: "temporal", Status: "fail", Detail: "nobody answers"}}
	})
	r := b.do(http.MethodGet, "/readyz", "")
	require.Equal(t, 503, r.status)
	require.Contains(t, r.body, `"detail":"nobody answers"`)
	require.Equal(t, 200, b.do(http.MethodGet, "/healthz", "").status, "a process that answers is healthy")
}

func TestWrongMethodsAndUnknownPathsAreProblems(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r := b.do(http.MethodDelete, "/v1/runs", "")
	require.Equal(t, http.StatusMethodNotAllowed, r.status)
	require.Equal(t, "method.not_allowed", r.problem(t).Code)
	require.Contains(t, r.header.Get("Allow"), "GET")
	require.Equal(t, http.StatusMethodNotAllowed, b.do(http.MethodTrace, "/v1/runs", "").status)
	require.Equal(t, "console", b.do(http.MethodGet, "/anything", "").body)
	require.Equal(t, "path.unknown", b.do(http.MethodGet, "/v1/anything", "").problem(t).Code)
}

func TestTheOpenAPIDocumentIsValidAndComplete(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r := b.do(http.MethodGet, "/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(r.body))
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	var got []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			got = append(got, method+" "+path)
			require.NotNil(t, op.Responses.Value("default"), "%s: problems are documented", path)
			require.NotEmpty(t, op.Summary, path)
		}
	}
	require.ElementsMatch(t, []string{
		"POST /v1/flows/{flow}/runs", "GET /v1/runs", "GET /v1/runs/{id}", "GET /v1/runs/{id}/events",
		"GET /v1/runs/{id}/progress", "GET /v1/runs/{id}/rows", "GET /connector.json",
		"POST /v1/runs/{id}/cancel", "GET /v1/flows", "GET /v1/flows/{flow}", "GET /v1/explain/{key}", "GET /v1/doctor", "GET /v1/changes",
		"GET /v1/dead", "GET /v1/dead/{id}", "POST /v1/dead/redrive", "POST /v1/dead/dismiss", "POST /v1/hooks/{flow}",
	}, got)

	page := b.do(http.MethodGet, "/docs", "")
	require.NotContains(t, page.body, "://", "the page needs no other host")
	for _, line := range got {
		require.Contains(t, page.body, strings.Fields(line)[1])
	}
}

func TestObserveSeesRoutesNotPaths(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	b := newBundle(t, func(o *httpapi.Options) {
		o.Observe = func(route string, status int, _ time.Duration) { seen <- route + " " + strconv.Itoa(status) }
	})
	b.do(http.MethodGet, "/v1/runs/secret-id", "")
	require.Equal(t, "GET /v1/runs/{id} 404", <-seen)
}
