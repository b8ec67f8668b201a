package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

const (
	shownRows = `document.querySelectorAll("[data-row]").length`
	firstRow  = `document.querySelector("[data-row]").dataset.row`
	pill      = `[data-show-newer]`
)

// pour adds n runs, each a millisecond after the one before.
func (w *world) pour(name string, at time.Time, n int) {
	for i := range n {
		w.put(reading(fresh(fmt.Sprintf("%s-%03d", name, i), at.Add(time.Duration(i)*time.Millisecond))))
	}
}

func row(id string) string { return `[data-row="` + id + `"]` }

func TestNewRunsAppearAndStatesChangeWithoutAReload(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	first := w.put(reading(fresh("first", time.Now().Add(-time.Minute))))
	tab.Go(w.URL + "/runs")
	tab.Shows(row("first"), "Running product-specs AS54888 Reading from Oracle PLM")
	browser.Value[bool](tab, `(() => { document.querySelector("[data-row]").mark = true; return window.mark = true })()`)
	w.put(reading(fresh("second", time.Now())))
	w.put(completedFrom(fresh("first", first.AcceptedAt)))
	tab.Shows(row("second"), "Reading from Oracle PLM")
	tab.Shows(row("first"), "Completed product-specs AS54888 3 rows in Dataverse")
	require.Equal(t, "second", browser.Value[string](tab, firstRow), "the newest is on top")
	require.True(t, browser.Value[bool](tab, `window.mark && document.querySelector('[data-row=first]').mark`), "neither page nor row was made anew")
	tab.Shows("[data-announce]", "1 new run")
}

func TestAListOfManyRunsStaysBoundedAndSaysHowManyCome(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	tab.Go(w.URL + "/runs")
	tab.Shows("[data-part=none]", "No run yet.")
	// Dated ahead: runs of more than two seconds ago are no pace, and a browser may be late.
	w.pour("a", time.Now().Add(time.Minute), 300)
	tab.Until(firstRow + ` === "a-299"`)
	tab.Shows("[data-pace-said]", "about 1,000 a second")
	w.pour("b", time.Now().Add(2*time.Minute), 300)
	tab.Until(firstRow + ` === "b-299"`)
	require.Equal(t, 50, browser.Value[int](tab, shownRows), "a page does not grow with the load")
	tab.Until(`!document.querySelector("[data-part=older]").hidden && document.querySelector("[data-part=none]").hidden`)
}

func TestAReaderFindsEveryRowWhereItWas(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	began := time.Now().Add(-time.Minute)
	w.pour("a", began, 60)
	tab.Go(w.URL + "/runs")
	tab.Until(firstRow + ` === "a-059"`)
	browser.Value[bool](tab, `(() => { scrollTo(0, 400); return true })()`)
	where := browser.Value[float64](tab, `document.querySelector('`+row("a-040")+`').getBoundingClientRect().top`)
	w.pour("b", time.Now(), 12)
	w.put(completedFrom(fresh("a-040", began.Add(40*time.Millisecond))))
	tab.Shows(pill, "12 new")
	tab.Shows(row("a-040"), "Completed")
	require.InDelta(t, where, browser.Value[float64](tab, `document.querySelector('`+row("a-040")+`').getBoundingClientRect().top`), 0.5, "what is read does not move")
	tab.Click(pill)
	tab.Until(firstRow + ` === "b-011" && scrollY === 0`)
	tab.Until(`document.querySelector("` + pill + `").hidden`)

	tab.Click("[data-hold]")
	tab.Shows("[data-hold]", "Resume")
	w.pour("c", time.Now().Add(time.Second), 70)
	tab.Shows(pill, "50 or more new")
	require.Equal(t, "b-011", browser.Value[string](tab, firstRow), "a list that was paused stays")
	tab.Click("[data-hold]")
	tab.Until(firstRow + ` === "c-069"`)
	tab.Shows("[data-hold]", "Pause")
}

func TestTheKeyboardHoldsTheListAndKeepsItsPlace(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	run := w.put(reading(fresh("open", time.Now().Add(-time.Minute))))
	tab.Go(w.URL + "/runs")
	tab.Until(`(() => { const b = document.querySelector("[data-row] button"); b?.focus(); return !!b })()`)
	w.put(completedFrom(fresh("open", run.AcceptedAt)))
	w.put(reading(fresh("new", time.Now())))
	tab.Shows(row("open"), "Completed")
	tab.Shows(pill, "1 new")
	require.Equal(t, "/runs/open", browser.Value[string](tab, `document.activeElement.getAttribute("href")`), "focus goes to the row when its button goes")
	browser.Value[bool](tab, `(() => { document.activeElement.blur(); return true })()`)
	tab.Until(firstRow + ` === "new"`)
}

