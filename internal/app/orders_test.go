package app

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/activities"
	"patchbay/internal/connector"
	"patchbay/internal/connector/sap"
	"patchbay/internal/fault"
	sandboxsap "patchbay/internal/sandbox/sap"
)

var byOrder = []string{"PurchaseOrderByCustomer"}

// sales are the orders of a sandbox's SAP, made and judged by a reference.
type sales struct {
	*sap.SAP

	t       *testing.T
	table   string
	lines   string // column
	product string
	control func(method, path, body string) []byte
}

func (s sales) order(reference string, quantities ...string) connector.Row {
	list := make([]any, len(quantities))
	for i, q := range quantities {
		list[i] = map[string]any{s.product: "TG11", "RequestedQuantity": json.Number(q)}
	}
	return connector.Row{"PurchaseOrderByCustomer": reference, "SalesOrderType": "OR", "SoldToParty": "ACC-00004", "RequestedDeliveryDate": "2026-12-24", s.lines: list}
}

func (s sales) write(row connector.Row, existing bool) error {
	s.t.Helper()
	results, err := s.Upsert(s.t.Context(), connector.Upsert{Table: s.table, Key: byOrder, Rows: []connector.Row{row}, Existing: existing})
	if err != nil {
		return err
	}
	return results[0].Err
}

// orders is the judge.
func (s sales) orders(reference string) (list []sandboxsap.Ordered) {
	s.t.Helper()
	require.NoError(s.t, json.Unmarshal(s.control(http.MethodGet, "sap/orders?reference="+reference, ""), &list))
	return list
}

// holds reports whether what SAP shows of an order has all of a row, as a write in doubt is settled.
func (s sales) holds(row connector.Row) bool {
	s.t.Helper()
	var columns []string
	for c := range row {
		columns = append(columns, c)
	}
	rows, err := s.ReadByKey(s.t.Context(), s.table, byOrder, []connector.Row{{"PurchaseOrderByCustomer": row["PurchaseOrderByCustomer"]}}, columns)
	require.NoError(s.t, err)
	return rows[0] != nil && activities.Holds(rows[0], row)
}

func rejected(reference, reason string) connector.Row {
	return connector.Row{"PurchaseOrderByCustomer": reference, "SalesDocumentRjcnReason": reason}
}

func eachVersion(t *testing.T, test func(t *testing.T, s sales)) {
	t.Helper()
	for name, s := range map[string]sales{"V2": {table: "orders", lines: "to_Item", product: "Material"}, "V4": {table: "newer", lines: "_Item", product: "Product"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.t = t
			s.SAP, s.control = erpOf(t)
			test(t, s)
		})
	}
}

func TestAnOrderIsMadeOnceThoughItsAnswerIsLostAndIsRejectedByItsReference(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, s sales) {
		require.False(t, s.Conditional(s.table, byOrder, false), "SAP knows no key of ours")
		require.True(t, s.Conditional(s.table, byOrder, true))
		row := s.order("PO-1", "5", "0.1")
		require.False(t, s.holds(row))
		s.control(http.MethodPut, "faults/sap", `{"drop_after_commit":true,"method":"POST","count":1}`)
		require.Equal(t, fault.InDoubt, fault.Of(s.write(row, false)).Class)
		require.True(t, s.holds(row), "the answer was lost, the order is there")
		require.NoError(t, s.write(row, false), "a repeat finds it")
		list := s.orders("PO-1")
		require.Len(t, list, 1)
		require.Len(t, list[0].Items, 2)
		require.Equal(t, "A", list[0].Rejection)

		require.NoError(t, s.write(connector.Row{"PurchaseOrderByCustomer": "PO-1", "RequestedDeliveryDate": "2027-01-05",
			s.lines: []any{map[string]any{"RequestedQuantity": json.Number("6")}, map[string]any{"RequestedQuantity": json.Number("0.100")}}}, false), "changed in one set")
		require.Equal(t, "6", s.orders("PO-1")[0].Items[0].Quantity)
		few := s.order("PO-1", "6")
		require.Equal(t, "sap.lines", fault.Of(s.write(few, false)).Code)

		back := rejected("PO-1", "98")
		require.False(t, s.holds(back))
		s.control(http.MethodPut, "faults/sap", `{"drop_after_commit":true,"method":"POST","count":1}`)
		require.Equal(t, fault.InDoubt, fault.Of(s.write(back, true)).Class)
		require.True(t, s.holds(back))
		require.NoError(t, s.write(back, true), "there is nothing left to reject")
		require.Equal(t, "C", s.orders("PO-1")[0].Rejection)
		require.NoError(t, s.write(rejected("PO-NONE", "98"), true), "what is not there is not rejected, and that is no failure")
		require.Empty(t, s.orders("PO-NONE"))

		require.False(t, s.holds(row), "what was rejected does not stand for what is made anew")
		require.NoError(t, s.write(row, false))
		list = s.orders("PO-1")
		require.Len(t, list, 2)
		require.Equal(t, []string{"C", "A"}, []string{list[0].Rejection, list[1].Rejection})
		require.NoError(t, s.write(back, true))
		require.Equal(t, "C", s.orders("PO-1")[1].Rejection, "the one that counts")
	})
}

func TestARefusedOrderAndARefusedRejectionAreNamed(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, s sales) {
		bad := s.order("PO-2", "1")
		bad["SoldToParty"] = "NOBODY"
		f := fault.Of(s.write(bad, false))
		require.Equal(t, fault.Rejected, f.Class)
		require.Contains(t, f.Text, "V1/555")
		require.Equal(t, "sap.key_long", fault.Of(s.write(s.order("a reference that is longer than SAP keeps", "1"), false)).Code)
		require.Empty(t, s.orders("PO-2"))

		require.NoError(t, s.write(s.order("PO-3", "1", "2"), false))
		s.control(http.MethodPost, "sap/orders/"+s.orders("PO-3")[0].Order+"/deliver", "")
		f = fault.Of(s.write(rejected("PO-3", "98"), true))
		require.Equal(t, fault.Rejected, f.Class, "an undo that is refused")
		require.Contains(t, f.Text, "V1/799")
		require.Equal(t, "A", s.orders("PO-3")[0].Rejection)

		for _, c := range []struct {
			fault string
			class fault.Class
		}{{`{"status":423,"count":1,"method":"POST"}`, fault.Unavailable}, {`{"status":429,"retry_after":2,"count":1,"method":"POST"}`, fault.Throttled}} {
			s.control(http.MethodPut, "faults/sap", c.fault)
			require.Equal(t, c.class, fault.Of(s.write(s.order("PO-4", "1"), false)).Class, c.fault)
			require.Empty(t, s.orders("PO-4"))
		}
	})
}
