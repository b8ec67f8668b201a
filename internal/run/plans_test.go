package run_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

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
	requireFault(t, err, fault.NotFound, "plan.not_found")
	_, err = b.plans.Connection(t.Context(), "x")
	requireFault(t, err, fault.NotFound, "connection.not_found")
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
	requireFault(t, err, fault.NotFound, "flow.not_found")
}

// keep stores a body as another version of Patchbay would have, and gives its digest.
func (b *bundle) keep(body string) string {
	b.Helper()
	sum := sha256.Sum256([]byte(body))
	digest := hex.EncodeToString(sum[:])
	b.exec(`insert into plan (digest, flow, body) values ($1, 'old', $2)`, digest, []byte(body))
	return digest
}

func TestAPlanStaysValidWhenALaterVersionEncodesItOtherwise(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	// Neither the order of the fields nor their number is what this version writes.
	digest := b.keep(`{"pattern": "instant", "flow": "old", "limits": {"timeout": 5000000000}}`)
	plan, err := b.plans.ByDigest(t.Context(), digest)
	require.NoError(t, err)
	require.Equal(t, &flow.Plan{Flow: "old", Pattern: flow.Instant, Limits: flow.Limits{Timeout: 5 * time.Second}}, plan)
}

func TestAPlanThatWasChangedBehindOurBackIsNotRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	digest := hex.EncodeToString(make([]byte, sha256.Size))
	b.exec(`insert into plan (digest, flow, body) select $1, flow, body from plan limit 1`, digest)
	_, err := b.plans.ByDigest(t.Context(), digest)
	requireFault(t, err, fault.Bug, "plan.digest")
}

func TestAPlanThatALaterVersionCompiledIsNotRunByHalf(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	digest := b.keep(`{"flow": "old", "pattern": "instant", "limits": {}, "approve_first": true}`)
	_, err := b.plans.ByDigest(t.Context(), digest)
	requireFault(t, err, fault.Bug, "plan.decode")
}

func TestOneUnreadablePlanHidesNoOther(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	bad, badStart := b.accept("bad")
	good, goodStart := b.accept("good")
	digest := b.keep(`[]`)
	b.exec(`update work set digest = $2 where run_id = $1`, bad.RunID, digest)
	b.exec(`update batch set digest = $2 where batch_id = $1`, badStart.BatchID, digest)
	b.exec(`insert into flow_current (flow, digest, applied_by) values ('broken', $1, 'test')`, digest)
	b.lapse(bad.RunID)
	b.lapse(good.RunID)
	b.book = run.NewBook(b.store, run.NewPlans(b.store), run.Options{})

	due, err := b.book.Due(t.Context(), 10)
	require.Equal(t, []run.Start{goodStart}, due, "the rest is handed over")
	requireFault(t, err, fault.Bug, "plan.decode")
	require.ErrorContains(t, err, badStart.BatchID, "and what was left out is named")

	require.Equal(t, bad.WorkflowID, b.get(bad.RunID).WorkflowID)
	runs, _, err := b.book.List(t.Context(), flow.RunFilter{})
	require.NoError(t, err)
	require.Len(t, runs, 2)
	applied, err := run.NewPlans(b.store).List(t.Context())
	require.NoError(t, err)
	require.Len(t, applied, 1)
	require.Equal(t, "product-specs", applied[0].Plan.Flow)

	require.NoError(t, b.book.Relayed(t.Context(), badStart.BatchID))
	b.exec(`update work set state = 'running' where run_id = $1`, bad.RunID)
	_, err = b.book.Seal(t.Context(), bad.RunID, "dev")
	require.NoError(t, err)
	sealed, err := b.book.SealedOpen(t.Context())
	require.NoError(t, err, "a cancel needs no plan")
	require.Equal(t, []run.Handed{{BatchID: badStart.BatchID, WorkflowID: badStart.WorkflowID()}}, sealed)
}
