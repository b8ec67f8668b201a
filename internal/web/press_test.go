package web_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

const (
	form  = "/flows/product-specs"
	shown = `document.querySelector("#press [type=submit]").offsetParent !== null`
)

func TestAPressIsSeenFromTheButtonToTheLastEffect(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	tab.Go(w.URL + form)
	tab.Click("[data-use-sample]")
	tab.Until(`document.querySelector("#p-product_id")?.value === "AS54888"`)

	// The button must turn into progress at once, before any answer.
	turned := browser.Value[bool](tab, `(() => { document.querySelector("#press [type=submit]").click();
		return document.querySelector("#press [type=submit]").offsetParent === null && document.querySelector("#press .state").innerText.includes("Sending") })()`)
	require.True(t, turned, "a click without a visible answer is a click that is made again")

	run := w.only(t)
	require.Equal(t, flow.Row{"product_id": "AS54888"}, run.Params)
	run = w.put(reading(run))
	tab.Shows("#press", "Reading from Oracle PLM")
	tab.Shows("#press", "Cancel")

	run = w.put(answered(run, 6))
	tab.Shows("#live [data-part=answer]", "Operating temperature")
	run = w.put(writing(run, 2))
	tab.Shows("#live [data-part=effects]", "Writing to Dataverse… 2 of 6 rows written")
	require.Equal(t, 6, browser.Value[int](tab, `document.querySelectorAll("#live tbody tr").length`), "the answer stays while the write goes on")

	w.put(closed(run, flow.Completed, nil))
	tab.Shows("#live [data-part=effects]", "6 rows written to Dataverse")
	tab.Shows("#press", "Completed in")
	require.True(t, browser.Value[bool](tab, shown), "what was pressed can be pressed again")
	tab.Shows("#live [data-part=sentence]", "6 rows for AS54888 were read from Oracle PLM in 210 ms and written to Dataverse once.")

	tab.Shows("[data-latest]", "Completed AS54888 6 rows in Dataverse")

	tab.Click("#live [data-part=address] a")
	tab.Shows("h1", "written to Dataverse once.")
	require.Equal(t, w.URL+"/runs/"+run.RunID, browser.Value[string](tab, "location.href"), "every press has an address")

	tab.Click("[data-again]")
	tab.Until(`document.querySelector("#p-product_id")?.value === "AS54888"`)
}

func TestWrongInputIsNamedAtItsField(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	tab.Go(w.URL + form)
	tab.Type("#p-product_id", "no good\r")
	tab.Shows("#e-product_id", "Product ID does not have the expected form. Example: AS54888")
	require.Contains(t, browser.Value[string](tab, `document.querySelector("#e-product_id").title`), "{3,40}", "the pattern is for those who look for it")
	require.Equal(t, "p-product_id", browser.Value[string](tab, "document.activeElement.id"), "the first wrong field has the focus")
	require.Equal(t, "true", browser.Value[string](tab, `document.activeElement.getAttribute("aria-invalid")`))
	require.True(t, browser.Value[bool](tab, shown), "the button is back")
	tab.Go(w.URL + form)
	tab.Type("#p-product_id", "\r")
	tab.Shows("#e-product_id", "Product ID is missing. Example: AS54888")
}

func TestAPressThatWasNotAnsweredIsSentAgainWithTheSameKey(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.fail = fault.New(fault.InDoubt, "store.commit_unknown", "whether the press was recorded is unknown", nil)
	tab.Go(w.URL + form + "?product_id=AS54888")
	tab.Click("#press [type=submit]")
	tab.Shows("[data-said]", "Press Run to try again; it cannot run twice.")
	tab.Click("#press [type=submit]")
	w.only(t)
	tab.Shows("#press", "Starting")
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(t, w.presses, 2)
	require.NotEmpty(t, w.presses[0].Key)
	require.Equal(t, w.presses[0].Key, w.presses[1].Key, "promise 2 begins at the button")
}

func TestACancelIsConfirmedOnThePage(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	run := w.put(writing(answered(reading(fresh("open", time.Now())), 4), 1))
	tab.Go(w.URL + "/runs/" + run.RunID)
	tab.Click("[data-cancel]")
	tab.Shows("h1", "1 row was written to Dataverse, 3 rows were never sent.")
	tab.Shows("[data-part=progress]", "Cancelled")
	require.False(t, browser.Value[bool](tab, `!!document.querySelector("[data-cancel]")`))
}

