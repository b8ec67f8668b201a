package maersk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

const (
	eventID   = "eventID"
	milestone = "milestone"
	created   = "eventCreatedDateTime"
)

// parameters are the columns that Track & Trace itself filters by. Our own names are
// those of DCSA.
var parameters = map[string]string{
	"eventType": "", "shipmentEventTypeCode": "", "documentTypeCode": "", "carrierBookingReference": "", "transportDocumentReference": "",
	"transportEventTypeCode": "", "transportCallID": "", "vesselIMONumber": "", "carrierVoyageNumber": "", "exportVoyageNumber": "",
	"carrierServiceCode": "", "UNLocationCode": "", "equipmentEventTypeCode": "", "equipmentReference": "",
}

// shipments are the columns of which Maersk's own path wants one.
var shipments = []string{"carrierBookingReference", "transportDocumentReference", "equipmentReference"}

// ReadPage reads events by their references and codes, or bookings by theirs. That there
// is nothing, or that the customer is no party to it, is an empty page.
func (m *Maersk) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	t, err := m.config.Table(q.Table)
	if err != nil {
		return connector.Page{}, err
	}
	if err := checkQuery(t, q); err != nil {
		return connector.Page{}, err
	}
	if t.Path == kindBookings {
		return m.readBookings(ctx, q, token)
	}
	target, err := m.target(q, token)
	if err != nil {
		return connector.Page{}, err
	}
	items, next, err := m.list(ctx, target)
	if err != nil {
		return connector.Page{}, err
	}
	page := connector.Page{Rows: []connector.Row{}}
	for _, item := range items {
		row := flatten(item)
		if matches(row, q) {
			page.Rows = append(page.Rows, pick(row, q.Select))
		}
	}
	page.Next, err = m.transport.Advance(token, next)
	return page, err
}

func checkQuery(t connector.Table, q connector.Query) error {
	if len(q.Select) == 0 {
		return fault.Invalidf("connector.columns", "a read of table %s names its columns", t.Name)
	}
	if len(q.Expand) > 0 {
		return fault.Invalidf("connector.expand", "table %s has no children", t.Name)
	}
	columns := slices.Clone(q.Select)
	for _, w := range q.Where {
		columns = append(columns, w.Column)
		if _, ok := connector.Literal(w.Value); !ok {
			return fault.Invalidf("connector.value", "table %s: %s is compared with what is no single value", t.Name, w.Column)
		}
	}
	if q.Since != nil && (q.Since.Column != created || t.Path == kindBookings) {
		return fault.Invalidf("connector.no_since", "table %s is read since %s of events, and by nothing else", t.Name, created)
	}
	return t.Check(columns...)
}

// target is the address of the first page, or of one that the system gave.
func (m *Maersk) target(q connector.Query, token string) (string, error) {
	path := m.config.Options["events_path"]
	if token != "" {
		next, err := connector.Continuation(token)
		if err != nil {
			return "", err
		}
		return m.page(next)
	}
	size := m.config.Options["page"]
	if q.Limit > 0 {
		size = fmt.Sprint(min(q.Limit, 1000))
	}
	parts := []string{"limit=" + size}
	shipment := false
	for _, w := range q.Where {
		if _, ours := parameters[w.Column]; !ours || w.Value == nil {
			continue // told apart here
		}
		shipment = shipment || slices.Contains(shipments, w.Column)
		parts = append(parts, w.Column+"="+connector.EscapeQuery(fmt.Sprint(w.Value)))
	}
	if !shipment && m.config.Options["events_by"] == byReference {
		return "", fault.Invalidf("maersk.reference", "events of connection %s are asked for by one of %s; where they can be read without, set option events_by to %s",
			m.config.Name, strings.Join(shipments, ", "), byCreation)
	}
	if q.Since != nil {
		parts = append(parts, created+":gte="+connector.EscapeQuery(fmt.Sprint(q.Since.Value)))
	}
	return path + "?" + strings.Join(parts, "&"), nil
}

// page is the address of a next page: a URL of the connection's own host as it is, else
// a cursor, beside which nothing may stand.
func (m *Maersk) page(next string) (string, error) {
	if u, err := url.Parse(next); err == nil && (u.IsAbs() || strings.HasPrefix(next, "/")) {
		if strings.HasPrefix(next, "//") {
			return "", connector.BadToken()
		}
		return next, nil // of another host: the transport refuses it
	}
	next = strings.TrimPrefix(next, "?")
	if values, err := url.ParseQuery(next); err == nil && values.Get("cursor") != "" {
		next = values.Get("cursor")
	}
	return m.config.Options["events_path"] + "?cursor=" + connector.EscapeQuery(next), nil
}