func TestOneRunOfTheListIsCancelled(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.put(reading(fresh("one", time.Now().Add(-time.Minute))))
	w.put(reading(fresh("other", time.Now().Add(-time.Minute))))
	tab.Go(w.URL + "/runs")
	require.Equal(t, "Cancel AS54888", browser.Value[string](tab, `document.querySelector('`+row("one")+` button').getAttribute("aria-label")`))
	tab.Click(row("one") + " button")
	tab.Shows(row("one"), "Cancelled")
	tab.Shows(row("other"), "Reading from Oracle PLM")
	require.Equal(t, 1, browser.Value[int](tab, `document.querySelectorAll("[data-row] button").length`), "what has ended cannot be cancelled")
	require.Equal(t, w.URL+"/runs", browser.Value[string](tab, "location.href"), "the button is not part of the link")
}

func TestFiltersStandInTheAddressAndSurviveAReload(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	theirs := reading(fresh("theirs", time.Now().Add(-time.Minute)))
	theirs.Principal = "key:erp-app"
	w.put(theirs)
	w.put(reading(fresh("mine", time.Now().Add(-time.Minute))))
	w.put(completed("done", time.Now().Add(-time.Minute), 3))
	tab.Go(w.URL + "/runs")
	pick := func(name, value string) {
		require.True(t, browser.Value[bool](tab, fmt.Sprintf(`(() => { const field = document.querySelector("[data-filter]").elements[%q];
			field.value = %q; return field.dispatchEvent(new Event("change", {bubbles: true})) })()`, name, value)))
	}
	pick("status", "running")
	tab.Until(shownRows + ` === 2`)
	pick("who", "key:erp-app")
	tab.Until(shownRows + ` === 1`)
	const address = "/runs?status=running&who=key%3Aerp-app"
	require.Equal(t, w.URL+address, browser.Value[string](tab, "location.href"))
	tab.Go(w.URL + address)
	tab.Shows(".live-list", "key:erp-app")
	require.Equal(t, 1, browser.Value[int](tab, shownRows))
	require.Equal(t, "running", browser.Value[string](tab, `document.querySelector("[name=status]").value`))
	require.Equal(t, "key:erp-app", browser.Value[string](tab, `document.querySelector("[name=who]").value`))
	pick("who", "nobody")
	tab.Shows("[data-part=none]", "No run matches.")
}

func TestAListFitsAPhone(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.pour("a", time.Now(), 60)
	long := fresh("long", time.Now().Add(time.Second))
	long.Params, long.Principal = flow.Row{"product_id": strings.Repeat("AS54888-", 8)}, "key:"+strings.Repeat("warehouse-", 6)
	long.Waiting = "waiting 12s for oracle-plm: " + strings.Repeat("oracle-plm is not available (503) ", 4)
	w.put(long)
	tab.Look(390, 844, "dark")
	tab.Go(w.URL + "/runs")
	tab.Until(firstRow + ` === "long"`)
	require.True(t, browser.Value[bool](tab, "document.documentElement.scrollWidth <= innerWidth"))
	require.Zero(t, browser.Value[int](tab, `[...document.querySelectorAll("[data-row] button, [data-hold]")].filter(b => b.offsetParent && Math.min(b.offsetWidth, b.offsetHeight) < 32).length`), "a finger finds the buttons")
}

func TestAnUnchangedListIsNotSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(completed("done", time.Now(), 1))
	status, header, body := w.page(t, "/runs/live?status=completed")
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, body, "<html", "the list alone")
	status, _, body = w.page(t, "/runs/live?status=completed", "If-None-Match", header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, status)
	require.Empty(t, body)
	w.put(completed("newer", time.Now(), 1))
	status, _, _ = w.page(t, "/runs/live?status=completed", "If-None-Match", header.Get("ETag"))
	require.Equal(t, http.StatusOK, status)
	for _, query := range []string{"status=none", "until=yesterday"} {
		status, _, _ = w.page(t, "/runs?"+query)
		require.Equal(t, http.StatusBadRequest, status, query)
	}
}
