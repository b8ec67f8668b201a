package e2e

import (
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// stops are what the API says is stopped.
func (p *patchbay) stops() []flow.Stopped {
	p.t.Helper()
	var page struct{ Stops []flow.Stopped }
	p.do(http.MethodGet, p.HTTP+"/v1/stops", nil, "", &page)
	return page.Stops
}

// allPressed presses for products at the same time and gives the runs.
func (p *patchbay) allPressed(products []string, prefer string) []string {
	p.t.Helper()
	ids := make([]string, len(products))
	var pressing sync.WaitGroup
	for i, product := range products {
		pressing.Go(func() {
			if _, run := p.press(product, "", prefer); run.RunID != "" {
				ids[i] = run.RunID
			}
		})
	}
	pressing.Wait()
	require.NotContains(p.t, ids, "")
	return ids
}

func (p *patchbay) run(id string) (run flow.Run) {
	p.t.Helper()
	p.do(http.MethodGet, p.HTTP+"/v1/runs/"+id, nil, "", &run)
	return run
}

func TestWritesToASystemThatIsAwayAreParkedTriedByOneAndDoneOnce(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	products := p.products(24)
	p.fault("dataverse", `{"status":503}`)
	ids := p.allPressed(products, "wait=30")

	// Those of a batch are back in the queue, those alone sleep in Temporal; one may try.
	waits := regexp.MustCompile(`^waiting (patiently )?for dataverse: `)
	p.await("all wait", 2*time.Minute, func() bool {
		n := 0
		for _, id := range ids {
			if waits.MatchString(p.run(id).Waiting) {
				n++
			}
		}
		return n >= len(ids)-1
	})
	var at flow.Stopped
	for _, s := range p.stops() {
		if s.Kind == flow.StopConnection && s.Name == "dataverse" {
			at = s
		}
	}
	require.Equal(t, flow.StopResting, at.Cause)
	require.Contains(t, at.Reason, "503")
	require.Contains(t, at.Flows, "product-specs")

	// While it rests again and again one request of one run tries, whatever waits.
	before := len(p.calls("dataverse", "", ""))
	const rests = 3
	for range rests {
		last := *at.Until
		p.await("the next rest", 2*time.Minute, func() bool {
			for _, s := range p.stops() {
				if s.Name == "dataverse" && s.Until.After(last) {
					at = s
				}
			}
			return at.Until.After(last)
		})
	}
	require.LessOrEqual(t, len(p.calls("dataverse", "", ""))-before, 2*rests+2)
	out, _, status := p.cli("stops")
	require.Zero(t, status)
	require.Regexp(t, `connection dataverse .* it answers nobody: .*503`, out)
	require.Regexp(t, `dataverse`, p.run(ids[0]).Waiting)

	p.heal("dataverse")
	for i, id := range ids {
		require.Equal(t, flow.Completed, p.final(id, 3*time.Minute).Status)
		want, got := p.run(id).Result, p.specifications(products[i])
		require.Len(t, got, want.Count, "each row is there, once")
	}
	p.await("nothing is stopped", time.Minute, func() bool { return len(p.stops()) == 0 })
}

func TestAFlowOrAConnectionThatIsHeldAcceptsAndStartsWhenItIsLetGo(t *testing.T) {
	t.Parallel()
	p := start(t, dataDir(t))
	_, errs, status := p.cli("hold", "product-spec", "--reason", "wrong prices")
	require.Equal(t, 1, status)
	require.Contains(t, errs, `did you mean "product-specs"?`)
	_, errs, status = p.cli("hold", "--connection", "oracle-pml", "--reason", "moves")
	require.Equal(t, 1, status)
	require.Contains(t, errs, `did you mean`)
	_, _, status = p.cli("hold", "product-specs")
	require.Equal(t, 2, status, "without a reason")
	_, _, status = p.cli("hold", "product-specs", "--connection", "oracle-plm", "--reason", "x")
	require.Equal(t, 2, status)

	out, errs, status := p.cli("hold", "product-specs", "--reason", "wrong prices")
	require.Zero(t, status, errs)
	require.Contains(t, out, "the flow product-specs is stopped: held by dev: wrong prices")
	status, run := p.press("AS54888", "", "wait=0")
	require.Equal(t, http.StatusAccepted, status)
	p.await("it says what it waits for", time.Minute, func() bool { return p.run(run.RunID).Waiting == "held by dev: wrong prices" })
	require.Empty(t, p.calls("oracle", "", "itemsV2"))
	out, errs, status = p.cli("resume", "product-specs")
	require.Zero(t, status, errs)
	require.Contains(t, out, "is in use again")
	require.Equal(t, flow.Completed, p.final(run.RunID, time.Minute).Status)
	_, errs, status = p.cli("resume", "product-specs")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "nobody holds the flow")

	// Of a connection: what is answered waits to write, and nothing reaches the system.
	waits := regexp.MustCompile(`^waiting (patiently )?for dataverse: .*held.*moves tonight`)
	_, errs, status = p.cli("hold", "--connection", "dataverse", "--reason", "moves tonight")
	require.Zero(t, status, errs)
	before := len(p.calls("dataverse", "", ""))
	var product string
	for _, product = range p.products(20) { // not all of them have anything to write
		status, run = p.press(product, "", "wait=30")
		require.Equal(t, http.StatusOK, status)
		require.NotNil(t, run.Result)
		if run.Result.Count > 0 && run.Shared == "" {
			break
		}
	}
	p.await("it says what it waits for", time.Minute, func() bool {
		return waits.MatchString(p.run(run.RunID).Waiting)
	})
	require.Len(t, p.calls("dataverse", "", ""), before)
	_, errs, status = p.cli("resume", "--connection", "dataverse")
	require.Zero(t, status, errs)
	require.Equal(t, flow.Completed, p.final(run.RunID, 2*time.Minute).Status)
	require.NotEmpty(t, p.specifications(product))
}

// A slot whose connection is held waits for as long as its catch-up window, and then has no run
// and the reason; when it is let go the next one runs.
func TestASlotWhoseConnectionIsHeldHasNoRunAndSaysWhy(t *testing.T) {
	t.Parallel()
	e := picture(t, 20, "schedule: { every: 15s, overlap: skip, catch_up: 10s }")
	_, note, code := e.cli("hold", "--server", e.HTTP, "--connection", "erp", "--reason", "moves tonight")
	require.Zero(t, code, note)
	_, note, code = e.cli("resume", "--server", e.HTTP, "picture") // patchbay dev begins with schedules paused
	require.Zero(t, code, note)
	const stopped = `select count(*) from slot where outcome = 'skipped: stopped' and reason like '%erp%held by%moves tonight%'`
	e.await("a slot that is stopped", 2*time.Minute, func() bool { return e.count(stopped) > 0 })
	require.Zero(t, e.count(`select count(*) from work`), "nothing began")
	_, note, code = e.cli("resume", "--server", e.HTTP, "--connection", "erp")
	require.Zero(t, code, note)
	e.await("a slot that ran", 2*time.Minute, func() bool { return e.count(`select count(*) from slot where outcome in ('ran', 'late')`) > 0 })
	e.exact("after it was let go")
}
