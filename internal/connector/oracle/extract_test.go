package oracle_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/oracle"
	"patchbay/internal/fault"
)

// extractor returns a connector whose system answers every request with body.
func extractor(t testing.TB, body func(r *http.Request) string) *oracle.Oracle {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body(r))
	}))
	t.Cleanup(s.Close)
	o, err := oracle.New(connector.Config{Name: "fusion", System: oracle.System, URL: s.URL, Tables: map[string]connector.Table{
		"balances": {Path: "inventoryOnhandBalances", Keys: [][]string{{"ItemNumber", "SubinventoryCode"}}}}}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return o
}

var balances = connector.Query{Table: "balances", Select: []string{"ItemNumber", "PrimaryQuantity", "LotNumber"}}

func TestQuantitiesAreExactAndOnlyWhatIsAskedForIsACell(t *testing.T) {
	t.Parallel()
	o := extractor(t, func(*http.Request) string {
		return `{"items":[{"OnhandQuantityId":7,"PrimaryQuantity":12345678901234567.1250,"ItemNumber":"A"},{"ItemNumber":"B","PrimaryQuantity":0.10,"LotNumber":"L","links":[{"rel":"self"}]}],"count":2,"hasMore":false,"limit":499,"offset":0}`
	})
	sheet, err := o.ExtractPage(t.Context(), balances, "")
	require.NoError(t, err)
	require.Empty(t, sheet.Next)
	require.Positive(t, sheet.Bytes)
	require.Equal(t, []connector.Cell{[]byte(`"A"`), []byte(`12345678901234567.1250`), []byte(`null`), []byte(`"B"`), []byte(`0.10`), []byte(`"L"`)}, sheet.Cells)
	page, err := o.ReadPage(t.Context(), balances, "")
	require.NoError(t, err)
	same, err := connector.RowsOf(sheet)
	require.NoError(t, err)
	require.Equal(t, page.Rows, same, "cells are what rows are")
}

func TestSheetsFollowTheOffsetAndEndWhereOracleSaysSo(t *testing.T) {
	t.Parallel()
	o := extractor(t, func(r *http.Request) string {
		offset := r.URL.Query().Get("offset")
		return fmt.Sprintf(`{"items":[{"ItemNumber":"at %s"},{"ItemNumber":"more"}],"count":2,"hasMore":%t,"offset":%s}`, offset, offset != "4", offset)
	})
	var got []string
	for token := ""; ; {
		sheet, err := o.ExtractPage(t.Context(), balances, token)
		require.NoError(t, err)
		got = append(got, string(sheet.Row(0)[0]))
		if token = sheet.Next; token == "" {
			break
		}
	}
	require.Equal(t, []string{`"at 0"`, `"at 2"`, `"at 4"`}, got)
}

func TestASheetThatContradictsItselfIsNone(t *testing.T) {
	t.Parallel()
	for body, code := range map[string]string{
		`{"items":[{"ItemNumber":"a"}],"count":2,"hasMore":false,"offset":0}`: "vendor.malformed",
		`{"items":[{"ItemNumber":"a"}],"count":1,"offset":0}`:                 "vendor.malformed",
		`{"items":[],"count":0,"hasMore":true,"offset":0}`:                    "vendor.page_loop",
		`{"items":[{"ItemNumber":"a"}],"count":1,"hasMore":true,"offset":5}`:  "vendor.page_loop",
		`{"items":{"canary":1},"hasMore":false}`:                              "vendor.malformed",
		`{"count":0,"hasMore":false}`:                                         "vendor.malformed",
		`{"items":[{"ItemNumber":"a"}],"count":1,"hasMore":fal`:               "vendor.truncated",
	} {
		o := extractor(t, func(*http.Request) string { return body })
		_, err := o.ExtractPage(t.Context(), balances, "")
		require.Equal(t, code, fault.Of(err).Code, body)
	}
}
