package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// morgue keeps what it was asked for.
type morgue struct {
	filters   []flow.LetterFilter
	redrives  []flow.Redrive
	dismissed []string
}

func (m *morgue) Letters(_ context.Context, f flow.LetterFilter) ([]flow.Letter, string, error) {
	m.filters = append(m.filters, f)
	return []flow.Letter{{RunID: "dead", State: flow.LetterDead}}, "next", nil
}

func (m *morgue) Letter(_ context.Context, id string) (flow.Letter, error) {
	if id == "alive" {
		return flow.Letter{}, fault.NotFoundf("dead.not_found", "run alive has not ended")
	}
	return flow.Letter{RunID: id, State: flow.LetterDead}, nil
}

func (m *morgue) Redrive(_ context.Context, r flow.Redrive) (flow.Redriven, error) {
	switch r.RunID {
	case "taken":
		return flow.Redriven{}, fault.New(fault.Conflict, "dead.redriven", "run taken was redriven by ann", nil)
	case "crowded":
		return flow.Redriven{}, fault.ThrottledFor(time.Second, "queue.full", "many wait", nil)
	case "away":
		return flow.Redriven{}, fault.New(fault.Unavailable, "store.unavailable", "the database does not answer", nil)
	}
	m.redrives = append(m.redrives, r)
	return flow.Redriven{RunID: r.RunID, Into: r.RunID, Digest: "d1"}, nil
}

func (m *morgue) Dismiss(_ context.Context, id, by, why string) error {
	m.dismissed = append(m.dismissed, id+" "+by+" "+why)
	return nil
}

func withMorgue(m *morgue) func(*httpapi.Options) {
	return func(o *httpapi.Options) { o.Dead = m }
}

func TestDeadLettersAreListedByAFilter(t *testing.T) {
	t.Parallel()
	m := &morgue{}
	b := newBundle(t, withMorgue(m))
	r := b.do(http.MethodGet, "/v1/dead?flow=product-specs&reason=deadline&state=dismissed&since=24h&until=2026-01-31&order=oldest&before=abc&limit=7", "")
	require.Equal(t, 200, r.status, r.body)
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	got := m.filters[0]
	require.WithinDuration(t, time.Now().Add(-24*time.Hour), got.Since, time.Minute)
	got.Since = time.Time{}
	require.Equal(t, flow.LetterFilter{Flow: "product-specs", Reason: "deadline", State: flow.LetterDismissed, Oldest: true, Cursor: "abc", Limit: 7,
		Until: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)}, got)
	require.Contains(t, r.body, `"next":"next"`)
	for _, query := range []string{"state=alive", "since=soon", "until=-1h", "order=random", "limit=0", "limit=201"} {
		r := b.do(http.MethodGet, "/v1/dead?"+query, "")
		require.Equal(t, 400, r.status, query)
		require.Equal(t, "query.invalid", r.problem(t).Code)
	}
	for _, query := range []string{"since=soon", "until=x"} {
		require.Equal(t, 400, b.do(http.MethodGet, "/v1/runs?"+query, "").status, query)
	}
}

func TestADecisionOnManyIsOneForEach(t *testing.T) {
	t.Parallel()
	m := &morgue{}
	b := newBundle(t, withMorgue(m))
	r := b.do(http.MethodPost, "/v1/dead/redrive", `{"runs":["one","taken","crowded"],"set":{"n":12345678901234567890,"gone":null}}`)
	require.Equal(t, 200, r.status, r.body)
	var out struct{ Results []httpapi.Decided }
	require.NoError(t, json.Unmarshal([]byte(r.body), &out))
	require.Equal(t, []string{"redriven", "refused", "refused"}, []string{out.Results[0].Outcome, out.Results[1].Outcome, out.Results[2].Outcome})
	require.Equal(t, "dead.redriven", out.Results[1].Code)
	require.False(t, out.Results[1].Retry)
	require.True(t, out.Results[2].Retry)
	require.Equal(t, flow.Redrive{RunID: "one", By: "dev", Bulk: true, Set: map[string]any{"n": json.Number("12345678901234567890"), "gone": nil}}, m.redrives[0])
	r = b.do(http.MethodPost, "/v1/dead/redrive", `{"runs":["one"],"plan":true,"current":true}`)
	require.Contains(t, r.body, `"outcome":"planned"`)
	require.Equal(t, flow.Redrive{RunID: "one", By: "dev", Plan: true, Current: true}, m.redrives[1])
	r = b.do(http.MethodPost, "/v1/dead/dismiss", `{"runs":["one","two"],"reason":" entered by hand "}`)
	require.Equal(t, 200, r.status, r.body)
	require.Equal(t, []string{"one dev entered by hand", "two dev entered by hand"}, m.dismissed)

	many := `"` + strings.Repeat(`x","`, 100) + `x"`
	for body, code := range map[string]string{
		`{"runs":[]}`:                       "params.invalid",
		`{"runs":[` + many + `]}`:           "params.invalid",
		`{"runs":["one"],"sett":{}}`:        "field.unknown",
		`{"runs":"one"}`:                    "field.type",
		`{"runs":["one"],"runs":["two"]}`:   "json.duplicate_key",
		`{"runs":["one"],"set":{"a":1}} {}`: "json.syntax",
	} {
		r := b.do(http.MethodPost, "/v1/dead/redrive", body)
		require.Equal(t, code, r.problem(t).Code, body)
		require.Less(t, r.status, 500)
	}
	require.Equal(t, "params.invalid", b.do(http.MethodPost, "/v1/dead/dismiss", `{"runs":["one"],"reason":" "}`).problem(t).Code)
	require.Equal(t, "body.media_type", b.do(http.MethodPost, "/v1/dead/redrive", "").problem(t).Code)
	require.Equal(t, 503, b.do(http.MethodPost, "/v1/dead/redrive", `{"runs":["away"]}`).status)
}

