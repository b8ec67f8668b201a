package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// benchKey is what a delivery of the bench is proved by.
const benchKey = "bench-hook-key-0123456789"

// The flows of the section on events: one that refuses all by its filter, one that keeps
// all and makes no run of it, one that tells of all.
const (
	dropping = "bench-dropping"
	keeping  = "bench-keeping"
	telling  = "bench-telling"
)

const (
	oneEvent   = "application/cloudevents+json"
	manyEvents = "application/cloudevents-batch+json"
)

const eventSource = `
  bench-crm:
    system: cloudevents
    url: https://crm.example.com
    auth: { kind: none }
    hook: { scheme: header, name: X-Key, secrets: ["${env:PATCHBAY_BENCH_HOOK}"] }
    options: { change.case: update, whole: "true" }
    tables:
      case:
        path: example.case
        columns: { id: string, status: int, facing: bool, title: string, mail: string }
`

const eventFlow = `
flow: %s
pattern: event
summary: What the bench measures of events
%s
on:
  - { source: bench-crm.case, change: [create, update], select: [status], where: row.facing, key: row.id }
collapse: %s
send: { to: mail, template: bench.html, recipient: row.mail, subject: "{{.Row.title}}", repeat: resend }
`

// writeEventFlows adds the flows of the section on events to the example flows.
func writeEventFlows(dir string) error {
	connections := filepath.Join(dir, "connections.yaml")
	before, err := os.ReadFile(connections)
	if err != nil {
		return err
	}
	files := map[string]string{
		"connections.yaml": string(before) + eventSource,
		"bench.html":       "<p>Your case {{.Row.id}} is {{.Row.status}}.</p>\n",
		dropping + ".yaml": fmt.Sprintf(eventFlow, dropping, "explain: counts", "{ quiet: 0s }"),
		keeping + ".yaml":  fmt.Sprintf(eventFlow, keeping, "", "{ quiet: 1h, max_wait: 2h }"),
		telling + ".yaml":  fmt.Sprintf(eventFlow, telling, "", "{ quiet: 0s }"),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// cases makes events of cases that were not heard of before; facing says whether the
// filter lets them pass. It is safe for concurrent use.
type cases struct {
	n      atomic.Int64
	facing bool
}

// event appends the next one.
func (c *cases) event(b []byte) []byte {
	n := c.n.Add(1)
	b = append(b, `{"specversion":"1.0","type":"example.case","source":"/crm","time":"2026-01-01T00:00:00Z","id":"e-`...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, `","subject":"CASE-`...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, `","sequence":"1","data":{"id":"CASE-`...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, `","status":5,"facing":`...)
	b = strconv.AppendBool(b, c.facing)
	b = append(b, `,"title":"No power in building 12","mail":"c`...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, `@customer.example"}}`...)
}

// batch appends a batch of so many.
func (c *cases) batch(size int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = append(b, '[')
		for i := range size {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.event(b)
		}
		return append(b, ']')
	}
}
