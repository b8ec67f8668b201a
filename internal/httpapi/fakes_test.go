package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// book is runs in memory, with the contract of the real one.
type book struct {
	mu       sync.Mutex
	runs     map[string]flow.Run
	bodies   map[string]string
	watchers map[string][]chan struct{}
	watched  chan string // the ID of every watch that begins
	press    func(flow.Press) error
	get      func(id string) error
	cancel   func(ctx context.Context, id string) (flow.Certificate, error)
	filters  []flow.RunFilter
}

func newBook() *book {
	return &book{
		runs: map[string]flow.Run{}, bodies: map[string]string{}, watchers: map[string][]chan struct{}{},
		watched: make(chan string, 100),
	}
}

func runID(principal, key string) string {
	sum := sha256.Sum256([]byte(principal + "\x00" + key))
	return hex.EncodeToString(sum[:13])
}

func (b *book) Press(_ context.Context, p flow.Press) (flow.Run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.press != nil {
		if err := b.press(p); err != nil {
			return flow.Run{}, err
		}
	}
	plan, ok := plans[p.Flow]
	if !ok {
		return flow.Run{}, fault.NotFoundf("flow.not_found", "no flow has this name")
	}
	if _, err := plan.Validate(p.Params); err != nil {
		return flow.Run{}, err
	}
	body, _ := json.Marshal(p.Params)
	id := runID(p.Principal, p.Key)
	if p.Key == "" {
		id = runID(p.Principal, fmt.Sprint("unkeyed ", len(b.runs)))
	}
	if run, ok := b.runs[id]; ok {
		if b.bodies[id] != string(body) {
			return flow.Run{}, fault.New(fault.Conflict, "idem.reused", "the key was used with another body", nil)
		}
		run.Replayed = true
		return run, nil
	}
	now := time.Now()
	run := flow.Run{RunID: id, Flow: p.Flow, Status: flow.Accepted, Principal: p.Principal, AcceptedAt: now,
		Progress: []flow.Step{{Name: "accepted", At: now}}}
	b.runs[id], b.bodies[id] = run, string(body)
	return run, nil
}

func (b *book) Get(_ context.Context, id string) (flow.Run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.get != nil {
		if err := b.get(id); err != nil {
			return flow.Run{}, err
		}
	}
	run, ok := b.runs[id]
	if !ok {
		return flow.Run{}, fault.NotFoundf("run.not_found", "no run has this ID")
	}
	return run, nil
}

func (b *book) List(_ context.Context, f flow.RunFilter) ([]flow.Run, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.filters = append(b.filters, f)
	var runs []flow.Run
	for _, run := range b.runs {
		if f.Principal == "" || f.Principal == run.Principal {
			runs = append(runs, run)
		}
	}
	return runs, "cursor", nil
}

func (b *book) WatchAnswer(ctx context.Context, id string) (<-chan struct{}, func()) {
	return b.Watch(ctx, id)
}

func (b *book) Watch(_ context.Context, id string) (<-chan struct{}, func()) {
	b.mu.Lock()
	ch := make(chan struct{}, 1)
	b.watchers[id] = append(b.watchers[id], ch)
	b.mu.Unlock()
	select {
	case b.watched <- id:
	default: // nobody counts them
	}
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}()
	return ch, sync.OnceFunc(func() { close(ended) })
}

func (b *book) Cancel(ctx context.Context, _ flow.Principal, id string) (flow.Certificate, error) {
	return b.cancel(ctx, id)
}

