package starters_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.uber.org/zap"

	"patchbay/internal/durable"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/starters"
)

// one is a book that accepts a press as a batch that is given.
type one struct {
	start   run.Start
	relayed chan string
}

func (o *one) Accept(context.Context, flow.Press) (flow.Run, run.Start, error) {
	return flow.Run{RunID: o.start.BatchID}, o.start, nil
}
func (o *one) Relayed(_ context.Context, id string) error { o.relayed <- id; return nil }
func (o *one) Lapse(context.Context, string, time.Duration) error {
	close(o.relayed) // it was not started
	return nil
}

// started starts a batch on a real server and gives what the server holds of it.
func started(t *testing.T, s run.Start, page starters.Page) (client.Client, *workflowservice.DescribeWorkflowExecutionResponse) {
	t.Helper()
	address := temporalAddress(t)
	temporal, err := durable.Dial(t.Context(), durable.Options{Address: address, Namespace: newNamespace(t, address)})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	book := &one{start: s, relayed: make(chan string, 1)}
	trigger := starters.NewTrigger(book, temporal, starters.Never, zap.NewNop())
	trigger.Page = page
	_, err = trigger.Press(t.Context(), flow.Press{})
	require.NoError(t, err)
	trigger.Close()
	require.Equal(t, s.BatchID, <-book.relayed, "the server took it")
	d, err := temporal.DescribeWorkflowExecution(t.Context(), s.WorkflowID(), "")
	require.NoError(t, err)
	return temporal, d
}

func batch(size int) run.Start {
	s := run.Start{BatchID: strings.ToLower(rand.Text()), Flow: "product-specs", Pattern: string(flow.Instant), Size: size,
		Summary: "Specifications of a product"}
	for range size {
		s.RunIDs = append(s.RunIDs, strings.ToLower(rand.Text()))
	}
	return s
}

// shown gives summary and details of a workflow as the Temporal Web UI shows them.
func shown(t *testing.T, d *workflowservice.DescribeWorkflowExecutionResponse) (summary, details string) {
	t.Helper()
	meta := d.GetExecutionConfig().GetUserMetadata()
	require.NoError(t, converter.GetDefaultDataConverter().FromPayload(meta.GetSummary(), &summary))
	require.NoError(t, converter.GetDefaultDataConverter().FromPayload(meta.GetDetails(), &details))
	return summary, details
}

// found lists the workflows that a query finds, once the one that is wanted is
// there: visibility follows the history.
func found(t *testing.T, c client.Client, query, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		list, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: query})
		return err == nil && len(list.GetExecutions()) == 1 && list.GetExecutions()[0].GetExecution().GetWorkflowId() == want
	}, time.Minute, 50*time.Millisecond, query)
}

func TestEachOf64RunsIsFoundInTheTemporalWebUIAndLeadsToItsPage(t *testing.T) {
	t.Parallel()
	s := batch(64)
	page := func(id string) string { return "https://patchbay.example.com/runs/" + id }
	temporal, d := started(t, s, page)
	summary, details := shown(t, d)
	require.Equal(t, "64 presses of product-specs", summary)
	require.True(t, strings.HasPrefix(details, "Specifications of a product\n"), details)
	for _, id := range s.RunIDs {
		require.Contains(t, details, fmt.Sprintf("[%s](https://patchbay.example.com/runs/%s)", id, id))
	}
	for _, id := range []string{s.RunIDs[0], s.RunIDs[31], s.RunIDs[63]} {
		found(t, temporal, fmt.Sprintf("PatchbayRuns = '%s'", id), s.WorkflowID())
	}
	found(t, temporal, "PatchbayFlow = 'product-specs'", s.WorkflowID())
}

func TestDetailsStayWithinWhatTheServerTakes(t *testing.T) {
	t.Parallel()
	s := batch(64)
	s.Summary = strings.Repeat("<ä&>", 3000) // the worst that JSON makes of a text
	long := "https://" + strings.Repeat("a-very-long-name.", 14) + "example.com/patchbay/runs/"
	_, d := started(t, s, func(id string) string { return long + id })
	_, details := shown(t, d)
	require.Contains(t, details, "["+s.RunIDs[0]+"]("+long)
	require.Regexp(t, `\n- and \d+ more$`, details)
}

func TestWithoutAConsoleTheDetailsAreTheFlowsOwnWords(t *testing.T) {
	t.Parallel()
	s := batch(1)
	s.Class = flow.Background
	_, d := started(t, s, nil)
	summary, details := shown(t, d)
	require.Equal(t, "1 press of product-specs", summary)
	require.Equal(t, "Specifications of a product", details)
	priority := d.GetWorkflowExecutionInfo().GetPriority()
	require.Equal(t, []any{int32(4), "product-specs"}, []any{priority.GetPriorityKey(), priority.GetFairnessKey()}, "nobody waits for it")
}

func TestAPressThatSomebodyWaitsForStandsBesideThoseOfTheOtherDoor(t *testing.T) {
	t.Parallel()
	_, d := started(t, batch(12), nil)
	summary, _ := shown(t, d)
	require.Equal(t, "12 presses of product-specs", summary)
	require.Equal(t, int32(3), d.GetWorkflowExecutionInfo().GetPriority().GetPriorityKey(), "the server's default")
}

func TestABatchOfMoreRunsThanAreSearchableIsStartedAllTheSame(t *testing.T) {
	t.Parallel()
	s := batch(200)
	temporal, _ := started(t, s, nil)
	found(t, temporal, fmt.Sprintf("PatchbayRuns = '%s'", s.RunIDs[0]), s.WorkflowID())
}
