package flowfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

func TestASynchronizationIsCompiledToWhatRegionsShare(t *testing.T) {
	t.Parallel()
	connections, diags := flowfile.ParseConnections(load(t, "connections/sync.yaml"))
	require.Empty(t, diags)
	require.Equal(t, []flow.Peer{{Region: "de", Egress: "${env:PATCHBAY_EGRESS_DE}"}, {Region: "fr", Egress: "${file:/run/secrets/egress-fr}"}, {Region: "ch", Egress: "${env:PATCHBAY_EGRESS_CH}"}}, connections.Peers)
	plan, diags := flowfile.Compile(load(t, "flows/sync.yaml"), connections.List, flowfile.Options{Speed: 10, Identity: identity, Peers: connections.Peers})
	require.Empty(t, diags)
	require.Equal(t, &flow.Sync{
		Regions: []flow.Region{{Name: "de", Connection: "crm-de", Egress: "${env:PATCHBAY_EGRESS_DE}"}, {Name: "fr", Connection: "crm-fr", Egress: "${file:/run/secrets/egress-fr}"}},
		Tables: []flow.SyncTable{
			{Name: "account", Key: []string{"accountnumber"}, Clock: "modifiedon", Columns: []flow.SyncColumn{
				{Name: "name", Type: flow.String}, {Name: "balance", Type: flow.Decimal, Backfill: true},
				{Name: "description", Type: flow.String, Opened: "Dr. A. Weber, data protection"}, {Name: "owner", Type: flow.String, Refers: "account"},
			}},
			{Name: "contact", Key: []string{"contactid"}, Columns: []flow.SyncColumn{{Name: "number", Type: flow.String}, {Name: "account", Type: flow.String, Refers: "account"}}},
		},
		Restricted: []string{"account.insurance"},
		Conflict: []flow.ConflictRule{
			{Rule: flow.RuleRegion, Region: "de"}, {Table: "contact", Rule: flow.RuleLatest},
			{Table: "account", Column: "name", Rule: flow.RuleHold}, {Table: "account", Rule: flow.RuleRegion, Region: "fr"},
		},
		Skew: 5 * time.Minute, Lag: 3 * time.Second, Reconcile: 6 * time.Minute, MaxRow: 4096,
	}, plan.Sync, "what people wait for is divided by the speed; clocks differ by what they differ by")
	require.Equal(t, map[string]flow.Binding{"crm-de": {System: "dataverse", Identity: "id of crm-de"}, "crm-fr": {System: "dataverse", Identity: "id of crm-fr"}}, plan.Bindings)
}

func TestAReferenceWithSomethingBesideItIsRefusedAndNotLeftOut(t *testing.T) {
	t.Parallel()
	f := load(t, "connections/sync.yaml")
	f.Data = []byte(strings.Replace(string(f.Data), "${env:PATCHBAY_EGRESS_DE}", "${env:PATCHBAY_EGRESS_DE}&sslmode=verify-full", 1))
	_, diags := flowfile.ParseConnections(f)
	require.Len(t, diags, 1)
	require.Equal(t, flowfile.CodeUnknownRef, diags[0].Code)
	require.Equal(t, 2, diags[0].Line)
}

func TestTheExampleSynchronizationKnowsItsLookups(t *testing.T) {
	t.Parallel()
	plan, diags := flowfile.Compile(example(t, "account-sync.yaml"), exampleConnections(t), flowfile.Options{})
	require.Empty(t, diags)
	s := plan.Sync
	require.Equal(t, []flow.Region{{Name: "ch", Connection: "dataverse-ch"}, {Name: "de", Connection: "dataverse-de"}, {Name: "fr", Connection: "dataverse-fr"}}, s.Regions)
	refers := map[string]string{}
	for _, table := range s.Tables {
		for _, c := range table.Columns {
			if c.Refers != "" {
				refers[table.Name+"."+c.Name] = c.Refers
			}
		}
	}
	require.Equal(t, map[string]string{"contact.parentcustomerid": "account", "salesorder.customerid": "account", "msx_shipment.salesorderid": "salesorder"}, refers)
	require.Equal(t, flow.RuleHold, s.Rule("account", "telephone1").Rule)
	require.Equal(t, flow.RuleLatest, s.Rule("account", "name").Rule)
	require.Equal(t, 15*time.Minute, s.Reconcile)
	require.Equal(t, time.Minute, s.Skew)
	require.Equal(t, 64<<10, s.MaxRow)
}
