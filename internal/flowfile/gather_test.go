package flowfile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

func consolidation(t *testing.T, speed float64) *flow.Plan {
	t.Helper()
	plan, diags := flowfile.Compile(load(t, "flows/gather.yaml"), parse(t, "connections/valid.yaml"), flowfile.Options{Speed: speed, Identity: identity, Now: today})
	require.Empty(t, diags)
	return plan
}

func TestAConsolidationCompilesToItsPlan(t *testing.T) {
	t.Parallel()
	items := []string{"CompanyCode", "FiscalYear", "AccountingDocument", "AccountingDocumentItem"}
	require.Equal(t, &flow.Plan{
		Flow: "customer-360", Pattern: flow.Consolidation, Summary: "One picture of each customer",
		Params: []flow.Param{
			{Name: flow.ParamFull, Type: flow.Bool, Title: "Read everything", Help: "Whatever the watermarks say: also what was not changed", Optional: true},
			{Name: flow.ParamAccept, Type: flow.Bool, Title: "The figures are right", Help: "Write, whatever the guard says of the number of rows", Optional: true},
		},
		Schedule: &flow.Schedule{
			Every: 7 * 24 * time.Hour, Phase: 30 * time.Minute, Cron: []string{"0 6 * * 1-5", "0 12 * * 6"}, Zone: "Europe/Berlin", Holidays: []string{"de", "12-24"},
			Jitter: 20 * time.Second, Overlap: flow.OverlapBufferOne, CatchUp: time.Hour, Paused: "until the pilot begins", WarnAt: 70,
		},
		Gather: &flow.Gather{
			Sources: []flow.Source{
				{
					Name: "account", Connection: "picture", Table: "account", Select: []string{"accountnumber", "name"}, Types: []flow.Type{flow.String, flow.String},
					Key: "row.accountnumber", Identity: []string{"accountnumber"}, One: true, OnMissing: flow.Hold, Lost: flow.DriftStop, Gained: flow.DriftIgnore,
				},
				{
					Name: "orders", Connection: "sap", Table: "orders", Where: []flow.Match{{Column: "SalesOrganization", Expr: `"1710"`}},
					Select: []string{"SalesOrder", "SoldToParty", "TotalNetAmount", "CreationDate", "LastChangeDateTime"},
					Types:  []flow.Type{flow.String, flow.String, flow.Decimal, flow.Date, flow.Timestamp},
					Key:    "unpad(row.SoldToParty)", Identity: []string{"SalesOrder"},
					Changed:   &flow.Watermark{Column: "LastChangeDateTime", Overlap: 5 * time.Minute, Full: 24 * time.Hour},
					OnMissing: flow.LastGood, Stale: 6 * time.Hour, Page: 500, Lost: flow.DriftApprove, Gained: flow.DriftStop,
				},
				{
					Name: "receivables", Connection: "sap", Table: "items", Where: []flow.Match{{Column: "FinancialAccountType", Expr: `"D"`}},
					Select: append(items[:4:4], "Customer", "Amount", "NetDueDate"),
					Types:  []flow.Type{flow.String, flow.String, flow.String, flow.String, flow.String, flow.Decimal, flow.Date},
					Key:    "row.Customer", Identity: items, OnMissing: flow.Partial, Lost: flow.DriftStop, Gained: flow.DriftIgnore,
				},
			},
			Base: "account", Guard: flow.Guard{Zero: true, Share: 30},
		},
		Map: []flow.Column{
			{Name: "accountnumber", Expr: "key"}, {Name: "name", Expr: "account.name"}, {Name: "msx_openorders", Expr: "size(orders)"},
			{Name: "msx_ordervalue", Expr: "sum(orders.map(o, o.TotalNetAmount))"}, {Name: "msx_lastorder", Expr: "max(orders.map(o, o.CreationDate))"},
			{Name: "msx_overdue", Expr: "sum(receivables.filter(r, r.NetDueDate < date(asof.receivables)).map(r, r.Amount))"},
		},
		Write: &flow.Write{Connection: "picture", Table: "account", Key: []string{"accountnumber"}},
		Advise: &flow.Advise{
			Connection: "model", Model: "next-best-action", Version: "3", Instructions: "Prefer what keeps the customer",
			Sources: []flow.AdviseSource{
				{Name: "orders", ID: []string{"SalesOrder"}, Columns: []string{"SalesOrder", "TotalNetAmount"}, Newest: "CreationDate", Most: 5},
				{Name: "receivables", ID: []string{"CompanyCode", "AccountingDocument"}, Columns: []string{"Amount", "NetDueDate"}, Most: 20},
			},
			Facts: []flow.AdviseFact{
				{Name: "orders", Do: flow.AdviseCount, Source: "orders", Where: "row.TotalNetAmount > 0", Type: flow.Int},
				{Name: "overdue", Do: flow.AdviseSum, Source: "receivables", Column: "Amount", Type: flow.Decimal},
				{Name: "latest", Do: flow.AdviseNewest, Source: "orders", Column: "TotalNetAmount", Type: flow.Decimal, By: "CreationDate"},
				{Name: "due", Do: flow.AdviseLeast, Source: "receivables", Column: "NetDueDate", Type: flow.Date},
			},
			Actions: []flow.AdviseAction{
				{Name: "collect", Title: "Call about overdue invoices", When: "facts.overdue > 0", Review: true},
				{Name: "offer", Title: "Make an offer", Needs: []string{"orders"}},
			},
			Rules: []flow.AdviseRule{
				{When: "facts.overdue > 1000", Action: "collect", Reason: `"Overdue is " + string(facts.overdue)`},
				{Action: "offer", Reason: `"There are " + string(facts.orders) + " orders"`},
			},
			Limits: flow.AdviseLimits{Reason: 200, Evidence: 4, Request: 8192}, Timeout: 10 * time.Second, Patience: 2 * time.Second, Review: flow.ReviewAlways,
			Write: flow.AdviseWrite{Connection: "picture", Table: "plan", Key: []string{"msx_accountnumber"}, Map: []flow.Column{
				{Name: "msx_accountnumber", Expr: "key"}, {Name: "msx_action", Expr: "plan.action"},
				{Name: "msx_evidence", Expr: `plan.evidence.join(", ")`}, {Name: "msx_overdue", Expr: "facts.overdue"},
			}},
		},
		Respond: flow.AfterWrite,
		Limits:  flow.Limits{Timeout: 2 * time.Hour, Concurrent: 50, PerUser: 2, Queue: 1000},
		Bindings: map[string]flow.Binding{
			"picture": {System: "dataverse", Identity: "id of picture"}, "sap": {System: "sap", Identity: "id of sap"}, "model": {System: "model", Identity: "id of model"},
		},
	}, consolidation(t, 0))
}

