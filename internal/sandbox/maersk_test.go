package sandbox_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox"
)

const (
	maerskKey    = "Consumer-Key"
	maerskSecret = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
)

func (b *bundle) maersk(method, path, body string) reply {
	b.t.Helper()
	return b.do(method, "/maersk"+path, body, maerskKey, "patchbay")
}

// book makes a booking and returns the carrier's reference of the request.
func (b *bundle) book(t *testing.T, own string) string {
	t.Helper()
	r := b.maersk(http.MethodPost, "/v2/bookings", fmt.Sprintf(`{"receiptTypeAtOrigin":"CY","deliveryTypeAtDestination":"CY","cargoMovementTypeAtOrigin":"FCL","cargoMovementTypeAtDestination":"FCL","isEquipmentSubstitutionAllowed":false,
		"serviceContractReference":"HHL51800000","expectedDepartureDate":"2026-03-01","references":[{"type":"CR","value":%q}],"shipmentLocations":[{"location":{"UNLocationCode":"DKAAR"},"locationTypeCode":"POL"}],
		"requestedEquipments":[{"ISOEquipmentCode":"42G1","units":1,"isShipperOwned":false}],"documentParties":{"bookingAgent":{"partyName":"Acme"}}}`, own))
	require.Equal(t, http.StatusAccepted, r.status, string(r.body))
	ref, _ := r.json(t)["carrierBookingRequestReference"].(string)
	return ref
}

func (b *bundle) step(t *testing.T, ref string) {
	t.Helper()
	require.Equal(t, http.StatusNoContent, b.do(http.MethodPost, "/_sandbox/maersk/step/"+ref, "").status)
}

func (b *bundle) decides(t *testing.T, own, rule string) {
	t.Helper()
	r := b.do(http.MethodPut, "/_sandbox/maersk/decisions/"+own, rule)
	require.Equal(t, http.StatusNoContent, r.status, string(r.body))
}

func (b *bundle) events(t *testing.T, query string) []map[string]any {
	t.Helper()
	r := b.maersk(http.MethodGet, "/v2/events?"+query, "")
	require.Equal(t, http.StatusOK, r.status, string(r.body))
	var list []map[string]any
	require.NoError(t, json.Unmarshal(r.body, &list))
	return list
}

func TestABookingMovesFromRequestToTheEmptyContainerComingBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.decides(t, "S-1", `{"stop":true,"delay_days":3}`)
		ref := b.book(t, "S-1")
		b.step(t, ref)
		at := b.maersk(http.MethodGet, "/v2/bookings/"+ref, "").json(t)
		require.Equal(t, "CONFIRMED", at["bookingStatus"])
		carrier, _ := at["carrierBookingReference"].(string)
		require.Len(t, carrier, 9)
		for range 9 {
			b.step(t, carrier)
		}
		require.Equal(t, "COMPLETED", b.maersk(http.MethodGet, "/v2/bookings/"+carrier, "").json(t)["bookingStatus"])
		var facts []string
		arrivals := 0
		for _, e := range b.events(t, "carrierBookingReference="+carrier) {
			if e["eventClassifierCode"] == "ACT" && e["eventType"] != "SHIPMENT" {
				code, _ := e["equipmentEventTypeCode"].(string)
				if code == "" {
					code, _ = e["transportEventTypeCode"].(string)
				}
				facts = append(facts, code)
			}
			if e["transportEventTypeCode"] == "ARRI" && e["eventClassifierCode"] == "EST" {
				arrivals++
			}
		}
		require.Equal(t, []string{"GTOT", "GTIN", "LOAD", "DEPA", "ARRI", "DISC", "GTOT", "STRP", "GTIN"}, facts)
		require.Equal(t, 2, arrivals, "a delay issues the estimate again")
		require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPost, "/_sandbox/maersk/step/"+carrier, "").status)
		require.Equal(t, http.StatusConflict, b.maersk(http.MethodPatch, "/v2/bookings/"+carrier, `{"bookingCancellationStatus":"CANCELLATION_RECEIVED"}`).status)
	})
}

func TestTimersMoveABookingByThemselves(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sandbox.Options{Lean: true, Speed: 200})
	ref := b.book(t, "S-2")
	require.Eventually(t, func() bool {
		r := b.maersk(http.MethodGet, "/v2/bookings/"+ref, "")
		return r.status == http.StatusOK && strings.Contains(string(r.body), "COMPLETED")
	}, 20*time.Second, 20*time.Millisecond)
}

