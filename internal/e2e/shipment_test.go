package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

const (
	approved, inShipment, delivered, notShipped = 717750001, 717750002, 717750003, 717750009
)

// stood is what the sandbox's systems have of an order: the judge.
type stood struct {
	Orders []struct {
		Order, Rejection string
		Items            []struct{ Material, Quantity string }
	}
	Reserved []struct{ Reference, Item, Quantity string }
	Bookings []struct{ Reference, Status, Cancellation string }
	Status   int    // of the order in Dataverse
	Progress string // of its shipment there; empty: there is none
	Rows     int    // of shipments
}

func (d *desk) stood(nr string) (s stood) {
	d.t.Helper()
	d.do(http.MethodGet, d.Sandbox+"/_sandbox/sap/orders?reference="+nr, nil, "", &s.Orders)
	d.do(http.MethodGet, d.Sandbox+"/_sandbox/maersk/bookings?own="+nr, nil, "", &s.Bookings)
	for line := range 2 {
		var list []struct{ Reference, Item, Quantity string }
		d.do(http.MethodGet, fmt.Sprintf("%s/_sandbox/oracle/reservations?reference=%s/%d", d.Sandbox, nr, line+1), nil, "", &list)
		s.Reserved = append(s.Reserved, list...)
	}
	var order struct{ Statuscode int }
	d.read("salesorders(ordernumber='"+nr+"')?$select=statuscode", &order)
	var shipments struct {
		Value []struct {
			Progress string `json:"msx_progress"`
		}
	}
	d.read("msx_shipments?$select=msx_progress&$filter=msx_shipmentnumber%20eq%20'"+nr+"'", &shipments)
	s.Status, s.Rows = order.Statuscode, len(shipments.Value)
	if s.Rows > 0 {
		s.Progress = shipments.Value[0].Progress
	}
	return s
}

func (d *desk) read(path string, into any) {
	d.t.Helper()
	d.do(http.MethodGet, d.Sandbox+"/dataverse/api/data/v9.2/"+path, http.Header{"Authorization": {"Bearer " + d.token}}, "", into)
}

func (d *desk) decide(nr, rule string) {
	d.t.Helper()
	resp := d.do(http.MethodPut, d.Sandbox+"/_sandbox/maersk/decisions/"+nr, nil, rule, nil)
	require.Less(d.t, resp.StatusCode, 300)
}

// approve approves an order and gives the run that it starts.
func (d *desk) approve(nr string) (runID string) {
	d.t.Helper()
	d.call(http.MethodPatch, "salesorders(ordernumber='"+nr+"')", map[string]any{"statuscode": approved})
	d.await("started by the approval of "+nr, 2*time.Minute, func() bool {
		for _, e := range d.eventsOf("order-approved.v1", nr) {
			if len(e.Started) == 1 {
				runID = e.Started[0].Run
			}
		}
		return runID != ""
	})
	return runID
}

func (p *patchbay) eventsOf(topic, key string) []flow.TopicEvent {
	p.t.Helper()
	var out struct {
		Events []flow.TopicEvent `json:"events"`
	}
	p.do(http.MethodGet, p.HTTP+"/v1/events?topic="+topic+"&key="+key, nil, "", &out)
	return out.Events
}

// at waits until a step of a run awaits an event.
func (p *patchbay) at(id, step string) {
	p.t.Helper()
	p.await(step+" of "+id, 2*time.Minute, func() bool {
		var run flow.Run
		p.do(http.MethodGet, p.HTTP+"/v1/runs/"+id, nil, "", &run)
		return slices.ContainsFunc(run.Tasks, func(t flow.TaskView) bool { return t.Name == step && awaiting(t) })
	})
}

