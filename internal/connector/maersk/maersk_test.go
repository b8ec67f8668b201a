package maersk_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/maersk"
	"patchbay/internal/fault"
)

// vendor answers by path; what it was sent is kept.
type vendor struct {
	mu      sync.Mutex
	answers map[string]func(w http.ResponseWriter, r *http.Request)
	sent    []string // METHOD PATH BODY
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sent = append(v.sent, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	w.Header().Set("Content-Type", "application/json")
	answer := v.answers[r.Method+" "+r.URL.Path]
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"statusCode":404}`)
		return
	}
	answer(w, r)
}

// writes are the requests that changed something.
func (v *vendor) writes() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []string
	for _, s := range v.sent {
		if !strings.HasPrefix(s, "GET") {
			out = append(out, s)
		}
	}
	return out
}

func says(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func against(t *testing.T, answers map[string]func(http.ResponseWriter, *http.Request), options ...string) (*maersk.Maersk, *vendor) {
	t.Helper()
	v := &vendor{answers: answers}
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	c := connector.Config{Options: map[string]string{"events_path": "/v2/events", "events_by": "created", "consumer_key": "k"}, Speed: 100}
	for i := 0; i < len(options); i += 2 {
		c.Options[options[i]] = options[i+1]
	}
	return built(t, s, c), v
}

const requested = `[{"eventID":"e","eventType":"SHIPMENT","eventCreatedDateTime":"2026-02-01T00:00:00Z","documentTypeCode":"CBR","documentID":"` + request + `","references":[{"referenceType":"CR","referenceValue":"SO-1"}]}]`

// state is a booking of ours as the carrier shows it.
func state(status, more string) string {
	return `{"carrierBookingRequestReference":"` + request + `","bookingStatus":"` + status + `","references":[{"type":"CR","value":"SO-1"}],"expectedDepartureDate":"2026-03-01"` + more + `}`
}

func write(m *maersk.Maersk, t *testing.T, row connector.Row) error {
	t.Helper()
	results, err := m.Upsert(t.Context(), connector.Upsert{Table: "bookings", Key: []string{"reference"}, Rows: []connector.Row{row}})
	if err != nil {
		return err
	}
	return results[0].Err
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestWhatIsDoneFollowsFromTheBookingThatIsThere(t *testing.T) {
	t.Parallel()
	same := connector.Row{"reference": "SO-1", "expectedDepartureDate": "2026-03-01"}
	other := connector.Row{"reference": "SO-1", "expectedDepartureDate": "2026-04-01"}
	cancel := connector.Row{"reference": "SO-1", "bookingStatus": "CANCELLED", "reason": "sold"}
	const feedback = `,"feedbacks":[{"severity":"ERROR","code":"PROPERTY_VALUE_MUST_CHANGE","message":"canary","jsonPath":"$.expectedDepartureDate"}]`
	for name, c := range map[string]struct {
		there string // the booking; empty: none
		row   connector.Row
		sent  string // how the one write begins; empty: none
		code  string
	}{
		"none, booked":                  {"", same, "POST /v2/bookings ", ""},
		"none, cancelled":               {"", cancel, "", "maersk.no_booking"},
		"there as it is to be":          {state("CONFIRMED", ""), same, "", ""},
		"there and other":               {state("CONFIRMED", ""), other, "PUT /v2/bookings/" + request, ""},
		"refused, the same again":       {state("REJECTED", feedback), same, "", "maersk.booking_refused"},
		"refused, put right":            {state("REJECTED", feedback), other, "POST /v2/bookings ", ""},
		"refused after it was taken":    {state("DECLINED", feedback), same, "", "maersk.booking_refused"},
		"cancelled, booked again":       {state("CANCELLED", ""), same, "POST /v2/bookings ", ""},
		"carried out":                   {state("COMPLETED", ""), same, "", ""},
		"wants a change":                {state("PENDING_UPDATE", feedback), same, "", "maersk.update_wanted"},
		"cancelled early":               {state("PENDING_UPDATE", ""), cancel, `PATCH /v2/bookings/` + request + ` {"bookingStatus":"CANCELLED","reason":"sold"}`, ""},
		"cancelled after it was taken":  {state("CONFIRMED", `,"carrierBookingReference":"123456789"`), cancel, `PATCH /v2/bookings/123456789 {"bookingCancellationStatus":"CANCELLATION_RECEIVED","reason":"sold"}`, ""},
		"cancelled already":             {state("CANCELLED", ""), cancel, "", ""},
		"cancelled, was refused before": {state("REJECTED", feedback), cancel, "", ""},
		"cancelled too late":            {state("COMPLETED", ""), cancel, "", "maersk.cancellation_declined"},
		"a reference too long":          {"", connector.Row{"reference": strings.Repeat("x", 36)}, "", "maersk.reference"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			there := c.there
			now := func(s string) { mu.Lock(); there = s; mu.Unlock() }
			m, v := against(t, map[string]func(http.ResponseWriter, *http.Request){
				"GET /v2/events": func(w http.ResponseWriter, _ *http.Request) {
					if c.there == "" {
						_, _ = io.WriteString(w, `[]`)
						return
					}
					_, _ = io.WriteString(w, requested)
				},
				"GET /v2/bookings/" + request: func(w http.ResponseWriter, _ *http.Request) {
					mu.Lock()
					defer mu.Unlock()
					_, _ = io.WriteString(w, there)
				},
				"POST /v2/bookings": func(w http.ResponseWriter, r *http.Request) {
					now(state("CONFIRMED", ""))
					says(http.StatusAccepted, `{"carrierBookingRequestReference":"`+request+`"}`)(w, r)
				},
				"PUT /v2/bookings/" + request: func(w http.ResponseWriter, r *http.Request) {
					now(state("CONFIRMED", ""))
					w.WriteHeader(http.StatusAccepted)
				},
				"PATCH /v2/bookings/" + request: func(w http.ResponseWriter, r *http.Request) {
					now(state("CANCELLED", ""))
					w.WriteHeader(http.StatusAccepted)
				},
				"PATCH /v2/bookings/123456789": func(w http.ResponseWriter, r *http.Request) {
					now(state("CANCELLED", ""))
					w.WriteHeader(http.StatusAccepted)
				},
			})
			err := write(m, t, c.row)
			require.Equal(t, c.code, code(err), "%v", err)
			if c.code == "maersk.booking_refused" {
				require.Contains(t, err.Error(), "PROPERTY_VALUE_MUST_CHANGE at $.expectedDepartureDate")
				require.NotContains(t, err.Error(), "canary")
			}
			if c.sent == "" {
				require.Empty(t, v.writes())
				return
			}
			require.Len(t, v.writes(), 1)
			require.True(t, strings.HasPrefix(v.writes()[0], c.sent), v.writes()[0])
		})
	}
}

func TestABookingInProcessingIsWaitedForAndARaceIsReadOnceMore(t *testing.T) {
	t.Parallel()
	m, v := against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": says(200, requested), "GET /v2/bookings/" + request: says(202, "")})
	err := write(m, t, connector.Row{"reference": "SO-1"})
	require.Equal(t, "maersk.processing", code(err))
	require.Positive(t, fault.Of(err).After)
	_, err = m.ReadByKey(t.Context(), "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-1"}}, []string{"bookingStatus"})
	require.Equal(t, "maersk.processing", code(err))
	require.Empty(t, v.writes())

	m, v = against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": says(200, requested), "GET /v2/bookings/" + request: says(200, state("CONFIRMED", "")),
		"PUT /v2/bookings/" + request: says(409, `{"errors":[{"errorCodeText":"conflict"}]}`)})
	err = write(m, t, connector.Row{"reference": "SO-1", "expectedDepartureDate": "2026-05-01"})
	require.Equal(t, "maersk.changing", code(err))
	require.Equal(t, fault.Unavailable, fault.Of(err).Class)
	require.Len(t, v.writes(), 2)
}

func TestAWriteInDoubtIsSettledByOurReference(t *testing.T) {
	t.Parallel()
	for status, stands := range map[string]bool{"RECEIVED": true, "CONFIRMED": true, "REJECTED": false} {
		m, _ := against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": says(200, requested), "GET /v2/bookings/" + request: says(200, state(status, ""))})
		rows, err := m.ReadByKey(t.Context(), "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-1"}, {"reference": "SO-2"}}, []string{"expectedDepartureDate"})
		require.NoError(t, err)
		require.Nil(t, rows[1])
		require.Equal(t, stands, rows[0] != nil, status)
		if stands {
			require.Equal(t, connector.Row{"reference": "SO-1", "expectedDepartureDate": "2026-03-01"}, rows[0])
		}
	}
	m, v := against(t, nil, "booking_lookup", "none")
	_, err := m.ReadByKey(t.Context(), "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-1"}}, []string{"reference"})
	require.Equal(t, "maersk.no_lookup", code(err), "not knowing is no absence")
	require.Equal(t, "maersk.no_lookup", code(write(m, t, connector.Row{"reference": "SO-1"})), "and nothing is booked blindly")
	require.Empty(t, v.writes())
	m, _ = against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /own": says(200, `{"bookings":[`+state("CONFIRMED", "")+`]}`), "GET /v2/bookings/" + request: says(200, state("CONFIRMED", ""))},
		"booking_lookup", "/own?ref={reference}")
	rows, err := m.ReadByKey(t.Context(), "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-1"}}, []string{"bookingStatus"})
	require.NoError(t, err)
	require.Equal(t, "CONFIRMED", rows[0]["bookingStatus"])
}

func event(id, made, classifier string) string {
	return `{"eventID":"` + id + `","eventType":"TRANSPORT","eventClassifierCode":"` + classifier + `","eventCreatedDateTime":"` + made + `","eventDateTime":"2026-03-29T14:00:00+08:00","transportEventTypeCode":"ARRI",
		"transportCall":{"transportCallID":"c2"},"documentReferences":[{"documentReferenceType":"BKG","documentReferenceValue":"123456789"}]}`
}

func TestChangesGoOnFromWhenTheyWereMadeWithAnOverlap(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	list := `[` + event("b", "2026-02-01T12:00:00Z", "EST") + `]`
	m, _ := against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Query().Get("eventCreatedDateTime:gte"))
		_, _ = io.WriteString(w, list)
	}})
	first, err := m.ReadChanges(t.Context(), "milestones", []string{"eventDateTime"}, "")
	require.NoError(t, err)
	require.False(t, first.More)
	require.Equal(t, []connector.Row{{"milestone": "TRANSPORT/ARRI/123456789/c2/", "eventDateTime": "2026-03-29T14:00:00+08:00"}}, first.Rows)
	// One that was made before comes later, beside one that is too old for the overlap.
	mu.Lock()
	list = `[` + event("old", "2026-01-01T00:00:00Z", "EST") + `,` + event("late", "2026-02-01T11:30:00Z", "EST") + `,` + event("b", "2026-02-01T12:00:00Z", "EST") + `,` + event("fact", "2026-02-01T11:45:00Z", "ACT") + `]`
	mu.Unlock()
	second, err := m.ReadChanges(t.Context(), "milestones", []string{"eventDateTime"}, first.Cursor)
	require.NoError(t, err)
	require.Equal(t, []string{"", "2026-02-01T11:00:00Z"}, asked)
	require.Len(t, second.Rows, 3, "what the system did not filter is filtered here")
	require.Less(t, second.Versions[0], second.Versions[1], "the estimate made later is above")
	require.Greater(t, second.Versions[2], second.Versions[1], "and the fact above all")
	require.Equal(t, first.Cursor, second.Cursor, "a watermark never goes back")
	_, err = m.ReadChanges(t.Context(), "events", []string{"code"}, "no cursor")
	require.Equal(t, fault.Invalid, fault.Of(err).Class)
}

func TestACursorThatIsNotKnownAnyMoreBeginsFromTheWatermark(t *testing.T) {
	t.Parallel()
	m, _ := against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") != "" {
			says(400, `{"errors":[{"reason":"invalidQuery"}]}`)(w, r)
			return
		}
		w.Header().Set("Next-Page", "c2")
		_, _ = io.WriteString(w, `[`+event("a", "2026-02-01T12:00:00Z", "EST")+`]`)
	}})
	page, err := m.ReadChanges(t.Context(), "events", []string{"code"}, "")
	require.NoError(t, err)
	require.True(t, page.More)
	again, err := m.ReadChanges(t.Context(), "events", []string{"code"}, page.Cursor)
	require.NoError(t, err)
	require.Equal(t, page.Rows, again.Rows)
}

func TestEventsComeInThreeShapesAndAForeignPageIsRefused(t *testing.T) {
	t.Parallel()
	one := event("a", "2026-02-01T12:00:00Z", "EST")
	for _, body := range []string{`[` + one + `]`, `{"events":[` + one + `]}`, `{"body":{"events":[` + one + `]}}`} {
		m, _ := against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": says(200, body)})
		page, err := m.ReadPage(t.Context(), connector.Query{Table: "events", Select: []string{"eventID"}}, "")
		require.NoError(t, err, body)
		require.Equal(t, []connector.Row{{"eventID": "a"}}, page.Rows)
	}
	for _, next := range []string{"https://elsewhere.example/v2/events?cursor=c", "http://127.0.0.1:1/v2/events?cursor=c"} {
		m, _ := against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Next-Page", next)
			says(200, `[`+one+`]`)(w, r)
		}})
		_, err := m.ReadPage(t.Context(), connector.Query{Table: "events", Select: []string{"eventID"}}, "")
		require.Equal(t, "egress.blocked", code(err))
	}
	m, v := against(t, nil, "events_by", "reference")
	_, err := m.ReadPage(t.Context(), connector.Query{Table: "events", Select: []string{"eventID"}}, "")
	require.Equal(t, "maersk.reference", code(err))
	_, err = m.ReadChanges(t.Context(), "events", []string{"eventID"}, "")
	require.Equal(t, "maersk.reference", code(err))
	require.Empty(t, v.sent)
}

func TestAnEventWithoutAnIDIsKnownByWhatItSays(t *testing.T) {
	t.Parallel()
	bare := strings.Replace(event("a", "2026-02-01T12:00:00Z", "EST"), `"eventID":"a",`, "", 1)
	m, _ := against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": says(200, `[`+bare+`,`+bare+`,`+strings.Replace(bare, "c2", "c3", 1)+`]`)})
	page, err := m.ReadPage(t.Context(), connector.Query{Table: "events", Select: []string{"eventID"}}, "")
	require.NoError(t, err)
	require.Equal(t, page.Rows[0], page.Rows[1])
	require.NotEqual(t, page.Rows[0], page.Rows[2])
	require.NotEmpty(t, page.Rows[0]["eventID"])
}

func delivered(body, signature string) connector.Delivery {
	h := http.Header{"Content-Type": {"application/json"}, "Subscription-Id": {"s"}}
	if signature != "" {
		h.Set("Notification-Signature", signature)
	}
	return connector.Delivery{Header: h, Body: []byte(body), At: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
}

func signature(body string) string {
	key, _ := base64.StdEncoding.DecodeString(hookSecret)
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(sum.Sum(nil))
}

func TestADeliveryIsReadWhenItsRawBytesAreSigned(t *testing.T) {
	t.Parallel()
	m, v := against(t, nil)
	body := `[` + event("a", "2026-02-01T12:00:00Z", "EST") + `, ` + event("b", "2026-02-02T12:00:00Z", "ACT") + `]`
	require.True(t, m.Recognises(delivered(body, signature(body))))
	for given, want := range map[string]string{
		signature(body): "", " " + strings.ToUpper(signature(body)[7:]) + " ": "hook.signature", "sha256=" + strings.ToUpper(signature(body)[7:]) + " ": "",
		"": "hook.unsigned", signature(body + " "): "hook.signature", "sha1=" + signature(body)[7:]: "hook.signature",
	} {
		events, err := m.Receive(t.Context(), delivered(body, given))
		require.Equal(t, want, code(err), given)
		if want != "" {
			continue
		}
		require.Len(t, events, 4, "two events, in two tables that hold such")
		require.Equal(t, []string{"events", "milestones"}, []string{events[0].Table, events[1].Table})
		require.Equal(t, "events a", events[0].ID)
		require.Equal(t, "a", events[0].Record)
		require.Equal(t, "TRANSPORT/ARRI/123456789/c2/", events[1].Record)
		require.Greater(t, events[3].Version, events[1].Version)
	}
	bad := `[{"no":"type"}]`
	_, err := m.Receive(t.Context(), delivered(bad, signature(bad)))
	require.Equal(t, "hook.body", code(err))
	require.Empty(t, v.sent, "receiving asks nobody")
}

func TestABookingNotificationIsAnUpdateOfTheBooking(t *testing.T) {
	t.Parallel()
	m, _ := against(t, nil)
	notification := func(kind, data string) string {
		return `{"specversion":"1.0","id":"n1","source":"https://member.example/","type":"` + kind + `","time":"2026-02-01T10:00:00Z","data":` + data + `}`
	}
	full := notification("org.dcsa.booking.v2", `{"bookingStatus":"CONFIRMED","carrierBookingRequestReference":"`+request+`","booking":`+state("CONFIRMED", "")+`}`)
	light := notification("org.dcsa.booking-notification.v2", `{"bookingStatus":"REJECTED","carrierBookingRequestReference":"`+request+`","feedbacks":[{"severity":"ERROR","code":"PROPERTY_VALUE_MUST_CHANGE"}]}`)
	events, err := m.Receive(t.Context(), delivered(full, signature(full)))
	require.NoError(t, err)
	require.Equal(t, []any{"https://member.example/ n1", "bookings", request, "update", true, false}, []any{events[0].ID, events[0].Table, events[0].Record, events[0].Change, events[0].Whole, events[0].Trimmed})
	require.Equal(t, "SO-1", events[0].After["reference"])
	events, err = m.Receive(t.Context(), delivered(light, signature(light)))
	require.NoError(t, err)
	require.True(t, events[0].Trimmed, "it is read back")
	require.Equal(t, "PROPERTY_VALUE_MUST_CHANGE", events[0].After["refusal"])
	for _, wrong := range []string{notification("org.example.other", `{}`), notification("org.dcsa.booking.v2", `{"bookingStatus":"CONFIRMED"}`)} {
		_, err := m.Receive(t.Context(), delivered(wrong, signature(wrong)))
		require.Equal(t, "hook.body", code(err))
	}
}

func TestASubscriptionWithAnotherSecretGetsTheNewOne(t *testing.T) {
	t.Parallel()
	m, v := against(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET /v2/event-subscriptions":             says(200, `[{"subscriptionID":"s1","callbackUrl":"https://me.example/h?key=old"},{"subscriptionID":"s2","callbackUrl":"https://me.example/h"}]`),
		"PUT /v2/event-subscriptions/s1/secret":   says(204, ""),
		"PUT /v2/event-subscriptions/s1":          says(200, `{"subscriptionID":"s1"}`),
		"DELETE /v2/event-subscriptions/s2":       says(204, ""),
		"DELETE /v2/event-subscriptions/unwanted": says(204, ""),
	})
	require.NoError(t, m.Subscribe(t.Context(), "https://me.example/h", []connector.Subscription{{Table: "events"}}))
	require.Len(t, v.writes(), 3)
	require.Contains(t, v.writes()[0], "DELETE /v2/event-subscriptions/s2")
	require.Contains(t, v.writes()[1], hookSecret)
	require.NotContains(t, v.writes()[2], hookSecret)
}

func TestWhatAConnectionCannotBeIsSaidWhenItIsMade(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"overlap": "soon", "events_path": "events", "events_by": "luck", "booking_lookup": "/x", "page": "0", "token_send_consumer_key": "yes", "signature_key": "hex", "unknown": "x"} {
		_, err := maersk.New(connector.Config{Name: "m", URL: "https://m.example", Options: map[string]string{name: value}, Hook: connector.Hook{Scheme: "hmac", Secrets: []string{hookSecret}}}, connector.Deps{})
		require.Equal(t, fault.Invalid, fault.Of(err).Class, name)
	}
	_, err := maersk.New(connector.Config{Name: "m", URL: "https://m.example", Tables: map[string]connector.Table{"x": {Path: "invoices"}}}, connector.Deps{})
	require.Equal(t, "connector.table", code(err))
}

func TestFlatColumnsAndTheDocumentAreTheSameBooking(t *testing.T) {
	t.Parallel()
	row := connector.Row{"reference": "SO-9", "portOfLoading": "DKAAR", "portOfDischarge": "CNSHA", "equipmentCode": "42G1", "equipmentUnits": json.Number("2"), "commodity": "Parts", "hsCode": "847989",
		"cargoWeight": "12000.5", "bookingAgent": "Acme", "contactName": "Ops", "contactEmail": "ops@acme.example", "shipper": "S", "consignee": "C", "serviceContractReference": "H", "expectedDepartureDate": "2026-03-01"}
	m, keep := against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/events": says(200, `[]`), "POST /v2/bookings": says(202, `{"carrierBookingRequestReference":"`+request+`"}`)})
	require.NoError(t, write(m, t, row))
	_, body, _ := strings.Cut(keep.writes()[0], "/v2/bookings ")
	var sent map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &sent))
	sent["bookingStatus"] = "CONFIRMED"
	text, err := json.Marshal(sent)
	require.NoError(t, err)
	m, _ = against(t, map[string]func(http.ResponseWriter, *http.Request){"GET /v2/bookings/" + request: says(200, string(text))})
	columns := make([]string, 0, len(row))
	for c := range row {
		columns = append(columns, c)
	}
	rows, err := m.ReadByKey(t.Context(), "bookings", []string{"carrierBookingRequestReference"}, []connector.Row{{"carrierBookingRequestReference": request}}, columns)
	require.NoError(t, err)
	got := rows[0]
	delete(got, "carrierBookingRequestReference")
	row["cargoWeight"] = json.Number("12000.5")
	require.Equal(t, row, got, "a write in doubt is compared column by column")
}
