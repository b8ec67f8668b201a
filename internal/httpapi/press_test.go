package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
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

// Bad input by its catalogue is refused in a table of internal/app, on a real
// store; this is what that catalogue does not have.
func TestPressRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for path, want := range map[string]string{pressPath + "?wait=answer": "query.invalid", "/v1/nothing": "path.unknown"} {
		require.Equal(t, want, b.do(http.MethodPost, path, product).problem(t).Code)
	}
	wrong := b.do(http.MethodPost, pressPath+"?wait=answer", product).problem(t)
	require.Equal(t, "query.wait", wrong.Errors[0].Path)
	none := b.do(http.MethodPost, pressPath, "", "Content-Type", "application/json").problem(t)
	require.Equal(t, "params.invalid", none.Code, "many clients name the type of a body they do not send")
	require.Empty(t, b.book.runs, "nothing was started")
}

// RFC 7240, section 2: a server must ignore a preference that it does not
// understand. That it was ignored is said by what is missing.
func TestAPreferenceThatCannotBeReadIsIgnoredAndSaidToBe(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for prefer, applied := range map[string]string{
		"respond-async": "respond-async", "respond-async, wait=0": "wait=0", "wait=0, wait=30": "wait=0", `WAIT="0"`: "wait=0", "wait=soon, respond-async": "respond-async",
	} {
		r := b.do(http.MethodPost, pressPath, product, "Prefer", prefer)
		require.Equal(t, http.StatusAccepted, r.status, prefer)
		require.Equal(t, applied, r.header.Get("Preference-Applied"), prefer)
	}
	b = newBundle(t)
	for _, prefer := range []string{"wait=soon", "wait=-1", "wiat=1", `x="respond-async, wait=0"`} {
		go func() { b.book.change(<-b.book.watched, answerWith()) }()
		r := b.do(http.MethodPost, pressPath, product, "Prefer", prefer)
		require.Equal(t, http.StatusOK, r.status, "%s waits as if nothing had been said", prefer)
		require.Empty(t, r.header.Values("Preference-Applied"), prefer)
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

func TestAStoreThatIsAwayIsLoggedOnceAndNotByEachWaiter(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zap.InfoLevel)
	b := newBundle(t, func(o *httpapi.Options) { o.Log = zap.New(core) })
	const waiters = 5
	for range 2 {
		reads := make(chan struct{}, 1000)
		b.book.mu.Lock()
		b.book.get = func(string) error {
			reads <- struct{}{}
			return fault.New(fault.Unavailable, "store.unavailable", "the store is away", nil)
		}
		b.book.mu.Unlock()
		answers := make(chan reply, waiters)
		for range waiters {
			go func() { answers <- b.do(http.MethodPost, pressPath, product, "Prefer", "wait=60") }()
		}
		var ids []string
		for range waiters {
			ids = append(ids, <-b.book.watched)
		}
		for range 2 * waiters {
			<-reads
		}
		b.book.mu.Lock()
		b.book.get = nil
		b.book.mu.Unlock()
		for _, id := range ids {
			b.book.change(id, answerWith())
		}
		for range waiters {
			require.Equal(t, http.StatusOK, (<-answers).status)
		}
	}
	require.Len(t, logged.FilterLevelExact(zap.WarnLevel).All(), 2, "one for each time it was away")
	require.Len(t, logged.FilterMessage("accepted runs can be read again").All(), 2)
}