// book makes a booking with the carrier, as somebody of the same company might by hand.
func (p *patchbay) book(reference string) {
	p.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"patchbay"}, "client_secret": {"sandbox-secret"}}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.Sandbox+"/maersk/customer-identity/oauth/v2/access_token", strings.NewReader(form.Encode()))
	require.NoError(p.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Consumer-Key", "patchbay")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(p.t, json.NewDecoder(resp.Body).Decode(&token))
	resp = p.do(http.MethodPost, p.Sandbox+"/maersk/v2/bookings", http.Header{"Authorization": {"Bearer " + token.AccessToken}, "Consumer-Key": {"patchbay"}}, `{
		"receiptTypeAtOrigin":"CY","deliveryTypeAtDestination":"CY","cargoMovementTypeAtOrigin":"FCL","cargoMovementTypeAtDestination":"FCL","isEquipmentSubstitutionAllowed":false,
		"serviceContractReference":"HHL51800000","freightPaymentTermCode":"PRE","expectedDepartureDate":"2026-03-01","references":[{"type":"CR","value":"`+reference+`"}],
		"shipmentLocations":[{"location":{"UNLocationCode":"DKAAR"},"locationTypeCode":"POL"},{"location":{"UNLocationCode":"CNSHA"},"locationTypeCode":"POD"}],
		"requestedEquipments":[{"ISOEquipmentCode":"42G1","units":1,"isShipperOwned":false}],"documentParties":{"bookingAgent":{"partyName":"Contoso"}}}`, nil)
	require.Equal(p.t, http.StatusAccepted, resp.StatusCode)
}

func (p *patchbay) cancel(id string) (c flow.Certificate) {
	p.t.Helper()
	require.Less(p.t, p.do(http.MethodPost, p.HTTP+"/v1/runs/"+id+"/cancel", nil, "", nil).StatusCode, 300)
	run := p.final(id, 2*time.Minute)
	require.Equal(p.t, flow.Cancelled, run.Status)
	p.do(http.MethodPost, p.HTTP+"/v1/runs/"+id+"/cancel", nil, "", &c)
	return c
}

// last is the number of the last call that changed something in a system.
func (p *patchbay) last(system, method string) (n int) {
	p.t.Helper()
	for _, c := range p.calls(system, method, "") {
		if c.Method != http.MethodGet && c.Method != "WEBHOOK" && c.Status < 300 {
			n = c.N
		}
	}
	require.Positive(p.t, n, "%s %s", system, method)
	return n
}

