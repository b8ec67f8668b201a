package web_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

const form = "/flows/product-specs"

func TestAPressIsSeenFromTheButtonToTheLastEffect(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	browser.Go(t, tab, w.URL+form)
	browser.Click(t, tab, "[data-use-sample]")
	browser.Until(t, tab, `document.querySelector("#p-product_id")?.value === "AS54888"`)

	// The button must turn into progress at once, before any answer.
	turned := browser.Value[bool](t, tab, `(() => { document.querySelector("#press [type=submit]").click();
		return !document.querySelector("#press [type=submit]") && document.querySelector("#press .state").innerText.includes("Sending") })()`)
	require.True(t, turned, "a click without a visible answer is a click that is made again")

	run := w.only(t)
	require.Equal(t, map[string]any{"product_id": "AS54888"}, map[string]any(run.Params))
	run = w.put(reading(run))
	browser.Shows(t, tab, "#press", "Reading from Oracle PLM")
	browser.Shows(t, tab, "#press", "Cancel")

	run = w.put(answered(run, 6))
	browser.Shows(t, tab, "#live [data-part=answer]", "Operating temperature")
	run = w.put(writing(run, 2))
	browser.Shows(t, tab, "#live [data-part=effects]", "Writing to Dataverse… 2 of 6 rows written")
	require.Equal(t, 6, browser.Value[int](t, tab, `document.querySelectorAll("#live tbody tr").length`), "the answer stays while the write goes on")

	w.put(closed(run, flow.Completed, nil))
	browser.Shows(t, tab, "#live [data-part=effects]", "6 rows written to Dataverse")
	browser.Shows(t, tab, "#press", "Completed in")
	browser.Shows(t, tab, "#live [data-part=sentence]", "6 rows for AS54888 were read from Oracle PLM in 210 ms and written to Dataverse once.")

	browser.Click(t, tab, "#live [data-part=address] a")
	browser.Shows(t, tab, "h1", "written to Dataverse once.")
	require.Equal(t, w.URL+"/runs/"+run.RunID, browser.Value[string](t, tab, "location.href"), "every press has an address")

	browser.Click(t, tab, "[data-again]")
	browser.Until(t, tab, `document.querySelector("#p-product_id")?.value === "AS54888"`)
}

func TestWrongInputIsNamedAtItsField(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	browser.Go(t, tab, w.URL+form)
	browser.Type(t, tab, "#p-product_id", "no good\r")
	browser.Shows(t, tab, "#e-product_id", "Product_id does not match")
	require.Equal(t, "p-product_id", browser.Value[string](t, tab, "document.activeElement.id"), "the first wrong field has the focus")
	require.Equal(t, "true", browser.Value[string](t, tab, `document.activeElement.getAttribute("aria-invalid")`))
	require.True(t, browser.Value[bool](t, tab, `!!document.querySelector("#press [type=submit]")`), "the button is back")
}

func TestAPressThatWasNotAnsweredIsSentAgainWithTheSameKey(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.fail = fault.New(fault.InDoubt, "store.commit-unknown", "whether the press was recorded is unknown", nil)
	browser.Go(t, tab, w.URL+form+"?product_id=AS54888")
	browser.Click(t, tab, "#press [type=submit]")
	browser.Shows(t, tab, "[data-said]", "Press Run to try again; it cannot run twice.")
	browser.Click(t, tab, "#press [type=submit]")
	w.only(t)
	browser.Shows(t, tab, "#press", "Starting")
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
	browser.Go(t, tab, w.URL+"/runs/"+run.RunID)
	browser.Click(t, tab, "[data-cancel]")
	browser.Shows(t, tab, "h1", "1 row was written to Dataverse, 3 rows were never sent.")
	browser.Shows(t, tab, "[data-part=progress]", "Cancelled")
	require.False(t, browser.Value[bool](t, tab, `!!document.querySelector("[data-cancel]")`))
}

func TestAFailureSaysWhatWhetherAndWhatWasDone(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	browser.Go(t, tab, w.URL+form+"?product_id=AS54888")
	browser.Click(t, tab, "#press [type=submit]")
	w.put(closed(reading(w.only(t)), flow.Failed, &flow.Problem{Code: "oracle.unavailable", Detail: "Oracle PLM did not answer, three times", Retry: true}))
	browser.Shows(t, tab, "#live [role=alert]", "Oracle PLM did not answer, three times.")
	browser.Shows(t, tab, "#live [role=alert]", "trying again helps. Nothing was written.")
	browser.Shows(t, tab, "#press", "Run again")
	browser.Click(t, tab, "#press [data-again]")
	require.True(t, browser.Value[bool](t, tab, `!!document.querySelector("#press [type=submit]")`))
}

func TestTheKeyboardAndTheThemeSwitchWork(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	browser.Look(t, tab, 390, 844, "light")
	browser.Go(t, tab, w.URL+"/")
	require.True(t, browser.Value[bool](t, tab, `document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true, cancelable: true})) === false
		&& document.activeElement.matches("[data-search]")`), "a slash focuses the search and is not typed into it")
	browser.Type(t, tab, "[data-search]", "AS1\r")
	browser.Shows(t, tab, "h1", "What happened to AS1")
	browser.Click(t, tab, "[data-theme-switch]")
	browser.Go(t, tab, w.URL+"/runs")
	require.Equal(t, "dark", browser.Value[string](t, tab, "document.documentElement.dataset.theme"), "the switch is remembered")
	require.True(t, browser.Value[bool](t, tab, "document.documentElement.scrollWidth <= innerWidth"), "nothing hangs out of a narrow window")
}

func TestPagesFitNarrowWindowsAndListsStayLive(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.put(completed("done", time.Now().Add(-time.Minute), 9))
	browser.Look(t, tab, 320, 640, "dark")
	for _, path := range []string{"/", "/flows", form, "/runs", "/runs/done", "/explain?key=AS54888", "/docs", "/none"} {
		browser.Go(t, tab, w.URL+path)
		require.True(t, browser.Value[bool](t, tab, "document.documentElement.scrollWidth <= innerWidth"), path)
	}
	browser.Go(t, tab, w.URL+"/runs")
	w.put(reading(fresh("new", time.Now())))
	browser.Shows(t, tab, ".list", "Reading from Oracle PLM")
}
