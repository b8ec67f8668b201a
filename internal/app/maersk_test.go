package app

import (
	"context"
	"encoding/json"
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
	"patchbay/internal/sandbox"
)

// shipping is a connection to the Maersk of a sandbox of its own, a hundred times as
// fast; control sends to its controls.
func shipping(t *testing.T, options ...string) (v *maersk.Maersk, control func(method, path, body string) string) {
	t.Helper()
	s, err := sandbox.New(t.Context(), sandbox.Options{Lean: true, Products: 50, Speed: 100})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Deliver(ctx) }) // ends with its context
	t.Cleanup(func() { stop(); running.Wait() })
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	client := connector.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	set := map[string]string{"events_path": "/v2/events", "events_by": "created", "confirm_within": "30m", "page": "3"}
	for i := 0; i < len(options); i += 2 {
		set[options[i]] = options[i+1]
	}
	v, err = maersk.New(connector.Config{
		Name: "carrier", System: maersk.System, URL: server.URL + "/maersk", Speed: 100, Options: set,
		Auth:   connector.Auth{Kind: "oauth2", TokenURL: server.URL + "/maersk/customer-identity/oauth/v2/access_token", ClientID: "patchbay", ClientSecret: "sandbox-secret"},
		Hook:   connector.Hook{Scheme: "hmac", Secrets: []string{"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="}},
		Tables: map[string]connector.Table{"events": {Path: "events"}, "milestones": {Path: "milestones"}, "bookings": {Path: "bookings"}},
	}, connector.Deps{Client: client})
	require.NoError(t, err)
	return v, func(method, path, body string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/_sandbox/"+path, strings.NewReader(body))
		require.NoError(t, err)
		answer, err := client.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		var text strings.Builder
		require.Less(t, answer.StatusCode, 300, path)
		_, err = jsonCopy(&text, answer)
		require.NoError(t, err)
		return text.String()
	}
}

func jsonCopy(into *strings.Builder, from *http.Response) (int64, error) {
	var v json.RawMessage
	if from.StatusCode == http.StatusNoContent {
		return 0, nil
	}
	err := json.NewDecoder(from.Body).Decode(&v)
	n, _ := into.Write(v)
	return int64(n), err
}

func wanted(own string) connector.Row {
	return connector.Row{"reference": own, "serviceContractReference": "HHL51800000", "expectedDepartureDate": "2026-03-01", "portOfLoading": "DKAAR", "portOfDischarge": "CNSHA",
		"equipmentCode": "42G1", "equipmentUnits": json.Number("1"), "bookingAgent": "Acme"}
}

// booked writes one row of bookings and gives the outcome of it.
func booked(t *testing.T, v *maersk.Maersk, row connector.Row) error {
	t.Helper()
	results, err := v.Upsert(t.Context(), connector.Upsert{Table: "bookings", Key: []string{"reference"}, Rows: []connector.Row{row}})
	if err != nil {
		return err
	}
	return results[0].Err
}

// The sandbox's list of bookings is the judge: one for each reference, whatever was lost.
func TestABookingIsMadeOnceThoughItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	v, control := shipping(t)
	control(http.MethodPut, "faults/maersk", `{"drop_after_commit":true,"method":"POST","path":"/v2/bookings","count":1}`)
	require.Equal(t, fault.InDoubt, fault.Of(booked(t, v, wanted("SO-1"))).Class)
	rows, err := v.ReadByKey(t.Context(), "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-1"}}, []string{"portOfLoading"})
	for fault.Of(err) != nil && fault.Of(err).Code == "maersk.processing" {
		rows, err = v.ReadByKey(t.Context(), "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-1"}}, []string{"portOfLoading"})
	}
	require.NoError(t, err)
	require.Equal(t, connector.Row{"reference": "SO-1", "portOfLoading": "DKAAR"}, rows[0])
	require.NoError(t, booked(t, v, wanted("SO-1")), "a repeat finds it")
	var list []map[string]any
	require.NoError(t, json.Unmarshal([]byte(control(http.MethodGet, "maersk/bookings?own=SO-1", "")), &list))
	require.Len(t, list, 1)
}

// Who looks for a booking whose answer was lost, before the carrier has decided, does not
// take it for one that stands.
func TestABookingWithoutAnAnswerThatIsRefusedLaterIsNone(t *testing.T) {
	t.Parallel()
	v, control := shipping(t)
	control(http.MethodPut, "maersk/decisions/SO-9", `{"booking":"reject"}`)
	control(http.MethodPut, "faults/maersk", `{"drop_after_commit":true,"method":"POST","path":"/v2/bookings","count":1}`)
	require.Equal(t, fault.InDoubt, fault.Of(booked(t, v, wanted("SO-9"))).Class)
	byReference := func() ([]connector.Row, error) {
		return v.ReadByKey(t.Context(), "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-9"}}, []string{"portOfLoading"})
	}
	rows, err := byReference()
	for fault.Of(err) != nil && fault.Of(err).Code == "maersk.processing" {
		rows, err = byReference()
	}
	require.NoError(t, err)
	require.Equal(t, []connector.Row{nil}, rows)
	require.Equal(t, "maersk.booking_refused", fault.Of(booked(t, v, wanted("SO-9"))).Code, "and a repeat says so")
	require.Contains(t, control(http.MethodGet, "maersk/bookings?own=SO-9", ""), `"REJECTED"`)
}

