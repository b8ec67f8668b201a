package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/internal/flow"
)

type repairList struct{ Repairs []flow.Repair }

func (p *patchbay) repairs(query string) []flow.Repair {
	p.t.Helper()
	var got repairList
	require.Less(p.t, p.do(http.MethodGet, p.HTTP+"/v1/repairs"+query, nil, "", &got).StatusCode, 300)
	return got.Repairs
}

// checked is what the doctor says of one thing.
func (p *patchbay) checked(name string) (status, detail string) {
	p.t.Helper()
	var got struct {
		Checks []struct{ Name, Status, Detail string }
	}
	p.do(http.MethodGet, p.HTTP+"/v1/doctor", nil, "", &got)
	for _, c := range got.Checks {
		if c.Name == name {
			return c.Status, c.Detail
		}
	}
	return "", ""
}

// What could not be taken back is a task for a person until somebody says that it has been put
// right: an alert, a line of the doctor, and no redrive writes beside it.
func TestWhatStandsIsATaskForAPerson(t *testing.T) {
	t.Parallel()
	e := company(t, nil)
	e.request("stuck-1", 5, "nowhere")
	run := e.final(e.begin("fulfil", `{"nr":"stuck-1"}`), time.Minute)
	require.Equal(t, flow.TaskStands, states(run)["stock"])
	list := e.repairs("")
	require.Len(t, list, 1)
	require.Equal(t, []string{"stock", "erp.stock", "stuck-1"}, []string{list[0].Step, list[0].Target, list[0].Keys[0]})
	require.Equal(t, "write.refused", list[0].Problem.Code)
	require.False(t, list[0].Goes)
	alerts := func() int {
		return e.count(`select count(*) from alert where kind = 'repairs' and resolved_at is null`)
	}
	e.await("the alert", time.Minute, func() bool { return alerts() == 1 })
	status, detail := e.checked("repairs")
	require.Equal(t, "warn", status, detail)

	out, _, code := e.cli("redrive", "--server", e.HTTP, run.RunID)
	require.NotZero(t, code)
	require.Contains(t, out, "dead.stands")
	require.Equal(t, []string{"sale open", "stock reserved", "sale reversed"}, e.log("stuck-1"))

	_, note, code := e.cli("repairs", "--server", e.HTTP, "--settle", " ", run.RunID)
	require.NotZero(t, code)
	require.Contains(t, note, "needs a note")
	out, note, code = e.cli("repairs", "--server", e.HTTP, "--settle", "released by the auditor", run.RunID, "stock")
	require.Zero(t, code, note)
	require.Contains(t, out, "put right: stock")
	_, note, code = e.cli("repairs", "--server", e.HTTP, "--settle", "again", run.RunID, "stock")
	require.NotZero(t, code)
	require.Contains(t, note, "repair.settled")
	require.Empty(t, e.repairs(""))
	require.Equal(t, "released by the auditor", e.repairs("?settled=true")[0].Settled.Note)
	e.await("the end of the alert", time.Minute, func() bool { return alerts() == 0 })
	status, _ = e.checked("repairs")
	require.Equal(t, "ok", status)
	out, _, code = e.cli("explain", "--server", e.HTTP, "stuck-1")
	require.Zero(t, code)
	require.Contains(t, out, "stands")
	require.Contains(t, out, "put_right")

	_, err := e.sql.Exec(t.Context(), `update request set port = 'HAM' where nr = 'stuck-1'`)
	require.NoError(t, err)
	out, note, code = e.cli("redrive", "--server", e.HTTP, run.RunID) // now it may begin anew
	require.Zero(t, code, "%s%s", out, note)
}

// A service whose workflow was terminated has taken nothing back: what stands is told, and a
// redrive goes on where it was.
func TestATerminatedServiceIsToldAndGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	e := company(t, nil)
	e.request("ended", 5, "HAM")
	_, err := e.sql.Exec(t.Context(), `begin; lock table booking in access exclusive mode`)
	require.NoError(t, err)
	id := e.begin("fulfil", `{"nr":"ended"}`)
	var run flow.Run
	e.await("the booking", time.Minute, func() bool {
		e.do(http.MethodGet, e.HTTP+"/v1/runs/"+id, nil, "", &run)
		return states(run)["booking"] == flow.TaskRunning
	})
	temporal, err := client.Dial(client.Options{HostPort: e.Temporal})
	require.NoError(t, err)
	defer temporal.Close()
	require.NoError(t, temporal.TerminateWorkflow(t.Context(), run.WorkflowID, "", "by a person"))
	run = e.final(id, 2*time.Minute)
	require.Equal(t, flow.TerminatedCode, run.Problem.Code)
	list := e.repairs("?run=" + id)
	stand := map[string]string{}
	for _, r := range list {
		stand[r.Step] = r.Target + " " + r.Keys[0]
		require.True(t, r.Goes)
	}
	require.Equal(t, "erp.sale ended", stand["sale"])
	require.Equal(t, "erp.stock ended", stand["stock"])
	require.NotContains(t, stand, "request", "nothing was written by it")
	_, err = e.sql.Exec(t.Context(), `rollback`)
	require.NoError(t, err)

	out, note, code := e.cli("redrive", "--server", e.HTTP, id)
	require.Zero(t, code, "%s%s", out, note)
	run = e.final(id, 2*time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	require.Equal(t, []string{"sale open", "stock reserved", "booking booked", "notice "}, e.log("ended"), "each once")
	require.Empty(t, e.repairs(""))
}
