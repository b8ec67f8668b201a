package web_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

var shots = flag.String("shots", "", "directory for screenshots of the console")

// trouble is a world with some of everything that can go wrong.
func (w *world) trouble(many int) {
	now := time.Now()
	refused := closed(writing(answered(reading(fresh("refused", now.Add(-2*time.Hour))), 12), 10), flow.Failed,
		&flow.Problem{Code: "write.refused", Detail: "the target refused 2 of 12 writes: dataverse.bad_request: dataverse refused the request as wrong (400, 0x80040216)"})
	refused.Effects[10].State, refused.Effects[11].State = flow.Refused, flow.Refused
	refused.Effects[10].Reason, refused.Effects[11].Reason = "dataverse refused the request as wrong (400, 0x80040216)", "dataverse refused the request as wrong (400, 0x80040216)"
	w.put(refused)
	doubt := closed(writing(answered(reading(fresh("doubt", now.Add(-3*time.Hour))), 5), 3), flow.Failed,
		&flow.Problem{Code: "run.terminated", Detail: "the workflow of this run was terminated in Temporal", Retry: true})
	doubt.Effects[3].State, doubt.Effects[4].State = flow.Doubtful, flow.Doubtful
	w.put(doubt)
	w.put(failed("late", now.Add(-26*time.Hour), flow.Problem{Code: flow.DeadlineCode, Retry: true,
		Detail: "the run was not done in time; it was waiting for oracle-plm: oracle-plm is not available (503)"}))
	parked := writing(answered(reading(fresh("parked", now.Add(-time.Hour))), 2), 0)
	parked.Status, parked.Waiting = flow.Parked, "waiting for dataverse: dataverse did not accept the credentials (401)"
	w.put(parked)
	for i := range many {
		at := now.Add(-time.Duration(i*7+3) * time.Second)
		switch i % 9 {
		case 4:
			w.put(failed(fmt.Sprintf("failed-%03d", i), at, flow.Problem{Code: "run.tries", Retry: true, Detail: "it was tried 7 times and never came to an end; the last time: dataverse is not available (503)"}))
		case 7:
			w.put(closed(reading(fresh(fmt.Sprintf("cancelled-%03d", i), at)), flow.Cancelled, nil))
		default:
			w.put(completed(fmt.Sprintf("done-%03d", i), at, 12))
		}
	}
	w.put(writing(answered(reading(fresh("open", now.Add(-time.Second))), 8), 3))
	rate := flow.Rate{Flow: "product-specs", Runs: make([]int, 90), Failed: make([]int, 90)}
	for i := range rate.Runs {
		rate.Runs[i] = (i*7)%5 + 6
		if i == 82 {
			rate.Runs[i] = 19
		}
		if i%11 == 4 {
			rate.Failed[i] = 1
		}
	}
	w.rates = []flow.Rate{rate}
	w.waits = []flow.Wait{{Flow: "product-specs", Status: flow.Parked, Why: "waiting for dataverse: dataverse did not accept the credentials (401)", Count: 1, Since: now.Add(-time.Hour)}}
	for i, what := range []string{"accepted", "answered", "effect", "effect", "closed"} {
		w.entries = append(w.entries, flow.Entry{At: now.Add(-2*time.Hour + time.Duration(i)*200*time.Millisecond), Flow: "product-specs", Run: "refused", What: what,
			Reason: []string{"accepted", "answered", "confirmed", "refused", "rejected"}[i],
			Detail: []map[string]any{nil, {"rows": 12}, {"target": "dataverse.msx_specification", "count": 10.0, "labels": []any{"AS54888, Weight", "AS54888, Width"}},
				{"target": "dataverse.msx_specification", "count": 2.0, "labels": []any{"AS54888, Depth"}, "why": "dataverse refused the request"}, {"status": "failed", "code": "write.refused"}}[i]})
	}
}

