package cli

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestImpactAndMapAnswerWithoutAServer(t *testing.T) {
	t.Parallel()
	call := func(args ...string) (status int, stdout, stderr string) {
		var out, errs bytes.Buffer
		status = execute(t.Context(), append([]string{"patchbay"}, args...), &out, &errs)
		return status, out.String(), errs.String()
	}
	status, out, _ := call("impact", "sap.A_SalesOrder.SoldToParty", "../../flows")
	require.Zero(t, status)
	require.Contains(t, out, "the column sap.orders.SoldToParty: 2 flows, 3 places\n")
	require.Regexp(t, `customer-360\.yaml:\d+:\d+ +gather\.orders\.key +key +sap\.orders\.SoldToParty`, out)
	require.Contains(t, out, "dataverse.account.accountnumber, by customer-360")

	status, out, _ = call("impact", "--examples", "--json", "mail")
	require.Zero(t, status)
	var found flow.Impact
	require.NoError(t, json.Unmarshal([]byte(out), &found))
	require.Len(t, found.Flows, 1)
	require.Equal(t, "case-notifications", found.Flows[0].Flow)
	require.Equal(t, "sends", found.Flows[0].Steps[0].How)

	status, out, _ = call("map", "--examples")
	require.Zero(t, status)
	require.Contains(t, out, `"flow:case-notifications" -> "table:mail.message" [label="sends"];`)
	status, out, _ = call("map", "--examples", "--json")
	require.Zero(t, status)
	var m flow.Map
	require.NoError(t, json.Unmarshal([]byte(out), &m))
	require.Contains(t, m.Edges, flow.MapEdge{From: "table:sap.orders", To: "flow:customer-360", How: "reads"})

	for want, args := range map[string][]string{
		"name what changes: patchbay impact ITEM":                                        {"impact"},
		`the connection sap has no table "order"; did you mean "sap.orders.SoldToParty"`: {"impact", "sap.order.SoldToParty", "../../flows"},
		"./nowhere is no directory of flow files":                                        {"impact", "sap", "./nowhere"},
		"--examples takes no directory":                                                  {"impact", "--examples", "sap", "../../flows"},
		"map takes one directory, not 2":                                                 {"map", "a", "b"},
		"give --dot or --json, one of them":                                              {"map", "--examples", "--dot", "--json"},
	} {
		status, _, errs := call(args...)
		require.Equal(t, exitUsage, status, args)
		require.Contains(t, errs, want)
	}
}