func TestARefusedBookingSaysWhyAndStaysRefused(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	b.decides(t, "S-3", `{"booking":"reject","stop":true}`)
	ref := b.book(t, "S-3")
	b.step(t, ref)
	at := b.maersk(http.MethodGet, "/v2/bookings/"+ref, "").json(t)
	require.Equal(t, "REJECTED", at["bookingStatus"])
	require.Contains(t, fmt.Sprint(at["feedbacks"]), "PROPERTY_VALUE_MUST_CHANGE")
	require.Equal(t, http.StatusConflict, b.maersk(http.MethodPatch, "/v2/bookings/"+ref, `{"bookingStatus":"CANCELLED"}`).status)
	require.Len(t, b.events(t, "shipmentEventTypeCode=REJE"), 1)
	require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPut, "/_sandbox/maersk/decisions/S-3", `{"booking":"maybe"}`).status)
}

func TestCancellationHasTheFormThatTheStateAsksFor(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	b.decides(t, "*", `{"stop":true}`)
	early := b.book(t, "S-4")
	require.Equal(t, http.StatusConflict, b.maersk(http.MethodPatch, "/v2/bookings/"+early, `{"bookingStatus":"CANCELLED"}`).status, "in processing")
	late := b.book(t, "S-5")
	b.step(t, late)
	carrier, _ := b.maersk(http.MethodGet, "/v2/bookings/"+late, "").json(t)["carrierBookingReference"].(string)
	require.Equal(t, http.StatusConflict, b.maersk(http.MethodPatch, "/v2/bookings/"+late, `{"bookingStatus":"CANCELLED"}`).status, "it is confirmed")
	require.Equal(t, http.StatusNotFound, b.maersk(http.MethodPatch, "/v2/bookings/"+carrier, `{"amendedBookingStatus":"AMENDMENT_CANCELLED"}`).status)
	require.Equal(t, http.StatusAccepted, b.maersk(http.MethodPatch, "/v2/bookings/"+carrier, `{"bookingCancellationStatus":"CANCELLATION_RECEIVED","reason":"sold"}`).status)
	b.step(t, carrier)
	at := b.maersk(http.MethodGet, "/v2/bookings/"+carrier, "").json(t)
	require.Equal(t, []any{"CANCELLED", "CANCELLATION_CONFIRMED", "sold"}, []any{at["bookingStatus"], at["bookingCancellationStatus"], at["reason"]})
}

func TestNobodySeesTheShipmentsOfAnother(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	b.token = b.signIn("second")
	require.Equal(t, http.StatusUnauthorized, b.maersk(http.MethodGet, "/v2/events", "").status, "the key of another client")
	r := b.do(http.MethodGet, "/maersk/track-and-trace-private/events?carrierBookingReference=400000001", "", maerskKey, "second")
	require.Equal(t, http.StatusNotFound, r.status)
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/maersk/v2/bookings/400000001", "", maerskKey, "second").status)
}

func TestACursorOfSomebodyElseIsNone(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	for _, query := range []string{"cursor=AAAA", "cursor=", "limit=0", "limit=x", "sort=eventID:ASC", "eventCreatedDateTime:near=2026-01-01T00:00:00Z", "nonsense=1"} {
		status := b.maersk(http.MethodGet, "/v2/events?"+query, "").status
		if query == "cursor=" {
			require.Equal(t, http.StatusBadRequest, b.maersk(http.MethodGet, "/v2/events?cursor=x&limit=1", "").status)
			continue
		}
		require.Equal(t, http.StatusBadRequest, status, query)
	}
	first := b.maersk(http.MethodGet, "/v2/events?limit=2&sort=eventCreatedDateTime:DESC", "")
	next := first.header.Get("Next-Page")
	require.NotEmpty(t, next)
	require.Equal(t, http.StatusBadRequest, b.maersk(http.MethodGet, "/v2/events?limit=2&cursor="+next, "").status, "nothing stands beside a cursor")
	require.Equal(t, http.StatusOK, b.maersk(http.MethodGet, "/v2/events?cursor="+next, "").status)
}

