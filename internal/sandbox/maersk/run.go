package maersk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/storage"
)

const (
	inOneLook    = 50
	answerWithin = 30 * time.Second
	idle         = 30 * time.Second // between two looks when nothing is due; stir ends it
)

// Runner moves bookings by their timers and sends what subscribers are to be told,
// until its Run ends. Whoever made it calls Run.
type Runner struct {
	System *System
	Store  storage.Store
	Book   *record.Book // nil in the lean sandbox
	Faults *faults.Board
	Log    *zap.Logger

	client *http.Client
}

// Run ends with ctx.
func (r *Runner) Run(ctx context.Context) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil || !r.System.allowed(host) {
			return nil, errors.New("a host that the sandbox sends no callbacks to")
		}
		return dialer.DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	r.client = &http.Client{Transport: transport, Timeout: answerWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for ctx.Err() == nil {
		moved, err := r.move(ctx)
		sent, err2 := r.send(ctx)
		if err = errors.Join(err, err2); err != nil && ctx.Err() == nil {
			r.Log.Error("moving what is booked", zap.Error(err))
		}
		if err == nil && (moved || sent) {
			continue
		}
		r.rest(ctx)
	}
	return nil
}

func (s *System) allowed(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return strings.EqualFold(host, "localhost") || slices.Contains(s.hosts, strings.ToLower(host))
}

// rest waits until something is due, or was committed.
func (r *Runner) rest(ctx context.Context) {
	wait := idle
	_ = r.Store.Read(ctx, func(tx storage.Tx) error { // what cannot be read is looked for again after idle
		for _, t := range []*storage.Table{bookings, deliveries} {
			rows, err := tx.Find(ctx, t, storage.Query{Where: storage.Not{X: storage.Null{Column: "due_at"}}, Order: []storage.Order{{Column: "due_at"}}, Limit: 1})
			if err != nil {
				return fmt.Errorf("looking for what is due: %w", err)
			}
			if len(rows) == 1 {
				at, _ := rows[0]["due_at"].(time.Time)
				wait = max(5*time.Millisecond, min(wait, time.Until(at)))
			}
		}
		return nil
	})
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.System.wake:
	case <-ctx.Done():
	}
}

func due(now time.Time) storage.Expr {
	return storage.Compare{Column: "due_at", Op: storage.Le, Value: now}
}

// move takes the bookings that are due a step further, each in a transaction.
func (r *Runner) move(ctx context.Context) (some bool, err error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	var found []storage.Row
	err = r.Store.Read(ctx, func(tx storage.Tx) (err error) {
		found, err = tx.Find(ctx, bookings, storage.Query{Where: due(now), Order: []storage.Order{{Column: "due_at"}}, Limit: inOneLook})
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for bookings that are due: %w", err)
	}
	for _, row := range found {
		err := r.Store.Write(ctx, func(tx storage.Tx) error {
			again, err := storage.First(ctx, tx, bookings, storage.And{is("request", row["request"]), due(now)}, true)
			if err != nil || again == nil { // it was changed meanwhile
				return err
			}
			return r.System.advance(ctx, tx, again, now, false)
		})
		if err != nil {
			return false, fmt.Errorf("moving a booking: %w", err)
		}
	}
	return len(found) > 0, nil
}
