package maersk

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"patchbay/internal/sandbox/storage"
)

// Decision says what is to happen to bookings with one reference of the shipper; the
// zero value lets everything go well.
type Decision struct {
	Booking      string          `json:"booking,omitempty"`      // confirm, reject, hold (asks for an update), decline (after it was confirmed)
	Amendment    string          `json:"amendment,omitempty"`    // confirm, decline
	Cancellation string          `json:"cancellation,omitempty"` // confirm, decline
	Feedbacks    json.RawMessage `json:"feedbacks,omitempty"`    // of a refusal, instead of the usual one
	DelayDays    int             `json:"delay_days,omitempty"`   // the arrival is later: its estimate is issued again
	OutOfOrder   bool            `json:"out_of_order,omitempty"` // events look older than those told before
	Stop         bool            `json:"stop,omitempty"`         // nothing moves by itself
}

const usualFeedbacks = `[{"severity":"ERROR","code":"PROPERTY_VALUE_MUST_CHANGE","message":"No space on the requested departure","jsonPath":"$.expectedDepartureDate","property":"expectedDepartureDate"}]`

// decision is that of a booking, or the one for all.
func decision(ctx context.Context, tx storage.Tx, own string) (Decision, error) {
	var d Decision
	for _, of := range []string{own, "*"} {
		row, err := storage.First(ctx, tx, decisions, is("own", of), false)
		if err != nil {
			return d, fmt.Errorf("reading a decision: %w", err)
		}
		if row != nil {
			return d, decode([]byte(textOf(row, "rule")), &d)
		}
	}
	return d, nil
}

// advance takes one booking that is due a step further; forced ones also where nothing
// is to move by itself.
func (s *System) advance(ctx context.Context, tx storage.Tx, row storage.Row, now time.Time, forced bool) error {
	d, err := decision(ctx, tx, textOf(row, "own"))
	if err != nil {
		return err
	}
	if d.Stop && !forced {
		return tx.Update(ctx, bookings, storage.Row{"request": row["request"], "due_at": s.after(now, leg)})
	}
	t := &telling{s: s, tx: tx, now: now}
	if d.OutOfOrder && numberOf(row, "step")%2 == 1 {
		t.late = time.Duration(float64(3*leg) / s.speed)
	}
	if row["next"] == sail && !forced {
		s.untidy(t, d, row)
	}
	set := storage.Row{"request": row["request"], "due_at": nil, "next": nil}
	told := row["status"]
	switch row["next"] {
	case decide:
		err = s.decided(ctx, t, d, row, set)
	case decideAmend:
		s.amended(d, row, set, now)
	case decideCancel:
		err = s.cancelled(ctx, t, d, row, set)
	case sail:
		err = s.sailed(ctx, t, d, row, set)
	}
	if err != nil {
		return err
	}
	if err := tx.Update(ctx, bookings, set); err != nil {
		return fmt.Errorf("moving a booking: %w", err)
	}
	was := row["next"]
	for column, value := range set {
		row[column] = value
	}
	if was == sail && row["status"] == told {
		return nil
	}
	return t.notify(ctx, row)
}

// untidy has callbacks come as those of carriers do now and then: of every second booking,
// and of those that are out of order, the departure is told after the arrival, and the
// arrival twice.
func (s *System) untidy(t *telling, d Decision, row storage.Row) {
	reference := textOf(row, "reference")
	if !d.OutOfOrder && (reference == "" || reference[len(reference)-1]%2 == 0) {
		return
	}
	switch course[numberOf(row, "step")].code {
	case "DEPA":
		t.behind = time.Duration(1.5 * float64(leg) / s.speed)
	case "ARRI":
		t.copies = 1
	}
}

func (s *System) decided(ctx context.Context, t *telling, d Decision, row, set storage.Row) error {
	switch d.Booking {
	case "reject":
		feedbacks := usualFeedbacks
		if len(d.Feedbacks) > 0 {
			feedbacks = string(d.Feedbacks)
		}
		set["status"], set["feedbacks"], set["reason"] = rejected, feedbacks, "No space on the requested departure"
		return t.shipment(ctx, row, "REJE", "CBR", "No space on the requested departure")
	case "hold":
		set["status"], set["feedbacks"] = pendingUpdate, usualFeedbacks
		return t.shipment(ctx, row, "PENU", "CBR", "")
	}
	n, err := storage.Version(ctx, t.tx)
	if err != nil {
		return fmt.Errorf("numbering a booking: %w", err)
	}
	row["reference"] = fmt.Sprintf("%09d", 500_000_000+n%400_000_000)
	set["reference"], set["status"], set["feedbacks"] = row["reference"], confirmed, nil
	set["due_at"], set["next"], set["step"] = s.after(t.now, leg), sail, int64(0)
	if err := t.shipment(ctx, row, "CONF", "BKG", ""); err != nil {
		return err
	}
	return plan(ctx, t, row)
}

