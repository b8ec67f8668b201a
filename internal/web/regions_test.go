package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/web"
	"patchbay/internal/web/browser"
)

// frontier is the synchronizations of a world.
type frontier struct{ w *world }

func (f frontier) Synchronizations(context.Context) ([]flow.SyncStanding, error) {
	return f.w.borders, nil
}

func (f frontier) Synchronization(_ context.Context, name string) (flow.SyncStanding, error) {
	for _, s := range f.w.borders {
		if s.Flow == name {
			return s, nil
		}
	}
	return flow.SyncStanding{}, fault.NotFoundf("sync.not_found", "%s is no synchronization", name)
}

func (f frontier) Conflicts(_ context.Context, choose flow.SyncFilter) (all []flow.SyncConflict, err error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	for _, c := range f.w.clashes {
		if c.Flow == choose.Flow && (choose.Table == "" || c.Table == choose.Table) && (!choose.Open || c.Decided == nil) && (choose.Before == 0 || c.ID < choose.Before) && len(all) < choose.Limit {
			all = append(all, c)
		}
	}
	return all, nil
}

func (f frontier) Residency(_ context.Context, name string) ([]flow.ResidencyReport, error) {
	if name != "account-sync" {
		return nil, nil
	}
	return []flow.ResidencyReport{
		{Flow: name, Digest: "0a1b2c3d4e5f6071", By: "ann", At: time.Now().Add(-time.Hour), Crossings: []flow.Crossing{{From: "de", To: "fr", Source: "dataverse-de.account", Target: "dataverse-fr.account", Columns: []string{"accountnumber", "name"}}}},
		{Flow: name, Digest: "ffffffffffffffff", By: hostile, At: time.Now().Add(-30 * time.Hour), Crossings: []flow.Crossing{}},
	}, nil
}

func (f frontier) Decide(_ context.Context, name string, id int64, d flow.SyncDecision, by string) error {
	if d.Value == "refuse" {
		return fault.New(fault.Conflict, "replica.decided", "there is no such conflict, or it was decided", nil)
	}
	b, err := json.Marshal(d)
	return f.settle(fmt.Sprintf("%s %d %s %s", name, id, b, by), err)
}

func (f frontier) Pause(_ context.Context, name string, p flow.SyncPause) error {
	return f.settle(fmt.Sprintf("%s hold %s%s: %s, %s", name, p.Table, p.Peer, p.Why, p.By), nil)
}

func (f frontier) Resume(_ context.Context, name, table, peer string) error {
	return f.settle(fmt.Sprintf("%s resume %s%s", name, table, peer), nil)
}

func (f frontier) settle(what string, err error) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.settled = append(f.w.settled, what)
	return err
}

// hostile is text that somebody wrote into a system to see what a page makes of it.
const hostile = `</p><script>alert(1)</script>"'&`

var syncing = &flow.Plan{
	Flow: "account-sync", Pattern: flow.Synchronization, Summary: "The same customers in every region",
	Sync: &flow.Sync{
		Regions: []flow.Region{{Name: "ch"}, {Name: "de"}, {Name: "fr"}},
		Tables: []flow.SyncTable{{Name: "account", Key: []string{"accountnumber"}, Columns: []flow.SyncColumn{{Name: "name", Type: flow.String}, {Name: "creditlimit", Type: flow.Decimal},
			{Name: "active", Type: flow.Bool}, {Name: "parent", Type: flow.String, Refers: "account"}}}},
		Lag: 30 * time.Second,
	},
}

