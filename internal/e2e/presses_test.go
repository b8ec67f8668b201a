package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"patchbay/internal/durable"
	"patchbay/internal/flow"
)

// Trouble of a few delays nobody else: of fifty presses that come at once one
// hangs, one is refused, one is throttled and one is cancelled.
//
// The throttled one is told to wait for a second. A vendor says that of a
// connection, not of a product, so all that still has to read waits as long with
// it: a longer Retry-After would be the wait of others, too.
//
// The others are answered within two seconds, which it logs beside what fifty presses
// without any trouble take. Beside other packages' tests that is no judge: it is half
// of what the hanging one hangs, or, if that is more, twice what those took and the
// second of the Retry-After. Not parallel, so that the two are measured side by side.
func TestFortySixOfFiftyDoNotFeelTheOtherFour(t *testing.T) { //nolint:paralleltest // see above
	i, _ := install(t)
	path, err := binary()
	require.NoError(t, err)
	i.serve(path, freePort(t))
	products := i.products(110)
	warm, calm, products := products[:10], products[10:60], products[60:]
	i.settled(i.together(warm), time.Minute) // tokens and connections are there, as in the middle of a day
	untroubled := i.together(calm)
	i.settled(untroubled, time.Minute)
	var usual time.Duration
	for _, o := range untroubled {
		usual = max(usual, o.took)
	}
	const hangs = 10 * time.Second
	limit := max(hangs/2, 2*usual+time.Second)

	hanging, refused, throttled, cancelled := products[7], products[17], products[27], products[37]
	i.fault("oracle", fmt.Sprintf(`[
		{"match":%q,"latency_ms":%d,"count":2},
		{"match":%q,"status":400},
		{"match":%q,"status":429,"retry_after":1,"count":1},
		{"match":%q,"latency_ms":%[2]d}]`, hanging, hangs.Milliseconds(), refused, throttled, cancelled))
	others := slices.DeleteFunc(slices.Clone(products), func(p string) bool {
		return slices.Contains([]string{hanging, refused, throttled, cancelled}, p)
	})
	require.Len(t, others, 46)

	runs := make(map[string]outcome, len(products))
	l := i.pressing(products, time.Microsecond)
	var certificate flow.Certificate
	i.await("reading: "+cancelled, time.Minute, func() bool {
		var page struct{ Runs []flow.Run }
		i.do(http.MethodGet, i.HTTP+"/v1/runs?limit=100", i.as(), "", &page)
		for _, r := range page.Runs {
			if r.Params["product_id"] == cancelled && r.Status == flow.Running {
				i.do(http.MethodPost, i.HTTP+"/v1/runs/"+r.RunID+"/cancel", i.as(), "", &certificate)
				return true
			}
		}
		return false
	})
	l.under.Wait()
	for _, o := range l.outcomes {
		require.NoError(t, o.err, o.product)
		runs[o.product] = o
	}
	var slowest time.Duration
	for _, p := range others {
		slowest = max(slowest, runs[p].took)
	}
	t.Logf("the slowest of the other %d took %s, of fifty without trouble %s", len(others), slowest.Round(time.Millisecond), usual.Round(time.Millisecond))
	require.Len(t, runs, len(products))
	for _, p := range others {
		o := runs[p]
		require.NotNil(t, o.run.Result, "%s: %+v", p, o.run.Problem)
		require.NotEmpty(t, o.run.Result.Rows, p)
		require.Less(t, o.took, limit, p)
	}

	// Every one with the right outcome and reason, in the API and in the journal.
	require.Equal(t, flow.Cancelled, certificate.Status)
	for _, p := range products {
		want, reason := flow.Completed, "delivered"
		switch p {
		case refused:
			want, reason = flow.Failed, "rejected"
		case cancelled:
			want, reason = flow.Cancelled, "cancelled"
		}
		var now flow.Run
		i.await(fmt.Sprintf("%s: %s", want, p), time.Minute, func() bool {
			i.do(http.MethodGet, i.HTTP+"/v1/runs/"+runs[p].run.RunID, i.as(), "", &now)
			return now.Status.Final()
		})
		require.Equal(t, want, now.Status, "%s: %+v", p, now.Problem)
		if p == refused {
			require.False(t, now.Problem.Retry, "%+v", now.Problem)
		}
		var told struct {
			Entries []struct{ Run, Reason string }
		}
		i.do(http.MethodGet, i.HTTP+"/v1/explain/"+now.RunID, i.as(), "", &told)
		var reasons []string
		for _, e := range told.Entries {
			reasons = append(reasons, e.Reason)
		}
		require.Contains(t, strings.Join(reasons, " "), reason, p)
	}

	// The stand-ins' own record: nothing of the two that ended without rows was
	// written, everything else once.
	require.Empty(t, i.specifications(refused))
	require.Empty(t, i.specifications(cancelled))
	require.NotEmpty(t, i.specifications(hanging))
	require.NotEmpty(t, i.specifications(throttled))
	var held, writes int
	i.sandboxRows(`select count(*), coalesce(sum(writes), 0) from dataverse.msx_specification`, &held, &writes)
	require.Equal(t, held, writes, "no row was written twice")

	i.inTemporal(runs)
}

// together presses all products at once and waits for the answers.
func (i *installation) together(products []string) []outcome {
	i.t.Helper()
	l := i.pressing(products, time.Microsecond)
	l.under.Wait()
	return l.outcomes
}

// inTemporal requires that Temporal's visibility, which its Web UI asks, finds
// every run by its ID.
func (i *installation) inTemporal(runs map[string]outcome) {
	i.t.Helper()
	c, err := durable.Dial(i.t.Context(), durable.Options{Address: i.Temporal})
	require.NoError(i.t, err)
	defer c.Close()
	find, ctx := errgroup.WithContext(i.t.Context())
	find.SetLimit(4)
	for product, o := range runs {
		find.Go(func() error { return found(ctx, c, product, o.run.RunID) })
	}
	require.NoError(i.t, find.Wait())
}

func found(ctx context.Context, c client.Client, product, run string) error {
	page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf("PatchbayRuns = '%s'", run)})
	if err == nil && len(page.GetExecutions()) == 0 {
		err = fmt.Errorf("the run %s of %s is in no workflow", run, product)
	}
	return err
}
