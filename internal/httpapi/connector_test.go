package httpapi_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// shelf holds any flows a test wants.
type shelf []*flow.Plan

func (s shelf) Flows(context.Context) ([]flow.Applied, error) {
	applied := make([]flow.Applied, len(s))
	for i, plan := range s {
		applied[i] = flow.Applied{Plan: plan, Digest: "d"}
	}
	return applied, nil
}

func (s shelf) Flow(context.Context, string) (flow.Applied, error) {
	return flow.Applied{}, fault.NotFoundf("flow.not_found", "no flow has this name")
}

func (s shelf) option(o *httpapi.Options) { o.Flows = s }

// connector reads the definition as an importer would: OpenAPI 2.0, which also
// has to make sense as OpenAPI 3.
func (b *bundle) connector(header ...string) (openapi2.T, *openapi3.T, string) {
	b.Helper()
	r := b.do(http.MethodGet, "/connector.json", "", header...)
	require.Equal(b, http.StatusOK, r.status, r.body)
	require.Equal(b, "application/json", r.header.Get("Content-Type"))
	require.Equal(b, "no-store", r.header.Get("Cache-Control"))
	var doc openapi2.T
	require.NoError(b, json.Unmarshal([]byte(r.body), &doc))
	require.Equal(b, "2.0", doc.Swagger)
	three, err := openapi2conv.ToV3(&doc)
	require.NoError(b, err)
	require.NoError(b, openapi3.NewLoader().ResolveRefsIn(three, nil))
	require.NoError(b, three.Validate(b.Context()))
	return doc, three, r.body
}

func TestTheConnectorStartsFollowsAndCancelsEachFlow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	doc, _, _ := b.connector()
	ids := map[string]string{}
	for path, item := range doc.Paths {
		for method, op := range item.Operations() {
			ids[op.OperationID] = method + " " + path
			require.NotEmpty(t, op.Summary, path)
			require.Equal(t, "important", op.Extensions["x-ms-visibility"], path)
			require.NotNil(t, op.Responses.Value("200").Schema, path)
			require.Equal(t, "#/definitions/Problem", op.Responses.Value("default").Schema.Ref, path)
		}
	}
	require.Equal(t, map[string]string{
		"StartProductSpecs": "POST /v1/flows/product-specs/runs",
		"GetRun":            "GET /v1/runs/{id}",
		"GetProgress":       "GET /v1/runs/{id}/progress",
		"GetRows":           "GET /v1/runs/{id}/rows",
		"CancelRun":         "POST /v1/runs/{id}/cancel",
	}, ids)
	key := doc.SecurityDefinitions["key"]
	require.Equal(t, []string{"apiKey", "header", "Authorization"}, []string{key.Type, key.In, key.Name})
	require.Contains(t, key.Description, "Bearer")
	require.Equal(t, openapi2.SecurityRequirements{{"key": {}}}, doc.Security)
}