func TestAFailureSaysWhatWhetherAndWhatWasDone(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	tab.Go(w.URL + form + "?product_id=AS54888")
	tab.Click("#press [type=submit]")
	w.put(closed(reading(w.only(t)), flow.Failed, &flow.Problem{Code: "oracle.unavailable", Detail: "Oracle PLM did not answer, three times", Retry: true}))
	tab.Shows("#live [role=alert]", "Oracle PLM did not answer, three times.")
	tab.Shows("#live [role=alert]", "trying again helps. Nothing was written.")
	tab.Until(shown)
}

func TestEnterPressesAgainAfterAResultAndAnotherValueMeanwhile(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	pressed := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.presses)
	}
	tab.Go(w.URL + form)
	tab.Type("#p-product_id", "AS1\r\r")
	w.put(completedFrom(w.only(t)))
	tab.Shows("#press", "Completed in")
	require.Equal(t, 1, pressed(), "a key that bounces does not press twice")
	tab.Type("#p-product_id", "\r")
	tab.Shows("#press", "Starting")
	require.Equal(t, 2, pressed())
	require.False(t, browser.Value[bool](tab, shown), "while it goes on the button is progress")
	tab.Type("#p-product_id", "2")
	tab.Until(shown)
	tab.Type("#p-product_id", "\r")
	require.Eventually(t, func() bool { return pressed() == 3 }, time.Minute, 5*time.Millisecond)
}

func TestAnAnswerShowsItsValuesOnAPhone(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.put(completed("done", time.Now(), 40))
	const hidden = `document.querySelector("td").offsetParent === null`
	tab.Go(w.URL + "/runs/done")
	require.False(t, browser.Value[bool](tab, hidden))
	require.Zero(t, browser.Value[int](tab, `(() => { const rows = [...document.querySelectorAll("tbody tr")], box = document.querySelector(".scroll").getBoundingClientRect();
		return rows.filter(r => r.getBoundingClientRect().top < box.bottom - 1.5 && r.getBoundingClientRect().bottom > box.bottom + .5).length })()`), "no row is cut through")
	tab.Shows("[data-part=answer]", "40 rows; the table scrolls")
	tab.Look(390, 844, "light")
	require.True(t, browser.Value[bool](tab, hidden), "the column that says the same everywhere")
	tab.Shows(".caption", "msx_productnumber AS54888")
}

func TestTheKeyboardAndTheThemeSwitchWork(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	tab.Look(390, 844, "light")
	tab.Go(w.URL + "/")
	require.True(t, browser.Value[bool](tab, `document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true, cancelable: true})) === false
		&& document.activeElement.matches("[data-search]")`), "a slash focuses the search and is not typed into it")
	tab.Type("[data-search]", "AS1\r")
	tab.Shows("h1", "What happened to AS1")
	tab.Click("[data-theme-switch]")
	tab.Go(w.URL + "/runs")
	require.Equal(t, "dark", browser.Value[string](tab, "document.documentElement.dataset.theme"), "the switch is remembered")
	require.True(t, browser.Value[bool](tab, "document.documentElement.scrollWidth <= innerWidth"), "nothing hangs out of a narrow window")
}

func TestPagesFitNarrowWindowsAndListsStayLive(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.put(completed("done", time.Now().Add(-time.Minute), 9))
	shared := fresh("shared", time.Now().Add(-time.Hour))
	shared.Shared = "done"
	w.put(shared)
	w.put(left(fresh("queued", time.Now().Add(-time.Hour))))
	tab.Look(320, 640, "dark")
	for _, path := range []string{"/", "/flows", form, "/runs", "/runs/done", "/runs/shared", "/runs/queued", "/explain?key=AS54888", "/docs", "/none"} {
		tab.Go(w.URL + path)
		require.True(t, browser.Value[bool](tab, "document.documentElement.scrollWidth <= innerWidth"), path)
	}
	tab.Go(w.URL + "/runs")
	w.put(reading(fresh("new", time.Now())))
	tab.Shows(".live-list", "Reading from Oracle PLM")
}