// list reads one page of events in any of the shapes that are seen: bare, in Maersk's
// envelope, and with another one around that.
func (m *Maersk) list(ctx context.Context, target string) (items []map[string]any, next string, err error) {
	var body any
	answer, err := m.do(ctx, connector.Request{Method: http.MethodGet, Target: target,
		Decode: func(_ http.Header, text []byte) (err error) {
			body, err = strictjson.Decode(text, "")
			return err
		}})
	if fault.Of(err) != nil && fault.Of(err).Code == System+".not_found" {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	if items, err = m.unwrap(body); err != nil {
		return nil, "", err
	}
	next = strings.TrimSpace(answer.Header.Get("Next-Page"))
	if next != "" {
		if u, err := url.Parse(next); err == nil && u.IsAbs() {
			if err := m.transport.Own(next); err != nil {
				return nil, "", err // before anything of the page is used as the beginning of more
			}
		}
	}
	return items, next, nil
}

func (m *Maersk) unwrap(body any) ([]map[string]any, error) {
	if o, ok := body.(map[string]any); ok {
		if inner, ok := o["body"].(map[string]any); ok {
			o = inner
		}
		body = o["events"]
	}
	list, ok := body.([]any)
	if !ok {
		return nil, m.transport.Malformed("there is no list of events")
	}
	items := make([]map[string]any, len(list))
	for i, one := range list {
		if items[i], ok = one.(map[string]any); !ok {
			return nil, m.transport.Malformed("an event is no object")
		}
	}
	return items, nil
}

// flatten gives an event as a row: its own members, those of its transport call, and its
// references by the names that DCSA has for them.
func flatten(e map[string]any) connector.Row {
	row := connector.Row{}
	call, _ := e["transportCall"].(map[string]any)
	for _, name := range []string{"transportCallID", "carrierServiceCode", "carrierVoyageNumber", "exportVoyageNumber", "importVoyageNumber", "transportCallSequenceNumber",
		"UNLocationCode", "facilityCode", "facilityTypeCode", "modeOfTransport"} {
		if v, ok := call[name]; ok {
			row[name] = v
		}
	}
	vessel, _ := call["vessel"].(map[string]any)
	for _, name := range []string{"vesselIMONumber", "vesselName"} {
		if v, ok := vessel[name]; ok {
			row[name] = v
		}
	}
	for _, of := range []any{e["eventLocation"], call["location"]} {
		place, _ := of.(map[string]any)
		for _, name := range []string{"UNLocationCode", "locationName"} {
			if v, ok := place[name]; ok {
				row[name] = v
			}
		}
	}
	for name, v := range e {
		row[name] = v
	}
	document(row, e)
	if s, _ := row[eventID].(string); s == "" {
		row[eventID] = digest(e)
	}
	row[milestone] = milestoneOf(row)
	return row
}

// document names the references of an event.
func document(row connector.Row, e map[string]any) {
	put := func(column string, v any) {
		if s, ok := v.(string); ok && s != "" && row[column] == nil {
			row[column] = s
		}
	}
	names := map[any]string{"BKG": "carrierBookingReference", "CBR": "carrierBookingRequestReference", "TRD": "transportDocumentReference"}
	if column := names[e["documentTypeCode"]]; column != "" {
		put(column, e["documentID"])
	}
	for _, r := range objects(e["documentReferences"]) {
		if column := names[r["documentReferenceType"]]; column != "" {
			put(column, r["documentReferenceValue"])
		}
	}
	for _, r := range objects(e["references"]) {
		if r["referenceType"] == "CR" {
			put("reference", r["referenceValue"])
		}
	}
	for _, name := range []string{"shipmentEventTypeCode", "transportEventTypeCode", "equipmentEventTypeCode"} {
		put("code", e[name])
	}
}

func objects(v any) []map[string]any {
	list, _ := v.([]any)
	var out []map[string]any
	for _, one := range list {
		if o, ok := one.(map[string]any); ok {
			out = append(out, o)
		}
	}
	return out
}

// digest stands for the ID of an event that has none.
func digest(e map[string]any) string {
	text, _ := json.Marshal(e) // it came out of JSON; keys are in order
	sum := sha256.Sum256(text)
	return "sha256-" + hex.EncodeToString(sum[:16])
}

// milestoneOf names what an event is an estimate or the fact of: the same code at the
// same call for the same container or document.
func milestoneOf(row connector.Row) string {
	parts := make([]string, 0, 5)
	for _, names := range [][]string{{"eventType"}, {"code"}, {"carrierBookingReference", "carrierBookingRequestReference", "documentID"},
		{"transportCallID", "UNLocationCode"}, {"equipmentReference", "documentTypeCode"}} {
		part := ""
		for _, name := range names {
			if s, _ := row[name].(string); s != "" {
				part = s
				break
			}
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "/")
}

// matches tells apart what the system did not, whether it can and did not or cannot.
func matches(row connector.Row, q connector.Query) bool {
	for _, w := range q.Where {
		got, there := row[w.Column]
		if there && got != nil && w.Value != nil {
			if !slices.Contains(strings.Split(fmt.Sprint(w.Value), ","), fmt.Sprint(got)) {
				return false
			}
			continue
		}
		if _, theirs := parameters[w.Column]; theirs && w.Value != nil {
			continue // they matched by something that the event does not show
		}
		if (got == nil) != (w.Value == nil) {
			return false
		}
	}
	if q.Since == nil {
		return true
	}
	since, err := time.Parse(time.RFC3339Nano, fmt.Sprint(q.Since.Value))
	return err != nil || createdAt(row).IsZero() || !createdAt(row).Before(since)
}

func createdAt(row connector.Row) time.Time {
	text, _ := row[created].(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// pick is a row with the columns asked for and no other.
func pick(row connector.Row, columns []string) connector.Row {
	out := make(connector.Row, len(columns))
	for _, c := range columns {
		if v, ok := row[c]; ok {
			out[c] = v
		}
	}
	return out
}