// bordering is a world whose regions share records, with each state that these can have.
func bordering(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	now := time.Now()
	w.plans = append(w.plans, flow.Applied{Plan: syncing, Digest: syncing.Digest(), AppliedAt: now})
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	w.borders = []flow.SyncStanding{{
		Flow: "account-sync", Region: "de", Regions: []string{"ch", "de", "fr"}, Lag: 30 * time.Second, Held: 3, HeldSince: ago(2 * time.Hour),
		Tables: []flow.SyncTabling{
			{Table: "account", Columns: []string{"accountnumber", "name", "creditlimit", "active"}, Records: 50123, Observed: ago(3 * time.Second),
				Open: map[flow.SyncOutcome]int64{flow.SyncHeld: 3, "": 12}, Refused: 2},
			{Table: "contact", Columns: []string{"contactnumber", "account"}, Records: 120, Loading: true, Open: map[flow.SyncOutcome]int64{flow.SyncWaiting: 7, flow.SyncRejected: 1, flow.SyncTruncated: 1}},
			{Table: "shipment", Columns: []string{"shipmentnumber"}, Observed: ago(time.Minute)},
		},
		Links: []flow.SyncLink{
			{From: "de", To: "ch", Table: "account", Seen: ago(4 * time.Second)},
			{From: "ch", To: "de", Table: "account", Rows: 12, Since: ago(2 * time.Second), Seen: ago(time.Second)},
			{From: "de", To: "fr", Table: "account", Rows: 1234, Since: ago(3 * time.Minute), Seen: ago(4 * time.Minute), Late: true},
			{From: "fr", To: "de", Table: "account", Rows: 8, Since: ago(50 * time.Hour), Late: true, Paused: true},
			{From: "ch", To: "de", Table: "contact", Rows: 9, Since: ago(time.Hour), Late: true},
		},
		Pauses: []flow.SyncPause{{Peer: "fr", By: "ann", Why: "Paris moves its data centre", At: ago(50 * time.Hour)}, {Table: "shipment", By: "bob", Why: "another carrier", At: ago(time.Hour)}},
		Trouble: []flow.SyncTrouble{
			{Part: "import", Peer: "ch", Table: "contact", Code: "egress.unavailable", Text: "the other region's border does not answer", Since: ago(time.Hour), Last: ago(time.Second)},
			{Part: "compare", Peer: "fr", Table: "account", Code: "sync.compare", Text: "the comparison took too long", Since: ago(2 * time.Hour), Last: ago(time.Hour)},
		},
		Reconciled: []flow.SyncCompared{
			{Peer: "ch", Table: "account", At: ago(time.Hour), Records: 50120, InFlight: 4}, {Peer: "fr", Table: "account", At: ago(26 * time.Hour), Records: 49000, Drift: 5, Repaired: 5},
			{Peer: "fr", Table: "contact", At: ago(26 * time.Hour), Records: 120, Drift: 5, Repaired: 4}, {Peer: "ch", Table: "contact", At: ago(time.Hour), Records: 9, Held: 1},
		},
	}}
	decided := ago(time.Hour)
	w.clashes = []flow.SyncConflict{
		{ID: 9, Flow: "account-sync", Table: "account", Key: "A-1001", Column: "name", Rule: "a person decides", Opened: ago(5 * time.Minute),
			Values: []flow.SyncClaim{{Region: "de", At: ago(6 * time.Minute), Value: "Muster & Söhne GmbH", Here: true}, {Region: "fr", At: ago(7 * time.Minute), Value: hostile}}},
		{ID: 8, Flow: "account-sync", Table: "account", Key: hostile, Column: "creditlimit", Rule: "a person decides", Opened: ago(time.Hour),
			Values: []flow.SyncClaim{{Region: "de", At: ago(2 * time.Hour), Value: json.Number("12345678901234567890.10"), Here: true}, {Region: "ch", At: ago(2 * time.Hour), Value: nil}, {Region: "fr", At: ago(2 * time.Hour), Value: json.Number("7")}}},
		{ID: 7, Flow: "account-sync", Table: "account", Key: "A-7", Column: "active", Rule: "a person decides", Opened: ago(time.Hour),
			Values: []flow.SyncClaim{{Region: "de", At: ago(2 * time.Hour), Value: true, Here: true}, {Region: "ch", At: ago(2 * time.Hour), Value: false}}},
		{ID: 6, Flow: "account-sync", Table: "account", Key: "A-6", Column: "parent", Rule: "a person decides", Opened: ago(30 * time.Hour), Decided: &decided, By: "ann",
			Values: []flow.SyncClaim{{Region: "de", At: ago(31 * time.Hour), Value: "A-1", Here: true}, {Region: "ch", At: ago(32 * time.Hour), Value: "", Won: true}}},
	}
	return w
}

