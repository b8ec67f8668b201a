package flowfile_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

func example(t *testing.T, name string) flowfile.File {
	t.Helper()
	data, err := flows.Files.ReadFile(name)
	require.NoError(t, err)
	return flowfile.File{Name: "flows/" + name, Data: data}
}

func exampleConnections(t *testing.T) []flow.Connection {
	t.Helper()
	c, diags := flowfile.ParseConnections(example(t, "connections.yaml"))
	require.Empty(t, diags)
	return c.List
}

func identity(c flow.Connection) (string, error) { return "id of " + c.Name, nil }

func TestTheExampleFlowCompilesToItsPlan(t *testing.T) {
	t.Parallel()
	plan, diags := flowfile.Compile(example(t, "product-specs.yaml"), exampleConnections(t), flowfile.Options{Identity: identity})
	require.Empty(t, diags)
	require.Equal(t, &flow.Plan{
		Flow: "product-specs", Pattern: flow.Instant,
		Summary: "Technical specifications of one product, from Oracle PLM into Dataverse",
		Why:     "Users must not need an Oracle licence to read a specification",
		Params: []flow.Param{{
			Name: "product_id", Type: flow.String, Title: "Product ID", Help: "The item number in Oracle PLM",
			Example: "AS54888", Pattern: "^[A-Z0-9-]{3,40}$",
		}},
		Read: &flow.Read{
			Connection: "oracle-plm", Table: "items",
			Where:  []flow.Match{{Column: "ItemNumber", Expr: "params.product_id"}, {Column: "OrganizationCode", Expr: `"V1"`}},
			Select: []string{"ItemNumber", "ItemDescription"},
			Expand: map[string]string{"specs": "ItemEffCategory"},
			OneRow: true,
		},
		Each: "row.specs",
		Map: []flow.Column{
			{Name: "msx_productnumber", Expr: "row.ItemNumber"},
			{Name: "msx_attribute", Expr: "item.AttributeName"},
			{Name: "msx_value", Expr: "item.AttributeValue"},
			{Name: "msx_unit", Expr: "item.?UnitOfMeasure.orValue(null)"},
		},
		Write:   &flow.Write{Connection: "dataverse", Table: "msx_specification", Key: []string{"msx_productnumber", "msx_attribute"}},
		Respond: flow.AfterRead,
		Limits:  flow.Limits{Timeout: 30 * time.Second, Rows: 500, Concurrent: 50, PerUser: 2, Queue: 1000, ShareIdentical: 5 * time.Second},
		Bindings: map[string]flow.Binding{
			"oracle-plm": {System: "oracle", Identity: "id of oracle-plm"},
			"dataverse":  {System: "dataverse", Identity: "id of dataverse"},
		},
	}, plan)
}

func TestSpeedDividesTheDurationsOfAPlan(t *testing.T) {
	t.Parallel()
	plan, diags := flowfile.Compile(example(t, "product-specs.yaml"), exampleConnections(t), flowfile.Options{Speed: 10, Identity: identity})
	require.Empty(t, diags)
	require.Equal(t, 3*time.Second, plan.Limits.Timeout)
	require.Equal(t, 500*time.Millisecond, plan.Limits.ShareIdentical)
}

func TestTheExampleConnectionsHoldReferencesAndNoSecrets(t *testing.T) {
	t.Parallel()
	list := exampleConnections(t)
	require.Len(t, list, 14)
	specifications := list[1].Tables["msx_specification"]
	list[1].Tables = map[string]flow.Table{"msx_specification": specifications}
	require.Equal(t, flow.Connection{
		Name: "dataverse", System: "dataverse", URL: "${env:PATCHBAY_SANDBOX}/dataverse",
		Auth: flow.Auth{
			Kind: "oauth2", TokenURL: "${env:PATCHBAY_SANDBOX}/login/contoso/oauth2/v2.0/token", ClientID: "patchbay",
			ClientSecret: "${env:PATCHBAY_SANDBOX_SECRET}", Scope: "${env:PATCHBAY_SANDBOX}/dataverse/.default",
		},
		Limits: flow.ConnectionLimits{Concurrent: 40, Timeout: 15 * time.Second},
		Quotas: []flow.Quota{
			{Kind: flow.QuotaRequests, Most: 6000, Per: 5 * time.Minute, Reserve: 10}, {Kind: flow.QuotaExecution, Most: 1_200_000, Per: 5 * time.Minute, Reserve: 10},
			{Kind: flow.QuotaConcurrent, Most: 52, Reserve: 10},
		},
		Hook: &flow.Hook{Scheme: "key", Secrets: []string{"${env:PATCHBAY_SANDBOX_SECRET}"}},
		Tables: map[string]flow.Table{"msx_specification": {
			Name: "msx_specification", Path: "msx_specifications", Keys: [][]string{{"msx_productnumber", "msx_attribute"}},
			Columns: map[string]flow.Type{
				"msx_specificationid": flow.String, "msx_productnumber": flow.String, "msx_attribute": flow.String,
				"msx_value": flow.String, "msx_unit": flow.String, "msx_name": flow.String,
			},
		}},
	}, list[1])
	require.Equal(t, map[string]string{"OrganizationCode": "V1"}, list[0].Tables["items"].Where)
}

func TestTheExampleFlowPassesItsTests(t *testing.T) {
	t.Parallel()
	plan, diags := flowfile.Compile(example(t, "product-specs.yaml"), exampleConnections(t), flowfile.Options{})
	require.Empty(t, diags)
	results, diags := flowfile.RunTests(plan, example(t, "product-specs_test.yaml"))
	require.Empty(t, diags)
	require.Len(t, results, 5)
	for _, r := range results {
		require.Empty(t, r.Diff, r.Name)
	}
}

func TestADiagnosticHasTheseJSONFields(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(flowfile.Diagnostic{File: "f", Line: 1, Col: 2, Code: "flow.id", Severity: flowfile.Error, Message: "m"})
	require.NoError(t, err)
	require.JSONEq(t, `{"file":"f","line":1,"col":2,"code":"flow.id","severity":"error","message":"m","fix":""}`, string(b))
}
