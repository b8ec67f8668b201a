package maersk

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

const (
	defaultPage = 100
	maxPage     = 1000
	created     = "eventCreatedDateTime"
)

// filters are the parameters of a query, by the column that each is of.
var filters = map[string]string{
	"eventType": "type", "shipmentEventTypeCode": "shipment_code", "documentTypeCode": "document_type", "carrierBookingReference": "booking",
	"bookingReference": "booking", "transportDocumentReference": "transport_document", "transportDocumentID": "transport_document",
	"transportEventTypeCode": "transport_code", "transportCallID": "call", "vesselIMONumber": "imo", "carrierVoyageNumber": "voyage",
	"exportVoyageNumber": "voyage", "carrierServiceCode": "service", "UNLocationCode": "place", "equipmentEventTypeCode": "equipment_code",
	"equipmentReference": "equipment",
}

// shipmentFilters are those of which Maersk wants one.
var shipmentFilters = []string{"carrierBookingReference", "transportDocumentReference", "equipmentReference"}

var operators = map[string]storage.Op{"": storage.Eq, "eq": storage.Eq, "gte": storage.Ge, "gt": storage.Gt, "lte": storage.Le, "lt": storage.Lt}

// frozen is a cursor: the query as it was and where its page begins.
type frozen struct {
	Query string `json:"q"`
	From  int    `json:"o"`
}

func (s *System) seal(f frozen) string {
	body, _ := json.Marshal(f) // strings and numbers only
	m := hmac.New(sha256.New, s.key)
	m.Write(body)
	return base64.RawURLEncoding.EncodeToString(append(m.Sum(nil)[:16], body...))
}

func (s *System) open(cursor string) (frozen, bool) {
	var f frozen
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) < 16 {
		return f, false
	}
	m := hmac.New(sha256.New, s.key)
	m.Write(raw[16:])
	return f, hmac.Equal(m.Sum(nil)[:16], raw[:16]) && json.Unmarshal(raw[16:], &f) == nil
}

// list answers a page of events: bare as DCSA has it, or in Maersk's envelope.
func (w *work) list(ctx context.Context) (exchange.Answer, error) {
	if w.c.Method != http.MethodGet {
		return w.s.refusal(w.c, http.StatusMethodNotAllowed, "", "only GET"), nil
	}
	given, err := url.ParseQuery(w.c.RawQuery)
	if err != nil {
		return w.s.refusal(w.c, http.StatusBadRequest, "", "The query cannot be read"), nil
	}
	at := frozen{Query: w.c.RawQuery}
	if cursor := given.Get("cursor"); cursor != "" {
		var ok bool
		if at, ok = w.s.open(cursor); !ok || len(given) > 1 {
			return w.s.refusal(w.c, http.StatusBadRequest, "", "The cursor is not valid, or other parameters stand beside it"), nil
		}
		given, _ = url.ParseQuery(at.Query) // it was read when it was sealed
	}
	wrapped := w.c.Path != dcsaEvents
	q, problem := query(given)
	if problem == "" && wrapped && !slices.ContainsFunc(shipmentFilters, given.Has) {
		problem = "One of " + strings.Join(shipmentFilters, ", ") + " is mandatory"
	}
	if problem != "" {
		return w.s.refusal(w.c, http.StatusBadRequest, "", problem), nil
	}
	q.Where = append(q.Where.(storage.And), is("owner", w.owner))
	total, err := w.tx.Count(ctx, events, q.Where)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("counting events: %w", err)
	}
	if total == 0 && wrapped {
		return w.s.refusal(w.c, http.StatusNotFound, "", "No events found for the given references, or you are no party to the shipment"), nil
	}
	size := q.Limit
	q.Offset = at.From
	rows, err := w.tx.Find(ctx, events, q)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading events: %w", err)
	}
	bodies := make([]json.RawMessage, len(rows))
	for i, row := range rows {
		bodies[i] = json.RawMessage(textOf(row, "body"))
	}
	return w.page(bodies, wrapped, at, size, total), nil
}

func (w *work) page(bodies []json.RawMessage, wrapped bool, at frozen, size, total int) exchange.Answer {
	header := jsonHeader()
	link := func(name string, from int) {
		value := w.s.seal(frozen{Query: at.Query, From: from})
		switch { // a URL here, a cursor there: a client has to take both
		case w.c.Foreign:
			value = "https://elsewhere.example" + w.c.Path + "?cursor=" + value
		case wrapped:
			value = w.c.Base + w.c.Path + "?cursor=" + value
		}
		header.Set(name, value)
	}
	link("Current-Page", at.From)
	link("First-Page", 0)
	link("Last-Page", max(0, (total-1)/size*size))
	if at.From > 0 {
		link("Prev-Page", max(0, at.From-size))
	}
	if at.From+len(bodies) < total {
		link("Next-Page", at.From+len(bodies))
	}
	body := []byte(text(bodies))
	if wrapped {
		body = []byte(text(map[string]any{"events": bodies}))
	}
	return exchange.Answer{Status: http.StatusOK, Header: header, Body: body}
}

// query reads the parameters; problem says what is wrong with them.
func query(given url.Values) (q storage.Query, problem string) {
	q = storage.Query{Limit: defaultPage, Order: []storage.Order{{Column: "created"}, {Column: "id"}}}
	where := storage.And{}
	for name, values := range given {
		base, suffix, _ := strings.Cut(name, ":")
		column, known := filters[base]
		switch {
		case base == "limit":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 1 {
				return q, "limit is a number from 1 on"
			}
			q.Limit = min(n, maxPage)
		case base == "sort":
			if q.Order, problem = order(values[0]); problem != "" {
				return q, problem
			}
		case base == created || base == "eventDateTime":
			op, ok := operators[suffix]
			at, err := time.Parse(time.RFC3339Nano, values[0])
			if !ok || err != nil {
				return q, base + " is a moment such as 2026-01-15T00:00:00Z, with one of :gte :gt :lte :lt :eq behind its name"
			}
			where = append(where, storage.Compare{Column: map[bool]string{true: "created", false: "at"}[base == created], Op: op, Value: at.UTC().Truncate(time.Microsecond)})
		case known && suffix == "":
			wanted := make([]any, 0, 1)
			for v := range strings.SplitSeq(values[0], ",") {
				wanted = append(wanted, strings.TrimSpace(v))
			}
			where = append(where, storage.In{Column: column, Values: wanted})
		default:
			return q, "There is no parameter " + name
		}
	}
	q.Where = where
	return q, ""
}

func order(by string) (list []storage.Order, problem string) {
	for one := range strings.SplitSeq(by, ",") {
		name, way, _ := strings.Cut(one, ":")
		column := map[string]string{created: "created", "eventDateTime": "at"}[name]
		if column == "" || way != "" && way != "ASC" && way != "DESC" {
			return nil, "sort is by eventCreatedDateTime or eventDateTime, with :ASC or :DESC behind it"
		}
		list = append(list, storage.Order{Column: column, Desc: way == "DESC"})
	}
	return list, ""
}