func TestDeadLettersAreForWhoOperates(t *testing.T) {
	t.Parallel()
	m := &morgue{}
	b := newBundle(t, serve, withMorgue(m))
	for token, status := range map[string]int{"app": 403, "ops": 200} {
		as := []string{"Authorization", "Bearer " + token}
		require.Equal(t, status, b.do(http.MethodGet, "/v1/dead", "", as...).status, token)
		require.Equal(t, status, b.do(http.MethodPost, "/v1/dead/redrive", `{"runs":["one"]}`, as...).status, token)
		require.Equal(t, status, b.do(http.MethodPost, "/v1/dead/dismiss", `{"runs":["one"],"reason":"x"}`, as...).status, token)
	}
	require.Len(t, m.redrives, 1)
	require.Equal(t, "key:ops", m.redrives[0].By)
	r := b.do(http.MethodGet, "/v1/dead/alive", "", "Authorization", "Bearer ops")
	require.Equal(t, "dead.not_found", r.problem(t).Code)
}

func TestALetterAndAnExplanationTellEachStepAndWhatCanBeDone(t *testing.T) {
	t.Parallel()
	b := newBundle(t, withMorgue(&morgue{}))
	id := b.pressed()
	b.book.change(id, func(r *flow.Run) {
		answerWith(flow.Row{"a": "b"})(r)
		step(r, "writing")
		r.Effects = []flow.Effect{
			{Step: "write", Target: "crm.t 1", State: flow.Confirmed},
			{Step: "write", Target: "crm.t 2", State: flow.Attempt},
			{Step: "write", Target: "crm.t 3", State: flow.Refused, Reason: "too long"},
		}
		finish(r)
		r.Status = flow.Failed
	})
	r := b.do(http.MethodGet, "/v1/dead/"+id, "")
	require.Equal(t, 200, r.status, r.body)
	var letter struct {
		RunID   string       `json:"run_id"`
		Account flow.Account `json:"account"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.body), &letter))
	require.Equal(t, id, letter.RunID)
	require.True(t, letter.Account.Dead)
	var names []string
	for _, s := range letter.Account.Steps {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"accepted", "answered", "writing", "closed"}, names)
	effects := letter.Account.Steps[2].Effects
	require.Empty(t, effects[0].Todo, "what is there needs nobody")
	require.Equal(t, flow.Doubtful, effects[1].State, "nobody will hear of it any more")
	require.Contains(t, effects[1].Todo, "looks whether crm has this row")
	require.Contains(t, effects[2].Todo, "put right what crm says, then redrive")

	b2 := newBundle(t, withMorgue(&morgue{}), func(o *httpapi.Options) { o.Explainer = telling(id); o.Runs = b.book })
	r = b2.do(http.MethodGet, "/v1/explain/AS54888", "")
	require.Equal(t, 200, r.status, r.body)
	require.Equal(t, 1, strings.Count(r.body, `"looks`)+strings.Count(r.body, "put right what crm says"), r.body)
	require.Contains(t, r.body, fmt.Sprintf(`"runs":[{"run_id":%q`, id))
}

// telling explains every key by a run and one that is gone.
type telling string

func (id telling) Explain(context.Context, string) ([]flow.Entry, error) {
	return []flow.Entry{{Run: "gone"}, {Run: string(id)}, {Run: string(id)}}, nil
}
