package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

const eventConnections = `
connections:
  crm:
    system: cloudevents
    url: https://crm.example.com
    auth: { kind: none }
    hook: { scheme: header, name: X-Key, secrets: ["${file:hook.key}"] }
    options: { change.case: update }
    tables:
      case:
        path: example.case*
        columns: { id: string, status: int, facing: bool, mail: string }
  mail:
    system: smtp
    url: smtp://${env:PATCHBAY_SANDBOX_SMTP}
    auth: { kind: none }
    options: { from: service@example.com, tls: none }
    tables:
      message:
        path: message
        keys: [[id]]
        columns: { id: string, recipient: string, subject: string, text: string, html: string }
`

const eventFlow = `
flow: cases
pattern: event
summary: A customer is told when the status of a case changes
on:
  - source: crm.case
    change: [create, update]
    select: [status]
    where: row.facing
    key: row.id
collapse: { quiet: %s, max_wait: 5m }
%s
send: { to: mail, template: case.html, recipient: row.mail, subject: "{{.Row.id}} is {{.Row.status}}", repeat: %s }
`

// caseFlows writes the flow of these tests into the directory of an environment.
func caseFlows(t *testing.T, dir, quiet, more, repeat string) {
	t.Helper()
	flows := filepath.Join(dir, "flows")
	require.NoError(t, os.MkdirAll(flows, 0o755))
	for name, text := range map[string]string{
		"connections.yaml": eventConnections, "cases.yaml": fmt.Sprintf(eventFlow, quiet, more, repeat), "../hook.key": hookKey, "case.html": "<p>Case {{.Row.id}} is {{.Row.status}}.</p>\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(flows, name), []byte(text), 0o644))
	}
}

const hookKey = "let-me-in-0123456789"

// told is one event of a case as its source tells it.
type told struct {
	id, name string
	version  int
	status   int
	facing   bool
	create   bool
	keyless  bool // its data does not say which case it is of
}

func (e told) wire() map[string]any {
	kind := "example.case.update"
	if e.create {
		kind = "example.case.create"
	}
	data := map[string]any{"id": e.name, "status": e.status, "facing": e.facing, "mail": e.name + "@customer.example"}
	if e.keyless {
		data["id"] = nil
	}
	return map[string]any{
		"specversion": "1.0", "id": e.id, "source": "/crm", "type": kind, "subject": e.name, "time": "2026-01-01T00:00:00Z",
		"sequence": fmt.Sprint(e.version), "change": map[bool]string{true: "create", false: "update"}[e.create], "data": data,
	}
}

// deliver posts events as one CloudEvents batch and returns what became of them.
func (p *patchbay) deliver(events []told) flow.Receipt {
	p.t.Helper()
	return p.deliverTo("cases", events)
}

func (p *patchbay) deliverTo(name string, events []told) flow.Receipt {
	p.t.Helper()
	list := make([]map[string]any, len(events))
	for i, e := range events {
		list[i] = e.wire()
	}
	body, err := json.Marshal(list)
	require.NoError(p.t, err)
	var receipt flow.Receipt
	p.await("told 202", 2*time.Minute, func() bool { // as a sender is
		req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.HTTP+"/v1/hooks/"+name, bytes.NewReader(body))
		require.NoError(p.t, err)
		req.Header.Set("Content-Type", "application/cloudevents-batch+json")
		req.Header.Set("X-Key", hookKey)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		require.NoError(p.t, err)
		if resp.StatusCode == http.StatusServiceUnavailable {
			return false
		}
		require.Equal(p.t, http.StatusAccepted, resp.StatusCode, string(answer))
		require.NoError(p.t, json.Unmarshal(answer, &receipt))
		return true
	})
	return receipt
}

// mails are the subjects of the mails that the drop holds.
func (p *patchbay) mails() []string {
	p.t.Helper()
	var list []struct {
		Subject string   `json:"subject"`
		To      []string `json:"to"`
	}
	resp := p.do(http.MethodGet, p.Sandbox+"/_sandbox/mail", nil, "", &list)
	require.Equal(p.t, http.StatusOK, resp.StatusCode)
	subjects := make([]string, len(list))
	for i, m := range list {
		subjects[i] = m.Subject
		name, _, _ := strings.Cut(m.Subject, " ")
		require.Equal(p.t, []string{name + "@customer.example"}, m.To, "each customer is told of their own case")
	}
	return subjects
}