func TestTheRegionsPageTellsHowEachWayStandsAndWhatCrosses(t *testing.T) {
	t.Parallel()
	w := bordering(t)
	_, _, body := w.page(t, "/regions")
	require.Contains(t, body, "<title>Regions · Patchbay</title>")
	for _, want := range []string{
		"From de to ch: in time, nothing under way; from ch to de: trouble, 21 rows, 1 h; from de to fr: late, 1,234 rows, 3 min; from fr to de: on hold, 8 rows, 2 days.",
		`<g class="way completed">`, `<g class="way late">`, `<g class="way parked">`, `<g class="way failed">`,
		"a change is in the other region within 30 s", `<a href="/regions/account-sync/conflicts">3, to be decided</a>`,
		"Paris moves its data centre. By ann", `data-resume data-hold="region" data-name="fr"`, `data-resume data-hold="table" data-name="shipment"`,
		`type="button" data-hold="region" data-name="ch"`, `type="button" data-hold="table" data-name="account"`,
		"on its way in from ch: The other region&#39;s border does not answer.", "put the region on hold with the reason", "when compared with fr",
		"12 to be written, 3 held", "7 waiting for what they refer to, 1 refused by our system, 1 cut short by our system", "first load",
		"<span>Equal</span>", "<span>Repaired</span>", "<span>Drift</span>", "<span>Held</span>",
		"<code>accountnumber</code><code>name</code><code>creditlimit</code><code>active</code>", "Nothing else does",
	} {
		require.Contains(t, body, want)
	}
}

func TestThePageOfASynchronizationTellsWhatEachDeployLetCross(t *testing.T) {
	t.Parallel()
	w := bordering(t)
	_, _, body := w.page(t, "/regions/account-sync")
	require.Contains(t, body, "<title>Regions of account-sync · Patchbay</title>")
	for _, want := range []string{"1 h ago</b> by ann, 1 way over borders <code>0a1b2c3d4e5", "de → fr", "<td class=\"left\">dataverse-de.account</td>", "<code>accountnumber</code> <code>name</code>", "Nothing crosses a border."} {
		require.Contains(t, body, want)
	}
	require.NotContains(t, body, "<script>alert", "who deployed is text")
	status, _, _ := w.page(t, "/regions/nothing")
	require.Equal(t, http.StatusNotFound, status)
	_, _, body = w.page(t, "/regions")
	require.Contains(t, body, `<a href="/regions/account-sync">What each deploy let cross</a>`)
	require.NotContains(t, body, "ffffffff")
}

func TestAWayIsTroubledBeforeItIsLateAndHeldInsteadOfLate(t *testing.T) {
	t.Parallel()
	w := bordering(t)
	s := &w.borders[0]
	links := func() string {
		_, _, body := w.page(t, "/regions")
		return regexp.MustCompile(`From de to ch: ([a-z ]+),`).FindStringSubmatch(body)[1]
	}
	s.Links = []flow.SyncLink{{From: "de", To: "ch", Table: "account"}}
	s.Trouble = nil
	require.Equal(t, "in time", links())
	s.Links[0].Late = true
	require.Equal(t, "late", links())
	s.Links[0].Paused = true
	require.Equal(t, "on hold", links(), "who holds it knows that it is late")
	s.Trouble = []flow.SyncTrouble{{Part: "export", Table: "account"}}
	require.Equal(t, "trouble", links(), "and does not know of this")
	s.Trouble = []flow.SyncTrouble{{Part: "export", Table: "contact"}, {Part: "import", Peer: "ch", Table: "account"}}
	require.Equal(t, "on hold", links(), "of another table, and of the other way")
}

func TestTheRegionsPageOfAPatchbayOfNoRegionSaysHowRegionsAreHad(t *testing.T) {
	t.Parallel()
	w := bordering(t)
	w.borders = []flow.SyncStanding{{Flow: "account-sync", Regions: []string{"ch", "de", "fr"}}}
	_, _, body := w.page(t, "/regions")
	require.Contains(t, body, "This Patchbay belongs to no region of account-sync and carries nothing of it.")
	require.Contains(t, body, "<code>patchbay dev --regions ch,de,fr</code>")
	require.NotContains(t, body, "<svg class=\"map\"")

	beside := web.New(web.Options{Runs: w, Flows: w, Explainer: w, Dead: w, Syncs: frontier{w}, Regions: []web.Region{{Name: "de", Address: "http://127.0.0.1:8091"}},
		Principal: func(*http.Request) flow.Principal { return flow.Principal{Name: "dev", Role: flow.RoleAdmin} }})
	rec := httptest.NewRecorder()
	beside.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/regions", nil))
	require.Contains(t, rec.Body.String(), `<a href="http://127.0.0.1:8091/regions">de</a>`)
	require.NotContains(t, rec.Body.String(), "patchbay dev --regions", "they run")
}

