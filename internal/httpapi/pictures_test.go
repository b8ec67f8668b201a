package httpapi_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// gallery keeps what it was asked for.
type gallery struct {
	rejects   []flow.RejectFilter
	plans     []flow.PlanFilter
	approved  []string
	decisions []flow.PlanDecision
}

func (g *gallery) Sources(context.Context, string) ([]flow.SourceStanding, error) { return nil, nil }

func (g *gallery) Drifts(context.Context, string) ([]flow.ColumnDrift, error) {
	return []flow.ColumnDrift{{Source: "orders", Column: "Amount", Kind: "lost"}}, nil
}

func (g *gallery) Rejects(_ context.Context, f flow.RejectFilter) ([]flow.Reject, error) {
	g.rejects = append(g.rejects, f)
	return []flow.Reject{{ID: 7, RejectedRow: flow.RejectedRow{Source: "orders", Code: "row.no_key"}}}, nil
}

func (g *gallery) Approve(_ context.Context, flow, source, column, by string) error {
	g.approved = append(g.approved, flow+" "+source+" "+column+" "+by)
	return nil
}

func (g *gallery) List(_ context.Context, f flow.PlanFilter) ([]flow.ActionPlan, error) {
	g.plans = append(g.plans, f)
	return []flow.ActionPlan{{ID: 3, Key: "C1", State: "review"}}, nil
}

func (g *gallery) Get(_ context.Context, id int64) (flow.ActionPlan, error) {
	return flow.ActionPlan{ID: id, State: "review"}, nil
}

func (g *gallery) Decide(_ context.Context, id int64, d flow.PlanDecision) (flow.ActionPlan, error) {
	if id == 9 {
		return flow.ActionPlan{}, fault.New(fault.Conflict, "review.decided", "it is approved", nil)
	}
	g.decisions = append(g.decisions, d)
	return flow.ActionPlan{ID: id, State: "approved"}, nil
}

func withGallery(g *gallery) func(*httpapi.Options) {
	return func(o *httpapi.Options) { o.Pictures, o.Plans = g, g }
}

func TestWhatAConsolidationHasAndLacksIsListed(t *testing.T) {
	t.Parallel()
	g := &gallery{}
	b := newBundle(t, withGallery(g))
	r := b.do(http.MethodGet, "/v1/flows/product-specs/sources", "")
	require.Equal(t, 200, r.status, r.body)
	require.Contains(t, r.body, `"sources":[]`)
	require.Contains(t, r.body, `"kind":"lost"`)
	r = b.do(http.MethodGet, "/v1/flows/product-specs/rejects?source=orders&run=r1&resolved=true&before=12&limit=1", "")
	require.Equal(t, 200, r.status, r.body)
	require.Contains(t, r.body, `"next":7`)
	require.Equal(t, []flow.RejectFilter{{Flow: "product-specs", Source: "orders", RunID: "r1", Resolved: true, Before: 12, Limit: 1}}, g.rejects)
	require.Equal(t, 404, b.do(http.MethodGet, "/v1/flows/nothing/rejects", "").status)
	for _, query := range []string{"limit=0", "limit=501", "before=x", "before=-1"} {
		require.Equal(t, "query.invalid", b.do(http.MethodGet, "/v1/flows/product-specs/rejects?"+query, "").problem(t).Code, query)
	}
	r = b.do(http.MethodPost, "/v1/flows/product-specs/sources/orders/columns/Amount/approve", "")
	require.Equal(t, 204, r.status, r.body)
	require.Equal(t, []string{"product-specs orders Amount dev"}, g.approved)
}

func TestAnActionPlanIsDecidedOnWithAReason(t *testing.T) {
	t.Parallel()
	g := &gallery{}
	b := newBundle(t, withGallery(g))
	r := b.do(http.MethodGet, "/v1/plans?flow=f&state=review&key=C1&run=r", "")
	require.Equal(t, 200, r.status, r.body)
	require.Equal(t, []flow.PlanFilter{{Flow: "f", State: "review", Key: "C1", RunID: "r", Limit: 50}}, g.plans)
	require.Equal(t, 200, b.do(http.MethodGet, "/v1/plans/3", "").status)
	r = b.do(http.MethodPost, "/v1/plans/3/decide", `{"approve":true,"action":"call","reason":" knows them "}`)
	require.Equal(t, 200, r.status, r.body)
	require.Equal(t, []flow.PlanDecision{{Approve: true, Action: "call", Reason: "knows them", By: "dev"}}, g.decisions)
	require.Equal(t, "params.invalid", b.do(http.MethodPost, "/v1/plans/3/decide", `{"approve":true}`).problem(t).Code)
	require.Equal(t, "field.unknown", b.do(http.MethodPost, "/v1/plans/3/decide", `{"aprove":true,"reason":"x"}`).problem(t).Code)
	require.Equal(t, 409, b.do(http.MethodPost, "/v1/plans/9/decide", `{"reason":"x"}`).status)

	b = newBundle(t, serve, withGallery(g))
	for _, path := range []string{"/v1/plans", "/v1/plans/3", "/v1/flows/product-specs/sources", "/v1/flows/product-specs/rejects"} {
		require.Equal(t, 403, b.do(http.MethodGet, path, "", "Authorization", "Bearer app").status, path)
		require.Equal(t, 200, b.do(http.MethodGet, path, "", "Authorization", "Bearer ops").status, path)
	}
}