// A booking that was taken without a decision, and is refused while its step waits for what it
// returns, is refused: it will never show.
func TestABookingThatIsRefusedWhileItIsReadBackIsRefused(t *testing.T) {
	t.Parallel()
	v, control := shipping(t, "confirm_within", "1s")
	control(http.MethodPut, "maersk/decisions/SO-10", `{"booking":"reject"}`)
	require.NoError(t, booked(t, v, wanted("SO-10")), "it is taken before the carrier decides")
	var rows []connector.Row
	var err error
	for rows = []connector.Row{{}}; err == nil && rows[0] != nil || fault.Of(err) != nil && fault.Of(err).Code == "maersk.processing"; {
		rows, err = readBack(t.Context(), v, "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-10"}}, []string{"bookingStatus"})
	}
	require.Equal(t, "maersk.booking_refused", fault.Of(err).Code, "%v", err)
	require.Contains(t, err.Error(), "PROPERTY_VALUE_MUST_CHANGE at $.expectedDepartureDate")
	require.False(t, fault.Of(err).Retryable())
	rows, err = readBack(t.Context(), v, "bookings", []string{"reference"}, []connector.Row{{"reference": "SO-11"}}, []string{"bookingStatus"})
	require.NoError(t, err)
	require.Equal(t, []connector.Row{nil}, rows, "what is not there yet is waited for")
}

func TestARefusedBookingAndARefusedUndoAreNamed(t *testing.T) {
	t.Parallel()
	v, control := shipping(t)
	control(http.MethodPut, "maersk/decisions/SO-2", `{"booking":"reject"}`)
	err := booked(t, v, wanted("SO-2"))
	require.Equal(t, "maersk.booking_refused", fault.Of(err).Code, "%v", err)
	require.Contains(t, err.Error(), "PROPERTY_VALUE_MUST_CHANGE at $.expectedDepartureDate")
	require.False(t, fault.Of(err).Retryable())

	control(http.MethodPut, "maersk/decisions/SO-3", `{"cancellation":"decline"}`)
	require.NoError(t, booked(t, v, wanted("SO-3")))
	require.Equal(t, "maersk.cancellation_declined", fault.Of(booked(t, v, connector.Row{"reference": "SO-3", "bookingStatus": "CANCELLED"})).Code)
	require.NoError(t, booked(t, v, wanted("SO-4")))
	require.NoError(t, booked(t, v, connector.Row{"reference": "SO-4", "bookingStatus": "CANCELLED"}))
	require.Contains(t, control(http.MethodGet, "maersk/bookings?own=SO-4", ""), `"CANCELLED"`)
}

// All that the carrier tells of a shipment is found by sweeping, each event once, also
// those that look older than what was told before; of milestones the facts remain.
func TestTrackingIsSweptWholeThoughEventsComeOutOfOrder(t *testing.T) {
	t.Parallel()
	v, control := shipping(t)
	control(http.MethodPut, "maersk/decisions/SO-5", `{"out_of_order":true,"delay_days":2}`)
	require.NoError(t, booked(t, v, wanted("SO-5")))
	events, versions := map[string]connector.Row{}, map[string]int64{}
	facts := map[string]string{}
	cursors := map[string]string{}
	sweep := func(table string, each func(row connector.Row, version int64)) {
		for more := true; more; {
			page, err := v.ReadChanges(t.Context(), table, []string{"code", "reference", "eventClassifierCode", "eventType"}, cursors[table])
			require.NoError(t, err)
			for i, row := range page.Rows {
				each(row, page.Versions[i])
			}
			cursors[table], more = page.Cursor, page.More
		}
	}
	require.Eventually(t, func() bool {
		sweep("events", func(row connector.Row, version int64) {
			id, _ := row["eventID"].(string)
			if row["reference"] == "SO-5" {
				events[id] = row
			}
		})
		return strings.Contains(control(http.MethodGet, "maersk/bookings?own=SO-5", ""), "COMPLETED")
	}, time.Minute, 50*time.Millisecond)
	sweep("events", func(row connector.Row, _ int64) {
		if id, _ := row["eventID"].(string); row["reference"] == "SO-5" {
			events[id] = row
		}
	})
	sweep("milestones", func(row connector.Row, version int64) {
		id, _ := row["milestone"].(string)
		if row["reference"] == "SO-5" && version > versions[id] {
			versions[id], facts[id] = version, row["eventClassifierCode"].(string)
		}
	})
	require.Len(t, events, 2+4+9+1, "received, confirmed, planned, nine facts and the estimate that was issued again")
	for id, classifier := range facts {
		require.Equal(t, "ACT", classifier, id)
	}
	control(http.MethodPut, "faults/maersk", `{"foreign_page":true}`)
	_, err := v.ReadChanges(t.Context(), "events", []string{"code"}, "")
	require.Equal(t, "egress.blocked", fault.Of(err).Code)
}
