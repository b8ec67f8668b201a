package web_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// terrain is the map of a world.
type terrain struct{ w *world }

func (t terrain) Map(context.Context) (flow.Map, error) { return t.w.ground, nil }

func (t terrain) Impact(_ context.Context, item string) (flow.Impact, error) {
	if item != "sap.orders.SoldToParty" {
		return flow.Impact{}, fault.Invalidf("impact.table", "the connection sap has no table %q; did you mean %q?", item, "sap.orders")
	}
	return flow.Impact{Item: item, Means: []string{"the column " + item}, Flows: []flow.ImpactedFlow{{Flow: "customer-360", Pattern: flow.Consolidation, Steps: []flow.Use{
		{Item: item, Step: "gather.orders.select", How: "reads"}, {Item: item, Step: "gather.orders.key", How: "key"}}}},
		Reaches: []flow.Reach{{Item: "dataverse.account.accountnumber", Flow: "customer-360"}}}, nil
}

// mapped is a world of so many flows over some systems.
func mapped(t *testing.T, flows int) *world {
	t.Helper()
	w := newWorld(t)
	var m flow.Map
	table := func(connection, name, systemOf string) string {
		id := "table:" + connection + "." + name
		m.Nodes = append(m.Nodes, flow.MapNode{ID: id, Kind: "table", Name: connection + "." + name}, flow.MapNode{ID: "connection:" + connection, Kind: "connection", Name: connection, System: systemOf})
		return id
	}
	add := func(name string, pattern flow.Pattern, from, to string, reads, writes string) {
		m.Nodes = append(m.Nodes, flow.MapNode{ID: "flow:" + name, Kind: "flow", Name: name, Pattern: pattern})
		m.Edges = append(m.Edges, flow.MapEdge{From: from, To: "flow:" + name, How: reads}, flow.MapEdge{From: "flow:" + name, To: to, How: writes})
	}
	add("customer-360", flow.Consolidation, table("sap", "orders", "sap"), table("dataverse", "account", "dataverse"), "reads", "writes")
	add("case-notifications", flow.Event, table("dataverse", "incident", "dataverse"), table("mail", "message", "smtp"), "reacts", "sends")
	for i := range flows - 2 {
		add(fmt.Sprintf("flow-%02d", i), flow.Instant, table("oracle-plm", fmt.Sprintf("items_%d", i%5), "oracle"), table("dataverse", fmt.Sprintf("msx_a_table_of_a_long_name_%d", i%7), "dataverse"), "reads", "writes")
	}
	m.Edges = append(m.Edges, flow.MapEdge{From: "flow:case-notifications", To: "flow:customer-360", How: "calls"})
	w.ground = m
	return w
}

func page(t *testing.T, w *world, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+path, http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, string(body))
	return string(body)
}

func TestTheMapLeadsFromWhatIsReadToWhatIsWritten(t *testing.T) {
	t.Parallel()
	w := mapped(t, 12)
	all := page(t, w, "/map")
	require.Equal(t, 12, strings.Count(all, `<a class="flow"`))
	require.Equal(t, 25, strings.Count(all, `class="edge `), "two of each flow, and a call")
	require.Contains(t, all, `href="/map?item=sap.orders"`)
	require.Contains(t, all, `href="/flows/customer-360"`)

	one := page(t, w, "/map?flow=customer-360")
	require.Equal(t, 2, strings.Count(one, `<a class="flow"`), "with the one that calls it")
	require.NotContains(t, one, "flow-01")
	require.Contains(t, page(t, w, "/flows/product-specs"), `href="/map?flow=product-specs"`)

	var tops []int
	for _, m := range regexp.MustCompile(`<rect x="376" y="(\d+)"`).FindAllStringSubmatch(one, -1) {
		top, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		tops = append(tops, top)
	}
	require.Len(t, tops, 2)
	require.GreaterOrEqual(t, tops[1]-tops[0], 24, "no box lies on another")

	touched := page(t, w, "/map?item=sap.orders.SoldToParty")
	require.Contains(t, touched, "<code>gather.orders.key</code>")
	require.Contains(t, touched, "1 flow, 2 places")
	require.NotContains(t, touched, "flow-01", "the flows that it touches are drawn alone")
	unknown := page(t, w, "/map?item=%3Cb%3E")
	require.Contains(t, unknown, "did you mean &#34;sap.orders&#34;?")
	require.NotContains(t, unknown, "<b>\"")
	require.Contains(t, page(t, mapped(t, 2), "/map"), `<svg class="land"`)
	require.Contains(t, page(t, newWorld(t), "/map"), "No flow is applied.")
}