// change edits a run and tells its watchers.
func (b *book) change(id string, edit func(*flow.Run)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	run := b.runs[id]
	edit(&run)
	b.runs[id] = run
	for _, ch := range b.watchers[id] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func step(run *flow.Run, name string) {
	run.Progress = append(append([]flow.Step(nil), run.Progress...), flow.Step{Name: name, At: time.Now()})
}

func answerWith(rows ...flow.Row) func(*flow.Run) {
	return func(run *flow.Run) {
		now := time.Now()
		step(run, "answered")
		run.Status, run.AnsweredAt, run.Result = flow.Running, &now, &flow.Result{Rows: rows, Count: len(rows)}
	}
}

func finish(run *flow.Run) {
	now := time.Now()
	step(run, "closed")
	run.Status, run.ClosedAt = flow.Completed, &now
}

var plans = map[string]*flow.Plan{"product-specs": {
	Flow: "product-specs", Pattern: flow.Instant, Summary: "Specifications of one product", Respond: flow.AfterRead,
	Params: []flow.Param{{Name: "product_id", Type: flow.String, Title: "Product ID", Pattern: "^[A-Z0-9-]{3,40}$", Example: "AS54888"}},
	Limits: flow.Limits{Timeout: 30 * time.Second},
}}

type catalogue struct{}

func (catalogue) Flows(context.Context) ([]flow.Applied, error) {
	return []flow.Applied{{Plan: plans["product-specs"], Digest: "d1"}}, nil
}

func (catalogue) Flow(_ context.Context, name string) (flow.Applied, error) {
	plan, ok := plans[name]
	if !ok {
		return flow.Applied{}, fault.NotFoundf("flow.not_found", "no flow has this name")
	}
	return flow.Applied{Plan: plan, Digest: "d1"}, nil
}

type journal struct{}

func (journal) Explain(_ context.Context, key string) ([]flow.Entry, error) {
	if key == "a/b 100%" {
		return []flow.Entry{{Flow: "product-specs", Run: "r", What: "closed", Reason: "delivered"}}, nil
	}
	return nil, nil
}

type checks []httpapi.Check

func (c checks) Ready(context.Context) []httpapi.Check   { return c }
func (c checks) Examine(context.Context) []httpapi.Check { return c }

type keyring map[string]flow.Principal

func (k keyring) Principal(token string) (flow.Principal, bool) {
	p, ok := k[token]
	return p, ok
}

// bundle is one server on a port of its own.
type bundle struct {
	*testing.T
	book *book
	addr string
	stop func()
}

func newBundle(t *testing.T, edit ...func(*httpapi.Options)) *bundle {
	t.Helper()
	b := &bundle{T: t, book: newBook()}
	o := httpapi.Options{
		Trigger: b.book, Runs: b.book, Canceller: b.book, Flows: catalogue{}, Explainer: journal{},
		Readiness: checks{{Name: "store", Status: "ok"}}, Doctor: checks{{Name: "clock", Status: "warn", Detail: "2s apart"}}, Dev: true, Drain: 2 * time.Second,
		Console: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "console") }),
		Keys: keyring{
			"app":   {Name: "key:app", Role: flow.RolePress},
			"other": {Name: "key:other", Role: flow.RolePress},
			"ops":   {Name: "key:ops", Role: flow.RoleOperate},
		},
	}
	for _, e := range edit {
		e(&o)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- httpapi.NewServer(o).Run(ctx, ln) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(b.stop)
	return b
}

func serve(o *httpapi.Options) { o.Dev = false }

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

func (b *bundle) do(method, path, body string, header ...string) reply {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, "http://"+b.addr+path, strings.NewReader(body))
	require.NoError(b, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	require.NoError(b, err)
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(res.Body)
	require.NoError(b, err)
	return reply{res.StatusCode, res.Header, string(all)}
}

func (r reply) run(t *testing.T) flow.Run {
	t.Helper()
	var run flow.Run
	require.NoError(t, json.Unmarshal([]byte(r.body), &run), r.body)
	return run
}

func (r reply) problem(t *testing.T) httpapi.Problem {
	t.Helper()
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"), r.body)
	var p httpapi.Problem
	require.NoError(t, json.Unmarshal([]byte(r.body), &p), r.body)
	require.Equal(t, r.status, p.Status)
	require.Equal(t, r.header.Get("X-Request-Id"), p.RequestID)
	require.NotEmpty(t, p.Title)
	require.NotEmpty(t, p.Detail)
	return p
}
