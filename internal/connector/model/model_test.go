package model_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/model"
	"patchbay/internal/fault"
)

// served is a connector of a server that answers by handler.
func served(t *testing.T, handler http.HandlerFunc, options ...string) *model.Model {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	c := connector.Config{Name: "advice", System: model.System, URL: s.URL, Options: map[string]string{}}
	for i := 0; i < len(options); i += 2 {
		c.Options[options[i]] = options[i+1]
	}
	m, err := model.New(c, connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return m
}

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func outputs(list string) string {
	return `{"model_name":"m","model_version":"1","outputs":[` + list + `]}`
}

func TestAnEndlessAnswerEndsAtTheLimit(t *testing.T) {
	t.Parallel()
	sent := make(chan int, 1)
	m := served(t, func(w http.ResponseWriter, _ *http.Request) {
		n, chunk := 0, []byte(strings.Repeat(" ", 32<<10))
		w.Header().Set("Content-Type", "application/json")
		for err := error(nil); err == nil; n += len(chunk) {
			_, err = w.Write(chunk)
		}
		sent <- n
	})
	_, err := m.Predict(t.Context(), question())
	require.Equal(t, "vendor.too_large", fault.Of(err).Code)
	require.Equal(t, fault.Rejected, fault.Of(err).Class, "an answer came, and it is none")
	require.Less(t, <-sent, 16<<20, "the server was left")
}

func TestATensorIsReadAsItsShapeSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, want string }{
		"nested":                   {outputs(`{"name":"answer","shape":[1,1],"datatype":"BYTES","data":[["{\"a\":1}"]]}`), `{"a":1}`},
		"without an answer":        {outputs(`{"name":"label","shape":[1],"datatype":"BYTES","data":["x"]},{"name":"p","shape":[1,2],"datatype":"FP64","data":[0.25,0.75]}`), `{"label":"x","p":[0.25,0.75]}`},
		"a number beyond a double": {outputs(`{"name":"n","shape":[1],"datatype":"INT64","data":[9007199254740993]}`), `{"n":9007199254740993}`},
		"no outputs":               {outputs(``), ""},
		"fewer than the shape":     {outputs(`{"name":"answer","shape":[2],"datatype":"BYTES","data":["x"]}`), ""},
		"a shape beyond reason":    {outputs(`{"name":"answer","shape":[1000000000,1000000000],"datatype":"BYTES","data":["x"]}`), ""},
		"an output twice":          {outputs(`{"name":"a","shape":[1],"data":["x"]},{"name":"a","shape":[1],"data":["y"]}`), ""},
		"an output without a name": {outputs(`{"shape":[1],"data":["x"]}`), ""},
		"of another question":      {`{"id":"f","outputs":[{"name":"answer","shape":[1],"data":["{}"]}]}`, ""},
		"a key twice":              {`{"outputs":[],"outputs":[]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := served(t, says(200, c.answer)).Predict(t.Context(), question())
			if c.want == "" {
				require.Equal(t, "vendor.malformed", fault.Of(err).Code)
				require.Equal(t, fault.Unavailable, fault.Of(err).Class)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, string(got.Answer))
		})
	}
}

func TestAVersionThatWasAskedForIsTheOneThatAnswers(t *testing.T) {
	t.Parallel()
	m := served(t, says(200, outputs(`{"name":"answer","shape":[1],"datatype":"BYTES","data":["{}"]}`)))
	q := question()
	q.Version = "1"
	_, err := m.Predict(t.Context(), q)
	require.NoError(t, err)
	q.Version = "2"
	_, err = m.Predict(t.Context(), q)
	require.Equal(t, "model.other_version", fault.Of(err).Code)
	require.Equal(t, fault.Rejected, fault.Of(err).Class)
}

func TestWhatAnAnswerSaysOfItselfBecomesItsClass(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		protocol, body string
		status         int
		header         []string
		class          fault.Class
		code           string
		after          time.Duration
	}{
		"a question that is wrong":         {model.OpenInference, `{"error":"canary"}`, 400, nil, fault.Invalid, "model.bad_request", 0},
		"a model not loaded":               {model.OpenInference, `{"error":"canary"}`, 503, nil, fault.Unavailable, "model.unavailable", 0},
		"a schema that MLflow enforces":    {model.MLflow, `{"error_code":"BAD_REQUEST","message":"canary","stack_trace":"canary"}`, 400, nil, fault.Invalid, "model.bad_request", 0},
		"a media type":                     {model.MLflow, `canary`, 415, nil, fault.Invalid, "model.bad_request", 0},
		"a container that answers badly":   {model.AzureML, `canary`, 424, []string{"ms-azureml-model-error-statuscode", "400"}, fault.Invalid, "model.bad_request", 0},
		"a container that does not answer": {model.AzureML, `canary`, 424, []string{"ms-azureml-model-error-statuscode", "500"}, fault.Unavailable, "model.unavailable", 0},
		"a model that takes too long":      {model.AzureML, `canary`, 408, nil, fault.Unavailable, "model.timeout", 0},
		"an account without quota":         {model.OpenAIChat, `{"error":{"code":"insufficient_quota","message":"canary"}}`, 429, nil, fault.Unauthorized, "model.quota_spent", 0},
		"a question that is too long":      {model.OpenAIChat, `{"error":{"code":"context_length_exceeded","message":"canary"}}`, 400, nil, fault.Invalid, "model.question_too_large", 0},
		"a window of tokens that is full": {model.OpenAIChat, `{"error":{"code":"rate_limit_exceeded"}}`, 429,
			[]string{"x-ratelimit-remaining-requests", "9", "x-ratelimit-reset-requests", "6m0s", "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "12s"},
			fault.Throttled, "model.throttled", 12 * time.Second},
		"Retry-After before all": {model.OpenAIChat, `{}`, 429, []string{"Retry-After", "3", "x-ratelimit-reset-tokens", "12s"}, fault.Throttled, "model.throttled", 3 * time.Second},
		"a code that is no code": {model.OpenAIChat, `{"error":{"code":"canary 1"}}`, 401, nil, fault.Unauthorized, "model.unauthorized", 0},
		"a filter":               {model.OpenAIChat, `{"choices":[{"message":{"content":"canary"},"finish_reason":"content_filter"}]}`, 200, nil, fault.Rejected, "model.filtered", 0},
		"a tool":                 {model.OpenAIChat, `{"choices":[{"message":{"content":null,"tool_calls":[{}]},"finish_reason":"tool_calls"}]}`, 200, nil, fault.Rejected, "model.tool", 0},
		"two choices":            {model.OpenAIChat, `{"choices":[{},{}]}`, 200, nil, fault.Unavailable, "vendor.malformed", 0},
		"two predictions":        {model.MLflow, `{"predictions":[1,2]}`, 200, nil, fault.Unavailable, "vendor.malformed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := served(t, says(c.status, c.body, c.header...), "protocol", c.protocol).Predict(t.Context(), question())
			f := fault.Of(err)
			require.Equal(t, []any{c.class, c.code, c.after}, []any{f.Class, f.Code, f.After})
			shown, jsonErr := json.Marshal(f)
			require.NoError(t, jsonErr)
			require.NotContains(t, string(shown), "canary")
			require.NotContains(t, string(shown), "receivables")
		})
	}
}

func TestOnlyTheInputsThatAreNamedLeave(t *testing.T) {
	t.Parallel()
	for protocol, reply := range map[string]string{
		model.OpenInference: outputs(`{"name":"answer","shape":[1],"datatype":"BYTES","data":["{}"]}`), model.MLflow: `{"predictions":["{}"]}`,
		model.AzureML: `["{}"]`, model.OpenAIChat: `{"choices":[{"message":{"content":"{}"},"finish_reason":"stop"}]}`,
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			bodies := make(chan string, 1)
			m := served(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				bodies <- string(body)
				says(200, reply)(w, r)
			}, "protocol", protocol, "inputs", "overdue_days, evidence")
			got, err := m.Predict(t.Context(), question())
			require.NoError(t, err)
			require.Equal(t, "{}", string(got.Answer))
			body := <-bodies
			require.NotContains(t, body, "overdue_amount")
			require.Contains(t, body, "overdue_days")
			require.Contains(t, body, "receivables/R-9")
		})
	}
}

func TestAModelThatReadsTextOverInferenceGetsItByTheInputsThatAreNamed(t *testing.T) {
	t.Parallel()
	bodies := make(chan []byte, 1)
	m := served(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- body
		says(200, outputs(`{"name":"text_output","shape":[1],"datatype":"BYTES","data":["{\"a\":1}"]}`))(w, r)
	}, "instructions_input", "text_input", "schema_input", "guide", "answer", "text_output", "shape", "1")
	got, err := m.Predict(t.Context(), question())
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(got.Answer))
	var sent struct {
		Inputs []struct {
			Name  string
			Shape []int
			Data  []any
		}
	}
	require.NoError(t, json.Unmarshal(<-bodies, &sent))
	require.Equal(t, []int{1}, sent.Inputs[0].Shape)
	require.Len(t, sent.Inputs, 5)
	require.Equal(t, "Propose the next best action.", sent.Inputs[3].Data[0])
	guide, _ := sent.Inputs[4].Data[0].(string)
	require.JSONEq(t, schema, guide)
}

func TestAWrongConnectionIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for _, options := range []map[string]string{
		{"protocol": "grpc"}, {"no_such": "x"}, {"api_key": "x"}, {"auth_header": "X:\r\n", "api_key": "x"}, {"max_tokens": "many"}, {"response_format": "xml"},
	} {
		_, err := model.New(connector.Config{Name: "advice", URL: "http://127.0.0.1:1", Options: options}, connector.Deps{})
		require.Equal(t, fault.Invalid, fault.Of(err).Class, fmt.Sprint(options))
	}
	m := served(t, says(200, `{}`), "protocol", model.MLflow)
	_, err := m.Describe(t.Context(), "m")
	require.Equal(t, "connector.no_metadata", fault.Of(err).Code)
	_, err = m.Predict(t.Context(), connector.Prediction{})
	require.Equal(t, "model.name", fault.Of(err).Code)
}