func signed(body string) string {
	key, _ := base64.StdEncoding.DecodeString(maerskSecret)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

func TestCallbacksAreSignedBundledAndHalved(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.decides(t, "*", `{"stop":true}`)
		url, came := listen(t, func(n int) int {
			if n == 1 {
				return http.StatusRequestEntityTooLarge
			}
			return http.StatusNoContent
		})
		r := b.maersk(http.MethodPost, "/v2/event-subscriptions", `{"callbackUrl":"`+url+`","secret":"`+maerskSecret+`","eventType":"SHIPMENT,TRANSPORT,EQUIPMENT"}`)
		require.Equal(t, http.StatusCreated, r.status, string(r.body))
		require.NotContains(t, string(r.body), maerskSecret)
		id, _ := r.json(t)["subscriptionID"].(string)
		ref := b.book(t, "S-6")
		p := next(t, came)
		require.Equal(t, signed(p.raw), p.header.Get("Notification-Signature"))
		require.Equal(t, id, p.header.Get("Subscription-ID"))
		b.step(t, ref) // confirmed: five events
		count := func(p posted) int {
			var list []any
			require.NoError(t, json.Unmarshal([]byte(p.raw), &list))
			return len(list)
		}
		whole := count(next(t, came))
		require.Equal(t, 5, whole, "one bundle, which is too large")
		require.Equal(t, whole, count(next(t, came))+count(next(t, came)), "it comes in two")
		require.Equal(t, http.StatusNoContent, b.maersk(http.MethodDelete, "/v2/event-subscriptions/"+id, "").status)
		require.Equal(t, http.StatusNotFound, b.maersk(http.MethodGet, "/v2/event-subscriptions/"+id, "").status)
	})
}

func TestNotificationsTellTheStateOfABooking(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	b.decides(t, "*", `{"stop":true}`)
	url, came := listen(t, ok)
	require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPut, "/_sandbox/maersk/notifications", `{"url":"`+url+`","secret":"short"}`).status)
	require.Equal(t, http.StatusNoContent, b.do(http.MethodPut, "/_sandbox/maersk/notifications", `{"url":"`+url+`","secret":"`+maerskSecret+`"}`).status)
	require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/_sandbox/faults/maersk", `{"webhook":{"bad_signature":true},"count":1}`).status)
	b.book(t, "S-7")
	p := next(t, came)
	require.NotEqual(t, signed(p.raw), p.header.Get("Notification-Signature"), "the fault")
	b.step(t, "S-7")
	p = next(t, came)
	require.Equal(t, signed(p.raw), p.header.Get("Notification-Signature"))
	require.Equal(t, "org.dcsa.booking.v2", p.body["type"])
	data, _ := p.body["data"].(map[string]any)
	require.Equal(t, "CONFIRMED", data["bookingStatus"])
	var list []map[string]any
	require.NoError(t, json.Unmarshal(b.do(http.MethodGet, "/_sandbox/maersk/bookings?own=S-7", "").body, &list))
	require.Len(t, list, 1)
	require.Equal(t, data["carrierBookingReference"], list[0]["reference"])
}

func TestCallbacksOfAnUntidyBookingComeLateAndTwice(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sandbox.Options{Lean: true, Speed: 100})
	b.decides(t, "S-8", `{"out_of_order":true}`)
	url, came := listen(t, ok)
	r := b.maersk(http.MethodPost, "/v2/event-subscriptions", `{"callbackUrl":"`+url+`","secret":"`+maerskSecret+`","eventType":"TRANSPORT"}`)
	require.Equal(t, http.StatusCreated, r.status, string(r.body))
	b.book(t, "S-8")
	var facts []string
	for len(facts) < 3 {
		var list []map[string]any
		require.NoError(t, json.Unmarshal([]byte(next(t, came).raw), &list))
		for _, e := range list {
			if e["eventClassifierCode"] == "ACT" {
				facts = append(facts, fmt.Sprint(e["transportEventTypeCode"]))
			}
		}
	}
	require.Equal(t, "ARRI", facts[0], "%v", facts)
	require.ElementsMatch(t, []string{"ARRI", "ARRI", "DEPA"}, facts)
}

// The orders that wait for approval ask for products of which there is enough.
func TestAnOrderThatWaitsHasLinesThatCanBeReserved(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	sample := b.do(http.MethodGet, "/_sandbox/samples/order-to-shipment", "").json(t)
	require.Equal(t, "ORD-00001", sample["ordernumber"])
	order := b.do(http.MethodGet, dataversePath+"salesorders(ordernumber='ORD-00001')?$select=salesorderid,statuscode,_customerid_value", "").json(t)
	require.Equal(t, json.Number("1"), order["statuscode"])
	require.NotEmpty(t, order["_customerid_value"])
	lines, _ := b.do(http.MethodGet, dataversePath+fmt.Sprintf("salesorderdetails?$filter=_salesorderid_value%%20eq%%20%s", order["salesorderid"]), "").json(t)["value"].([]any)
	require.Len(t, lines, 1)
	approve := b.do(http.MethodGet, "/_sandbox/samples/order-approved", "").json(t)
	require.Equal(t, map[string]any{"statuscode": json.Number("717750001")}, approve["change"])
}
