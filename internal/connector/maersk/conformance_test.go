package maersk_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/maersk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	request = "24595eb0-5cfc-4381-9c3a-cedc1975e9aa"
	known   = `{"carrierBookingRequestReference":"` + request + `","carrierBookingReference":"123456789","bookingStatus":"CONFIRMED","references":[{"type":"CR","value":"none of ours"}]}`
)

func booking(own string) connector.Row {
	return connector.Row{"reference": own, "serviceContractReference": "HHL51800000", "expectedDepartureDate": "2026-03-01", "portOfLoading": "DKAAR", "portOfDischarge": "CNSHA",
		"equipmentCode": "42G1", "equipmentUnits": json.Number("1"), "bookingAgent": "canary"}
}

var tables = map[string]connector.Table{"events": {Path: "events"}, "milestones": {Path: "milestones"}, "bookings": {Path: "bookings"}}

// Both envelopes, and both forms of a next page.
func TestMaerskKeepsTheContract(t *testing.T) {
	t.Parallel()
	from := func(r *http.Request) int {
		n, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		return n
	}
	for envelope, wrap := range map[string]func(rows []byte) []byte{
		"maersk": func(rows []byte) []byte { return []byte(`{"events":` + string(rows) + `}`) },
		"dcsa":   func(rows []byte) []byte { return rows },
	} {
		body := func(rows []connector.Row) []byte {
			text, err := json.Marshal(rows)
			if err != nil {
				panic(err)
			}
			return wrap(text)
		}
		h := conformance.Harness{
			Build:  maersk.Build,
			Config: connector.Config{System: maersk.System, Options: map[string]string{"events_by": "created", "events_path": "/v2/events"}, Tables: tables},
			Query:  connector.Query{Table: "events", Select: []string{"equipmentReference", "changeRemark"}, Limit: 3},
			Page: func(r *http.Request, _ string, rows []connector.Row) []byte {
				at := min(from(r), len(rows))
				return body(append([]connector.Row{}, rows[at:min(at+3, len(rows))]...))
			},
			Circle: func(_ *http.Request, _ string, rows []connector.Row) []byte { return body(rows[:3]) },
			Links: func(r *http.Request, base string, rows []connector.Row, circle bool) http.Header {
				next := strconv.Itoa(from(r) + 3)
				switch {
				case circle:
					next = "3"
				case from(r)+3 >= len(rows):
					return nil
				}
				if envelope == "maersk" {
					next = base + "/v2/events?cursor=" + next
				}
				return http.Header{"Next-Page": {next}}
			},
			Empty: []string{`[]`},
			Aside: func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.Method == http.MethodGet && r.URL.Query().Get("documentTypeCode") != "":
					w.Header().Set("Content-Type", "application/json")
					_, _ = io.WriteString(w, `[]`)
				case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v2/bookings/"):
					w.Header().Set("Content-Type", "application/json")
					_, _ = io.WriteString(w, known)
				default:
					return false
				}
				return true
			},
			Failure: func(status int) []byte {
				return fmt.Appendf(nil, `{"statusCode":%d,"errors":[{"errorCode":7003,"property":"canary is no property","value":"canary","errorCodeText":"invalidData","errorCodeMessage":"canary"}]}`, status)
			},
			Upserts: map[string]connector.Upsert{
				"one row": {Table: "bookings", Key: []string{"reference"}, Rows: []connector.Row{booking("A-1")}},
			},
			Accepted: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusAccepted)
				_, _ = io.WriteString(w, `{"carrierBookingRequestReference":"`+request+`"}`)
			},
		}
		t.Run(envelope, func(t *testing.T) { t.Parallel(); conformance.Run(t, h) })
	}
}
