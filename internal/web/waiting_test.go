package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/web"
)

// left is a run that nothing carries: it waits for its turn, or was put back.
func left(run flow.Run) flow.Run {
	run.WorkflowID = ""
	return run
}

func TestARunThatWaitsSaysForWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := time.Now().Add(-2 * time.Second)
	due := time.Date(2126, 11, 23, 14, 5, 30, 0, time.UTC)
	w.ahead = map[string]int{"queued": 1012, "next": 0}
	throttled := left(reading(fresh("throttled", at)))
	throttled.Waiting, throttled.DueAt = flow.Obstacle{Why: "oracle-plm asks for a pause (429)"}.String(), &due
	pausing := left(fresh("pausing", at))
	pausing.DueAt = &due
	again := left(writing(answered(reading(fresh("again", at)), 3), 1))
	again.Waiting = flow.Obstacle{Why: "dataverse did not answer within 2 s"}.String()
	shared := fresh("shared", at)
	shared.Shared = "somebody-elses"
	for id, c := range map[string]struct {
		run  flow.Run
		want string
	}{
		"queued":    {left(fresh("queued", at)), "In the queue, 1,012 ahead."},
		"next":      {left(fresh("next", at)), "Next in the queue."},
		"taken":     {left(fresh("taken", at)), "In the queue."},
		"throttled": {throttled, "Waiting until 14:05:30 UTC: Oracle PLM asks for a pause (429)."},
		"pausing":   {pausing, "Waiting until 14:05:30 UTC."},
		"again":     {again, "3 rows for AS54888 were read from Oracle PLM in 210 ms; then Dataverse did not answer within 2 s; asked again."},
		"shared":    {shared, "Waiting for the answer of an identical press."},
	} {
		w.put(c.run)
		_, _, body := w.page(t, "/runs/"+id)
		require.Contains(t, body, `data-part="sentence">`+c.want, id)
		require.Contains(t, body, "<span>Waiting</span>", id)
		require.Contains(t, body, "data-cancel", "%s: who waits can leave", id)
		if c.run.WorkflowID == "" {
			require.NotContains(t, body, "/namespaces/", "%s: there is no workflow to look at", id)
		}
		require.LessOrEqual(t, strings.Count(body, `class="bar"`), 5, id)
		_, _, list := w.page(t, "/runs/live")
		require.Contains(t, list, `data-row="`+id+`"`)
	}
	_, _, list := w.page(t, "/runs")
	require.Contains(t, list, "In the queue, 1,012 ahead<")
	require.NotContains(t, strings.ToLower(list), "batch", "how work is packed is no matter of people")
}

func TestHomeGathersWhatWaitsByReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now()
	first, later := now.Add(time.Hour), now.Add(2*time.Hour)
	for i, name := range []string{"orders", "quotes"} {
		w.waits = append(w.waits,
			flow.Wait{Flow: name, Status: flow.Accepted, Queued: true, Count: 1000 + i, Since: now.Add(-time.Minute)},
			flow.Wait{Flow: name, Status: flow.Running, Queued: true, Count: 60, Since: now.Add(-time.Second), DueAt: []*time.Time{&later, &first}[i],
				Why: flow.Obstacle{Why: "the source asks for a pause (429)"}.String()})
	}
	w.waits = append(w.waits,
		flow.Wait{Flow: "product-specs", Status: flow.Parked, Count: 2, Since: now,
			Why: flow.Obstacle{Connection: "dataverse", Why: "dataverse did not accept the credentials (401)"}.String()},
		flow.Wait{Flow: "product-specs", Status: flow.Running, Count: 3, Since: now,
			Why: flow.Obstacle{Connection: "oracle-plm", After: time.Second, Why: "oracle-plm is not available (503)"}.String()},
		flow.Wait{Flow: "product-specs", Status: flow.Running, Count: 4, Since: now,
			Why: flow.Obstacle{Connection: "oracle-plm", After: 2 * time.Second, Why: "oracle-plm is not available (503)"}.String()},
		flow.Wait{Flow: "product-specs", Status: flow.Accepted, Shared: true, Count: 1, Since: now})
	_, _, body := w.page(t, "/")
	_, body, _ = strings.Cut(body, "<h2>Waiting</h2>")
	body, _, _ = strings.Cut(body, "<section")
	at := -1
	for _, want := range []string{"In the queue</b></span><span class=\"said\">orders, quotes</span>\n<span class=\"num\">2,001 runs",
		"At least until " + first.UTC().Format("15:04:05 UTC") + ": the source asks for a pause (429)", "120 runs",
		"Oracle PLM is not available (503)", "7 runs", "Dataverse did not accept the credentials (401)", "2 runs", "For the answer of an identical press", "1 run<"} {
		i := strings.Index(body, want)
		require.Greater(t, i, at, "%s, the most first, in\n%s", want, body)
		at = i
	}
	require.Contains(t, body, `href="/runs?flow=product-specs&amp;status=parked"`)
	w.waits = nil
	_, _, body = w.page(t, "/")
	require.Contains(t, body, "Runs appear here that wait for their turn")
}

func TestASharedAnswerSaysSoAndLeadsOnlyThoseWhoMaySee(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leader := completed("leader", time.Now(), 3)
	leader.Principal = "key:erp-app"
	follower := closed(stepped(fresh("follower", time.Now()), flow.Running, "answered", ""), flow.Completed, nil)
	follower.Principal, follower.Shared, follower.Result, follower.Effects = "key:crm-app", "leader", leader.Result, leader.Effects
	w.put(leader)
	w.put(follower)
	_, _, body := w.page(t, "/runs/follower")
	require.Contains(t, body, "written to Dataverse once, for this press and identical ones.")
	require.Contains(t, body, "It shared the answer of an identical press.")
	require.Contains(t, body, `href="/runs/leader"`)
	_, _, list := w.page(t, "/runs?who=key:crm-app")
	require.Contains(t, list, "Shared the answer of an identical press<")

	own := web.New(web.Options{Runs: w, Flows: w, Explainer: w,
		Principal: func(*http.Request) flow.Principal { return flow.Principal{Name: "key:crm-app", Role: flow.RolePress} }})
	rec := httptest.NewRecorder()
	own.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/runs/follower", nil))
	require.Contains(t, rec.Body.String(), "It shared the answer of an identical press.")
	require.NotContains(t, rec.Body.String(), `href="/runs/leader"`, "somebody else's run is a page that does not exist")
	rec = httptest.NewRecorder()
	own.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/runs?who=key:erp-app", nil))
	require.NotContains(t, rec.Body.String(), `data-row="leader"`, "a filter gives no rights")
	require.Contains(t, rec.Body.String(), `data-row="follower"`)
}

func TestWhoLeavesIdenticalPressesIsToldThatTheirWorkGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(closed(reading(fresh("detached", time.Now())), flow.Cancelled, nil))
	_, _, body := w.page(t, "/runs/detached")
	require.Contains(t, body, "Identical presses share its work, which goes on for them.")
	require.NotContains(t, body, "othing was", "nobody knows that yet")
}
