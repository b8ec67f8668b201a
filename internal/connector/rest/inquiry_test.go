package rest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/rest"
	"patchbay/internal/fault"
)

// inquiries is a bureau that is asked by POST for one row each, which names whom it is about.
func inquiries(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body string)) *rest.REST {
	t.Helper()
	return system(t, answer, map[string]string{"read": "POST", "answer": "row", "row": "/report", "reference_header": "Inquiry-Reference", "answers_for": "subject_id"},
		map[string]connector.Table{"reports": {Path: "/v1/inquiries", Keys: [][]string{{"subject_id"}}}})
}

func about(subject any) connector.Query {
	return connector.Query{Table: "reports", Select: []string{"score", "card_use"}, Reference: "r-1",
		Where: []connector.Match{{Column: "subject_id", Value: subject}, {Column: "purpose", Value: "loan"}}}
}

func TestAnInquiryIsOnePostWhoseAddressSaysNothingOfThePerson(t *testing.T) {
	t.Parallel()
	var asked []string
	x := inquiries(t, func(w http.ResponseWriter, r *http.Request, body string) {
		asked = append(asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Inquiry-Reference")+" "+body)
		_, _ = w.Write([]byte(`{"report":{"subject_id":"P-1","score":612.50,"card_use":1e1,"name":"Ann"}}`))
	})
	page, err := x.ReadPage(t.Context(), about("P-1"), "")
	require.NoError(t, err)
	require.Equal(t, connector.Page{Rows: []connector.Row{{"score": json.Number("612.50"), "card_use": json.Number("1e1")}}}, page, "digit for digit, and only what was asked for")
	require.Equal(t, []string{`POST /base/v1/inquiries application/json r-1 {"purpose":"loan","subject_id":"P-1"}`}, asked)
}

func TestAnAnswerAboutSomebodyElseIsNeverUsedAndSaysNothingOfThem(t *testing.T) {
	t.Parallel()
	for name, report := range map[string]string{
		"another":   `{"subject_id":"P-2","score":700}`,
		"none":      `{"score":700}`,
		"null":      `{"subject_id":null,"score":700}`,
		"an object": `{"subject_id":{"id":"P-1"},"score":700}`,
		"case":      `{"subject_id":"p-1","score":700}`,
	} {
		x := inquiries(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			_, _ = w.Write([]byte(`{"report":` + report + `}`))
		})
		_, err := x.ReadPage(t.Context(), about("P-1"), "")
		f := fault.Of(err)
		require.Equal(t, "rest.other-subject", f.Code, name)
		require.False(t, f.Retryable(), name)
		require.NotContains(t, f.Text, "P-")
	}
	x := inquiries(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		_, _ = w.Write([]byte(`{"report":{"subject_id":"12","score":1}}`))
	})
	_, err := x.ReadPage(t.Context(), about(json.Number("12")), "")
	require.NoError(t, err, "a number and its text are one")
}

func TestAQuestionAboutNobodyIsNotAsked(t *testing.T) {
	t.Parallel()
	x := inquiries(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		t.Error("it was asked")
		_, _ = w.Write([]byte(`{"report":{"subject_id":"P-2","score":700}}`))
	})
	q := about("P-1")
	q.Where = q.Where[1:]
	_, err := x.ReadPage(t.Context(), q, "")
	require.Equal(t, "rest.answers_for", fault.Of(err).Code)
}

func TestWhatABureauAnswersWithoutAReportIsNamed(t *testing.T) {
	t.Parallel()
	for want, status := range map[string]int{"": http.StatusNotFound, "rest.not_found": http.StatusNotFound, "rest.throttled": http.StatusTooManyRequests, "rest.bad_request": http.StatusBadRequest} {
		x := inquiries(t, func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(status) })
		q := about("P-1")
		if want == "" {
			q.Reference = ""
		}
		page, err := x.ReadPage(t.Context(), q, "")
		require.Empty(t, page.Rows)
		if want == "" {
			require.NoError(t, err, "nobody of that name is no row")
			continue
		}
		require.Equal(t, want, fault.Of(err).Code)
	}
	x := inquiries(t, func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = w.Write([]byte(`{"report":[]}`)) })
	_, err := x.ReadPage(t.Context(), about("P-1"), "")
	require.Equal(t, "vendor.malformed", fault.Of(err).Code)
}

func TestOneRowAndPagesAreNotAskedForTogether(t *testing.T) {
	t.Parallel()
	for _, option := range []string{"answer", "read"} {
		_, err := rest.New(connector.Config{Name: "x", URL: "https://x", Options: map[string]string{"paging": "page", option: map[string]string{"answer": "row", "read": "POST"}[option]},
			Tables: map[string]connector.Table{"t": {Path: "t"}}}, connector.Deps{})
		require.Equal(t, "connector.option", fault.Of(err).Code, option)
	}
}
