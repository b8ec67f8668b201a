package run_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

func TestApplyNamesWhatItChangedAndNothingElse(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	connections := []flow.Connection{{Name: "plm", System: "oracle"}, {Name: "crm", System: "dataverse"}}
	changed, err := b.plans.Apply(t.Context(), []*flow.Plan{b.plan}, connections, "test")
	require.NoError(t, err)
	require.Equal(t, []string{"connection crm"}, changed)
	next := specs(func(p *flow.Plan) { p.Summary = "other" })
	changed, err = b.plans.Apply(t.Context(), []*flow.Plan{next}, connections, "test")
	require.NoError(t, err)
	require.Equal(t, []string{"flow product-specs"}, changed)

	plan, digest, err := b.plans.Current(t.Context(), "product-specs")
	require.NoError(t, err)
	require.Equal(t, next.Digest(), digest, "who applied sees it at once")
	require.Equal(t, "other", plan.Summary)
	old, err := b.plans.ByDigest(t.Context(), b.plan.Digest())
	require.NoError(t, err)
	require.Equal(t, b.plan, old, "a plan once accepted under stays")

	list, err := b.plans.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, digest, list[0].Digest)
	all, err := b.plans.Connections(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"crm", "plm"}, []string{all[0].Name, all[1].Name})
	crm, err := b.plans.Connection(t.Context(), "crm")
	require.NoError(t, err)
	require.Equal(t, "dataverse", crm.System)
}

func TestUnknownPlansAndConnectionsAreNotFound(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, err := b.plans.ByDigest(t.Context(), "x")
	requireFault(t, err, fault.NotFound, "plan.not-found")
	_, err = b.plans.Connection(t.Context(), "x")
	requireFault(t, err, fault.NotFound, "connection.not-found")
}

func TestAPlanComesBackAsItWasCompiled(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	plan := specs(func(p *flow.Plan) {
		p.Flow = "odd"
		p.Params[0].Default = "<&>\x00"
		p.Params = append(p.Params, flow.Param{Name: "rate", Type: flow.Decimal, Default: json.Number("1.50e2")})
	})
	digest, err := b.plans.Put(t.Context(), plan)
	require.NoError(t, err)
	again, err := b.plans.Put(t.Context(), plan)
	require.NoError(t, err)
	require.Equal(t, digest, again)
	read, err := run.NewPlans(b.store).ByDigest(t.Context(), digest)
	require.NoError(t, err)
	require.Equal(t, plan, read)
	_, _, err = b.plans.Current(t.Context(), "odd")
	requireFault(t, err, fault.NotFound, "flow.not-found")
}
