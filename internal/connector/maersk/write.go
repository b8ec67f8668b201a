package maersk

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

const (
	cancelledStatus = "CANCELLED"

	firstLook   = 500 * time.Millisecond // for the carrier's decision, doubled
	longestLook = 5 * time.Second
)

// Upsert books, changes or cancels, row by row: each is looked up first, by our
// reference or the carrier's. A row whose bookingStatus is CANCELLED cancels what is
// there. What the carrier decides within confirm_within is the outcome of the row: a
// refused booking is Rejected, "maersk.booking_refused", with the carrier's codes; what
// is undecided by then is accepted, and told by an event later.
func (m *Maersk) Upsert(ctx context.Context, in connector.Upsert) ([]connector.Result, error) {
	t, err := m.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if err := t.Check(in.Key...); err != nil {
		return nil, err
	}
	if t.Path != kindBookings || len(in.Key) != 1 || !slices.Contains([]string{referenceColumn, requestColumn, carrierColumn}, in.Key[0]) {
		return nil, fault.Invalidf("connector.key", "only bookings are written, by one of %s, %s, %s", referenceColumn, requestColumn, carrierColumn)
	}
	return connector.InOrder(in.Rows, "maersk.not_sent", aboutRow, func(row connector.Row) error { return m.write(ctx, t, in, row) })
}

// aboutRow reports whether a failure concerns one booking.
func aboutRow(f *fault.Fault) bool {
	return f.Code == "maersk.processing" || f.Code == "maersk.changing" ||
		slices.Contains([]fault.Class{fault.Rejected, fault.NotFound, fault.Conflict}, f.Class) && f.Code != "egress.blocked" && f.Code != "maersk.no_lookup"
}

// write does what one row asks for. A state that was another one when the write came is
// read once more.
func (m *Maersk) write(ctx context.Context, t connector.Table, in connector.Upsert, row connector.Row) error {
	key, _ := row[in.Key[0]].(string)
	for second := false; ; second = true {
		var b *booking
		var err error
		if in.Key[0] == referenceColumn {
			b, err = m.find(ctx, key)
		} else {
			b, err = m.get(ctx, key)
		}
		if err != nil {
			return err
		}
		if b != nil && b.processing {
			return m.inProcess()
		}
		if row[statusColumn] == cancelledStatus {
			err = m.cancel(ctx, in.Held, b, row)
		} else {
			err = m.put(ctx, t, in, b, row)
		}
		if f := fault.Of(err); f == nil || f.Code != "maersk.state" {
			return err
		}
		if second {
			f := fault.New(fault.Unavailable, "maersk.changing", "the booking changes at "+m.config.Name+" whenever it is to be written; nothing was", err)
			f.After = m.scaled(longestLook)
			return f
		}
	}
}

// put makes a booking, or makes the one that is there what the row says.
func (m *Maersk) put(ctx context.Context, t connector.Table, in connector.Upsert, b *booking, row connector.Row) error {
	if b == nil || over(b.document) {
		if in.Key[0] != referenceColumn {
			return fault.New(fault.NotFound, "maersk.no_booking", m.config.Name+" has no such booking, or it is over; a new one is made by our own reference", nil)
		}
		fresh, err := merge(t, nil, row)
		if err != nil {
			return err
		}
		complete(fresh)
		if b != nil {
			if unchanged, err := merge(t, sendable(b.document), row); err == nil && same(unchanged, b.document) {
				if refused(b.document) {
					return m.refusedBooking(b.document) // nobody asks the same twice
				}
				if b.document[statusColumn] == "COMPLETED" {
					return nil
				}
			}
		}
		return m.create(ctx, in.Held, fresh)
	}
	changed, err := merge(t, sendable(b.document), row)
	if err != nil {
		return err
	}
	if same(changed, b.document) {
		return m.decided(ctx, b.request)
	}
	if err := m.send(ctx, in.Held, http.MethodPut, "/"+b.request, changed, nil); err != nil {
		return err
	}
	return m.decided(ctx, b.request)
}

func (m *Maersk) create(ctx context.Context, held func() error, d map[string]any) error {
	var request string
	err := m.send(ctx, held, http.MethodPost, "", d, func(_ http.Header, body []byte) error {
		v, err := strictjson.Decode(body, "")
		said, _ := v.(map[string]any)
		if request, _ = said[requestColumn].(string); err == nil && !isReference(request) {
			return errors.New("no reference of the carrier")
		}
		return err
	})
	if err != nil {
		return err
	}
	m.known.add(ownReference(d), request)
	return m.decided(ctx, request)
}

