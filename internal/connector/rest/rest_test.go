package rest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/rest"
	"patchbay/internal/fault"
)

func encoded(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func TestRestKeepsTheContract(t *testing.T) {
	t.Parallel()
	page := func(base string, rows []connector.Row, from, size, leads int) []byte {
		to := min(from+size, len(rows))
		body := map[string]any{"items": append([]connector.Row{}, rows[min(from, to):to]...)}
		if to < len(rows) {
			body["next"] = fmt.Sprintf("%s/v1/orders?from=%d&limit=%d", base, leads, size)
		}
		return encoded(body)
	}
	from := func(r *http.Request) (int, int) {
		n, _ := strconv.Atoi(r.URL.Query().Get("from"))
		size, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		return n, size
	}
	table := connector.Table{Path: "/v1/orders", Keys: [][]string{{"number"}}}
	upsert := connector.Upsert{Table: "orders", Key: []string{"number"}, Rows: []connector.Row{{"number": "A-1", "state": "canary"}}}
	for _, method := range []string{"PUT", "PATCH", "POST"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			conformance.Run(t, conformance.Harness{
				Build: rest.Build,
				Config: connector.Config{System: rest.System, Tables: map[string]connector.Table{"orders": table},
					Options: map[string]string{"paging": "next", "write": method}},
				Query: connector.Query{Table: "orders", Select: []string{"number", "state"}, Limit: 3},
				Page: func(r *http.Request, base string, rows []connector.Row) []byte {
					n, size := from(r)
					return page(base, rows, n, size, n+size)
				},
				Circle: func(r *http.Request, base string, rows []connector.Row) []byte {
					n, size := from(r)
					return page(base, rows, n, size, 3)
				},
				// Several rows are several requests, where the suite counts one.
				Upserts:  map[string]connector.Upsert{"one row": upsert},
				Accepted: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
			})
		})
	}
}

// system is a small one with rows, and what it was asked.
func system(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body string), options map[string]string, tables map[string]connector.Table) *rest.REST {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer(w, r, string(body))
	}))
	t.Cleanup(server.Close)
	x, err := rest.New(connector.Config{Name: "shop", URL: server.URL + "/base", Options: options, Tables: tables},
		connector.Deps{Client: server.Client(), Resolve: func(string) (string, error) { return "s3cret", nil }})
	require.NoError(t, err)
	return x
}

func all(t *testing.T, x *rest.REST, q connector.Query) (rows []connector.Row, err error) {
	t.Helper()
	token := ""
	for range 50 {
		page, err := x.ReadPage(t.Context(), q, token)
		if err != nil {
			return rows, err
		}
		rows = append(rows, page.Rows...)
		if token = page.Next; token == "" {
			return rows, nil
		}
	}
	t.Fatal("it does not end")
	return nil, nil
}

func TestEveryStyleOfPagesIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	const rows, most = 7, 2 // the system gives two a page, whatever is asked for
	items := func(from int) []any {
		list := []any{}
		for i := from; i < min(from+most, rows); i++ {
			list = append(list, map[string]any{"n": i})
		}
		return list
	}
	number := func(r *http.Request, name string) int {
		n, _ := strconv.Atoi(r.URL.Query().Get(name))
		return n
	}
	for style, answer := range map[string]func(r *http.Request) any{
		"page":   func(r *http.Request) any { return map[string]any{"items": items((number(r, "page") - 1) * most)} },
		"offset": func(r *http.Request) any { return map[string]any{"items": items(number(r, "offset"))} },
		"cursor": func(r *http.Request) any {
			at := number(r, "cursor")
			body := map[string]any{"items": items(at)}
			if at+most < rows {
				body["cursor"] = at + most
			}
			return body
		},
		"next": func(r *http.Request) any {
			at := number(r, "at")
			body := map[string]any{"items": items(at), "next": nil}
			if at+most < rows {
				body["next"] = fmt.Sprintf("/base/orders?at=%d", at+most)
			}
			return body
		},
	} {
		x := system(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(encoded(answer(r)))
		}, map[string]string{"paging": style}, map[string]connector.Table{"orders": {Path: "orders"}})
		got, err := all(t, x, connector.Query{Table: "orders", Select: []string{"n"}, Limit: 5})
		require.NoError(t, err, style)
		require.Len(t, got, rows, style)
		for i, row := range got {
			require.Equal(t, json.Number(strconv.Itoa(i)), row["n"], style)
		}
	}
}

func TestASystemThatGivesTheSamePageForEachNumberIsFoundOut(t *testing.T) {
	t.Parallel()
	for _, style := range []string{"page", "offset"} {
		x := system(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			_, _ = w.Write([]byte(`{"items":[{"n":1}]}`))
		}, map[string]string{"paging": style}, map[string]connector.Table{"orders": {Path: "orders"}})
		_, err := all(t, x, connector.Query{Table: "orders", Select: []string{"n"}})
		require.Equal(t, "vendor.page_loop", fault.Of(err).Code)
	}
}