func TestTheRailHasRegionsOnlyWhereTheyShareSomething(t *testing.T) {
	t.Parallel()
	const entry = `<a href="/regions"`
	w := bordering(t)
	_, _, body := w.page(t, "/runs")
	require.Contains(t, body, entry)
	w.plans, w.borders = w.plans[:1], nil
	_, _, body = w.page(t, "/runs")
	require.NotContains(t, body, entry)
	_, _, body = w.page(t, "/regions")
	require.Contains(t, body, "No flow is a synchronization.")
	status, _, _ := w.page(t, "/regions/product-specs/conflicts")
	require.Equal(t, http.StatusNotFound, status)

	pressing := web.New(web.Options{Runs: w, Flows: w, Explainer: w, Dead: w, Syncs: frontier{w},
		Principal: func(*http.Request) flow.Principal { return flow.Principal{Name: "key:app", Role: flow.RolePress} }})
	for _, path := range []string{"/regions", "/regions/account-sync/conflicts"} {
		rec := httptest.NewRecorder()
		pressing.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, http.StatusForbidden, rec.Code, path)
	}
}

func TestHomeAsksForADecisionOnConflictsAndTellsOfAlertsOfRegions(t *testing.T) {
	t.Parallel()
	w := bordering(t)
	now := time.Now()
	w.alarms = []flow.Alert{
		{Flow: "account-sync", Kind: "regions", Code: "sync.lag:de>fr", Text: "account is 3m10s behind on its way from de to fr, where 30s are promised", Link: "/regions/account-sync", Count: 1, First: now.Add(-3 * time.Minute), Last: now},
		{Flow: "account-sync", Kind: "regions", Code: "egress.unavailable:import ch", Text: "contact on the way in from ch: the other region's border does not answer", Link: "/regions/account-sync", Count: 1, First: now.Add(-time.Hour), Last: now},
		{Flow: "account-sync", Kind: "regions", Code: "sync.held", Text: "conflicts wait for a person", Link: "/regions/account-sync/conflicts", Count: 3, First: now.Add(-2 * time.Hour), Last: now},
	}
	_, _, body := w.page(t, "/")
	_, needs, _ := strings.Cut(body, "What needs you now")
	needs, _, _ = strings.Cut(needs, "</section>")
	at := -1
	for _, want := range []string{"3 conflicts", "Contact on the way in from ch", "<span>Late</span>", "Account is 3m10s behind on its way from de to fr"} {
		i := strings.Index(needs, want)
		require.Greater(t, i, at, "%s, the oldest first", want)
		at = i
	}
	require.NotContains(t, needs, "conflicts wait", "each is there once")
	w.borders[0].Held, w.alarms = 0, nil
	_, _, body = w.page(t, "/")
	require.Contains(t, body, "Nothing. Alerts,")
}

func TestConflictsAreShownWithTheirValuesAndNoneOfThemElsewhere(t *testing.T) {
	t.Parallel()
	w := bordering(t)
	_, _, body := w.page(t, "/regions/account-sync/conflicts")
	require.Contains(t, body, "<title>Conflicts of account-sync · Patchbay</title>")
	require.NotContains(t, body, "<script>alert", "text of a system is text")
	for _, want := range []string{"Muster &amp; Söhne GmbH", "12345678901234567890.10", "no value", "an empty text", "our system holds it", "Decided by ann.", "<span>counts</span>",
		`data-take="12345678901234567890.10"`, `data-take="null"`, `data-another="text"`, `data-another="number"`, `data-another="bool"`} {
		require.Contains(t, body, want)
	}
	held, decided, _ := strings.Cut(body, "<h2>Decided</h2>")
	require.Equal(t, 3, strings.Count(held, "data-conflict="))
	require.NotContains(t, decided, "data-take", "what is decided is decided")
	_, _, body = w.page(t, "/regions")
	require.NotContains(t, body, "Muster")
	_, _, body = w.page(t, "/")
	require.NotContains(t, body, "Muster")
	w.clashes = nil
	_, _, body = w.page(t, "/regions/account-sync/conflicts")
	require.Contains(t, body, "A conflict waits here where the flow says")
}

