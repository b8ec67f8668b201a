package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/e2e/toxic"
	"patchbay/internal/flow"
)

// outage is how long a server is away: a minute as the promise says it (make outage),
// less where that would take too long.
var outage = flag.Duration("outage", 10*time.Second, "how long Temporal and PostgreSQL are away")

// asked is one press of a client that does not ask again.
type asked struct {
	product string
	at      time.Time
	wait    time.Duration // of its Prefer; the gateway's own of ten seconds where it has none
	took    time.Duration
	status  int
	retry   string // Retry-After
	run     flow.Run
	err     error
}

// ask presses once.
func (i *installation) ask(product string, wait time.Duration) (a asked) {
	a = asked{product: product, wait: wait, at: time.Now()}
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.HTTP+"/v1/flows/product-specs/runs",
		bytes.NewReader(fmt.Appendf(nil, `{"product_id":%q}`, product)))
	if err != nil {
		a.err = err
		return a
	}
	req.Header = i.as()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "outage-"+product)
	if wait != gatewayWait {
		req.Header.Set("Prefer", fmt.Sprintf("wait=%d", int(wait.Seconds())))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer resp.Body.Close()
	a.status, a.retry = resp.StatusCode, resp.Header.Get("Retry-After")
	if a.status < 300 {
		a.err = json.NewDecoder(resp.Body).Decode(&a.run)
	}
	a.took = time.Since(a.at)
	return a
}

// gatewayWait is how long the gateway waits for an answer by itself.
const gatewayWait = 10 * time.Second

// asking presses one product every interval, by clients of every patience, and
// returns when all have an answer.
func (i *installation) asking(products []string, interval time.Duration, waits ...time.Duration) []asked {
	all := make([]asked, len(products))
	var under sync.WaitGroup
	for n, product := range products {
		under.Go(func() { all[n] = i.ask(product, waits[n%len(waits)]) })
		<-time.After(interval)
	}
	under.Wait()
	return all
}

// hurried makes the flows give their answers less time than an outage takes.
func (i *installation) hurried(limit time.Duration) {
	i.t.Helper()
	dir := filepath.Join(i.dir, "flows")
	require.NoError(i.t, os.CopyFS(dir, os.DirFS(i.flows)))
	path := filepath.Join(dir, "product-specs.yaml")
	text, err := os.ReadFile(path)
	require.NoError(i.t, err)
	before := []byte("timeout: 30s")
	require.Contains(i.t, string(text), string(before))
	require.NoError(i.t, os.WriteFile(path, bytes.Replace(text, before, fmt.Appendf(nil, "timeout: %s", limit), 1), 0o600))
	i.flows = dir
}

// Temporal is away for twice the time that the flow gives an answer: presses from
// before, by either door, are under way, others come meanwhile. Nobody waits longer
// than it said it would, nobody is refused, and all of it is done afterwards, once.
func TestWhileTemporalIsDownEveryPressIsAnsweredInTimeAndDoneAfterwards(t *testing.T) {
	t.Parallel()
	const interval, within = 200 * time.Millisecond, 2 * time.Second
	var line *toxic.Line
	i, _ := install(t, func(i *installation) {
		line = toxic.New(t, i.temporalAt)
		i.temporalAt = line.Address()
		i.hurried(*outage / 2)
	})
	path, err := binary()
	require.NoError(t, err)
	i.serve(path, freePort(t))
	before, during := 20, int(*outage/interval)
	products := i.products(before + during + 2)

	i.fault("oracle", `{"latency_ms":1500,"method":"GET"}`) // so that they are under way when it happens
	var all []asked
	var under sync.WaitGroup
	under.Go(func() { all = i.asking(products[:before+during], interval, 0, time.Second, gatewayWait, 5*time.Second) })
	<-time.After(time.Duration(before-2) * interval)
	temporal, err := durable.Dial(t.Context(), durable.Options{Address: i.Temporal})
	require.NoError(t, err)
	defer temporal.Close()
	var doors []client.WorkflowRun
	for _, product := range products[before+during:] {
		params, _ := json.Marshal(map[string]any{"product_id": product})
		door, err := temporal.SignalWithStartWorkflow(t.Context(), "outage-"+product, contract.PressSignalName,
			contract.PressSignal{Flow: "product-specs", Params: params},
			client.StartWorkflowOptions{TaskQueue: string(contract.Main)}, contract.Instant.Name())
		require.NoError(t, err)
		doors = append(doors, door)
	}
	i.await("under way: what came by the signal door", time.Minute, func() bool {
		var page struct{ Runs []flow.Run }
		i.do(http.MethodGet, i.HTTP+"/v1/runs?status=running&limit=100", i.as(), "", &page)
		return len(doors) == countOf(page.Runs, func(r flow.Run) bool { return r.Principal == "temporal:default" })
	})

	pid := i.pids()["temporal"]
	line.Fail(toxic.Cut)
	freeze(t, pid)
	away := time.Now()
	<-time.After(*outage)
	for _, p := range append(offspring(t, pid), pid) {
		require.NoError(t, syscall.Kill(p, syscall.SIGCONT))
	}
	line.Heal()
	back := time.Now()
	i.heal("oracle")
	under.Wait()

	statuses, slowest := map[int]int{}, map[time.Duration]time.Duration{}
	var runs []string
	for _, a := range all {
		require.NoError(t, a.err, "%s, %s after it went away", a.product, a.at.Sub(away))
		require.Contains(t, []int{http.StatusOK, http.StatusAccepted}, a.status, a.product)
		require.Less(t, a.took, a.wait+within, "%s said wait=%s, %s after it went away", a.product, a.wait, a.at.Sub(away))
		statuses[a.status]++
		slowest[a.wait] = max(slowest[a.wait], a.took.Round(time.Millisecond))
		runs = append(runs, a.run.RunID)
	}
	for _, door := range doors {
		var result contract.InstantResult
		require.NoError(t, door.Get(t.Context(), &result), "by the signal door")
		require.Equal(t, flow.Completed, result.Status)
		runs = append(runs, result.Answer.RunID)
	}
	rows, last := 0, time.Time{}
	for _, id := range runs {
		var now flow.Run
		i.await("final: "+id, 2*time.Minute, func() bool {
			i.do(http.MethodGet, i.HTTP+"/v1/runs/"+id, i.as(), "", &now)
			return now.Status.Final()
		})
		require.Equal(t, flow.Completed, now.Status, "%+v, accepted %s after Temporal went away, %s in %s", now.Problem, now.AcceptedAt.Sub(away), now.Progress, now.WorkflowID)
		rows += now.Result.Count
		if now.ClosedAt.After(last) {
			last = *now.ClosedAt
		}
	}
	i.once(rows)
	t.Logf("%s without Temporal: %d presses, by status %v; the longest answer by what the client would wait for: %v; all done %s after it was back",
		outage, len(all)+len(doors), statuses, slowest, last.Sub(back).Round(time.Millisecond))
}

