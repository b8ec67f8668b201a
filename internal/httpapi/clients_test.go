package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

func TestAnEventIDFromTheFutureIsWorthNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	status, next := b.follow(id, "99")
	require.Equal(t, http.StatusOK, status)
	event, run, _ := next()
	require.Equal(t, 1, event, "the client is told where the run stands, not left to wait for step 100")
	require.Equal(t, flow.Accepted, run.Status)

	b.book.change(id, finish)
	event, run, _ = next()
	require.Equal(t, 2, event)
	require.Equal(t, flow.Completed, run.Status)
	status, next = b.follow(id, "99")
	require.Equal(t, http.StatusOK, status, "204 would tell it that it has seen the end")
	event, _, _ = next()
	require.Equal(t, 2, event)
}

func TestEventsGoOnAtAnotherServer(t *testing.T) {
	t.Parallel()
	first := newBundle(t)
	id := first.pressed()
	_, next := first.follow(id, "")
	event, _, _ := next()
	require.Equal(t, 1, event)
	first.stop()
	_, _, more := next()
	require.False(t, more)

	second := newBundle(t, func(o *httpapi.Options) { o.Trigger, o.Runs, o.Canceller = first.book, first.book, first.book })
	first.book.change(id, answerWith(flow.Row{"a": "b"}))
	_, next = second.follow(id, "1")
	event, run, _ := next()
	require.Equal(t, 2, event)
	require.Equal(t, 1, run.Result.Count)
}

func TestAPressSaysHowUrgentItIs(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	got := make(chan flow.Class, 1)
	b.book.press = func(p flow.Press) error { got <- p.Class; return nil }
	for header, want := range map[string]flow.Class{
		"": flow.Interactive, "u=3": flow.Interactive, "u=0, i": flow.Interactive, "i, u=5": flow.Background, "u=7;x=1": flow.Background,
		"u=8": flow.Interactive, "u=five": flow.Interactive, "urgent": flow.Interactive, "u=7, u=1": flow.Interactive,
	} {
		headers := []string{"Prefer", "wait=0"}
		if header != "" {
			headers = append(headers, "Priority", header)
		}
		require.Equal(t, 202, b.do(http.MethodPost, pressPath, product, headers...).status)
		require.Equal(t, want, <-got, "Priority: %s", header)
	}
}

// A client may leave at any byte. What was accepted goes on, the same key finds
// it, and nobody else notices.
func TestAClientMayLeaveAtAnyStage(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	body := product
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nIdempotency-Key: leaver\r\nContent-Length: %d\r\n\r\n", pressPath, b.addr, len(body))
	for _, stage := range []struct {
		name     string
		sent     string
		accepted bool
	}{
		{"within the headers", head[:40], false},
		{"before the body", head, false},
		{"within the body", head + body[:5], false},
		{"while it waits for the answer", head + body, true},
	} {
		c, err := net.Dial("tcp", b.addr)
		require.NoError(t, err)
		_, err = io.WriteString(c, stage.sent)
		require.NoError(t, err)
		if stage.accepted {
			require.Eventually(t, func() bool {
				b.book.mu.Lock()
				defer b.book.mu.Unlock()
				return len(b.book.runs) == 1
			}, time.Minute, 5*time.Millisecond, stage.name)
		}
		require.NoError(t, c.Close())
	}
	b.book.mu.Lock()
	require.Len(t, b.book.runs, 1, "only the whole press was accepted")
	b.book.mu.Unlock()
	again := b.do(http.MethodPost, pressPath, body, "Idempotency-Key", "leaver", "Prefer", "wait=0")
	require.Equal(t, 202, again.status, again.body)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	b.book.change(again.run(t).RunID, answerWith(flow.Row{"a": "b"}))
	require.Equal(t, 1, b.do(http.MethodGet, "/v1/runs/"+again.run(t).RunID, "").run(t).Result.Count)
}

func TestTwoThousandSlowClientsKeepNobodyFromBeingAnswered(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var slow sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	defer slow.Wait()
	defer leave()
	connected := make(chan error, 2000)
	for i := range 2000 {
		slow.Go(func() {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.addr)
			if err == nil {
				defer func() { _ = c.Close() }()
				start := "POST " + pressPath + " HTTP/1.1\r\nHost: " + b.addr + "\r\n"
				if i%2 == 0 { // half of them are slow with the body, half with the headers
					start += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
				}
				_, err = io.WriteString(c, start)
			}
			connected <- err
			<-ctx.Done()
		})
	}
	for range 2000 {
		require.NoError(t, <-connected)
	}
	for range 10 {
		began := time.Now()
		require.Equal(t, 202, b.do(http.MethodPost, pressPath, product, "Prefer", "wait=0").status)
		require.Less(t, time.Since(began), 2*time.Second, "a press among slow clients")
	}
}

func TestSlowReadersOfEventsAreBoundedAndDoNotHoldOthersUp(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.pressed()
	ctx, leave := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer leave()
	status := make(chan int, 300)
	for range 300 {
		readers.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.addr+"/v1/runs/"+id+"/events", nil)
			if err != nil {
				status <- 0
				return
			}
			res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
			if err != nil {
				status <- 0
				return
			}
			defer func() { _ = res.Body.Close() }()
			status <- res.StatusCode
			<-ctx.Done() // reads nothing
		})
	}
	counts := map[int]int{}
	for range 300 {
		counts[<-status]++
	}
	require.Equal(t, map[int]int{200: 250, 503: 50}, counts)
	busy := b.do(http.MethodGet, "/v1/runs/"+id+"/events", "")
	require.Equal(t, "events.busy", busy.problem(t).Code)
	require.NotEmpty(t, busy.header.Get("Retry-After"))
	require.Equal(t, 202, b.do(http.MethodPost, pressPath, product, "Prefer", "wait=0").status, "a press is not a stream")
	leave()
	require.Eventually(t, func() bool {
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		req, _ := http.NewRequestWithContext(short, http.MethodGet, "http://"+b.addr+"/v1/runs/"+id+"/events", strings.NewReader(""))
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "the places of those who left are free")
}
