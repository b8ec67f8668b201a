package model_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/connector"
	"patchbay/internal/connector/model"
	"patchbay/internal/fault"
	"patchbay/internal/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	rows = `{"actions":["collect_payment","propose_offer"],"evidence":[{"id":"orders/4711","row":{"amount":1200.5}},` +
		`{"id":"receivables/R-9","row":{"amount":"300.10","due":"2026-04-20"}}],"withheld":[]}`
	answer = `{"action":"collect_payment","evidence":["receivables/R-9"],"reason":"Payment comes first: overdue amount 300.10, overdue days 14."}`
	schema = `{"additionalProperties":false,"properties":{"action":{"enum":["collect_payment","propose_offer"],"type":"string"},` +
		`"evidence":{"items":{"type":"string"},"maxItems":5,"minItems":1,"type":"array"},"reason":{"maxLength":200,"minLength":1,"type":"string"}},` +
		`"required":["action","reason","evidence"],"type":"object"}`
)

func question() connector.Prediction {
	return connector.Prediction{
		Model: "next-best-action", ID: "0123456789abcdef0123456789abcdef", Instructions: "Propose the next best action.", Schema: []byte(schema),
		Inputs: []connector.Feature{
			{Name: "overdue_amount", Type: "decimal", Value: json.Number("300.10")}, {Name: "overdue_days", Type: "int", Value: json.Number("14")},
			{Name: "evidence", Type: "json", Value: []byte(rows)},
		},
	}
}

// serverOnly are exchanges that only stand-ins are held to: this connector never sends
// them.
var serverOnly = map[string]bool{
	"model/06-oip-shape": true, "model/07-oip-rows": true, "model/08-oip-unknown-input": true, "model/21-mlflow-two-keys": true,
	"model/22-mlflow-media-type": true, "model/23-mlflow-records": true, "model/44-chat-schema-name": true,
}

func TestConnectorSendsWhatIsNotedAndReadsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	type act struct {
		options map[string]string
		do      func(*testing.T, *model.Model)
	}
	predicts := func(name, version string, change ...func(*connector.Prediction)) func(*testing.T, *model.Model) {
		return func(t *testing.T, m *model.Model) {
			t.Helper()
			q := question()
			for _, c := range change {
				c(&q)
			}
			got, err := m.Predict(t.Context(), q)
			require.NoError(t, err)
			require.Equal(t, []string{name, version}, []string{got.Model, got.Version})
			require.JSONEq(t, answer, string(got.Answer))
		}
	}
	fails := func(class fault.Class, code string, change ...func(*connector.Prediction)) func(*testing.T, *model.Model) {
		return func(t *testing.T, m *model.Model) {
			t.Helper()
			q := question()
			for _, c := range change {
				c(&q)
			}
			_, err := m.Predict(t.Context(), q)
			require.Equal(t, class, fault.Of(err).Class, err)
			require.Equal(t, code, fault.Of(err).Code)
		}
	}
	probes := func(t *testing.T, m *model.Model) { t.Helper(); require.NoError(t, m.Probe(t.Context())) }
	flow, azure, chat := map[string]string{"protocol": model.MLflow}, map[string]string{"protocol": model.AzureML}, map[string]string{"protocol": model.OpenAIChat}
	with := func(options map[string]string, name, value string) map[string]string {
		out := map[string]string{name: value}
		for k, v := range options {
			out[k] = v
		}
		return out
	}
	stranger := func(q *connector.Prediction) { q.Model = "no-such-model" }
	acts := map[string]act{
		"model/01-oip-infer": {nil, predicts("next-best-action", "2")},
		"model/02-oip-version": {nil, func(t *testing.T, m *model.Model) {
			t.Helper()
			q := question()
			q.Version = "1"
			_, err := m.Predict(t.Context(), q)
			require.Equal(t, "vendor.malformed", fault.Of(err).Code, "an answer without outputs")
		}},
		"model/03-oip-metadata": {nil, func(t *testing.T, m *model.Model) {
			t.Helper()
			d, err := m.Describe(t.Context(), "next-best-action")
			require.NoError(t, err)
			require.Len(t, d.Columns, 7)
			require.Equal(t, []connector.Described{{Name: "open_orders", Type: "int"}, {Name: "order_value", Type: "decimal"}}, d.Columns[:2])
			require.Equal(t, connector.Described{Name: "evidence", Type: "string"}, d.Columns[6])
		}},
		"model/04-oip-ready":                  {nil, probes},
		"model/05-oip-unknown-model":          {nil, fails(fault.NotFound, "model.unknown_model", stranger)},
		"model/20-mlflow":                     {flow, predicts("", "")},
		"model/24-mlflow-ping":                {flow, probes},
		"model/30-azureml":                    {azure, predicts("", "green")},
		"model/31-azureml-deployment":         {with(azure, "deployment", "blue"), fails(fault.Unavailable, "vendor.malformed")},
		"model/32-azureml-unknown-deployment": {with(azure, "deployment", "red"), fails(fault.NotFound, "model.unknown_model")},
		"model/40-chat":                       {chat, predicts("next-best-action", "2")},
		"model/41-chat-length":                {with(chat, "max_tokens", "5"), fails(fault.Rejected, "model.truncated")},
		"model/42-chat-refusal": {chat, fails(fault.Rejected, "model.refused", func(q *connector.Prediction) {
			q.Inputs = []connector.Feature{{Name: "evidence", Type: "json", Value: []byte("[]")}}
		})},
		"model/43-chat-unknown-model": {chat, fails(fault.NotFound, "model.unknown_model", stranger)},
		"model/45-chat-models":        {chat, probes},
		"model/50-unauthorized":       {nil, fails(fault.Unauthorized, "model.unauthorized")},
		"model/51-chat-throttled": {chat, func(t *testing.T, m *model.Model) {
			t.Helper()
			_, err := m.Predict(t.Context(), question())
			require.Equal(t, fault.Throttled, fault.Of(err).Class)
			require.Equal(t, 7*time.Second, fault.Of(err).After)
			require.Contains(t, fault.Of(err).Text, "rate_limit_exceeded")
		}},
	}
	exchanges, err := wiretest.Load("model")
	require.NoError(t, err)
	require.Len(t, exchanges, len(acts)+len(serverOnly), "every noted exchange has its test")
	for _, x := range exchanges {
		act, has := acts[x.Name]
		require.True(t, has || serverOnly[x.Name], x.Name)
		if !has {
			continue
		}
		t.Run(x.Name, func(t *testing.T) {
			t.Parallel()
			act.do(t, playedBy(t, x, act.options))
		})
	}
}

// playedBy returns a connector whose system answers with one exchange and objects to
// every other request.
func playedBy(t *testing.T, x wiretest.Exchange, options map[string]string) *model.Model {
	t.Helper()
	vars := wiretest.Vars{"token": "noted"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, wrong := range x.CheckRequest(r, body, vars) {
			t.Errorf("%s: %s", x.Name, wrong)
		}
		if err := x.Answer(w, vars); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	vars["base"] = s.URL
	key := "Bearer noted"
	if x.Sent.Header.Get("Authorization") == "Bearer not-a-token" {
		key = "Bearer not-a-token"
	}
	all := map[string]string{"auth_header": "Authorization", "api_key": key}
	for k, v := range options {
		all[k] = v
	}
	m, err := model.New(connector.Config{Name: "advice", System: model.System, URL: s.URL, Options: all}, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return m
}