// customers is the reference: a plain sequential program.
type customers struct {
	version, status map[string]int
	told            map[string]int // the status that a customer was told of last
}

// round applies the events of one window and gives the subjects of its mails.
func (c *customers) round(events []told) []string {
	ordered := slices.Clone(events)
	slices.SortStableFunc(ordered, func(a, b told) int { return a.version - b.version })
	names := map[string]bool{}
	for _, e := range ordered {
		if e.facing && e.version > c.version[e.name] {
			c.version[e.name], c.status[e.name] = e.version, e.status
			names[e.name] = true
		}
	}
	var subjects []string
	for name := range names {
		if before, known := c.told[name]; !known || before != c.status[name] {
			subjects = append(subjects, fmt.Sprintf("%s is %d", name, c.status[name]))
		}
		c.told[name] = c.status[name]
	}
	return subjects
}

func TestTenThousandUpdatesTellEachCustomerWhatTheReferencePredicts(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	caseFlows(t, dir, "2s", "", "ask")
	p := start(t, dir)
	const cases, rounds, each = 100, 10, 10
	random := rand.New(rand.NewPCG(7, 7))
	reference := customers{version: map[string]int{}, status: map[string]int{}, told: map[string]int{}}
	versions, status := make([]int, cases), make([]int, cases)
	var want []string
	unique, sent := map[string]bool{}, 0
	began := time.Now()
	for round := range rounds {
		var events []told
		for c := range cases {
			name := fmt.Sprintf("CASE-%03d", c)
			for range each / 2 {
				versions[c]++
				if random.IntN(3) > 0 { // the others write the same value
					status[c] = random.IntN(4)
				}
				e := told{id: fmt.Sprintf("%s-%d", name, versions[c]), name: name, version: versions[c], status: status[c], facing: c%10 != 0, create: versions[c] == 1}
				unique[e.id] = true
				events = append(events, e, e) // half of them are duplicates
			}
		}
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		want = append(want, reference.round(events)...)
		var senders sync.WaitGroup
		for part := range slices.Chunk(events, 100) {
			senders.Go(func() { p.deliver(part) })
		}
		senders.Wait()
		sent += len(events)
		p.await(fmt.Sprintf("told of round %d", round), 2*time.Minute, func() bool { return p.quiet() })
	}
	took := time.Since(began)
	got := p.mails()
	slices.Sort(got)
	slices.Sort(want)
	require.Equal(t, want, got)
	t.Logf("%d updates of %d cases in %s: %d mails", sent, cases, took.Round(time.Second), len(got))

	fates := map[string]int{}
	for c := range cases {
		var entries struct {
			Entries []flow.Entry `json:"entries"`
		}
		p.do(http.MethodGet, fmt.Sprintf("%s/v1/explain/CASE-%03d", p.HTTP, c), nil, "", &entries)
		for _, e := range entries.Entries {
			if e.What == "event" {
				fates[e.Reason]++
			}
		}
	}
	total := 0
	for reason, n := range fates {
		require.NotEqual(t, "waiting", reason, "every event has one final reason")
		total += n
	}
	require.Equal(t, len(unique), total, "and none is missing: %v", fates)
	require.Equal(t, len(got), fates["delivered"], "as many were delivered as mails were sent: %v", fates)
}

// quiet reports whether nothing of an event is under way: asked of the database.
func (p *patchbay) quiet() bool {
	p.t.Helper()
	return p.count(`select (select count(*) from change_window where entered_at is null) + (select count(*) from work where closed_at is null)
		+ (select count(*) from event where read_at is not null)`) == 0
}

// count asks the database for a number.
func (p *patchbay) count(query string, args ...any) (n int) {
	p.t.Helper()
	conn, err := pgx.Connect(p.t.Context(), p.Database)
	require.NoError(p.t, err)
	defer conn.Close(p.t.Context())
	require.NoError(p.t, conn.QueryRow(p.t.Context(), query, args...).Scan(&n))
	return n
}