func TestSpeedDividesTheTimesOfAConsolidationButNotItsCron(t *testing.T) {
	t.Parallel()
	plan := consolidation(t, 10)
	require.Equal(t, 7*24*time.Hour/10, plan.Schedule.Every)
	require.Equal(t, []string{"0 6 * * 1-5", "0 12 * * 6"}, plan.Schedule.Cron)
	require.Equal(t, 6*time.Minute, plan.Schedule.CatchUp)
	require.Equal(t, 12*time.Minute, plan.Limits.Timeout)
	orders := plan.Gather.Sources[1]
	require.Equal(t, 36*time.Minute, orders.Stale)
	require.Equal(t, &flow.Watermark{Column: "LastChangeDateTime", Overlap: 30 * time.Second, Full: 144 * time.Minute}, orders.Changed)
	require.Equal(t, time.Second, plan.Advise.Timeout)
}

func TestAScheduleIsLookedAtAsOfToday(t *testing.T) {
	t.Parallel()
	file := flowfile.File{Name: "f.yaml", Data: []byte("flow: once\npattern: consolidation\nsummary: s\nschedule: { cron: 0 0 1 1 * 2020, overlap: skip, catch_up: 10m }\n" +
		"gather:\n  orders: { from: sap.orders, select: [SalesOrder, SoldToParty], key: row.SoldToParty, identity: [SalesOrder] }\n" +
		"map: { accountnumber: key, msx_openorders: size(orders) }\nwrite: { to: picture.account, key: [accountnumber] }\n")}
	_, diags := flowfile.Compile(file, parse(t, "connections/valid.yaml"), flowfile.Options{Now: time.Date(2019, 12, 1, 0, 0, 0, 0, time.UTC)})
	require.Empty(t, diags)
	_, diags = flowfile.Compile(file, parse(t, "connections/valid.yaml"), flowfile.Options{})
	require.Len(t, diags, 1)
	require.Equal(t, flowfile.CodeSchedule, diags[0].Code)
}
