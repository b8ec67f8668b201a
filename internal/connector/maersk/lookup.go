package maersk

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

type (
	// references knows which bookings there are with a reference of the shipper, as the
	// SHIPMENT events told so far: the API has no question for it.
	references struct {
		turn chan struct{} // whoever holds it asks; the others wait

		mu    sync.Mutex
		by    map[string][]string // the carrier's request references, by ours, oldest first
		until time.Time           // of the newest event that was seen
	}

	// booking is one that was found. Processing: the carrier knows it and shows nothing yet.
	booking struct {
		request    string
		document   map[string]any
		processing bool
	}
)

// mostReferences bounds what is remembered; beyond it everything is asked for anew.
const mostReferences = 100_000

func newReferences() *references {
	return &references{turn: make(chan struct{}, 1), by: map[string][]string{}}
}

func (r *references) of(own string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.by[own])
}

func (r *references) add(own, request string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if own != "" && request != "" && !slices.Contains(r.by[own], request) {
		r.by[own] = append(r.by[own], request)
	}
}

// find gives the booking with a reference of ours that counts: of several the newest
// that is not over, else the newest. nil: there is none, as far as the carrier shows.
func (m *Maersk) find(ctx context.Context, own string) (*booking, error) {
	requests, err := m.requests(ctx, own)
	if err != nil {
		return nil, err
	}
	var newest *booking
	for _, request := range slices.Backward(requests) {
		b, err := m.get(ctx, request)
		if err != nil {
			return nil, err
		}
		if b == nil || !b.processing && ownReference(b.document) != own { // it has another reference by now
			continue
		}
		if b.processing || !over(b.document) {
			return b, nil
		}
		if newest == nil {
			newest = b
		}
	}
	return newest, nil
}

// requests are the carrier's references of the bookings with one of ours.
func (m *Maersk) requests(ctx context.Context, own string) ([]string, error) {
	how := m.config.Options["booking_lookup"]
	switch how {
	case "none":
		return nil, fault.New(fault.Rejected, "maersk.no_lookup", "bookings of connection "+m.config.Name+" cannot be looked up by our reference, so whether there is one a person has to say; "+
			"option booking_lookup says how they could be", nil)
	case "events":
		if err := m.learn(ctx); err != nil {
			return nil, err
		}
		return m.known.of(own), nil
	}
	var list []string
	_, err := m.do(ctx, connector.Request{Method: http.MethodGet, Target: strings.ReplaceAll(how, "{reference}", connector.EscapeQuery(own)),
		Decode: func(_ http.Header, body []byte) error {
			v, err := strictjson.Decode(body, "")
			if o, ok := v.(map[string]any); ok {
				v = o["bookings"]
			}
			for _, b := range objects(v) {
				if request, _ := b[requestColumn].(string); request != "" && ownReference(b) == own {
					list = append(list, request)
				}
			}
			return err
		}})
	if fault.Is(err, fault.NotFound) {
		err = nil
	}
	return list, err
}

// learn reads the SHIPMENT events since the last time, an overlap back.
func (m *Maersk) learn(ctx context.Context) error {
	r := m.known
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	if len(r.by) > mostReferences {
		r.by, r.until = map[string][]string{}, time.Time{}
	}
	since := r.until.Add(-m.overlap)
	if r.until.IsZero() {
		since = m.now().Add(-m.window)
	}
	r.mu.Unlock()
	target := fmt.Sprintf("%s?eventType=SHIPMENT&documentTypeCode=CBR,BKG&limit=1000&%s:gte=%s", m.config.Options["events_path"], created, connector.EscapeQuery(since.UTC().Format(time.RFC3339)))
	token, until := "", r.until
	for {
		items, next, err := m.list(ctx, target)
		if err != nil {
			return err
		}
		for _, item := range items {
			row := flatten(item)
			own, _ := row[referenceColumn].(string)
			request, _ := row[requestColumn].(string)
			r.add(own, request)
			if at := createdAt(row); at.After(until) {
				until = at
			}
		}
		if next == "" {
			break
		}
		if token, err = m.transport.Advance(token, next); err != nil {
			return err
		}
		if target, err = m.page(next); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = until
	return nil
}

// get reads a booking by a reference of the carrier; nil: there is none.
func (m *Maersk) get(ctx context.Context, ref string) (*booking, error) {
	if !isReference(ref) {
		return nil, fault.Invalidf("maersk.reference", "a reference of the carrier has letters, digits and hyphens only")
	}
	b := &booking{request: ref}
	answer, err := m.do(ctx, connector.Request{Method: http.MethodGet, Target: m.config.Options["bookings_path"] + "/" + ref,
		Decode: func(_ http.Header, body []byte) error {
			if len(body) == 0 {
				return nil
			}
			v, err := strictjson.Decode(body, "")
			b.document, _ = v.(map[string]any)
			return err
		}})
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case answer.Status == http.StatusAccepted:
		b.processing = true
		return b, nil
	case b.document == nil || b.document[statusColumn] == nil:
		return nil, m.transport.Malformed("a booking has no bookingStatus")
	}
	if request, _ := b.document[requestColumn].(string); request != "" {
		b.request = request
	}
	return b, nil
}