func TestAnotherValueIsTypedAsItsColumnHasThem(t *testing.T) {
	t.Parallel()
	for kind, want := range map[flow.Type]string{flow.String: "text", flow.Decimal: "number", flow.Int: "number", flow.Bool: "bool", flow.Date: "date", flow.Timestamp: "time", flow.Any: ""} {
		w := bordering(t)
		plan, sync := *syncing, *syncing.Sync
		plan.Sync, sync.Tables = &sync, []flow.SyncTable{{Name: "account", Columns: []flow.SyncColumn{{Name: "x", Type: kind}}}}
		w.plans[1].Plan = &plan
		w.clashes = []flow.SyncConflict{{ID: 1, Flow: "account-sync", Table: "account", Column: "x", Values: []flow.SyncClaim{{Region: "de", Value: json.Number("1")}}}}
		_, _, body := w.page(t, "/regions/account-sync/conflicts")
		if want == "" {
			require.NotContains(t, body, "data-another", "nobody can say what such a value looks like")
			continue
		}
		require.Contains(t, body, `data-another="`+want+`"`)
		w.clashes[0].Values[0].Value = "1.50"
		_, _, body = w.page(t, "/regions/account-sync/conflicts")
		require.Equal(t, want == "number", strings.Contains(body, `data-another="quoted"`), "a system that writes numbers as texts is given one")
		sync.Tables[0].Columns[0].Refers = "account"
		_, _, body = w.page(t, "/regions/account-sync/conflicts")
		require.NotContains(t, body, "data-another", "a key of another record is taken, not typed")
	}
}

func TestManyConflictsAreReadAPageAtATime(t *testing.T) {
	t.Parallel()
	w := bordering(t)
	one := w.clashes[0]
	w.clashes = nil
	for i := range 60 {
		one.ID = int64(100 - i)
		w.clashes = append(w.clashes, one)
	}
	_, _, body := w.page(t, "/regions/account-sync/conflicts?table=account")
	require.Equal(t, 50, strings.Count(body, "data-conflict="))
	require.Contains(t, body, `href="?before=51&amp;table=account"`)
	_, _, body = w.page(t, "/regions/account-sync/conflicts?before=51&table=account")
	require.Equal(t, 10, strings.Count(body, "data-conflict="))
}

func TestAPersonDecidesConflictsAndHoldsAndResumesFromThePages(t *testing.T) {
	t.Parallel()
	w, tab := bordering(t), browser.New(t)
	tab.Go(w.URL + "/regions/account-sync/conflicts")
	do := func(js string) { browser.Value[bool](tab, "("+js+", true)") }
	box := func(id int) string { return fmt.Sprintf(`document.querySelector("[data-conflict$='/%d/decide']")`, id) }
	type8 := func(text string) {
		do(box(8) + `.querySelector("[name=value]").value = ` + text)
		do(box(8) + `.querySelector("[type=submit]").click()`)
	}
	type8(`""`)
	tab.Shows("main", "Type a number")
	type8(`"1.5e3"`)
	tab.Shows("main", "Type a number")
	type8(`"12345678901234567890.25"`)
	tab.Shows("main", "Decided. The value goes to every region.")
	do(box(9) + `.querySelector("[name=value]").value = "refuse"`)
	do(box(9) + `.querySelector("[type=submit]").click()`)
	tab.Shows("main", "or it was decided.")
	do(box(9) + `.querySelectorAll("[data-take]")[1].click()`)
	tab.Shows("main", "Decided. The value goes to every region.")
	tab.Go(w.URL + "/regions")
	do(`document.querySelector("[data-hold=table][data-name=contact]").click()`)
	do(`document.querySelector("#asking-reason").value = "they move"`)
	do(`window.before = true`)
	do(`document.querySelector("[data-asking-yes]").click()`)
	wait := func(n int) {
		require.Eventually(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.settled) == n }, time.Minute, 5*time.Millisecond)
	}
	wait(3)
	tab.Until(`!window.before && document.readyState === "complete"`) // the page has loaded itself again
	do(`document.querySelector("[data-resume][data-name=fr]").click()`)
	wait(4)
	w.mu.Lock()
	defer w.mu.Unlock()
	foreign, err := json.Marshal(hostile)
	require.NoError(t, err)
	require.Equal(t, []string{`account-sync 8 {"value":12345678901234567890.25} dev`, `account-sync 9 {"value":` + string(foreign) + `} dev`,
		"account-sync hold contact: they move, dev", "account-sync resume fr"}, w.settled)
}
