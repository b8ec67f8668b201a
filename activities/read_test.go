package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"patchbay/activities"
	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/topic"
)

// book hands out one item and keeps what it was told.
type book struct {
	item  run.Item
	notes []string
}

func (b *book) Take(context.Context, string, string) ([]run.Item, error) {
	return []run.Item{b.item}, nil
}

func (b *book) Answer(context.Context, run.Item, flow.Result, string, bool, bool) error { return nil }

func (b *book) Tell(context.Context, run.Item, flow.Result, string, []*topic.Prepared) error {
	return nil
}

func (b *book) Wait(_ context.Context, _ run.Item, _ flow.Status, note string) error {
	b.notes = append(b.notes, note)
	return nil
}

func (b *book) ByDigest(context.Context, string) (*flow.Plan, error) {
	return &flow.Plan{Read: &flow.Read{Connection: "plm"}}, nil
}

// source answers when its context ends.
type source struct{ asked int }

func (s *source) Rows(ctx context.Context, _ *flow.Plan, _ flow.Row) ([]flow.Row, error) {
	s.asked++
	<-ctx.Done()
	return nil, fault.New(fault.Unavailable, "vendor.timeout", "plm did not answer", ctx.Err())
}

func (s *source) Map(*flow.Plan, flow.Row, []flow.Row) ([]flow.Row, error) { return nil, nil }

func read(t *testing.T, deadline time.Time) (*book, *source, *fault.Fault) {
	t.Helper()
	b, s := &book{item: run.Item{DeadlineAt: deadline}}, &source{}
	reader := &activities.Reader{Plans: b, Source: s, Mapper: s, Runs: b}
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	contract.Read.Register(env, func(ctx context.Context, in contract.Batch) (contract.ReadResult, error) {
		out, err := reader.Read(ctx, in)
		return out, contract.ToTemporal(err)
	})
	_, err := env.ExecuteActivity("instant.read.v1", contract.Batch{BatchID: "b"})
	return b, s, contract.FromTemporal(err)
}

func TestARunWhoseTimeIsOverAsksNobodyAndBlamesNobody(t *testing.T) {
	t.Parallel()
	b, s, f := read(t, time.Now().Add(-time.Second))
	require.Equal(t, flow.DeadlineCode, f.Code)
	require.Zero(t, s.asked)
	require.Empty(t, b.notes)
}

func TestAReadThatTheDeadlineCutsOffSaysSo(t *testing.T) {
	t.Parallel()
	_, s, f := read(t, time.Now().Add(2*time.Second))
	require.Equal(t, flow.DeadlineCode, f.Code)
	require.Contains(t, f.Text, "plm did not answer within the time")
	require.Equal(t, 1, s.asked)
}
