package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"patchbay/internal/alert"
	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
	"patchbay/internal/quota"
	"patchbay/internal/run"
	"patchbay/internal/sandbox"
	"patchbay/internal/slot"
	"patchbay/internal/store/storetest"
	"patchbay/starters"
)

// limited is a sandbox whose limits hold, and what it answered.
type limited struct {
	url, mail string
	refused   atomic.Int64 // 429
	served    atomic.Int64
}

func newLimited(t *testing.T, speed float64) *limited {
	t.Helper()
	s, err := sandbox.New(t.Context(), sandbox.Options{DatabaseURL: storetest.Empty(t), Products: 10, Speed: speed})
	require.NoError(t, err)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Mail(ctx, ln) }()
	l := &limited{mail: ln.Addr().String()}
	handler := s.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(&noting{w, l}, r)
	}))
	l.url = server.URL
	t.Cleanup(func() {
		server.Close()
		cancel()
		require.NoError(t, <-done)
		s.Close()
	})
	return l
}

type noting struct {
	http.ResponseWriter
	to *limited
}

func (n *noting) WriteHeader(status int) {
	n.to.served.Add(1)
	if status == http.StatusTooManyRequests {
		n.to.refused.Add(1)
	}
	n.ResponseWriter.WriteHeader(status)
}

func (l *limited) dataverse(quotas ...flow.Quota) flow.Connection {
	return flow.Connection{
		Name: "crm", System: "dataverse", URL: l.url + "/dataverse", Quotas: quotas, Limits: flow.ConnectionLimits{Concurrent: 40, Timeout: 15 * time.Second},
		Auth: flow.Auth{Kind: "oauth2", TokenURL: l.url + "/login/contoso/oauth2/v2.0/token", ClientID: "patchbay", ClientSecret: "sandbox-secret", Scope: l.url + "/dataverse/.default"},
		Tables: map[string]flow.Table{"incident": {Name: "incident", Path: "incidents", Keys: [][]string{{"incidentid"}},
			Columns: map[string]flow.Type{"incidentid": flow.String, "title": flow.String}}},
	}
}

// process opens the systems of one more process on a database.
func process(t *testing.T, database string, speed float64) *systems {
	t.Helper()
	s := newSystems(nil, nil, registry(), func(text string) (string, error) { return text, nil }, speed)
	s.quotas = quota.New(storetest.Open(t, database), quota.Options{Speed: speed})
	t.Cleanup(func() { s.quotas.Close(context.Background()); s.client.CloseIdleConnections() })
	return s
}

// hammer reads from a connection of two processes as fast as they let it, and counts what they
// held back.
func hammer(t *testing.T, l *limited, c flow.Connection, speed float64, d time.Duration) (held int64) {
	t.Helper()
	database := storetest.URL(t)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var parts sync.WaitGroup
	var throttled atomic.Int64
	for range 2 {
		o, err := process(t, database, speed).build(c)
		require.NoError(t, err)
		reader := o.system.(connector.PageReader)
		for range 36 {
			parts.Go(func() {
				for ctx.Err() == nil {
					_, err := reader.ReadPage(ctx, connector.Query{Table: "incident", Select: []string{"incidentid", "title"}, Limit: 50}, "")
					if f := fault.Of(err); err != nil && f.Class == fault.Throttled {
						if f.Code == "quota.used_up" {
							throttled.Add(1)
						}
						timer := time.NewTimer(f.After)
						select {
						case <-ctx.Done():
						case <-timer.C:
						}
						timer.Stop()
					}
				}
			})
		}
	}
	parts.Wait()
	t.Logf("%d answers, %d refused by the provider, %d held back", l.served.Load(), l.refused.Load(), throttled.Load())
	return throttled.Load()
}

func TestDataverseWhoseLimitsAreDeclaredRefusesNothingUnderLoad(t *testing.T) {
	t.Parallel()
	const speed = 20 // execution: 60 s in 15 s; an answer takes a small part of that, as in real time
	l := newLimited(t, speed)
	held := hammer(t, l, l.dataverse(
		flow.Quota{Kind: flow.QuotaRequests, Most: 6000, Per: 5 * time.Minute, Reserve: 10},
		flow.Quota{Kind: flow.QuotaExecution, Most: 1_200_000, Per: 5 * time.Minute},
		flow.Quota{Kind: flow.QuotaConcurrent, Most: 52},
	), speed, 12*time.Second)
	require.Zero(t, l.refused.Load(), "a provider whose limits are declared answers no 429")
	require.Positive(t, held, "there was more to do than is allowed")
	require.Greater(t, l.served.Load(), int64(50), "and is used")
}

func TestDataverseWhoseLimitsAreNotDeclaredRefuses(t *testing.T) {
	t.Parallel()
	const speed = 100
	l := newLimited(t, speed)
	hammer(t, l, l.dataverse(), speed, 4*time.Second)
	require.Positive(t, l.refused.Load(), "else the test beside this one shows nothing")
}

const spikeFlow = `flow: cases
pattern: event
summary: A customer is told when the status of a case changes
on:
  - source: crm.case
    change: [create, update]
    key: row.id
collapse: { quiet: 10ms, max_wait: 5m }
send: { to: mail, template: case.html, recipient: row.mail, subject: "{{.Row.id}}", repeat: resend }
`

const spikeConnections = `connections:
  crm:
    system: cloudevents
    url: https://crm.example.com
    auth: { kind: none }
    hook: { scheme: none }
    options: { change.case: update }
    tables: { case: { path: example.case, columns: { id: string, status: int, mail: string } } }
  mail:
    system: smtp
    url: smtp://%s
    auth: { kind: none }
    options: { from: service@example.com, tls: none }
    limits: { concurrent: 4, timeout: 5s }
    quotas: [{ messages: 100, per: 1m }, { messages: 20000, per: 24h }]
    tables: { message: { path: message, keys: [[id]], columns: { id: string, recipient: string, subject: string, text: string, html: string } } }
`