func TestTheConnectorTypesTheParametersOfAFlow(t *testing.T) {
	t.Parallel()
	one, nine := int64(1), int64(9)
	b := newBundle(t, shelf{{
		Flow: "order-check", Pattern: flow.Instant, Summary: "Checks an order", Why: "People ask", Limits: flow.Limits{Timeout: 30 * time.Second},
		Map: []flow.Column{{Name: "number"}, {Name: "total"}},
		Params: []flow.Param{
			{Name: "zone", Type: flow.String, Title: "Zone", Help: "Where it goes", Pattern: "^(?:[A-Z]{2})$", Example: "DE", Min: &one, Max: &nine},
			{Name: "pieces", Type: flow.Int, Min: &one, Max: &nine, Default: int64(2)},
			{Name: "amount", Type: flow.Decimal, Title: "Amount", Example: json.Number("10.10")},
			{Name: "express", Type: flow.Bool, Optional: true},
			{Name: "due", Type: flow.Date},
			{Name: "at", Type: flow.Timestamp, Optional: true},
			{Name: "tier", Type: flow.String, Enum: []string{"gold", "iron"}, Optional: true},
			{Name: "code", Type: flow.String, Pattern: `(?i)^[a-z]+$`, Optional: true},
			{Name: "extra", Type: flow.Any, Optional: true},
		},
	}}.option)
	doc, three, text := b.connector()
	op := doc.Paths["/v1/flows/order-check/runs"].Post
	require.Equal(t, "StartOrderCheck", op.OperationID)
	require.Equal(t, "Checks an order. People ask. It is answered within 30s. Columns of a row: number, total.", op.Description)

	body := op.Parameters[0]
	require.Equal(t, "body", body.In)
	require.True(t, body.Required)
	require.Equal(t, []string{"zone", "amount", "due"}, body.Schema.Value.Required)
	p := body.Schema.Value.Properties
	require.Equal(t, "Zone", p["zone"].Value.Extensions["x-ms-summary"])
	require.Equal(t, "Where it goes. For example DE.", p["zone"].Value.Description)
	require.Equal(t, "important", p["zone"].Value.Extensions["x-ms-visibility"])
	require.Equal(t, "^(?:[A-Z]{2})$", p["zone"].Value.Pattern)
	require.Equal(t, "DE", p["zone"].Value.Example)
	require.Equal(t, uint64(9), *p["zone"].Value.MaxLength)
	require.Equal(t, "pieces", p["pieces"].Value.Extensions["x-ms-summary"], "a parameter without a title has its name")
	require.Equal(t, "advanced", p["pieces"].Value.Extensions["x-ms-visibility"])
	require.InDelta(t, 9, *p["pieces"].Value.Max, 0)
	require.EqualValues(t, 2, p["pieces"].Value.Default)
	require.Equal(t, "date", p["due"].Value.Format)
	require.Equal(t, "date-time", p["at"].Value.Format)
	require.Equal(t, []any{"gold", "iron"}, p["tier"].Value.Enum)
	require.Empty(t, p["code"].Value.Pattern, "what JavaScript reads otherwise is left to the server")
	require.Contains(t, p["code"].Value.Description, "(?i)^[a-z]+$")
	require.Nil(t, p["extra"].Value.Type)

	var at []int
	for _, name := range []string{"zone", "pieces", "amount", "express", "due", "extra"} {
		at = append(at, strings.Index(text, `"`+name+`": {`))
	}
	require.True(t, slices.IsSorted(at), "Power Fx takes parameters by position: %v", at)

	schema := three.Paths.Find("/v1/flows/order-check/runs").Post.RequestBody.Value.Content["application/json"].Schema.Value
	require.NoError(t, schema.VisitJSON(map[string]any{"zone": "DE", "amount": 1.5, "due": "2026-01-31"}))
	require.Error(t, schema.VisitJSON(map[string]any{"zone": "de", "amount": 1.5, "due": "2026-01-31"}))
	require.Error(t, schema.VisitJSON(map[string]any{"zone": "DE"}))
}

func TestAFlowWithoutParametersNeedsNoBody(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shelf{{Flow: "refresh", Pattern: flow.Instant, Summary: "Refreshes"}}.option)
	doc, _, _ := b.connector()
	for _, p := range doc.Paths["/v1/flows/refresh/runs"].Post.Parameters {
		require.NotEqual(t, "body", p.In)
		require.False(t, p.Required)
	}
	empty, _, _ := newBundle(t, shelf{}.option).connector()
	require.Len(t, empty.Paths, 4, "without flows there is still something to import")
}

func TestOperationsOfAlikeFlowsNeverChangePlaces(t *testing.T) {
	t.Parallel()
	start := func(names ...string) map[string]string {
		var flows shelf
		for _, name := range names {
			flows = append(flows, &flow.Plan{Flow: name, Pattern: flow.Instant, Summary: name})
		}
		doc, _, _ := newBundle(t, flows.option).connector()
		ids := map[string]string{}
		for _, name := range names {
			ids[doc.Paths["/v1/flows/"+name+"/runs"].Post.OperationID] = name
		}
		require.Len(t, ids, len(names), "an operationId is unique")
		return ids
	}
	both := start("case-x", "casex", "other")
	require.Equal(t, "other", both["StartOther"])
	require.NotContains(t, both, "StartCasex", "both are renamed: neither inherits the name of the other")
	require.NotContains(t, both, "StartCaseX")
	require.Equal(t, map[string]string{"StartCasex": "casex"}, start("casex"))
}