func (s *System) amended(d Decision, row, set storage.Row, now time.Time) {
	if d.Amendment == "decline" {
		set["amended_status"] = amendDeclined
	} else {
		set["amended_status"], set["document"], set["amended"] = amendConfirmed, row["amended"], nil
		var document document
		_ = decode([]byte(textOf(row, "amended")), &document) // it was encoded here
		set["own"] = ownReference(document)
	}
	set["due_at"], set["next"] = s.after(now, leg), sail
}

func (s *System) cancelled(ctx context.Context, t *telling, d Decision, row, set storage.Row) error {
	if d.Cancellation == "decline" {
		set["cancel_status"] = cancelDeclined
		set["due_at"], set["next"] = s.after(t.now, leg), sail
		return nil
	}
	set["cancel_status"], set["status"] = cancelConfirmed, cancelled
	return t.shipment(ctx, row, "CANC", "BKG", textOf(row, "reason"))
}

// plan tells what is planned and estimated of a confirmed booking.
func plan(ctx context.Context, t *telling, row storage.Row) error {
	v := voyageOf(row)
	all := []happening{
		{kind: "TRANSPORT", classifier: "PLN", code: "DEPA", at: v.departure, place: v.from},
		{kind: "TRANSPORT", classifier: "EST", code: "ARRI", at: v.arrival, place: v.to, arrival: true},
	}
	for _, c := range v.containers {
		all = append(all,
			happening{kind: "EQUIPMENT", classifier: "PLN", code: "LOAD", at: v.departure.Add(-12 * time.Hour), place: v.from, container: c},
			happening{kind: "EQUIPMENT", classifier: "EST", code: "DISC", at: v.arrival.AddDate(0, 0, 1), place: v.to, container: c, arrival: true})
	}
	for _, h := range all {
		if err := t.tell(ctx, row, h); err != nil {
			return err
		}
	}
	return nil
}

// course is what happens to a container, in order. Days are from the departure, or from
// the arrival where that is said.
var course = []struct {
	kind, code     string
	hours          int
	arrival, empty bool
}{
	{"EQUIPMENT", "GTOT", -120, false, true}, {"EQUIPMENT", "GTIN", -48, false, false}, {"EQUIPMENT", "LOAD", -12, false, false},
	{"TRANSPORT", "DEPA", 0, false, false}, {"TRANSPORT", "ARRI", 0, true, false}, {"EQUIPMENT", "DISC", 20, true, false},
	{"EQUIPMENT", "GTOT", 72, true, false}, {"EQUIPMENT", "STRP", 110, true, true}, {"EQUIPMENT", "GTIN", 140, true, true},
}

// sailed tells the next fact of a shipment.
func (s *System) sailed(ctx context.Context, t *telling, d Decision, row, set storage.Row) error {
	if d.Booking == "decline" && numberOf(row, "step") == 0 {
		set["status"], set["feedbacks"] = declined, usualFeedbacks
		return t.shipment(ctx, row, "REJE", "BKG", "No space on the requested departure")
	}
	step := numberOf(row, "step")
	x, v := course[step], voyageOf(row)
	arrival := v.arrival.AddDate(0, 0, d.DelayDays)
	h := happening{kind: x.kind, classifier: "ACT", code: x.code, at: v.departure.Add(time.Duration(x.hours) * time.Hour), place: v.from, empty: x.empty}
	if x.arrival {
		h.at, h.place, h.arrival = arrival.Add(time.Duration(x.hours)*time.Hour), v.to, true
	}
	if x.kind == "TRANSPORT" {
		if err := t.tell(ctx, row, h); err != nil {
			return err
		}
	} else {
		for _, c := range v.containers {
			h.container = c
			if err := t.tell(ctx, row, h); err != nil {
				return err
			}
		}
	}
	if x.code == "DEPA" && d.DelayDays != 0 {
		again := happening{kind: "TRANSPORT", classifier: "EST", code: "ARRI", at: arrival, place: v.to, arrival: true, remark: fmt.Sprintf("%d days later", d.DelayDays)}
		if err := t.tell(ctx, row, again); err != nil {
			return err
		}
	}
	set["step"] = step + 1
	if int(step)+1 == len(course) {
		set["status"] = completed
		return nil
	}
	set["due_at"], set["next"] = s.after(t.now, leg), sail
	return nil
}
