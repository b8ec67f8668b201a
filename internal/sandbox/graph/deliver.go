package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/storage"
)

const (
	tellWithin = 3 * time.Second
	tellFor    = 4 * time.Hour
	atOnce     = 16
	// lookEvery is how often it is looked for what is due again, besides at each change.
	lookEvery = time.Second
)

// Deliverer sends notifications that are due until they are taken, for four hours, in no
// order. Every attempt is in the record. Whoever made it calls Run.
type Deliverer struct {
	System *System
	Name   string // of the system in the record
	Store  storage.Store
	Book   *record.Book // nil in the lean sandbox
	Faults *faults.Board
	Log    *zap.Logger
}

// allowed reports whether notifications may go to a host.
func (s *System) allowed(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return strings.EqualFold(host, "localhost") || slices.Contains(s.hosts, strings.ToLower(host))
}

var errHost = errors.New("a host that the sandbox does not send to")

// post sends a request and gives what came back; status 0 is no answer.
func (s *System) post(r *http.Request) (status int, kind, body string) {
	dialer := net.Dialer{Timeout: tellWithin}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil || !s.allowed(host) {
			return nil, errHost
		}
		return dialer.DialContext(ctx, network, address)
	}}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return 0, "", ""
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(text)
}

// Run delivers until ctx ends and what is under way has ended.
func (d *Deliverer) Run(ctx context.Context) error {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		if err := d.round(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("sending notifications", zap.Error(err))
		}
		select {
		case <-d.System.wake:
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// round sends what is due now.
func (d *Deliverer) round(ctx context.Context) error {
	for {
		var due []storage.Row
		err := d.Store.Read(ctx, func(tx storage.Tx) (err error) {
			due, err = tx.Find(ctx, jobs, storage.Query{Limit: atOnce, Order: []storage.Order{{Column: "due"}},
				Where: storage.Compare{Column: "due", Op: storage.Le, Value: time.Now().UTC()}})
			return err
		})
		if err != nil {
			return fmt.Errorf("reading the notifications that are due: %w", err)
		}
		if len(due) == 0 {
			return nil
		}
		var under sync.WaitGroup
		failed := make([]error, len(due))
		for i, job := range due {
			under.Go(func() { failed[i] = d.carry(ctx, job) })
		}
		under.Wait()
		if err := errors.Join(failed...); err != nil {
			return err
		}
	}
}

// carry sends one notification, as often as is asked for, and notes what became of it.
func (d *Deliverer) carry(ctx context.Context, job storage.Row) error {
	strike := d.Faults.Webhook(d.Name)
	var entries []*record.Entry
	taken := strike.Drop
	if strike.Drop {
		entries = append(entries, d.entry(job, 0, "drop"))
	} else {
		if strike.Delay > 0 {
			timer := time.NewTimer(strike.Delay)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil
			}
		}
		for n := range max(strike.Copies, 1) {
			status := d.send(ctx, job)
			fault := ""
			if n > 0 {
				fault = "duplicate"
			}
			entries = append(entries, d.entry(job, status, fault))
			taken = taken || status >= 200 && status < 300
		}
	}
	if ctx.Err() != nil {
		return nil // whoever was cut off is told again after a start
	}
	return d.settle(context.WithoutCancel(ctx), job, taken, entries)
}

func (d *Deliverer) send(ctx context.Context, job storage.Row) int {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, textOf(job, "url"), strings.NewReader(textOf(job, "body")))
	if err != nil {
		return 0
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	status, _, _ := d.System.post(request)
	return status
}

func (d *Deliverer) entry(job storage.Row, status int, fault string) *record.Entry {
	at := ""
	if to, err := url.Parse(textOf(job, "url")); err == nil {
		at = to.Scheme + "://" + to.Host + to.Path
	}
	return &record.Entry{System: d.Name, At: time.Now().UTC(), Method: "WEBHOOK", Path: at, Status: status, BodySHA256: record.Digest([]byte(textOf(job, "body"))), Fault: fault}
}

// settle forgets what was taken or is too old, and puts off the rest.
func (d *Deliverer) settle(ctx context.Context, job storage.Row, taken bool, entries []*record.Entry) error {
	if d.Book != nil {
		for _, e := range entries {
			d.Book.Number(e)
			defer d.Book.Done(e)
		}
	}
	err := d.Store.Write(ctx, func(tx storage.Tx) error {
		made, _ := job["made"].(time.Time)
		tries := intOf(job, "tries") + 1
		wait := time.Duration(float64(min(10*time.Second<<min(tries-1, 6), 10*time.Minute)) / d.System.speed)
		now := time.Now().UTC()
		if taken || now.Add(wait).Sub(made) > time.Duration(float64(tellFor)/d.System.speed) {
			if _, err := tx.Delete(ctx, jobs, jobs.Key(job)); err != nil {
				return err
			}
		} else if err := tx.Update(ctx, jobs, storage.Row{"id": job["id"], "due": now.Add(wait).Truncate(time.Microsecond), "tries": tries}); err != nil {
			return err
		}
		for _, e := range entries {
			if d.Book != nil {
				if err := d.Book.Write(ctx, tx, e); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("noting a notification: %w", err)
	}
	return nil
}
