package wiretest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryNotedExchangeAgreesWithItself(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"oracle", "dataverse", "dataverse-webhook", "login", "sap"} {
		exchanges, err := Load(dir)
		require.NoError(t, err)
		server, client := Vars{"token": "t", "id": "1"}, Vars{"token": "t", "id": "1"}
		var current Exchange
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				if wrong := current.CheckRequest(r, body, server); len(wrong) > 0 {
					t.Errorf("%s: the request it builds is not the one it expects: %v", current.Name, wrong)
				}
				err = current.Answer(w, server)
			}
			if err != nil {
				t.Error(err)
			}
		}))
		t.Cleanup(s.Close)
		server["base"], client["base"] = s.URL, s.URL
		for _, current = range exchanges {
			r, err := current.NewRequest(client)
			require.NoError(t, err)
			answer, err := s.Client().Do(r)
			require.NoError(t, err)
			body, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			require.Empty(t, current.CheckResponse(answer.StatusCode, answer.Header, body, client), current.Name)
			require.NotEmpty(t, current.Notes, "%s names no source", current.Name)
		}
	}
}

const noted = `# the source
# fault: {"status": 503}
POST /things(1)?a=1&b=x%20y HTTP/1.1
Content-Type: application/json
Authorization: Bearer <token>

{"name": "n", "list": [1, 2]}
---
HTTP/1.1 201 Created
Content-Type: <any application/json>

{"id": "<let id 7-7>", "count": "<any 3>", "open": {"a": 1.50, "<more>": true}, "rest": [1, "<more>"], "self": "<base>/things(<id>)"}
`

func TestDifferencesAreFound(t *testing.T) {
	t.Parallel()
	x, err := Parse("x", noted)
	require.NoError(t, err)
	require.Equal(t, `{"status": 503}`, x.Fault)
	require.Equal(t, []string{"the source"}, x.Notes)

	header := http.Header{"Content-Type": {"application/json;charset=utf-8"}}
	vars := func() Vars { return Vars{"base": "http://h", "id": "7-7", "token": "t"} }
	good := `{"id":"7-7","count":3,"open":{"a":1.5,"b":2},"rest":[1,2,3],"self":"http://h/things(7-7)"}`
	require.Empty(t, x.CheckResponse(201, header, []byte(good), vars()))
	for name, body := range map[string]string{
		"a member is missing":            strings.Replace(good, `"count":3,`, "", 1),
		"a member is not noted":          strings.Replace(good, `"count":3`, `"count":3,"extra":1`, 1),
		"a number differs":               strings.Replace(good, "1.5", "1.51", 1),
		"a string differs":               strings.Replace(good, "http://h/", "http://other/", 1),
		"an open array is too short":     strings.Replace(good, "[1,2,3]", "[]", 1),
		"a noted object is something":    strings.Replace(good, `{"a":1.5,"b":2}`, "[]", 1),
		"the document goes on":           good + "{}",
		"an element of an array differs": strings.Replace(good, "[1,", "[2,", 1),
	} {
		require.NotEmpty(t, x.CheckResponse(201, header, []byte(body), vars()), name)
	}
	require.NotEmpty(t, x.CheckResponse(200, header, []byte(good), vars()), "another status")

	request := func(change func(*http.Request)) []string {
		r, err := x.NewRequest(vars())
		require.NoError(t, err)
		change(r)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return x.CheckRequest(r, body, vars())
	}
	require.Empty(t, request(func(*http.Request) {}))
	require.Empty(t, request(func(r *http.Request) { r.URL.RawQuery = "b=x+y&a=1" }), "queries compare decoded")
	require.NotEmpty(t, request(func(r *http.Request) { r.URL.RawQuery = "a=1" }))
	require.NotEmpty(t, request(func(r *http.Request) { r.URL.Path += "x" }))
	require.NotEmpty(t, request(func(r *http.Request) { r.Method = http.MethodPut }))
	require.NotEmpty(t, request(func(r *http.Request) { r.Header.Del("Authorization") }))
	require.NotEmpty(t, request(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) }))
}

func TestLetKeepsWhatTheOtherSideSaid(t *testing.T) {
	t.Parallel()
	v := Vars{"base": "http://h"}
	require.True(t, v.match("<let next <base>/a?b>", "http://h/elsewhere"))
	require.Equal(t, "http://h/elsewhere", v["next"])
	require.Equal(t, "see http://h/elsewhere", v.fill("see <next>"))
	require.Equal(t, "<html>", v.fill("<html>"), "what is no placeholder stays")
}
