package app

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/oracle"
	"patchbay/internal/fault"
	"patchbay/internal/sandbox"
	sandboxoracle "patchbay/internal/sandbox/oracle"
)

// warehouse is a connection to the Oracle of a sandbox of its own, which is the judge.
type warehouse struct {
	*oracle.Oracle

	t    *testing.T
	base string
}

func warehouseOf(t *testing.T) warehouse {
	t.Helper()
	s, err := sandbox.New(t.Context(), sandbox.Options{Lean: true, Products: 50})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	client := connector.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	v, err := oracle.New(connector.Config{
		Name: "scm", System: oracle.System, URL: server.URL + "/oracle", Options: map[string]string{"reference": "reservations.DemandSourceName"},
		Auth: connector.Auth{Kind: "basic", Username: "patchbay", Password: "sandbox-secret"},
		Tables: map[string]connector.Table{
			"reservations": {Path: "inventoryReservations", Keys: [][]string{{"DemandSourceName"}}},
			"onhand":       {Path: "inventoryOnhandBalances"},
			"attachments":  {Path: "itemsV2/child/ItemAttachment"},
			"items":        {Path: "itemsV2", Keys: [][]string{{"ItemNumber"}}},
		},
	}, connector.Deps{Client: client})
	require.NoError(t, err)
	return warehouse{v, t, server.URL}
}

func (w warehouse) control(method, path, body string) []byte {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.base+"/_sandbox/"+path, strings.NewReader(body))
	require.NoError(w.t, err)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(w.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(w.t, err)
	require.Less(w.t, answer.StatusCode, 300, string(text))
	return text
}

// reserved is what there is, by the sandbox's own rows.
func (w warehouse) reserved(reference string) (list []sandboxoracle.Reserved) {
	w.t.Helper()
	require.NoError(w.t, json.Unmarshal(w.control(http.MethodGet, "oracle/reservations?reference="+reference, ""), &list))
	return list
}

func reservation(reference, quantity string) connector.Row {
	return connector.Row{"DemandSourceName": reference, "DemandSourceTypeId": json.Number("13"), "SupplySourceTypeId": json.Number("13"), "OrganizationCode": "V1",
		"ItemNumber": "AS54888", "ReservationQuantity": json.Number(quantity)}
}

func (w warehouse) write(row connector.Row, existing bool) error {
	w.t.Helper()
	results, err := w.Upsert(w.t.Context(), connector.Upsert{Table: "reservations", Key: []string{"DemandSourceName"}, Rows: []connector.Row{row}, Existing: existing})
	if err != nil {
		return err
	}
	return results[0].Err
}

func none(reference string) connector.Row {
	return connector.Row{"DemandSourceName": reference, "ReservationQuantity": json.Number("0")}
}

func TestAReservationIsMadeOnceThoughItsAnswerIsLostAndIsDeletedByItsReference(t *testing.T) {
	t.Parallel()
	w := warehouseOf(t)
	byName := []string{"DemandSourceName"}
	require.False(t, w.Conditional("reservations", byName, false))
	w.control(http.MethodPut, "faults/oracle", `{"drop_after_commit":true,"method":"POST","count":1}`)
	require.Equal(t, fault.InDoubt, fault.Of(w.write(reservation("R-1", "2"), false)).Class)
	rows, err := w.ReadByKey(t.Context(), "reservations", byName, []connector.Row{{"DemandSourceName": "none"}, {"DemandSourceName": "R-1"}}, []string{"ReservationQuantity", "ItemNumber"})
	require.NoError(t, err)
	require.Nil(t, rows[0])
	require.Equal(t, connector.Row{"DemandSourceName": "R-1", "ItemNumber": "AS54888", "ReservationQuantity": json.Number("2")}, rows[1], "reading it back settles the doubt")
	require.NoError(t, w.write(reservation("R-1", "2.0"), false), "a repeat finds it")
	require.Len(t, w.reserved("R-1"), 1)

	require.NoError(t, w.write(connector.Row{"DemandSourceName": "R-1", "ReservationQuantity": json.Number("1")}, true), "reduced")
	require.Equal(t, "1", w.reserved("R-1")[0].Quantity)
	w.control(http.MethodPut, "faults/oracle", `{"drop_after_commit":true,"method":"DELETE","count":1}`)
	require.Equal(t, fault.InDoubt, fault.Of(w.write(none("R-1"), true)).Class)
	require.NoError(t, w.write(none("R-1"), true), "there is nothing left to delete")
	require.Empty(t, w.reserved("R-1"))
	require.NoError(t, w.write(connector.Row{"DemandSourceName": "R-9", "ReservationQuantity": json.Number("1")}, true))
	require.Empty(t, w.reserved(""), "what is not there is not made by an undo")
}

func TestARefusedReservationIsNamedAndReservesNothing(t *testing.T) {
	t.Parallel()
	w := warehouseOf(t)
	page, err := w.ReadPage(t.Context(), connector.Query{Table: "onhand", Select: []string{"PrimaryQuantity"}, Where: []connector.Match{
		{Column: "SummaryLevel", Value: "Organization"}, {Column: "OrganizationCode", Value: "V1"}, {Column: "ItemNumber", Value: "AS54888"}}}, "")
	require.NoError(t, err)
	all := page.Rows[0]["PrimaryQuantity"].(json.Number).String()
	f := fault.Of(w.write(reservation("R-2", all+"0"), false))
	require.Equal(t, "oracle.reservation_refused", f.Code)
	require.Equal(t, fault.Rejected, f.Class)
	require.Contains(t, f.Text, "INV_NOT_AVAILABLE at /ReservationQuantity")
	require.NoError(t, w.write(reservation("R-3", all), false), "all there is")
	require.Equal(t, "oracle.reservation_refused", fault.Of(w.write(reservation("R-4", "1"), false)).Code, "what is reserved is not there for others")
	require.NoError(t, w.write(none("R-3"), true))
	require.NoError(t, w.write(reservation("R-4", "1"), false))
	require.Len(t, w.reserved(""), 1)

	_, err = w.Upsert(t.Context(), connector.Upsert{Table: "items", Key: []string{"ItemNumber"}, Rows: []connector.Row{{"ItemNumber": "X"}}})
	require.Equal(t, "connector.key", fault.Of(err).Code)
	w.control(http.MethodPut, "faults/oracle", `{"status":503,"count":1,"method":"POST"}`)
	require.Equal(t, fault.InDoubt, fault.Of(w.write(reservation("R-5", "1"), false)).Class)
	w.control(http.MethodPut, "faults/oracle", `{"status":429,"retry_after":2,"count":1,"method":"POST"}`)
	require.Equal(t, fault.Throttled, fault.Of(w.write(reservation("R-5", "1"), false)).Class)
	require.Empty(t, w.reserved("R-5"))
}
