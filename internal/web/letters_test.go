package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/web"
	"patchbay/internal/web/browser"
)

// bury adds n dead letters, each a second older than the one before.
func (w *world) bury(name string, n int) {
	for i := range n {
		w.put(failed(fmt.Sprintf("%s-%03d", name, i), time.Now().Add(-time.Minute-time.Duration(i)*time.Second),
			flow.Problem{Code: "run.tries", Detail: "it was tried 7 times", Retry: true}))
	}
}

func (w *world) redriven() []flow.Redrive {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]flow.Redrive(nil), w.decided...)
}

func TestADeadLetterIsRedrivenAsItWasFromItsPage(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	run := closed(writing(answered(reading(fresh("refused", time.Now().Add(-time.Minute))), 5), 3), flow.Failed,
		&flow.Problem{Code: "write.refused", Detail: "the target refused 2 of 5 writes"})
	run.Effects[3].State, run.Effects[4].State = flow.Refused, flow.Doubtful
	w.put(run)
	tab.Go(w.URL + "/runs/refused")
	tab.Click(".acts a")
	tab.Shows(".way", "3 rows already written, not sent again; 1 in doubt, looked for before anything is sent; 1 sent again.")
	tab.Click("[data-redrive]")
	tab.Shows("[data-part=redriven]", "It had failed and was redriven; the steps are those since.")
	require.Equal(t, []flow.Redrive{{RunID: "refused", By: "dev"}}, w.redriven())
	tab.Go(w.URL + "/dead/refused")
	tab.Shows(".note.parked", "Redriven by dev. It goes on as the same run.")
	require.False(t, browser.Value[bool](tab, `!!document.querySelector("[data-redrive]")`), "it is decided on once")
}

func TestAnEditedDeadLetterBecomesANewRunThatLeadsBack(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.bury("a", 1)
	tab.Go(w.URL + "/dead/a-000")
	tab.Type("#p-product_id", "B")
	tab.Click("[data-edit] [type=submit]")
	tab.Shows("[data-part=redriven]", "It was made of a dead letter.")
	got := w.redriven()
	require.Len(t, got, 1)
	require.True(t, got[0].Current)
	require.Equal(t, map[string]any{"product_id": "BAS54888"}, got[0].Set)
	tab.Click("[data-part=redriven] a")
	tab.Shows(".note.parked", "It goes on as another run.")
}

func TestADismissalNeedsAReasonAndKeepsIt(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.bury("a", 1)
	tab.Go(w.URL + "/dead/a-000")
	tab.Click("form[data-dismiss] [type=submit]")
	tab.Shows("[data-decided]", "Give a reason")
	tab.Type("#reason", "entered by hand\r")
	tab.Shows("[data-part=none]", "None.")
	tab.Go(w.URL + "/dead?state=dismissed")
	tab.Shows(row("a-000"), "Dismissed")
	tab.Go(w.URL + "/dead/a-000")
	tab.Shows(".note.parked", "Dismissed by dev. Entered by hand.")
	tab.Go(w.URL + "/runs/a-000")
	tab.Shows("[data-part=redriven]", "dev dismissed it: Entered by hand.")
}

func TestManyDeadLettersAreDecidedOnFromTheListByKeyboard(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.bury("a", 4)
	tab.Go(w.URL + "/dead")
	tab.Shows(".badge", "4")
	tab.Until(`!document.querySelector("[data-bulk-bar]").hidden`)
	key := func(name string) {
		browser.Value[bool](tab, fmt.Sprintf(`(document.activeElement || document.body).dispatchEvent(new KeyboardEvent("keydown", {key: %q, bubbles: true, cancelable: true}))`, name))
	}
	key("j")
	key("x")
	key("j")
	key("j")
	key("k")
	key("x")
	tab.Shows("[data-picked]", "2 chosen")
	w.bury("b", 1)
	tab.Shows(pill, "1 new")
	require.Equal(t, "a-000", browser.Value[string](tab, firstRow), "what is chosen stays where it is")
	tab.Click("[data-redrive-picked]")
	tab.Shows("[data-bulk-said]", "2 dead letters redriven.")
	require.Equal(t, []flow.Redrive{{RunID: "a-000", By: "dev", Bulk: true}, {RunID: "a-001", By: "dev", Bulk: true}}, w.redriven())

	tab.Click("[data-pick-all]")
	tab.Click("[data-dismiss-picked]")
	tab.Click("[data-asking-yes]")
	require.True(t, browser.Value[bool](tab, `document.querySelector("[data-asking]").open`), "no reason, no dismissal")
	tab.Type("#asking-reason", "a test\r")
	tab.Shows("[data-bulk-said]", "dismissed.")
	tab.Shows("[data-part=none]", "None.")
	key("?")
	tab.Shows("#help", "choose a dead letter")
}

func TestAllThatMatchAreRedrivenAfterAQuestion(t *testing.T) {
	t.Parallel()
	w, tab := newWorld(t), browser.New(t)
	w.bury("a", 30)
	tab.Go(w.URL + "/dead")
	tab.Click("[data-redrive-all]")
	tab.Shows("[data-asking]", "Redrive 30 dead letters")
	tab.Click("[data-asking-no]")
	require.Empty(t, w.redriven())
	tab.Click("[data-redrive-all]")
	tab.Click("[data-asking-yes]")
	tab.Shows("[data-bulk-said]", "30 dead letters redriven.")
	require.Equal(t, "a-029", w.redriven()[0].RunID, "the oldest first")
	tab.Shows("[data-part=none]", "None.")
}

func TestDeadLettersAreForWhoOperatesAndFilteredByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bury("a", 60)
	status, _, body := w.page(t, "/dead")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "/dead?before=a-049")
	for _, query := range []string{"state=alive", "since=soon", "until=x"} {
		status, _, _ := w.page(t, "/dead?"+query)
		require.Equal(t, http.StatusBadRequest, status, query)
	}
	_, _, body = w.page(t, "/dead?since=15m&reason=nothing")
	require.Contains(t, body, "No dead letter matches.")
	status, header, _ := w.page(t, "/dead/live")
	require.Equal(t, http.StatusOK, status)
	status, _, _ = w.page(t, "/dead/live", "If-None-Match", header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, status)
	status, _, _ = w.page(t, "/dead/none")
	require.Equal(t, http.StatusNotFound, status)

	console := web.New(web.Options{Runs: w, Flows: w, Explainer: w, Dead: w, Overview: w,
		Principal: func(*http.Request) flow.Principal { return flow.Principal{Name: "key:app", Role: flow.RolePress} }})
	for path, want := range map[string]int{"/dead": 403, "/dead/live": 403, "/dead/a-000": 403, "/": 200} {
		rec := httptest.NewRecorder()
		console.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, want, rec.Code, path)
		require.NotContains(t, rec.Body.String(), "/dead", "what a role may not do is not offered")
	}
}