func TestEveryPageCanBeUsedByEverybody(t *testing.T) {
	t.Parallel()
	empty, many := newWorld(t), newWorld(t)
	rows := 20
	if *shots != "" {
		rows = 120
	}
	many.trouble(rows)
	many.storm()
	many.broken()
	one := newWorld(t)
	one.calm()
	empty.plans = append(empty.plans, cases())
	one.put(completed("refused", time.Now().Add(-time.Minute), 1))
	painting, painted := painted(t)
	sharing, apart := bordering(t), bordering(t)
	apart.borders = []flow.SyncStanding{{Flow: "account-sync", Regions: []string{"ch", "de", "fr"}}}
	apart.clashes = nil
	landscape := mapped(t, 24)
	lending := lending(t)
	type page struct {
		w          *world
		name, path string
	}
	pages := []page{
		{many, "home", "/"}, {many, "flows", "/flows"}, {many, "form", form}, {many, "runs", "/runs"}, {many, "runs-none", "/runs?key=none"},
		{many, "run-refused", "/runs/refused"}, {many, "run-doubt", "/runs/doubt"}, {many, "run-parked", "/runs/parked"}, {many, "run-open", "/runs/open"},
		{many, "dead", "/dead"}, {many, "dead-letter", "/dead/refused"}, {many, "explain", "/explain?key=AS54888"}, {many, "explain-case", "/explain?key=CAS-1"}, {many, "pulse", "/flows/case-notifications"}, {many, "dead-events", "/dead/events"}, {many, "stops", "/stops"}, {many, "repairs", "/repairs"}, {many, "run-stands", "/runs/stands"}, {empty, "empty-stops", "/stops"}, {empty, "empty-repairs", "/repairs"}, {many, "run-event", "/runs/told"}, {many, "run-event-doubt", "/runs/perhaps"},
		{one, "one-pulse", "/flows/case-notifications"}, {empty, "empty-pulse", "/flows/case-notifications"}, {empty, "empty-events", "/dead/events"}, {many, "error", "/nothing"},
		{painting, "run-rows", "/runs/" + painted.RunID}, {painting, "rows", "/flows/customer-360/rows"}, {painting, "schedules", "/schedules"}, {painting, "plans", "/plans"},
		{sharing, "regions", "/regions"}, {sharing, "conflicts", "/regions/account-sync/conflicts"},
		{apart, "no-region", "/regions"}, {apart, "no-conflicts", "/regions/account-sync/conflicts"},
		{lending, "reviews", "/reviews"}, {lending, "review", "/reviews/mzxw6ytboi2gk3tuobqwg00007"}, {lending, "no-reviews", "/reviews?state=decided"},
		{landscape, "map", "/map"}, {landscape, "map-item", "/map?item=sap.orders.SoldToParty"}, {empty, "empty-map", "/map?item=nothing"},
		{empty, "empty-schedules", "/schedules"}, {empty, "empty-plans", "/plans"}, {painting, "form-rows", "/flows/customer-360"},
		{one, "one-home", "/"}, {one, "one-runs", "/runs"}, {one, "one-run", "/runs/refused"},
		{empty, "empty-home", "/"}, {empty, "empty-runs", "/runs"}, {empty, "empty-dead", "/dead"}, {empty, "empty-explain", "/explain"},
	}
	if *shots != "" { // made of what others are
		pages = append(pages, page{sharing, "regions-home", "/"}, page{empty, "empty-regions", "/regions"})
	}
	for _, scheme := range []string{"light", "dark"} {
		for name, size := range map[string][2]int64{"desktop": {1280, 800}, "phone": {390, 844}} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				tab := browser.New(t)
				tab.Look(size[0], size[1], scheme)
				for _, p := range pages {
					if (p.w == one || p.w == apart) && name == "phone" && *shots == "" {
						continue // what one row is made of, many are
					}
					tab.Go(p.w.URL + p.path)
					require.Empty(t, tab.Audit(), p.name)
					require.True(t, browser.Value[bool](tab, "document.documentElement.scrollWidth <= innerWidth"), "%s hangs out of the window", p.name)
					require.False(t, browser.Value[bool](tab, `[...document.querySelectorAll(".list:not(:has(li))")].some(e => e.checkVisibility())`), "%s shows a list of nothing", p.name)
					if *shots != "" {
						tab.Shoot(filepath.Join(*shots, p.name+"-"+name+"-"+scheme+".png"))
					}
				}
			})
		}
	}
}

func TestTheAuditFindsWhatKeepsPeopleOut(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.bury("a", 1)
	tab.Go(w.URL + "/dead/a-000")
	require.Empty(t, tab.Audit())
	browser.Value[bool](tab, `(() => { document.querySelector("label[for=reason]").remove(); document.querySelector("h1").style.color = "#aaa"; return true })()`)
	found := strings.Join(tab.Audit(), "\n")
	require.Contains(t, found, "label: ", "a field without a name")
	require.Contains(t, found, "color-contrast: ", "text that is hard to read")
}

func TestEveryPageFitsAtTwiceItsSizeAndIsWalkedByTab(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.trouble(5)
	w.storm()
	tab.Look(640, 400, "light") // 1280 by 800 at 200 %
	for _, path := range []string{"/", "/flows", form, "/runs", "/runs/refused", "/dead", "/dead/refused", "/explain?key=AS54888", "/explain?key=CAS-1", "/flows/case-notifications", "/dead/events", "/runs/told"} {
		tab.Go(w.URL + path)
		require.True(t, browser.Value[bool](tab, "document.documentElement.scrollWidth <= innerWidth"), path)
		// What can be reached by Tab is seen when it is reached, and says what it is.
		require.Empty(t, browser.Value[string](tab, `[...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")].filter(e => e.checkVisibility({contentVisibilityAuto: true}) && !e.disabled && !e.closest("dialog") && (e.matches("summary") || !e.closest("details:not([open])"))).filter(e => {
			e.focus();
			const box = e.getBoundingClientRect();
			return document.activeElement !== e || box.width < 1 || !(e.innerText || e.getAttribute("aria-label") || e.labels?.length || e.title);
		}).map(e => e.outerHTML).join("\n")`), path)
	}
}
