package maersk

import (
	"context"
	"fmt"
	"time"

	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// telling makes events of what happens, and the deliveries to those who subscribed, in
// the transaction in which it does.
type telling struct {
	s   *System
	tx  storage.Tx
	now time.Time
	// late makes an event look older than those that were told before it.
	late time.Duration
	// behind is how much later an event is delivered than it is made, and copies how often
	// it is delivered besides.
	behind time.Duration
	copies int // of a delivery, besides the first
	n      int // of the events so far: each is made a microsecond after the one before
}

// happening is an event before it has an ID.
type happening struct {
	kind, classifier string
	code             string
	at               time.Time // of the event itself, with the offset of its place
	container        string
	place            string
	arrival          bool
	remark           string
	empty            bool
}

// shipment tells that a document changed its state. Such events are always facts.
func (t *telling) shipment(ctx context.Context, booking storage.Row, code, document, reason string) error {
	id := textOf(booking, "request")
	if document == "BKG" {
		id = textOf(booking, "reference")
	}
	body := t.common("SHIPMENT", "ACT", t.now).Set("shipmentEventTypeCode", code).Set("documentTypeCode", document).Set("documentID", id)
	if reason != "" {
		body.Set("reason", reason)
	}
	body.Set("documentReferences", documents(booking)).Set("references", own(booking))
	return t.keep(ctx, booking, body, storage.Row{"type": "SHIPMENT", "classifier": "ACT", "shipment_code": code, "document_type": document, "at": t.now})
}

func documents(booking storage.Row) []*ordered.Object {
	all := []*ordered.Object{ordered.New("documentReferenceType", "CBR", "documentReferenceValue", booking["request"])}
	if r := textOf(booking, "reference"); r != "" {
		all = append(all, ordered.New("documentReferenceType", "BKG", "documentReferenceValue", r), ordered.New("documentReferenceType", "TRD", "documentReferenceValue", r))
	}
	return all
}

func own(booking storage.Row) []*ordered.Object {
	if o := textOf(booking, "own"); o != "" {
		return []*ordered.Object{ordered.New("referenceType", "CR", "referenceValue", o)}
	}
	return nil
}

func (t *telling) created() time.Time {
	return t.now.Add(time.Duration(t.n)*time.Microsecond - t.late)
}

func (t *telling) common(kind, classifier string, at time.Time) *ordered.Object {
	t.n++
	return ordered.New("eventID", newID(), "eventType", kind, "eventClassifierCode", classifier,
		"eventCreatedDateTime", t.created().Format("2006-01-02T15:04:05.000000Z"), "eventDateTime", local(at))
}

// tell makes an event of a transport or a container.
func (t *telling) tell(ctx context.Context, booking storage.Row, h happening) error {
	body := t.common(h.kind, h.classifier, h.at)
	row := storage.Row{"type": h.kind, "classifier": h.classifier, "at": h.at.UTC().Truncate(time.Microsecond)}
	if h.kind == "TRANSPORT" {
		body.Set("transportEventTypeCode", h.code)
		row["transport_code"] = h.code
		if h.remark != "" {
			body.Set("delayReasonCode", "WEA").Set("changeRemark", h.remark)
		}
	} else {
		indicator := "LADEN"
		if h.empty {
			indicator = "EMPTY"
		}
		body.Set("equipmentEventTypeCode", h.code).Set("equipmentReference", h.container).Set("ISOEquipmentCode", voyageOf(booking).equipment).Set("emptyIndicatorCode", indicator)
		row["equipment_code"], row["equipment"] = h.code, h.container
	}
	sequence := 1
	if h.arrival {
		sequence = 2
	}
	call := fmt.Sprintf("%s-%d", textOf(booking, "reference"), sequence)
	row["call"], row["imo"], row["voyage"], row["service"], row["place"] = call, vesselIMO, voyageNumber, serviceCode, h.place
	body.Set("transportCall", ordered.New("transportCallID", call, "carrierServiceCode", serviceCode, "carrierVoyageNumber", voyageNumber,
		"transportCallSequenceNumber", sequence, "UNLocationCode", h.place, "facilityTypeCode", "POTE", "modeOfTransport", "VESSEL",
		"location", ordered.New("UNLocationCode", h.place), "vessel", ordered.New("vesselIMONumber", vesselIMO, "vesselName", vesselName)))
	body.Set("documentReferences", documents(booking)).Set("references", own(booking))
	return t.keep(ctx, booking, body, row)
}

// keep stores an event and what subscribers are to be told.
func (t *telling) keep(ctx context.Context, booking storage.Row, body *ordered.Object, row storage.Row) error {
	text := string(body.Bytes())
	var parsed document
	if err := decode([]byte(text), &parsed); err != nil {
		return err
	}
	row["id"], row["owner"], row["created"], row["body"] = parsed["eventID"], booking["owner"], t.created(), text
	if r := textOf(booking, "reference"); r != "" {
		row["booking"], row["transport_document"] = r, r
	}
	if err := t.tx.Insert(ctx, events, row); err != nil {
		return fmt.Errorf("keeping an event: %w", err)
	}
	return t.deliver(ctx, booking, "events", text, func(s storage.Row) bool { return wants(s, row) })
}

// notify tells of the state of a booking.
func (t *telling) notify(ctx context.Context, booking storage.Row) error {
	data := ordered.New("bookingStatus", booking["status"], "carrierBookingRequestReference", booking["request"])
	for _, m := range [][2]string{{"carrierBookingReference", "reference"}, {"amendedBookingStatus", "amended_status"}, {"bookingCancellationStatus", "cancel_status"}, {"reason", "reason"}} {
		if v := textOf(booking, m[1]); v != "" {
			data.Set(m[0], v)
		}
	}
	full := state(booking, textOf(booking, "document"))
	if f, ok := full["feedbacks"]; ok {
		data.Set("feedbacks", f)
	}
	data.Set("booking", full)
	body := ordered.New("specversion", "1.0", "id", newID(), "source", "https://api.maersk.com/", "type", "org.dcsa.booking.v2",
		"time", t.now.Format("2006-01-02T15:04:05.000000Z"), "datacontenttype", "application/json", "subscriptionReference", "<subscription>", "data", data)
	return t.deliver(ctx, booking, "booking", string(body.Bytes()), func(storage.Row) bool { return true })
}

func (t *telling) deliver(ctx context.Context, booking storage.Row, kind, body string, wanted func(storage.Row) bool) error {
	all, err := t.tx.Find(ctx, subscriptions, storage.Query{Where: storage.And{is("owner", booking["owner"]), is("kind", kind)}})
	if err != nil {
		return fmt.Errorf("reading who subscribed: %w", err)
	}
	for _, s := range all {
		if !wanted(s) {
			continue
		}
		for range 1 + t.copies {
			n, err := storage.Version(ctx, t.tx)
			if err != nil {
				return fmt.Errorf("numbering a delivery: %w", err)
			}
			if err := t.tx.Insert(ctx, deliveries, storage.Row{"n": n, "subscription": s["id"], "body": body, "due_at": t.now.Add(t.behind), "tries": int64(0)}); err != nil {
				return fmt.Errorf("keeping a delivery: %w", err)
			}
		}
	}
	return nil
}
