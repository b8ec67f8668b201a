package app

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/activities"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
	sandboxsap "patchbay/internal/sandbox/sap"
)

const (
	tradeConnections = `
connections:
  sap:
    system: sap
    url: ${env:PATCHBAY_SANDBOX}/sap
    auth: { kind: basic, username: patchbay, password: "${env:PATCHBAY_SANDBOX_SECRET}" }
    settle_after: 1h
    options: { client: "100", reference: sales_orders.PurchaseOrderByCustomer }
    tables:
      sales_orders:
        path: API_SALES_ORDER_SRV/A_SalesOrder
        keys: [[PurchaseOrderByCustomer]]
        columns: { PurchaseOrderByCustomer: string, SalesOrderType: string, SoldToParty: string, SalesOrder: string, SalesDocumentRjcnReason: string, to_Item: any }
  oracle:
    system: oracle
    url: ${env:PATCHBAY_SANDBOX}/oracle
    auth: { kind: basic, username: patchbay, password: "${env:PATCHBAY_SANDBOX_SECRET}" }
    options: { reference: reservations.DemandSourceName }
    tables:
      reservations:
        path: inventoryReservations
        keys: [[DemandSourceName]]
        columns: { DemandSourceName: string, DemandSourceTypeId: int, SupplySourceTypeId: int, OrganizationCode: string, ItemNumber: string, ReservationQuantity: decimal, ReservationId: int }
`
	tradeFlow = `
flow: trade
pattern: service
summary: An order and a reservation, or nothing
params: { nr: { type: string }, customer: { type: string }, quantity: { type: decimal } }
steps:
  - step: order
    call: sap.sales_orders
    key: [PurchaseOrderByCustomer]
    with:
      PurchaseOrderByCustomer: params.nr
      SalesOrderType: '"OR"'
      SoldToParty: params.customer
      to_Item: '[{"Material": "AS54888", "RequestedQuantity": params.quantity}]'
    returns: [SalesOrder]
    undo: { SalesDocumentRjcnReason: '"98"' }
  - step: stock
    call: oracle.reservations
    key: [DemandSourceName]
    with: { DemandSourceName: params.nr, DemandSourceTypeId: "13", SupplySourceTypeId: "13", OrganizationCode: '"V1"', ItemNumber: '"AS54888"', ReservationQuantity: params.quantity }
    returns: [ReservationId]
    undo: { ReservationQuantity: decimal("0") }
`
)

// listed are connections by name.
type listed []flow.Connection

func (l listed) Connection(_ context.Context, name string) (flow.Connection, error) {
	for _, c := range l {
		if c.Name == name {
			return c, nil
		}
	}
	return flow.Connection{}, fault.Invalidf("connector.unknown", "there is no connection %s", name)
}

// What a step of a service writes is made by its expressions and taken back by those of its
// undo; the sandbox's own rows are the judge.
func TestAnUndoRejectsTheOrderAndDeletesTheReservation(t *testing.T) {
	t.Parallel()
	w := warehouseOf(t)
	resolve := func(text string) (string, error) {
		return strings.NewReplacer("${env:PATCHBAY_SANDBOX}", w.base, "${env:PATCHBAY_SANDBOX_SECRET}", "sandbox-secret").Replace(text), nil
	}
	parsed, diags := flowfile.ParseConnections(flowfile.File{Name: "connections.yaml", Data: []byte(tradeConnections)})
	require.Empty(t, diags)
	plan, diags := flowfile.Compile(flowfile.File{Name: "trade.yaml", Data: []byte(tradeFlow)}, parsed.List, flowfile.Options{Identity: Identity(resolve)})
	require.Empty(t, diags)
	m := &mappers{}
	s := newSystems(listed(parsed.List), m, registry(), resolve, 1)
	t.Cleanup(s.client.CloseIdleConnections)
	steps := sagas{m}
	params := flow.Row{"nr": "T-1", "customer": "ACC-00004", "quantity": json.Number("2")}

	write := func(plan *flow.Plan, of []flow.Row) []flow.Row {
		t.Helper()
		rows, err := m.Map(plan, steps.Inputs(plan, params, nil), of)
		require.NoError(t, err)
		for range 2 { // a repetition does no harm
			errs, err := s.Upsert(t.Context(), plan, activities.Call{Rows: rows})
			require.NoError(t, err)
			require.NoError(t, errs[0])
		}
		return rows
	}
	wrote := map[string][]flow.Row{}
	for _, name := range []string{"order", "stock"} {
		task, err := steps.Plan(plan, name)
		require.NoError(t, err)
		wrote[name] = write(task, []flow.Row{{}})
		sight, err := s.ReadBack(t.Context(), task, wrote[name], nil)
		require.NoError(t, err)
		require.False(t, sight.Conditional)
		require.True(t, activities.Holds(sight.Rows[0], wrote[name][0]), "%s: a write in doubt is settled by what is read back", name)
		found, err := s.Look(t.Context(), task, wrote[name], plan.Saga.Task(name).Returns)
		require.NoError(t, err)
		require.NotEmpty(t, found[0][plan.Saga.Task(name).Returns[0]])
	}
	var orders []sandboxsap.Ordered
	judge := func() {
		require.NoError(t, json.Unmarshal(w.control(http.MethodGet, "sap/orders?reference=T-1", ""), &orders))
		require.Len(t, orders, 1)
	}
	judge()
	require.Equal(t, "A", orders[0].Rejection)
	require.Len(t, w.reserved("T-1"), 1)

	for _, name := range []string{"stock", "order"} {
		undo, err := steps.Undo(plan, name)
		require.NoError(t, err)
		rows := write(undo, wrote[name])
		sight, err := s.ReadBack(t.Context(), undo, rows, nil)
		require.NoError(t, err)
		require.True(t, sight.Conditional, "an undo changes what is there and makes nothing")
	}
	judge()
	require.Equal(t, "C", orders[0].Rejection)
	require.Empty(t, w.reserved("T-1"))
}