// send writes. Values of a row that are no JSON are a fault of the row.
func (m *Maersk) send(ctx context.Context, held func() error, method, below string, d map[string]any, decode func(http.Header, []byte) error) error {
	body, err := json.Marshal(d)
	if err != nil {
		return fault.New(fault.Rejected, "maersk.value", "a booking has a value that is none of JSON", nil)
	}
	_, err = m.do(ctx, connector.Request{Method: method, Target: m.config.Options["bookings_path"] + below, Body: body, Write: true, Held: held,
		Collection: method == http.MethodPost, Decode: decode})
	return err
}

// cancel asks the carrier to cancel: one form before it confirmed, another after.
func (m *Maersk) cancel(ctx context.Context, held func() error, b *booking, row connector.Row) error {
	if b == nil {
		return fault.New(fault.NotFound, "maersk.no_booking", m.config.Name+" has no booking with this reference, so there is none to cancel", nil)
	}
	reason, _ := row[reasonColumn].(string)
	switch {
	case b.document[statusColumn] == "COMPLETED":
		return fault.New(fault.Rejected, "maersk.cancellation_declined", m.config.Name+" has carried the booking out; it cannot be cancelled any more", nil)
	case over(b.document):
		return nil // there is nothing left to cancel
	case b.document[cancelColumn] == "CANCELLATION_RECEIVED":
		return m.decided(ctx, b.request)
	}
	body, ref := map[string]any{statusColumn: cancelledStatus}, b.request
	if carrier, _ := b.document[carrierColumn].(string); carrier != "" && (b.document[statusColumn] == "CONFIRMED" || b.document[statusColumn] == "PENDING_AMENDMENT") {
		body, ref = map[string]any{cancelColumn: "CANCELLATION_RECEIVED"}, carrier
	}
	if reason != "" {
		body[reasonColumn] = reason
	}
	if err := m.send(ctx, held, http.MethodPatch, "/"+ref, body, nil); err != nil {
		return err
	}
	return m.decided(ctx, b.request)
}

// decided waits a while for what the carrier says to a write that it has taken. What it
// has not decided by then, and a read that fails meanwhile, leave the write taken.
func (m *Maersk) decided(ctx context.Context, request string) error {
	if b := m.decision(ctx, request); b != nil && !undecided(b.document) {
		return m.outcome(b.document)
	}
	return nil
}

// decision is a booking as it is once the carrier has decided, or when confirm_within has
// passed; nil: nothing of it shows, or a read failed.
func (m *Maersk) decision(ctx context.Context, request string) *booking {
	end := time.Now().Add(m.scaled(m.confirm))
	for wait := m.scaled(firstLook); ; wait = min(2*wait, m.scaled(longestLook)) {
		b, err := m.get(ctx, request)
		if err != nil || b == nil && wait > m.scaled(longestLook)/2 {
			return nil
		}
		shown := b != nil && !b.processing
		if !shown {
			b = nil
		}
		if shown && !undecided(b.document) || time.Now().Add(wait).After(end) {
			return b
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return b
		}
	}
}

// undecided reports whether the carrier still has to say something.
func undecided(d map[string]any) bool {
	return d[statusColumn] == "RECEIVED" || d[statusColumn] == "UPDATE_RECEIVED" || d[cancelColumn] == "CANCELLATION_RECEIVED" || d[amendColumn] == "AMENDMENT_RECEIVED"
}

// outcome is what a decision means for who wrote.
func (m *Maersk) outcome(d map[string]any) error {
	switch {
	case refused(d):
		return m.refusedBooking(d)
	case d[statusColumn] == cancelledStatus:
		return nil
	case d[cancelColumn] == "CANCELLATION_DECLINED":
		return fault.New(fault.Rejected, "maersk.cancellation_declined", m.config.Name+" does not cancel the booking", nil)
	case d[amendColumn] == "AMENDMENT_DECLINED":
		return fault.New(fault.Rejected, "maersk.amendment_declined", m.config.Name+" does not change the booking that it has confirmed", nil)
	case d[statusColumn] == "PENDING_UPDATE":
		return fault.New(fault.Rejected, "maersk.update_wanted", m.config.Name+" wants the booking changed before it decides: "+refusal(d), nil)
	}
	return nil
}

func (m *Maersk) refusedBooking(d map[string]any) error {
	text := m.config.Name + " refused the booking"
	if said := refusal(d); said != "" {
		text += ": " + said
	}
	return fault.New(fault.Rejected, "maersk.booking_refused", text, nil)
}
