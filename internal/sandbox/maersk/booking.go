package maersk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// The states of the three fields.
const (
	received        = "RECEIVED"
	pendingUpdate   = "PENDING_UPDATE"
	updateReceived  = "UPDATE_RECEIVED"
	confirmed       = "CONFIRMED"
	pendingAmend    = "PENDING_AMENDMENT"
	rejected        = "REJECTED"
	declined        = "DECLINED"
	cancelled       = "CANCELLED"
	completed       = "COMPLETED"
	amendReceived   = "AMENDMENT_RECEIVED"
	amendConfirmed  = "AMENDMENT_CONFIRMED"
	amendDeclined   = "AMENDMENT_DECLINED"
	amendCancelled  = "AMENDMENT_CANCELLED"
	cancelReceived  = "CANCELLATION_RECEIVED"
	cancelConfirmed = "CANCELLATION_CONFIRMED"
	cancelDeclined  = "CANCELLATION_DECLINED"
)

// What a timer does next.
const (
	decide       = "decide"
	decideAmend  = "amendment"
	decideCancel = "cancellation"
	sail         = "sail"
)

// How long things take at speed 1.
const (
	processing = time.Second     // until a booking can be asked for
	deciding   = 5 * time.Second // until the carrier says yes or no
	leg        = 10 * time.Second
)

// bookings answers POST on the collection, and GET, PUT and PATCH on one booking.
func (w *work) bookings(ctx context.Context, ref string) (exchange.Answer, error) {
	if ref == "" {
		if w.c.Method != http.MethodPost {
			return w.s.refusal(w.c, http.StatusMethodNotAllowed, "", "only POST"), nil
		}
		return w.create(ctx)
	}
	row, err := storage.First(ctx, w.tx, bookings, storage.And{is("owner", w.owner), storage.Or{is("request", ref), is("reference", ref)}}, w.c.Method != http.MethodGet)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading a booking: %w", err)
	}
	if row == nil {
		return w.s.refusal(w.c, http.StatusNotFound, "", "The booking does not exist"), nil
	}
	if visible, _ := row["visible_at"].(time.Time); visible.After(w.now) {
		if w.c.Method == http.MethodGet {
			return exchange.Answer{Status: http.StatusAccepted, Header: http.Header{"API-Version": {"2.0.5"}}}, nil
		}
		return w.s.refusal(w.c, http.StatusConflict, "", "The booking is still in processing"), nil
	}
	switch w.c.Method {
	case http.MethodGet:
		return w.show(row), nil
	case http.MethodPut:
		return w.change(ctx, row)
	case http.MethodPatch:
		return w.cancel(ctx, row, ref)
	}
	return w.s.refusal(w.c, http.StatusMethodNotAllowed, "", "GET, PUT or PATCH"), nil
}

// read decodes and checks the document of a request; a refusal otherwise.
func (w *work) read() (document, *exchange.Answer) {
	var d document
	if err := decode(w.c.Body, &d); err != nil || d == nil {
		a := w.s.refusal(w.c, http.StatusBadRequest, "", "The body is no JSON object")
		return nil, &a
	}
	if wrong := check(d); len(wrong) > 0 {
		a := w.s.refusal(w.c, http.StatusBadRequest, "", "The booking is not valid", wrong...)
		return nil, &a
	}
	return d, nil
}

func accepted(body *ordered.Object) exchange.Answer {
	a := exchange.Answer{Status: http.StatusAccepted, Header: http.Header{"API-Version": {"2.0.5"}}}
	if body != nil {
		a.Body = body.Bytes()
		a.Header.Set("Content-Type", "application/json")
	}
	return a
}

// create takes a booking. There is no key that would make a second one the same.
func (w *work) create(ctx context.Context) (exchange.Answer, error) {
	d, refusal := w.read()
	if refusal != nil {
		return *refusal, nil
	}
	row := storage.Row{"request": newID(), "owner": w.owner, "own": ownReference(d), "document": text(d), "status": received,
		"created_at": w.now, "visible_at": w.s.after(w.now, processing), "due_at": w.s.after(w.now, deciding), "next": decide, "step": int64(0)}
	if err := w.tx.Insert(ctx, bookings, row); err != nil {
		return exchange.Answer{}, fmt.Errorf("keeping a booking: %w", err)
	}
	t := &telling{s: w.s, tx: w.tx, now: w.now}
	if err := t.shipment(ctx, row, "RECE", "CBR", ""); err != nil {
		return exchange.Answer{}, err
	}
	return accepted(ordered.New("carrierBookingRequestReference", row["request"])), t.notify(ctx, row)
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("maersk: %T has no JSON form", v)) // it was JSON
	}
	return string(b)
}

// change takes an update, or an amendment of what is confirmed.
func (w *work) change(ctx context.Context, row storage.Row) (exchange.Answer, error) {
	d, refusal := w.read()
	if refusal != nil {
		return *refusal, nil
	}
	set := storage.Row{"request": row["request"], "visible_at": w.s.after(w.now, processing), "due_at": w.s.after(w.now, deciding)}
	switch row["status"] {
	case received, pendingUpdate, updateReceived:
		set["document"], set["status"], set["next"], set["own"] = text(d), updateReceived, decide, ownReference(d)
	case confirmed, pendingAmend:
		if row["cancel_status"] == cancelReceived {
			return w.s.refusal(w.c, http.StatusConflict, "bookingStatus", "A cancellation is under way"), nil
		}
		set["amended"], set["amended_status"], set["next"] = text(d), amendReceived, decideAmend
	default:
		return w.s.refusal(w.c, http.StatusConflict, "bookingStatus", "A booking that is "+textOf(row, "status")+" cannot be changed"), nil
	}
	return w.settle(ctx, row, set)
}