// carrier sends the message of each window at once, as the runs that it stands for
// would, and puts back what has to come later.
type carrier struct {
	to     connector.Upserter
	sent   atomic.Int64
	failed atomic.Value
}

func (c *carrier) Press(ctx context.Context, p flow.Press) (flow.Run, error) {
	row := connector.Row{"id": p.Key, "recipient": "somebody@example.com", "subject": "x", "text": "x"}
	for {
		results, err := c.to.Upsert(ctx, connector.Upsert{Table: "message", Key: []string{"id"}, Rows: []connector.Row{row}})
		if err == nil {
			err = results[0].Err
		}
		f := fault.Of(err)
		switch {
		case err == nil:
			c.sent.Add(1)
			return flow.Run{RunID: p.Key}, nil
		case f.Class != fault.Throttled:
			c.failed.Store(f.Code)
			return flow.Run{}, err
		}
		timer := time.NewTimer(f.After)
		select {
		case <-ctx.Done():
			return flow.Run{}, ctx.Err()
		case <-timer.C:
		}
	}
}

type nobodyWaits struct{}

func (nobodyWaits) Queued(context.Context, string, int) (int, error) { return 0, nil }

// Five times what a mail server takes comes for a minute.
func TestASpikeDrainsWhenItIsForecastAndTheMailServerRefusesNothing(t *testing.T) {
	t.Parallel()
	const speed = 10
	l := newLimited(t, speed)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, l.url+"/_sandbox/mail/limit", strings.NewReader(`{"per_minute":100}`))
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)

	db := storetest.New(t)
	plans := run.NewPlans(db)
	applied, err := apply(t.Context(), plans, alert.New(db, speed), slot.New(db), applying{name: "spike", speed: speed, by: "test", files: fstest.MapFS{
		"connections.yaml": {Data: fmt.Appendf(nil, spikeConnections, l.mail)}, "cases.yaml": {Data: []byte(spikeFlow)},
		"case.html": {Data: []byte("<p>{{.Row.id}}</p>")}}})
	require.NoError(t, err)
	own := newSystems(nil, nil, registry(), func(text string) (string, error) { return text, nil }, speed)
	own.quotas = quota.New(db, quota.Options{Speed: speed})
	t.Cleanup(func() { own.quotas.Close(context.Background()) })
	var mail opened
	for _, c := range applied.connections {
		if c.Name == "mail" {
			mail, err = own.build(c)
			require.NoError(t, err)
		}
	}
	box := inbox.New(db, plans, judges{&mappers{}}, inbox.Options{Speed: speed, Forecast: forecast(plans, own.quotas)})
	carries := &carrier{to: mail.system.(connector.Upserter)}
	inlet := starters.NewInlet(box, carries, nobodyWaits{}, zap.NewNop())
	inlet.Allow = (&allowance{plans: plans, book: run.NewBook(db, plans, run.Options{}), quotas: own.quotas, speed: speed}).allow
	box.Wake = inlet.Wake
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { inlet.Run(ctx) })
	defer running.Wait()
	defer stop()

	const spike = 500
	every := time.NewTicker(time.Minute / speed / (spike / 10))
	defer every.Stop()
	for n := 0; n < spike; {
		<-every.C
		var events []flow.Occurrence
		for range 10 {
			id := fmt.Sprintf("case-%d", n)
			events = append(events, flow.Occurrence{ID: id, Connection: "crm", Table: "case", Record: id, Change: flow.Updated, At: time.Now(), Whole: true,
				After: flow.Row{"id": id, "status": json.Number("1"), "mail": "somebody@example.com"}})
			n++
		}
		_, err := box.Accept(t.Context(), "cases", events)
		require.NoError(t, err)
	}
	forecasts := map[string]time.Time{}
	see := func(when string) {
		b, err := box.Backlog(t.Context(), "cases")
		require.NoError(t, err)
		require.NotNil(t, b.Drained)
		forecasts[when] = *b.Drained
		t.Logf("%s: %d wait, drained in %s", when, b.Open, time.Until(*b.Drained).Round(10*time.Millisecond))
	}
	begun := time.Now()
	see("at the end of the spike")
	require.Eventually(t, func() bool { return carries.sent.Load() >= spike/2 }, time.Minute, 10*time.Millisecond)
	middle := time.Now()
	see("in the middle")
	require.Eventually(t, func() bool { return carries.sent.Load() == spike }, time.Minute, 10*time.Millisecond, "%v", carries.failed.Load())
	took := time.Since(begun)
	t.Logf("it took %s", took)
	require.InEpsilon(t, took, forecasts["at the end of the spike"].Sub(begun), 0.15)
	require.InDelta(t, time.Since(middle).Seconds(), forecasts["in the middle"].Sub(middle).Seconds(), 0.15*time.Since(middle).Seconds()+0.3)
	require.Nil(t, carries.failed.Load())
	record, err := http.Get(l.url + "/_sandbox/calls/mail?limit=10000")
	require.NoError(t, err)
	defer record.Body.Close()
	var calls []struct {
		Status int `json:"status"`
	}
	require.NoError(t, json.NewDecoder(record.Body).Decode(&calls))
	for _, c := range calls {
		require.NotEqual(t, 451, c.Status, "the mail server was asked for more than it takes")
	}
	require.GreaterOrEqual(t, len(calls), spike)
}
