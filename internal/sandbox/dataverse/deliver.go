package dataverse

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/storage"
)

const (
	atOnce       = 32               // deliveries under way
	inOneLook    = 4 * atOnce       // more than can be under way, so that every look finds new ones
	answerWithin = 60 * time.Second // as documented
	secondAfter  = time.Second      // between the two attempts; how long is not documented
)

// Deliverer sends the webhooks that are due: asynchronously, in no order, one
// more time after 502, 503, 504 or no answer, and never again. Every attempt is
// in the call record. Whoever made it calls Run.
type Deliverer struct {
	System *System
	Store  storage.Store
	Book   *record.Book // nil in the lean sandbox
	Faults *faults.Board
	Log    *zap.Logger

	client *http.Client
	mu     sync.Mutex
	sent   map[string]bool // by job, under way
}

// Run delivers until ctx ends and what is under way has ended.
func (d *Deliverer) Run(ctx context.Context) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{MaxIdleConnsPerHost: atOnce, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil || !d.System.hooks.allowed(host) {
			return nil, errors.New("a host that the sandbox does not send webhooks to")
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil && !d.allowedAt(host, conn) {
			_ = conn.Close() // nothing was sent
			return nil, errors.New("a name of this machine that leads elsewhere")
		}
		return conn, err
	}}
	defer transport.CloseIdleConnections()
	d.client = &http.Client{Transport: transport, Timeout: answerWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	d.sent = map[string]bool{}
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, atOnce)
	for {
		found, err := d.look(ctx)
		if err != nil && ctx.Err() == nil {
			d.Log.Error("looking for webhooks that are due", zap.Error(err))
		}
		for _, job := range found {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			under.Go(func() {
				d.carry(ctx, job)
				<-slots
			})
		}
		if len(found) > 0 {
			continue
		}
		select {
		case <-d.System.hooks.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// allowedAt holds a name of this machine to an address of it.
func (d *Deliverer) allowedAt(host string, conn net.Conn) bool {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() || host != "localhost" {
		return true
	}
	at, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && at.IP.IsLoopback()
}

// look takes jobs that are not under way yet. What ends while it reads was under
// way before, and is not taken for new.
func (d *Deliverer) look(ctx context.Context) ([]storage.Row, error) {
	d.mu.Lock()
	under := maps.Clone(d.sent)
	d.mu.Unlock()
	var rows []storage.Row
	err := d.Store.Read(ctx, func(tx storage.Tx) (err error) {
		rows, err = tx.Find(ctx, d.System.env.jobs, storage.Query{Order: []storage.Order{{Column: "at"}}, Limit: inOneLook})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the deliveries that are due: %w", err)
	}
	fresh := slices.DeleteFunc(slices.Clone(rows), func(row storage.Row) bool { return under[textOf(row, "id")] })
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range fresh {
		d.sent[textOf(row, "id")] = true
	}
	return fresh, nil
}

// carry delivers one job and forgets it. A process that ends before begins anew,
// so a delivery may come twice then, as it may from the platform.
func (d *Deliverer) carry(ctx context.Context, job storage.Row) {
	strike := d.Faults.Webhook(d.System.env.Name)
	var entries []*record.Entry
	switch {
	case strike.Drop:
		entries = []*record.Entry{d.entry(job, 0, "drop")}
	default:
		if strike.Delay > 0 && !wait(ctx, strike.Delay) {
			return
		}
		var mu sync.Mutex
		var copies sync.WaitGroup
		for n := range max(strike.Copies, 1) {
			fault := ""
			if n > 0 {
				fault = "duplicate"
			} else if strike.Delay > 0 {
				fault = "reorder"
			}
			copies.Go(func() {
				got := d.attempts(ctx, job, fault)
				mu.Lock()
				defer mu.Unlock()
				entries = append(entries, got...)
			})
		}
		copies.Wait()
	}
	if ctx.Err() != nil {
		return // whoever was cut off is told again after a start
	}
	if err := d.settle(context.WithoutCancel(ctx), job, entries); err != nil {
		d.Log.Error("recording a webhook", zap.Error(err))
	}
	d.mu.Lock()
	delete(d.sent, textOf(job, "id"))
	d.mu.Unlock()
	d.System.hooks.stir() // a look that was full left others behind
}

// settle removes the job and records its attempts in one transaction.
func (d *Deliverer) settle(ctx context.Context, job storage.Row, entries []*record.Entry) error {
	if d.Book != nil {
		for _, e := range entries {
			d.Book.Number(e)
			defer d.Book.Done(e)
		}
	}
	return d.Store.Write(ctx, func(tx storage.Tx) error {
		if _, err := tx.Delete(ctx, d.System.env.jobs, d.System.env.jobs.Key(job)); err != nil {
			return fmt.Errorf("forgetting a delivery: %w", err)
		}
		for _, e := range entries {
			if d.Book != nil {
				if err := d.Book.Write(ctx, tx, e); err != nil {
					return fmt.Errorf("recording a delivery: %w", err)
				}
			}
		}
		return nil
	})
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempts posts once, and once more where the platform does.
func (d *Deliverer) attempts(ctx context.Context, job storage.Row, fault string) []*record.Entry {
	var entries []*record.Entry
	for range 2 {
		status := d.post(ctx, job)
		entries = append(entries, d.entry(job, status, fault))
		again := status == 0 || status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
		if !again || len(entries) == 2 || !wait(ctx, time.Duration(float64(secondAfter)/d.System.speed)) {
			break
		}
	}
	return entries
}

// entry is one attempt in the record; its path is where it went, without what
// proves it.
func (d *Deliverer) entry(job storage.Row, status int, fault string) *record.Entry {
	path := ""
	if to, err := url.Parse(textOf(job, "url")); err == nil {
		path = to.Scheme + "://" + to.Host + to.Path
	}
	return &record.Entry{System: d.System.env.Name, At: time.Now().UTC(), Method: "WEBHOOK", Path: path, Query: textOf(job, "message") + " " + textOf(job, "logical"),
		Status: status, BodySHA256: record.Digest([]byte(textOf(job, "body"))), Fault: fault}
}

// post sends a job and returns the status of the answer, 0 where none came.
func (d *Deliverer) post(ctx context.Context, job storage.Row) int {
	target, header := textOf(job, "url"), http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	header.Set("x-ms-dynamics-organization", textOf(job, "organization"))
	header.Set("x-ms-dynamics-entity-name", textOf(job, "logical"))
	header.Set("x-ms-dynamics-request-name", textOf(job, "message"))
	header.Set("x-ms-correlation-request-id", textOf(job, "correlation"))
	if job["oversized"] == true {
		header.Set("x-ms-dynamics-msg-size-exceeded", "true")
	}
	auth := textOf(job, "auth")
	query := url.Values{}
	switch job["kind"] {
	case int64(4):
		query.Set("code", auth)
	case int64(5):
		for _, x := range readSettings(auth) {
			header.Set(x.Name, x.Value)
		}
	case int64(6):
		for _, x := range readSettings(auth) {
			query.Set(x.Name, x.Value)
		}
	}
	to, err := url.Parse(target)
	if err != nil {
		return 0
	}
	if len(query) > 0 {
		all := to.Query()
		for name, v := range query {
			all[name] = v
		}
		to.RawQuery = all.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader([]byte(textOf(job, "body"))))
	if err != nil {
		return 0
	}
	req.Header = header
	res, err := d.client.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // only the status counts
	return res.StatusCode
}

type setting struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// readSettings reads <settings><setting name="" value=""/></settings>.
func readSettings(text string) []setting {
	var doc struct {
		Settings []setting `xml:"setting"`
	}
	if xml.Unmarshal([]byte(text), &doc) != nil {
		return nil
	}
	return doc.Settings
}
