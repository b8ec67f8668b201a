package sap_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sap"
)

// BenchmarkPage reads a page of orders over HTTP, as cells, as rows, and as a client
// with nothing but encoding/json would: the server is part of the time of all three.
func BenchmarkPage(b *testing.B) {
	const rows = 1000
	var page bytes.Buffer
	page.WriteString(`{"d":{"results":[`)
	for i := range rows {
		if i > 0 {
			page.WriteByte(',')
		}
		fmt.Fprintf(&page, `{"__metadata":{"id":"https://h/sap/opu/odata/sap/O_SRV/Orders('%[1]d')","uri":"https://h/sap/opu/odata/sap/O_SRV/Orders('%[1]d')","type":"O.OrderType","etag":"W/\"datetimeoffset'2016-09-02T06%%3A15%%3A47.1257050Z'\""},`+
			`"SalesOrder":"%[1]d","Text":"order number %[1]d","Amount":"%[1]d.65","Count":7,"Paid":true,"On":"\/Date(1471392000000)\/","At":"\/Date(147279694%04[1]d+0000)\/"}`, i)
	}
	page.WriteString(`]}}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/$metadata") {
			aside(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(page.Bytes())
	}))
	b.Cleanup(server.Close)
	s, err := sap.New(connector.Config{Name: "erp", System: sap.System, URL: server.URL, Tables: map[string]connector.Table{"orders": {Path: "O_SRV/Orders"}}}, connector.Deps{Client: server.Client()})
	require.NoError(b, err)
	q := connector.Query{Table: "orders", Select: []string{"SalesOrder", "Text", "Amount", "Paid", "On", "At"}, Limit: rows}
	rate := func(name string, read func(b *testing.B) (int, error)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(page.Len()))
			b.ReportAllocs()
			for b.Loop() {
				n, err := read(b)
				if err != nil || n != rows {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	rate("cells", func(b *testing.B) (int, error) {
		page, err := s.ExtractPage(b.Context(), q, "")
		return page.Rows(), err
	})
	rate("rows", func(b *testing.B) (int, error) {
		page, err := s.ReadPage(b.Context(), q, "")
		return len(page.Rows), err
	})
	rate("encoding-json", func(b *testing.B) (int, error) {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/sap/opu/odata/sap/O_SRV/Orders", nil)
		if err != nil {
			return 0, err
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return 0, err
		}
		var got struct {
			D struct {
				Results []map[string]any `json:"results"`
			} `json:"d"`
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		return rows, dec.Decode(&got)
	})
}