// The example flows as `patchbay dev` applies them, twenty times as fast: the sandbox's Maersk
// moves the ship, and its callbacks come late and twice.
func TestAnApprovedOrderIsShippedOrTakenBack(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t), "--speed", "20")
	d := p.desk()
	p.await("swept once", 2*time.Minute, func() bool {
		return p.count(`select count(*) from cursor where swept_at is not null and flow in ('order-approved', 'shipment-tracking')`) == 2
	})

	// It goes through, although the departure is told after the arrival, and that twice.
	d.decide("ORD-00002", `{"out_of_order":true}`)
	run := p.final(d.approve("ORD-00002"), 3*time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	s := d.stood("ORD-00002")
	require.Len(t, s.Orders, 1)
	require.Equal(t, "A", s.Orders[0].Rejection)
	require.Len(t, s.Orders[0].Items, 2)
	require.Len(t, s.Reserved, 2, "one for each line")
	require.Len(t, s.Bookings, 1)
	require.Contains(t, []string{"CONFIRMED", "COMPLETED"}, s.Bookings[0].Status, "Maersk ends it by itself some time after the arrival")
	require.Equal(t, []any{delivered, "arrived", 1}, []any{s.Status, s.Progress, s.Rows})
	require.Equal(t, s.Orders[0].Order, run.Result.Rows[0]["sales_order"])
	require.Equal(t, s.Bookings[0].Reference, run.Result.Rows[0]["booking"])
	moved := p.eventsOf("shipment-moved.v1", "ORD-00002")
	require.Len(t, moved, 2, "what was told twice is one event: %+v", moved)
	for _, e := range moved {
		require.Equal(t, []any{flow.TopicTaken, run.RunID}, []any{e.State, e.Run})
	}
	require.Len(t, p.eventsOf("order-approved.v1", "ORD-00002"), 1)

	// The booking is refused: the order and the reservation are taken back, in reverse.
	d.decide("ORD-00001", `{"booking":"reject"}`)
	run = p.final(d.approve("ORD-00001"), 3*time.Minute)
	require.Equal(t, flow.Failed, run.Status)
	require.Contains(t, run.Problem.Detail, "maersk.booking_refused")
	s = d.stood("ORD-00001")
	require.Len(t, s.Orders, 1)
	require.Equal(t, "C", s.Orders[0].Rejection, "every line is rejected")
	require.Empty(t, s.Reserved)
	require.Equal(t, []any{notShipped, 0}, []any{s.Status, s.Rows})
	require.Less(t, p.last("oracle", http.MethodDelete), p.last("sap", ""), "the reservation before the order")
	require.Less(t, p.last("sap", ""), p.last("dataverse", http.MethodPatch))

	// A person cancels while it waits for the ship.
	d.decide("*", `{"stop":true}`)
	id := d.approve("ORD-00004")
	p.await("booked", time.Minute, func() bool { return len(d.stood("ORD-00004").Bookings) == 1 })
	p.do(http.MethodPost, p.Sandbox+"/_sandbox/maersk/step/ORD-00004", nil, "", nil)
	p.at(id, "departed")
	require.Equal(t, []any{inShipment, "booked"}, []any{d.stood("ORD-00004").Status, d.stood("ORD-00004").Progress})
	require.Equal(t, http.StatusNoContent, p.do(http.MethodDelete, p.Sandbox+"/_sandbox/maersk/decisions/*", nil, "", nil).StatusCode)
	certificate := p.cancel(id)
	require.Empty(t, certificate.InDoubt)
	back := 0
	for _, e := range certificate.Undone {
		if e.Reason == flow.TakenBack {
			back++
		}
	}
	require.Equal(t, 6, back, "taken, sale, two lines, booking, shipment: %+v", certificate)
	s = d.stood("ORD-00004")
	require.Equal(t, "C", s.Orders[0].Rejection)
	require.Empty(t, s.Reserved)
	require.Equal(t, "CANCELLED", s.Bookings[0].Status)
	require.Equal(t, []any{notShipped, "cancelled"}, []any{s.Status, s.Progress})

	// An undo is refused: SAP has delivered. It stands, and the others are taken back.
	d.decide("*", `{"stop":true}`)
	id = d.approve("ORD-00003")
	p.at(id, "departed")
	order := d.stood("ORD-00003").Orders[0].Order
	require.Equal(t, http.StatusNoContent, p.do(http.MethodPost, p.Sandbox+"/_sandbox/sap/orders/"+order+"/deliver", nil, "", nil).StatusCode)
	p.cancel(id)
	run = p.final(id, time.Minute)
	require.Equal(t, flow.TaskStands, states(run)["sale"])
	s = d.stood("ORD-00003")
	require.Equal(t, "A", s.Orders[0].Rejection)
	require.Empty(t, s.Reserved)
	require.Equal(t, []any{notShipped, "cancelled"}, []any{s.Status, s.Progress})

	// A ship with something that is of no order here: its event is kept for whoever awaits it.
	require.Equal(t, http.StatusNoContent, p.do(http.MethodDelete, p.Sandbox+"/_sandbox/maersk/decisions/*", nil, "", nil).StatusCode)
	p.book("ELSEWHERE-1")
	p.await("told of an order that nobody knows", 2*time.Minute, func() bool { return len(p.eventsOf("shipment-moved.v1", "ELSEWHERE-1")) == 2 })
	kept := p.eventsOf("shipment-moved.v1", "ELSEWHERE-1")[0]
	require.Equal(t, flow.TopicKept, kept.State)
	teller, _, _ := strings.Cut(kept.ID, "/")
	p.do(http.MethodGet, p.HTTP+"/v1/runs/"+teller, nil, "", &run)
	require.True(t, slices.ContainsFunc(run.Told, func(e flow.TopicEvent) bool { return e.ID == kept.ID }), "the run that told of it shows what became of it: %+v", run.Told)

	var told struct {
		Entries []json.RawMessage `json:"entries"`
	}
	p.do(http.MethodGet, p.HTTP+"/v1/explain/ORD-00002", nil, "", &told)
	require.NotEmpty(t, told.Entries)
}