// PostgreSQL is away, so nothing can be accepted: everybody is told so at once, and
// when to come again. What was accepted is there, and nothing else is.
func TestWhilePostgreSQLIsDownEveryPressIsRefusedAtOnceAndNoneIsLost(t *testing.T) {
	t.Parallel()
	const interval, machine = 200 * time.Millisecond, 500 * time.Millisecond
	var line *toxic.Line
	i, _ := install(t, func(i *installation) {
		database, err := url.Parse(i.application)
		require.NoError(t, err)
		line = toxic.New(t, database.Host)
		database.Host = line.Address()
		i.application = database.String()
	})
	path, err := binary()
	require.NoError(t, err)
	i.serve(path, freePort(t))
	half := int(*outage / 2 / interval)
	products := i.products(2 * half)
	presses := map[string]string{} // run by product
	count, slowest := map[int]int{}, time.Duration(0)
	for n, fault := range []toxic.Fault{toxic.Cut, toxic.BlackHole} {
		line.Fail(fault)
		down := time.Now()
		for _, a := range i.asking(products[n*half:(n+1)*half], interval, gatewayWait, 0) {
			require.NoError(t, a.err)
			require.Equal(t, http.StatusServiceUnavailable, a.status, "%s, %s after %s", a.product, a.at.Sub(down), fault)
			require.NotEmpty(t, a.retry)
			require.Less(t, a.took, 2*time.Second+machine, "half a second is this machine's")
			count[a.status]++
			slowest = max(slowest, a.took.Round(time.Millisecond))
		}
		line.Heal()
		i.await("accepting", time.Minute, func() bool { return i.ask(products[n*half], 0).status < 300 })
	}
	for _, product := range products { // the same keys again
		a := i.ask(product, gatewayWait)
		require.NoError(t, a.err)
		require.Less(t, a.status, 300)
		presses[product] = a.run.RunID
	}
	rows := 0
	for _, id := range presses {
		var now flow.Run
		i.await("final: "+id, time.Minute, func() bool {
			i.do(http.MethodGet, i.HTTP+"/v1/runs/"+id, i.as(), "", &now)
			return now.Status.Final()
		})
		require.Equal(t, flow.Completed, now.Status, "%+v", now.Problem)
		rows += now.Result.Count
	}
	i.once(rows)
	conn, err := pgx.Connect(t.Context(), i.Database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var runs int
	require.NoError(t, conn.QueryRow(t.Context(), `select count(*) from work where flow = 'product-specs'`).Scan(&runs))
	require.Equal(t, len(products), runs, "one run a key, however often it was pressed")
	t.Logf("%s without PostgreSQL: answers by status %v, the longest took %s", outage, count, slowest)
}

func countOf(runs []flow.Run, is func(flow.Run) bool) int {
	return len(slices.DeleteFunc(slices.Clone(runs), func(r flow.Run) bool { return !is(r) }))
}