// settle writes what changed of a booking and tells of it.
func (w *work) settle(ctx context.Context, row, set storage.Row) (exchange.Answer, error) {
	if err := w.tx.Update(ctx, bookings, set); err != nil {
		return exchange.Answer{}, fmt.Errorf("changing a booking: %w", err)
	}
	for column, value := range set {
		row[column] = value
	}
	t := &telling{s: w.s, tx: w.tx, now: w.now}
	return accepted(nil), t.notify(ctx, row)
}

// cancel takes the three forms of a cancellation.
func (w *work) cancel(ctx context.Context, row storage.Row, ref string) (exchange.Answer, error) {
	var d document
	if err := decode(w.c.Body, &d); err != nil || d == nil {
		return w.s.refusal(w.c, http.StatusBadRequest, "", "The body is no JSON object"), nil
	}
	reason, _ := d["reason"].(string)
	isConfirmed := row["status"] == confirmed || row["status"] == pendingAmend
	byRequest := ref == row["request"]
	set := storage.Row{"request": row["request"]}
	switch {
	case d["bookingStatus"] == cancelled && byRequest:
		switch row["status"] {
		case received, pendingUpdate, updateReceived:
		default:
			return w.s.refusal(w.c, http.StatusConflict, "bookingStatus", "A booking that is "+textOf(row, "status")+" cannot be cancelled so"), nil
		}
		set["status"], set["reason"], set["due_at"], set["next"] = cancelled, reason, nil, nil
		t := &telling{s: w.s, tx: w.tx, now: w.now}
		if err := t.shipment(ctx, row, "CANC", "CBR", reason); err != nil {
			return exchange.Answer{}, err
		}
	case d["amendedBookingStatus"] == amendCancelled && !byRequest:
		if row["amended_status"] != amendReceived {
			return w.s.refusal(w.c, http.StatusNotFound, "amendedBookingStatus", "There is no amendment"), nil
		}
		set["amended_status"], set["amended"] = amendCancelled, nil
		set["due_at"], set["next"] = w.s.after(w.now, leg), sail
	case d["bookingCancellationStatus"] == cancelReceived && !byRequest:
		if !isConfirmed || row["cancel_status"] == cancelReceived {
			return w.s.refusal(w.c, http.StatusConflict, "bookingCancellationStatus", "A booking that is "+textOf(row, "status")+" cannot be cancelled so"), nil
		}
		set["cancel_status"], set["reason"], set["due_at"], set["next"] = cancelReceived, reason, w.s.after(w.now, deciding), decideCancel
	default:
		return w.s.refusal(w.c, http.StatusBadRequest, "bookingStatus", "The body is none of the three forms, or the path has the wrong reference for it"), nil
	}
	return w.settle(ctx, row, set)
}

// show is a booking as GET answers it.
func (w *work) show(row storage.Row) exchange.Answer {
	kept := textOf(row, "document")
	if w.c.RawQuery == "amendedContent=true" {
		if kept = textOf(row, "amended"); kept == "" {
			return w.s.refusal(w.c, http.StatusNotFound, "", "There is no amended content")
		}
	}
	return exchange.Answer{Status: http.StatusOK, Body: []byte(text(state(row, kept))), Header: http.Header{"Content-Type": {"application/json"}, "API-Version": {"2.0.5"}}}
}

// state is a document with what the carrier adds to it.
func state(row storage.Row, kept string) document {
	d := document{}
	_ = decode([]byte(kept), &d) // it was encoded here
	for _, m := range [][2]string{{"carrierBookingRequestReference", "request"}, {"carrierBookingReference", "reference"}, {"bookingStatus", "status"},
		{"amendedBookingStatus", "amended_status"}, {"bookingCancellationStatus", "cancel_status"}, {"reason", "reason"}} {
		if v := textOf(row, m[1]); v != "" {
			d[m[0]] = v
		}
	}
	if feedbacks := textOf(row, "feedbacks"); feedbacks != "" {
		d["feedbacks"] = json.RawMessage(feedbacks)
	}
	if reference := textOf(row, "reference"); reference != "" {
		v := voyageOf(row)
		d["transportPlan"] = []document{{"transportPlanStage": "MNC", "transportPlanStageSequenceNumber": 1, "modeOfTransport": "VESSEL",
			"loadLocation": document{"UNLocationCode": v.from}, "dischargeLocation": document{"UNLocationCode": v.to},
			"plannedDepartureDate": v.departure.Format(time.DateOnly), "plannedArrivalDate": v.arrival.Format(time.DateOnly),
			"vesselName": vesselName, "vesselIMONumber": vesselIMO, "carrierExportVoyageNumber": voyageNumber}}
		d["confirmedEquipments"] = []document{{"ISOEquipmentCode": v.equipment, "units": len(v.containers)}}
	}
	return d
}