func TestTheConnectorNamesTheHostItWasAskedUnder(t *testing.T) {
	t.Parallel()
	b := newBundle(t, serve, func(o *httpapi.Options) { o.Hosts = []string{"patchbay.example.com", "127.0.0.1:8080", "[::1]:8080"} })
	as := []string{"Authorization", "Bearer app", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "Host"}
	for host, scheme := range map[string]string{"patchbay.example.com": "https", "127.0.0.1:8080": "http", "[::1]:8080": "http"} {
		doc, _, _ := b.connector(append(as, host)...)
		require.Equal(t, host, doc.Host)
		require.Equal(t, []string{scheme}, doc.Schemes)
		require.Equal(t, "/", doc.BasePath)
	}
	unknown := b.do(http.MethodGet, "/connector.json", "", append(as, "evil.example")...)
	require.Equal(t, "host.unknown", unknown.problem(t).Code)

	dev := newBundle(t)
	_, port, err := net.SplitHostPort(dev.addr)
	require.NoError(t, err)
	doc, _, _ := dev.connector("Host", "localhost:"+port)
	require.Equal(t, "localhost:"+port, doc.Host)
	require.Equal(t, []string{"http"}, doc.Schemes)
}

// What the definition says of an answer is what the server sends: each shape is
// held against a real one, and no property is named that does not exist.
func TestTheConnectorDescribesTheAnswersAsTheyAre(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, three, _ := b.connector()
	check := func(definition string, r reply, exempt ...string) {
		t.Helper()
		var body map[string]any
		require.NoError(t, json.Unmarshal([]byte(r.body), &body), r.body)
		schema := three.Components.Schemas[definition].Value
		require.NoError(t, schema.VisitJSON(body), "%s: %s", definition, r.body)
		for name := range schema.Properties {
			if !slices.Contains(exempt, name) {
				require.Contains(t, body, name, definition)
			}
		}
	}
	id := b.pressed()
	at := "/v1/runs/" + id
	check("Rows", b.do(http.MethodGet, at+"/rows", ""))
	b.book.change(id, func(run *flow.Run) {
		answerWith(flow.Row{"msx_attribute": "Weight"})(run)
		run.Effects = []flow.Effect{{Step: "write", Target: "dataverse.x", State: flow.Attempt}}
		run.Cancelling, run.Waiting = true, "a pause"
	})
	b.book.cancel = func(ctx context.Context, _ string) (flow.Certificate, error) {
		<-ctx.Done()
		return flow.Certificate{}, ctx.Err()
	}
	check("Cancelled", b.do(http.MethodPost, at+"/cancel", "", "Prefer", "wait=1"), "at", "done", "undone", "in_doubt")
	b.book.change(id, func(run *flow.Run) {
		finish(run)
		run.Status, run.Problem = flow.Failed, &flow.Problem{Code: "c", Detail: "d"}
	})
	check("Run", b.do(http.MethodGet, at, ""))
	check("Progress", b.do(http.MethodGet, at+"/progress", ""))
	check("Rows", b.do(http.MethodGet, at+"/rows", ""))
	b.book.cancel = func(_ context.Context, id string) (flow.Certificate, error) {
		return flow.Certificate{RunID: id, Status: flow.Failed, At: time.Now(), Done: []flow.Effect{{Step: "write", State: flow.Confirmed}}}, nil
	}
	check("Cancelled", b.do(http.MethodPost, at+"/cancel", ""), "cancelling", "effects")
	check("Problem", b.do(http.MethodGet, "/v1/runs/none", ""))
}
