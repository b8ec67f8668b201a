package maersk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"patchbay/internal/sandbox/storage"
)

// ErrControl marks what a person asked for and cannot have; its text is for them.
var ErrControl = errors.New("it cannot be done")

// Decide keeps what is to happen to bookings with a reference of the shipper; * are all.
func (s *System) Decide(ctx context.Context, store storage.Store, own string, rule []byte) error {
	var d Decision
	dec := json.NewDecoder(bytes.NewReader(rule))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return fmt.Errorf(`%w: a decision is an object such as {"booking": "reject"}, {"delay_days": 3}, {"out_of_order": true}, {"cancellation": "decline"}, {"stop": true}`, ErrControl)
	}
	if !slices.Contains([]string{"", "confirm", "reject", "hold", "decline"}, d.Booking) ||
		!slices.Contains([]string{"", "confirm", "decline"}, d.Amendment) || !slices.Contains([]string{"", "confirm", "decline"}, d.Cancellation) {
		return fmt.Errorf("%w: booking is confirm, reject, hold or decline; amendment and cancellation are confirm or decline", ErrControl)
	}
	row := storage.Row{"own": own, "rule": text(d)}
	return store.Write(ctx, func(tx storage.Tx) error {
		if _, err := tx.Delete(ctx, decisions, is("own", own)); err != nil {
			return fmt.Errorf("replacing a decision: %w", err)
		}
		return tx.Insert(ctx, decisions, row)
	})
}

// Undecide lets everything go well again.
func (s *System) Undecide(ctx context.Context, store storage.Store, own string) error {
	return store.Write(ctx, func(tx storage.Tx) error {
		_, err := tx.Delete(ctx, decisions, is("own", own))
		return err
	})
}

// Step takes a booking a step further at once, by any of its references.
func (s *System) Step(ctx context.Context, store storage.Store, ref string) error {
	defer s.stir()
	return store.Write(ctx, func(tx storage.Tx) error {
		row, err := storage.First(ctx, tx, bookings, storage.And{
			storage.Or{is("request", ref), is("reference", ref), is("own", ref)}, storage.Not{X: storage.Null{Column: "next"}}}, true)
		if err != nil {
			return fmt.Errorf("reading a booking: %w", err)
		}
		if row == nil {
			return fmt.Errorf("%w: there is no booking %s that has a next step", ErrControl, ref)
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		if visible, _ := row["visible_at"].(time.Time); visible.After(now) {
			if err := tx.Update(ctx, bookings, storage.Row{"request": row["request"], "visible_at": now}); err != nil {
				return fmt.Errorf("showing a booking: %w", err)
			}
		}
		return s.advance(ctx, tx, row, now, true)
	})
}

// Notify signs somebody up for booking notifications, which the vendor does outside of
// its API; an empty url ends that.
func (s *System) Notify(ctx context.Context, store storage.Store, owner, callback, secret string) error {
	if to, err := url.Parse(callback); callback != "" && (err != nil || to.Host == "" || badSecret(secret) != "") {
		return fmt.Errorf(`%w: give {"url": "https://…", "secret": "32 to 64 bytes in base64"}`, ErrControl)
	}
	row := storage.Row{"id": newID(), "owner": owner, "kind": "booking", "url": callback, "secret": secret, "created_at": time.Now().UTC().Truncate(time.Microsecond), "bundle": int64(1)}
	return store.Write(ctx, func(tx storage.Tx) error {
		if _, err := tx.Delete(ctx, subscriptions, storage.And{is("kind", "booking"), is("owner", owner)}); err != nil {
			return fmt.Errorf("ending notifications: %w", err)
		}
		if callback == "" {
			return nil
		}
		return tx.Insert(ctx, subscriptions, row)
	})
}

// Booked is a booking as the judge of a test sees it.
type Booked struct {
	Request      string    `json:"request"`
	Reference    string    `json:"reference,omitempty"`
	Own          string    `json:"own"`
	Status       string    `json:"status"`
	Amendment    string    `json:"amendment,omitempty"`
	Cancellation string    `json:"cancellation,omitempty"`
	Events       int       `json:"events"`
	CreatedAt    time.Time `json:"created_at"`
}

// Bookings lists all bookings, or those with one reference of the shipper.
func (s *System) Bookings(ctx context.Context, store storage.Store, own string) ([]Booked, error) {
	list := []Booked{}
	err := store.Read(ctx, func(tx storage.Tx) error {
		q := storage.Query{Order: []storage.Order{{Column: "created_at"}}}
		if own != "" {
			q.Where = is("own", own)
		}
		rows, err := tx.Find(ctx, bookings, q)
		if err != nil {
			return fmt.Errorf("reading bookings: %w", err)
		}
		for _, row := range rows {
			b := Booked{Request: textOf(row, "request"), Reference: textOf(row, "reference"), Own: textOf(row, "own"), Status: textOf(row, "status"),
				Amendment: textOf(row, "amended_status"), Cancellation: textOf(row, "cancel_status")}
			b.CreatedAt, _ = row["created_at"].(time.Time)
			if b.Reference != "" {
				if b.Events, err = tx.Count(ctx, events, is("booking", b.Reference)); err != nil {
					return fmt.Errorf("counting events: %w", err)
				}
			}
			list = append(list, b)
		}
		return nil
	})
	return list, err
}
