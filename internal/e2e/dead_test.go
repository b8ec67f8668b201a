package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"patchbay/internal/flow"
)

// tally counts the effects of a run by state.
func tally(run flow.Run) map[flow.EffectState]int {
	n := map[flow.EffectState]int{}
	for _, e := range run.Effects {
		n[e.State]++
	}
	return n
}

func TestADeadLetterIsRedrivenOnceAndWritesOnlyWhatWasRefused(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	// Dataverse refuses the call as a whole, and two of its rows by themselves.
	p.fault("dataverse", `[{"status":400,"method":"POST","path":"UpsertMultiple"},{"status":400,"method":"PATCH","count":2}]`)
	_, pressed := p.press("AS54888", "", "")
	died := p.final(pressed.RunID, time.Minute)
	require.Equal(t, "write.refused", died.Problem.Code)
	rows := died.Result.Count
	require.Equal(t, map[flow.EffectState]int{flow.Confirmed: rows - 2, flow.Refused: 2}, tally(died))
	require.Len(t, p.specifications("AS54888"), rows-2)
	sent := len(p.calls("dataverse", http.MethodPatch, ""))
	p.heal("dataverse")

	out, note, status := p.cli("dead", "--flow", "product-specs", "--reason", "rejected")
	require.Equal(t, 0, status, note)
	require.Contains(t, out, died.RunID)
	out, note, status = p.cli("redrive", "--flow", "product-specs", "--plan")
	require.Equal(t, 0, status, note)
	require.Contains(t, out, "would be redriven as it was")
	require.Contains(t, out, "not sent again; 2 sent again")
	require.Len(t, p.calls("dataverse", http.MethodPatch, ""), sent, "a plan does nothing")

	var all errgroup.Group
	for range 5 {
		all.Go(func() error {
			resp, err := http.Post(p.HTTP+"/v1/dead/redrive", "application/json", strings.NewReader(`{"runs":["`+died.RunID+`"]}`))
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		})
	}
	require.NoError(t, all.Wait())
	done := p.final(died.RunID, time.Minute)
	require.Equal(t, flow.Completed, done.Status, "%+v", done.Problem)
	require.Len(t, p.specifications("AS54888"), rows)
	bulk := len(accepted(p.calls("dataverse", http.MethodPost, "UpsertMultiple")))
	single := len(p.calls("dataverse", http.MethodPatch, "")) - sent
	require.True(t, bulk == 1 && single == 0 || bulk == 0 && single == 2, "five asked, two rows were sent once: %d calls of many, %d of one", bulk, single)
	out, _, status = p.cli("explain", died.RunID)
	require.Equal(t, 0, status)
	require.Equal(t, 1, strings.Count(out, "redriven  "), out)
	require.Contains(t, out, "delivered")
	out, _, status = p.cli("redrive", died.RunID)
	require.Equal(t, 1, status)
	require.Contains(t, out, "dead.redriven")
}

func TestARedriveOfARunInDoubtLooksBeforeItWrites(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	// The rows are written, and nobody can know it.
	p.fault("dataverse", `[{"drop_after_commit":true,"method":"POST","path":"UpsertMultiple","count":1},{"status":503,"method":"GET"},{"status":503,"method":"POST"}]`)
	_, pressed := p.press("AS54888", "", "")
	var run flow.Run
	p.await("in doubt", time.Minute, func() bool {
		run = flow.Run{}
		p.do(http.MethodGet, p.HTTP+"/v1/runs/"+pressed.RunID, nil, "", &run)
		return len(run.Effects) > 0 && run.Waiting != ""
	})
	temporal, err := client.Dial(client.Options{HostPort: p.Temporal})
	require.NoError(t, err)
	defer temporal.Close()
	require.NoError(t, temporal.TerminateWorkflow(t.Context(), run.WorkflowID, "", "by a person"))
	died := p.final(run.RunID, time.Minute)
	require.Equal(t, "run.terminated", died.Problem.Code)
	require.Equal(t, map[flow.EffectState]int{flow.Doubtful: run.Result.Count}, tally(died))
	out, _, status := p.cli("explain", died.RunID)
	require.Equal(t, 0, status)
	require.Contains(t, out, "in doubt")
	require.Contains(t, out, "→ redrive the run: it looks whether dataverse has this row")
	p.heal("dataverse")

	out, note, status := p.cli("redrive", died.RunID)
	require.Equal(t, 0, status, note)
	require.Contains(t, out, "in doubt, read back before anything is sent")
	done := p.final(died.RunID, time.Minute)
	require.Equal(t, flow.Completed, done.Status, "%+v", done.Problem)
	require.Len(t, p.specifications("AS54888"), done.Result.Count)
	require.Len(t, accepted(p.calls("dataverse", http.MethodPost, "UpsertMultiple")), 1, "what was there is not written again")
	var page struct{ Entries []flow.Entry }
	p.do(http.MethodGet, p.HTTP+"/v1/explain/"+url.PathEscape("AS54888"), nil, "", &page)
	var reasons []string
	for _, e := range page.Entries {
		if e.What == "closed" || e.What == "redriven" {
			reasons = append(reasons, e.Reason)
		}
	}
	require.Equal(t, []string{"failed", "redriven", "delivered"}, reasons)
}
