package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

const schedules = `{"schedules":[
	{"flow":"customer-360","words":"every 1h; overlap skip","next":["2026-11-30T11:00:00Z"],"outcomes":{"ran":20,"late":1,"skipped: overlap":2,"missed":3},
	 "forecast":{"warn":true,"text":"customer-360 (every 1h): a run takes 41m of the 1h that it has"}},
	{"flow":"nightly","words":"cron 0 2 * * *; overlap skip","next":[],"paused":{"reason":"the target is moved"},"outcomes":{}}]}`

func TestSchedulesAreAListWithWhatComesAndWhatIsForeseen(t *testing.T) {
	t.Parallel()
	stdout, stderr, status := patchbay(t.Context(), t, answering(map[string]string{"/v1/schedules": schedules}), "schedules")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "customer-360  every 1h; overlap skip        2026-11-30T11:00:00Z         20   1     2        3")
	require.Contains(t, stdout, "paused: the target is moved")
	require.Contains(t, stdout, "a run takes 41m of the 1h that it has\n")
}

func TestSlotsOfAScheduleSayWhatBecameOfThem(t *testing.T) {
	t.Parallel()
	stdout, stderr, status := patchbay(t.Context(), t, answering(map[string]string{"/v1/flows/customer-360/slots": `{"slots":[
		{"flow":"customer-360","at":"2026-11-30T10:00:00Z","outcome":"ran","status":"failed","run_id":"abc","started_at":"2026-11-30T10:00:01Z","ended_at":"2026-11-30T10:00:03Z","rows":70},
		{"flow":"customer-360","at":"2026-11-30T11:00:00Z","outcome":"skipped: overlap","reason":"run abc was open"}]}`}), "schedules", "customer-360")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "2026-11-30T10:00:00Z  ran, failed")
	require.Contains(t, stdout, "run abc was open")
}

func TestABackfillSaysWhichSlotsItStarts(t *testing.T) {
	t.Parallel()
	var sent map[string]any
	answer := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &sent)
		fmt.Fprint(w, `{"flow":"customer-360","slots":["2026-11-30T10:00:00Z"],"plan":true}`)
	}
	stdout, stderr, status := patchbay(t.Context(), t, answer, "backfill", "customer-360", "--from", "2026-11-30T09:00:00Z", "--to", "2026-11-30T12:00:00Z", "--paused", "--plan")
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "2026-11-30T10:00:00Z\n", stdout)
	require.Contains(t, stderr, "1 slot of customer-360 would be started")
	require.Equal(t, map[string]any{"from": "2026-11-30T09:00:00Z", "to": "2026-11-30T12:00:00Z", "also": []any{"paused"}, "plan": true}, sent)
	_, stderr, status = patchbay(t.Context(), t, answer, "backfill", "--from", "soon", "customer-360")
	require.Equal(t, exitUsage, status)
	require.Contains(t, stderr, "--from soon: give a time")
	_, stderr, status = patchbay(t.Context(), t, answer, "backfill", "--from", "24h")
	require.Equal(t, exitUsage, status)
	require.Contains(t, stderr, "name one flow")
}

func TestAScheduleIsHeldForAReasonAndResumed(t *testing.T) {
	t.Parallel()
	answer := answering(map[string]string{
		"/v1/flows/customer-360/hold":   `{"flow":"customer-360","paused":{"reason":"the target is moved"},"next":["2026-11-30T11:00:00Z"]}`,
		"/v1/flows/customer-360/resume": `{"flow":"customer-360","next":["2026-11-30T11:00:00Z"]}`})
	stdout, stderr, status := patchbay(t.Context(), t, answer, "hold", "customer-360", "--reason", "the target is moved")
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "customer-360 starts nothing: the target is moved\n", stdout)
	_, stderr, status = patchbay(t.Context(), t, answer, "hold", "customer-360")
	require.Equal(t, exitUsage, status)
	require.Contains(t, stderr, "give --reason")
	stdout, stderr, status = patchbay(t.Context(), t, answer, "resume", "customer-360")
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "customer-360 starts next at 2026-11-30T11:00:00Z\n", stdout)
}

func TestAFlowWithoutAScheduleOrAConnectionIsHeldAndStopsAreListed(t *testing.T) {
	t.Parallel()
	var sent []map[string]any
	answer := func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		switch r.URL.Path {
		case "/v1/flows/product-specs/hold", "/v1/flows/product-specs/resume":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"status":404,"code":"schedule.not_found","detail":"the flow product-specs has no schedule in force"}`)
			return
		case "/v1/stops/hold":
			sent = append(sent, body)
		case "/v1/stops/resume":
			fmt.Fprint(w, `{"stops":[]}`)
			return
		}
		fmt.Fprint(w, `{"stops":[
			{"kind":"connection","name":"sap","cause":"resting","since":"2026-11-30T10:00:00Z","until":"2026-11-30T10:01:00Z","reason":"sap is not available (503)","flows":["orders"],"runs":1000,"drains":95.5},
			{"kind":"flow","name":"product-specs","cause":"held","since":"2026-11-30T10:00:00Z","by":"anna","reason":"wrong prices","flows":["product-specs"],"runs":2}]}`)
	}
	stdout, stderr, status := patchbay(t.Context(), t, answer, "hold", "product-specs", "--reason", "wrong prices")
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "the flow product-specs is stopped: held by anna: wrong prices\n", stdout)
	_, stderr, status = patchbay(t.Context(), t, answer, "hold", "--connection", "sap", "--reason", "moves")
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, []map[string]any{{"kind": "flow", "name": "product-specs", "reason": "wrong prices"}, {"kind": "connection", "name": "sap", "reason": "moves"}}, sent)
	stdout, stderr, status = patchbay(t.Context(), t, answer, "resume", "product-specs")
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "the flow product-specs is in use again\n", stdout)
	stdout, stderr, status = patchbay(t.Context(), t, answer, "stops")
	require.Equal(t, exitOK, status, stderr)
	require.Regexp(t, `connection sap +2026-11-30T10:00:00Z +1000 +1 min 35 s +it answers nobody: sap is not available \(503\)`, stdout)
	for _, args := range [][]string{{"hold", "--reason", "x"}, {"hold", "product-specs", "--connection", "sap", "--reason", "x"}, {"stops", "sap"}} {
		_, _, status = patchbay(t.Context(), t, answer, args...)
		require.Equal(t, exitUsage, status, args)
	}
}