func TestAnAddressIsFilledWithEscapedValuesAndNoStepUp(t *testing.T) {
	t.Parallel()
	var asked []string
	x := system(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		asked = append(asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("X-API-Key"))
		_, _ = w.Write([]byte(`{"data":{"list":[{"id":1,"secret":2}]}}`))
	}, map[string]string{"rows": "/data/list", "auth_header": "X-API-Key", "api_key": "${env:KEY}", "select_param": "fields"},
		map[string]connector.Table{"lines": {Path: "/orders/{order}/lines"}})
	page, err := x.ReadPage(t.Context(), connector.Query{Table: "lines", Select: []string{"id"}, Where: []connector.Match{{Column: "order", Value: "a/../b?c"}, {Column: "state", Value: "x&y=z w"}}}, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{{"id": json.Number("1")}}, page.Rows)
	require.Equal(t, []string{"GET /base/orders/a%2F..%2Fb%3Fc/lines?fields=id&state=x%26y%3Dz%20w s3cret"}, asked)
	for _, value := range []any{"", ".", "..", nil} {
		_, err := x.ReadPage(t.Context(), connector.Query{Table: "lines", Select: []string{"id"}, Where: []connector.Match{{Column: "order", Value: value}}}, "")
		require.Error(t, err)
	}
	require.Len(t, asked, 1)
}

func TestAGatewayForTextMessagesGetsOnePostEach(t *testing.T) {
	t.Parallel()
	var bodies, keys []string
	x := system(t, func(w http.ResponseWriter, r *http.Request, body string) {
		bodies, keys = append(bodies, r.Method+" "+r.URL.Path+" "+body), append(keys, r.Header.Get("Idempotency-Key"))
		w.WriteHeader(http.StatusCreated)
	}, map[string]string{"message.write": "POST", "message.body": "to=recipient, message=text", "message.idempotency_header": "Idempotency-Key"},
		map[string]connector.Table{"message": {Path: "/sms", Keys: [][]string{{"id"}}}})
	require.True(t, x.Conditional("message", []string{"id"}, false))
	u := connector.Upsert{Table: "message", Key: []string{"id"}, Rows: []connector.Row{
		{"id": "1", "recipient": "+49170", "subject": "", "text": "Hi", "html": ""}, {"id": "2", "recipient": "+49170", "text": "Hi"}}}
	for range 2 {
		results, err := x.Upsert(t.Context(), u)
		require.NoError(t, err)
		require.Equal(t, make([]connector.Result, 2), results)
	}
	require.Equal(t, `POST /base/sms {"message":"Hi","to":"+49170"}`, bodies[0])
	require.Equal(t, keys[:2], keys[2:], "a repetition is known as one")
	require.NotEqual(t, keys[0], keys[1], "equal texts are two messages")
	rows, err := x.ReadByKey(t.Context(), "message", []string{"id"}, u.Rows, []string{"text"})
	require.NoError(t, err)
	require.Equal(t, []connector.Row{nil, nil}, rows)
}

func TestARowIsWrittenAtItsAddressAndReadBackThere(t *testing.T) {
	t.Parallel()
	held := map[string]string{}
	x := system(t, func(w http.ResponseWriter, r *http.Request, body string) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/base/orders/bad":
			w.WriteHeader(http.StatusUnprocessableEntity)
		case r.Method == http.MethodPut:
			held[r.URL.Path] = body
		case held[r.URL.Path] == "":
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = w.Write([]byte(`{"order":` + held[r.URL.Path] + `}`))
		}
	}, map[string]string{"row": "/order"}, map[string]connector.Table{"orders": {Path: "orders"}})
	key := []string{"number"}
	results, err := x.Upsert(t.Context(), connector.Upsert{Table: "orders", Key: key, Rows: []connector.Row{{"number": "bad"}, {"number": "A/1", "state": "new"}, {"number": ".."}}})
	require.NoError(t, err)
	require.Equal(t, "rest.bad_request", fault.Of(results[0].Err).Code)
	require.NoError(t, results[1].Err)
	require.Equal(t, "rest.key", fault.Of(results[2].Err).Code)
	rows, err := x.ReadByKey(t.Context(), "orders", key, []connector.Row{{"number": "A/1"}, {"number": "none"}}, []string{"state"})
	require.NoError(t, err)
	require.Equal(t, []connector.Row{{"state": "new"}, nil}, rows)
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"pagign": "next", "paging": "sometimes", "other.write": "PUT", "write": "DELETE", "limit": "many", "idempotency_header": "a b", "auth_header": "X-Key"} {
		_, err := rest.New(connector.Config{Name: "x", URL: "https://x", Options: map[string]string{name: value}, Tables: map[string]connector.Table{"t": {Path: "t"}}}, connector.Deps{})
		require.True(t, fault.Is(err, fault.Invalid), name)
	}
}
