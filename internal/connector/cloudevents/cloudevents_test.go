package cloudevents_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/cloudevents"
	"patchbay/internal/fault"
)

var came = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func receiver(t testing.TB, options ...string) *cloudevents.Receiver {
	t.Helper()
	c := connector.Config{
		Name: "shop", System: cloudevents.System, Hook: connector.Hook{Scheme: "none"}, Options: map[string]string{},
		Tables: map[string]connector.Table{"orders": {Path: "com.shop.order.*"}, "returns": {Path: "com.shop.return"}},
	}
	for i := 0; i < len(options); i += 2 {
		c.Options[options[i]] = options[i+1]
	}
	r, err := cloudevents.New(c, connector.Deps{})
	require.NoError(t, err)
	return r
}

func delivery(media, body string, headers ...string) connector.Delivery {
	h := http.Header{"Content-Type": {media}}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return connector.Delivery{Header: h, Body: []byte(body), At: came}
}

const (
	structured = "application/cloudevents+json"
	batched    = "application/cloudevents-batch+json; charset=utf-8"
)

func event(more string) string {
	return `{"specversion":"1.0","id":"1","source":"/shop","type":"com.shop.order.created","subject":"o-1","time":"2026-03-01T11:59:59.5Z",` +
		`"dataschema":"https://x","partitionkey":"p","sequence":"42","patchbayorigin":"flow-7"` + more + `}`
}

var read = connector.Event{
	ID: "/shop 1", Table: "orders", Record: "o-1", Change: "create", Version: 42, At: time.Date(2026, 3, 1, 11, 59, 59, 5e8, time.UTC),
	After: connector.Row{"total": json.Number("12.50"), "note": nil}, Origin: "flow-7",
}

func TestAnEventIsTheSameInEveryMode(t *testing.T) {
	t.Parallel()
	r := receiver(t)
	data := `{"total":12.50,"note":null}`
	for name, d := range map[string]connector.Delivery{
		"structured": delivery(structured, event(`,"data":`+data)),
		"base64":     delivery(structured, event(`,"datacontenttype":"application/json","data_base64":"eyJ0b3RhbCI6MTIuNTAsIm5vdGUiOm51bGx9"`)),
		"batch":      delivery(batched, `[`+event(`,"data":`+data)+`]`),
		"binary": delivery("application/json", data, "ce-specversion", "1.0", "ce-id", "1", "ce-source", "/shop", "ce-type", "com.shop.order.created", "ce-subject", "o%2D1",
			"ce-time", "2026-03-01T11:59:59.5Z", "ce-sequence", "42", "ce-patchbayorigin", "flow-7"),
	} {
		require.True(t, r.Recognises(d), name)
		got, err := r.Receive(t.Context(), d)
		require.NoError(t, err, name)
		require.Equal(t, []connector.Event{read}, got, name)
	}
	require.False(t, r.Recognises(delivery("application/json", data)))
}

func TestWhatTheEventDoesNotSayTheConnectionDoes(t *testing.T) {
	t.Parallel()
	one := func(r *cloudevents.Receiver, kind, more string) connector.Event {
		t.Helper()
		got, err := r.Receive(t.Context(), delivery(structured, `{"specversion":"1.0","id":"1","source":"/shop","type":"`+kind+`"`+more+`}`))
		require.NoError(t, err)
		return got[0]
	}
	plain := receiver(t)
	require.Equal(t, "update", one(plain, "com.shop.return", "").Change, "the default")
	require.Equal(t, "com.other", one(plain, "com.other", "").Table, "as the system calls it")
	require.Equal(t, came, one(plain, "com.other", "").At)
	require.Equal(t, "delete", one(plain, "com.shop.order.removed", "").Change)
	require.Equal(t, "delete", one(plain, "com.shop.return", `,"change":"deleted"`).Change)
	require.Equal(t, "create", one(receiver(t, "change.returns", "create"), "com.shop.return", "").Change)

	deleted := one(receiver(t, "whole", "true"), "com.shop.order.deleted", `,"data":{"total":1}`)
	require.Nil(t, deleted.After)
	require.Equal(t, connector.Row{"total": json.Number("1")}, deleted.Before)
	require.False(t, deleted.Whole)

	images := one(receiver(t, "after", "/new", "before", "/old", "record", "/new/id", "whole", "true"), "com.shop.order.updated", `,"data":{"new":{"id":7,"a":1},"old":{"id":7,"a":0}}`)
	require.Equal(t, "7", images.Record)
	require.True(t, images.Whole)
	require.Equal(t, json.Number("0"), images.Before["a"])
}

func TestAnEventThatIsNoneIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	r := receiver(t)
	for name, c := range map[string]struct {
		delivery connector.Delivery
		code     string
	}{
		"other media":        {delivery("application/json", `{}`), "hook.media"},
		"W23 document type":  {delivery(structured, ` <!DOCTYPE x [<!ENTITY a "b">]><x/>`), "xml.doctype"},
		"XML":                {delivery(structured, `<x/>`), "hook.media"},
		"no JSON":            {delivery(structured, `{"id":`), "json.syntax"},
		"twice the same key": {delivery(structured, `{"id":"1","id":"2"}`), "json.duplicate_key"},
		"no id":              {delivery(structured, strings.Replace(event(""), `"id":"1",`, "", 1)), "hook.body"},
		"old version":        {delivery(structured, strings.Replace(event(""), `"1.0"`, `"0.3"`, 1)), "hook.body"},
		"id is a number":     {delivery(structured, strings.Replace(event(""), `"id":"1"`, `"id":1`, 1)), "hook.body"},
		"list as extension":  {delivery(structured, event(`,"list":[1]`)), "hook.body"},
		"name of capitals":   {delivery(structured, event(`,"myThing":"x"`)), "hook.body"},
		"no time":            {delivery(structured, strings.Replace(event(""), "2026-03-01T", "", 1)), "hook.body"},
		"data is a list":     {delivery(structured, event(`,"data":[1]`)), "hook.body"},
		"both kinds of data": {delivery(structured, event(`,"data":{},"data_base64":"e30="`)), "hook.body"},
		"data is XML":        {delivery(structured, event(`,"datacontenttype":"text/xml","data":"<x/>"`)), "hook.media"},
		"control characters": {delivery(structured, strings.Replace(event(""), `"o-1"`, `"o\n1"`, 1)), "hook.body"},
		"batch of one":       {delivery(batched, event("")), "hook.body"},
		"W21 too many":       {delivery(batched, "["+strings.Repeat(event("")+",", 1000)+event("")+"]"), "hook.batch_too_large"},
	} {
		_, err := r.Receive(t.Context(), c.delivery)
		require.Equal(t, c.code, fault.Of(err).Code, name)
		require.Equal(t, fault.Invalid, fault.Of(err).Class, name)
	}
	_, err := r.Receive(t.Context(), delivery(batched, "["+event("")+`,{"specversion":"1.0"}]`))
	require.Contains(t, fault.Of(err).Text, "event 1 of the batch")
	most, err := r.Receive(t.Context(), delivery(batched, "["+strings.Repeat(event("")+",", 999)+event("")+"]"))
	require.NoError(t, err)
	require.Len(t, most, 1000)
}

func TestTheProofComesBeforeTheBody(t *testing.T) {
	t.Parallel()
	r, err := cloudevents.New(connector.Config{Name: "shop", Hook: connector.Hook{Scheme: "key", Secrets: []string{"s"}}}, connector.Deps{})
	require.NoError(t, err)
	_, err = r.Receive(t.Context(), delivery(structured, `no JSON`))
	require.Equal(t, "hook.unsigned", fault.Of(err).Code)
}

func BenchmarkBatchOf100(b *testing.B) {
	r := receiver(b)
	list := make([]string, 100)
	for i := range list {
		list[i] = fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/cases","type":"com.shop.order.updated","subject":"c-%d","time":"2026-03-01T11:59:59Z","sequence":"%d",`+
			`"data":{"incidentid":"c-%d","statuscode":%d,"title":"Display stays dark","customer_email":"a.b%d@customer.example","msx_customerfacing":true}}`, i, i, i, i, i%5, i)
	}
	d := delivery(batched, "["+strings.Join(list, ",")+"]")
	b.ReportAllocs()
	b.SetBytes(int64(len(d.Body)))
	for b.Loop() {
		if _, err := r.Receive(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*100)/b.Elapsed().Seconds(), "events/s")
}

// Whatever comes, the answer is events that have what they must or a fault of the sender.
func FuzzReceive(f *testing.F) {
	r := receiver(f)
	f.Add(structured, event(`,"data":{"a":1}`))
	f.Add(batched, "["+event("")+"]")
	f.Add("application/json", `{"a":1}`)
	f.Fuzz(func(t *testing.T, media, body string) {
		events, err := r.Receive(t.Context(), delivery(media, body, "ce-specversion", "1.0", "ce-id", "1", "ce-source", "s", "ce-type", "t"))
		if err != nil && fault.Of(err).Class != fault.Invalid {
			t.Fatalf("%v is no fault of the sender", err)
		}
		for _, e := range events {
			if err == nil && (e.ID == "" || e.Table == "" || e.Change == "") {
				t.Fatalf("%+v lacks what it must have", e)
			}
		}
	})
}