func isReference(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// over reports whether nothing more happens to a booking.
func over(d map[string]any) bool {
	switch d[statusColumn] {
	case "REJECTED", "DECLINED", "CANCELLED", "COMPLETED":
		return true
	}
	return false
}

// refused reports whether the carrier did not take a booking.
func refused(d map[string]any) bool {
	return d[statusColumn] == "REJECTED" || d[statusColumn] == "DECLINED"
}

// ReadByKey gives bookings by our reference or the carrier's, and events by eventID of
// none: Track & Trace has no such question. A booking that the carrier refused is none
// to who asks by our reference, so that a write in doubt is not taken for one that
// stands, and one that is undecided is waited for as a write waits; by the carrier's
// reference it is there, with its status.
func (m *Maersk) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, columns []string) ([]connector.Row, error) {
	t, err := m.config.Table(table)
	if err != nil {
		return nil, err
	}
	if err := t.Check(append(slices.Clone(key), columns...)...); err != nil {
		return nil, err
	}
	if t.Path != kindBookings || len(key) != 1 || !slices.Contains([]string{referenceColumn, requestColumn, carrierColumn}, key[0]) {
		return nil, fault.Invalidf("connector.key", "only bookings are read by key, and by one of %s, %s, %s", referenceColumn, requestColumn, carrierColumn)
	}
	rows := make([]connector.Row, len(keys))
	for i, k := range keys {
		text, _ := k[key[0]].(string)
		var b *booking
		if key[0] == referenceColumn {
			b, err = m.find(ctx, text)
			if err == nil && b != nil && !b.processing && undecided(b.document) {
				b = cmp.Or(m.decision(ctx, b.request), b)
			}
			if err == nil && b != nil && !b.processing && refused(b.document) {
				b = nil
			}
		} else {
			b, err = m.get(ctx, text)
		}
		switch {
		case err != nil:
			return nil, err
		case b == nil:
		case b.processing:
			return nil, m.inProcess()
		default:
			rows[i] = pick(rowOf(b.document), append(slices.Clone(columns), key...))
		}
	}
	return rows, nil
}

// Refused implements connector.Refuser: "maersk.booking_refused" with the carrier's codes.
func (m *Maersk) Refused(ctx context.Context, _ string, key []string, row connector.Row) error {
	if len(key) != 1 || key[0] != referenceColumn {
		return nil
	}
	own, _ := row[referenceColumn].(string)
	b, err := m.find(ctx, own)
	if err != nil || b == nil || b.processing || !refused(b.document) {
		return err
	}
	return m.refusedBooking(b.document)
}

// inProcess is the fault of a booking that the carrier does not show yet.
func (m *Maersk) inProcess() error {
	f := fault.New(fault.Unavailable, "maersk.processing", m.config.Name+" has the booking in processing and shows nothing of it yet", nil)
	f.After = m.scaled(2 * time.Second)
	return f
}

func (m *Maersk) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) / m.speed) }

// readBookings answers a read of bookings, which always is by one reference.
func (m *Maersk) readBookings(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	if token != "" {
		return connector.Page{}, connector.BadToken()
	}
	at := slices.IndexFunc(q.Where, func(w connector.Match) bool {
		return w.Column == referenceColumn || w.Column == requestColumn || w.Column == carrierColumn
	})
	if at < 0 {
		return connector.Page{}, fault.Invalidf("maersk.reference", "bookings are read by one of %s, %s, %s: the API has no list of them", referenceColumn, requestColumn, carrierColumn)
	}
	text, _ := q.Where[at].Value.(string)
	var b *booking
	var err error
	if q.Where[at].Column == referenceColumn {
		b, err = m.find(ctx, text)
	} else {
		b, err = m.get(ctx, text)
	}
	page := connector.Page{Rows: []connector.Row{}}
	switch {
	case err != nil || b == nil:
		return page, err
	case b.processing:
		return page, m.inProcess()
	}
	if row := rowOf(b.document); matches(row, q) {
		page.Rows = append(page.Rows, pick(row, q.Select))
	}
	return page, nil
}
