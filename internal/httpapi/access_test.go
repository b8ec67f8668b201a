package httpapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

func TestServeKnowsNobodyWithoutAKey(t *testing.T) {
	t.Parallel()
	b := newBundle(t, serve)
	for name, c := range map[string]struct {
		header []string
		status int
		code   string
	}{
		"no key":           {nil, 401, "auth.missing"},
		"another scheme":   {[]string{"Authorization", "Basic YTpi"}, 401, "auth.malformed"},
		"no token":         {[]string{"Authorization", "Bearer "}, 401, "auth.malformed"},
		"two headers":      {[]string{"Authorization", "Bearer app", "Authorization", "Bearer ops"}, 401, "auth.malformed"},
		"a huge token":     {[]string{"Authorization", "Bearer " + strings.Repeat(".", 9000)}, 401, "auth.malformed"},
		"an unknown key":   {[]string{"Authorization", "Bearer nobody"}, 401, "auth.unknown_key"},
		"a key that works": {[]string{"Authorization", "Bearer app"}, 200, ""},
		"case of Bearer":   {[]string{"Authorization", "bearer app"}, 200, ""},
	} {
		r := b.do(http.MethodGet, "/v1/flows", "", c.header...)
		require.Equal(t, c.status, r.status, name)
		if c.code != "" {
			require.Equal(t, c.code, r.problem(t).Code, name)
			require.Contains(t, r.header.Get("WWW-Authenticate"), "Bearer", name)
		}
	}
	for _, path := range []string{"/", "/connector.json"} {
		require.Equal(t, 401, b.do(http.MethodGet, path, "").status, "%s is behind the same gate", path)
	}
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json", "/docs"} {
		require.Equal(t, 200, b.do(http.MethodGet, path, "").status, path)
	}
}

func TestDevTrustsOnlyItsOwnPagesOnLoopback(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, port, err := net.SplitHostPort(b.addr)
	require.NoError(t, err)
	navigate := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for name, c := range map[string]struct {
		method string
		header []string
		status int
		code   string
	}{
		"no credentials":         {header: nil, status: 200},
		"localhost":              {header: []string{"Host", "localhost:" + port}, status: 200},
		"IPv6":                   {header: []string{"Host", "[::1]:" + port}, status: 200},
		"a rebound name":         {header: []string{"Host", "evil.example:" + port}, status: 421, code: "host.unknown"},
		"another port":           {header: []string{"Host", "127.0.0.1:1"}, status: 421, code: "host.unknown"},
		"forwarded headers":      {header: []string{"Host", "evil.example", "X-Forwarded-Host", b.addr}, status: 421, code: "host.unknown"},
		"its own page":           {header: []string{"Origin", "http://" + b.addr, "Sec-Fetch-Site", "same-origin"}, status: 200},
		"a foreign page":         {header: []string{"Origin", "https://evil.example"}, status: 403, code: "origin.foreign"},
		"a sandboxed page":       {header: []string{"Origin", "null"}, status: 403, code: "origin.foreign"},
		"a page of another port": {header: []string{"Origin", "http://127.0.0.1:1"}, status: 403, code: "origin.foreign"},
		"a foreign image":        {header: []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, status: 403, code: "origin.foreign"},
		"a link that is opened":  {header: navigate, status: 200},
		"a foreign form":         {method: http.MethodPost, header: navigate, status: 403, code: "origin.foreign"},
		"a preflight":            {method: http.MethodOptions, header: []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, status: 403, code: "origin.foreign"},
		"a wrong key":            {header: []string{"Authorization", "Bearer nobody"}, status: 401, code: "auth.unknown_key"},
	} {
		method := c.method
		if method == "" {
			method = http.MethodGet
		}
		r := b.do(method, "/v1/runs", "", c.header...)
		require.Equal(t, c.status, r.status, name)
		require.Empty(t, r.header.Get("Access-Control-Allow-Origin"), name)
		if c.code != "" {
			require.Equal(t, c.code, r.problem(t).Code, name)
		}
	}
}

func TestDevRefusesToListenBeyondLoopback(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	err = httpapi.NewServer(httpapi.Options{Dev: true}).Run(t.Context(), ln)
	require.Equal(t, "http.not_loopback", fault.Of(err).Code)
}

func TestSomebodyElsesRunDoesNotExist(t *testing.T) {
	t.Parallel()
	b := newBundle(t, serve)
	pressed := b.do(http.MethodPost, pressPath, product, "Authorization", "Bearer app", "Prefer", "wait=0")
	require.Equal(t, 202, pressed.status, pressed.body)
	path := "/v1/runs/" + pressed.run(t).RunID
	b.book.cancel = func(_ context.Context, id string) (flow.Certificate, error) { return flow.Certificate{RunID: id}, nil }

	for token, status := range map[string]int{"app": 200, "ops": 200, "other": 404} {
		as := []string{"Authorization", "Bearer " + token}
		for _, r := range []reply{
			b.do(http.MethodGet, path, "", as...), b.do(http.MethodGet, path+"/progress", "", as...),
			b.do(http.MethodGet, path+"/rows", "", as...), b.do(http.MethodPost, path+"/cancel", "", as...),
		} {
			require.Equal(t, status, r.status, token)
			if status == 404 {
				require.Equal(t, "run.not_found", r.problem(t).Code)
			}
		}
	}
	require.Equal(t, 404, b.do(http.MethodGet, path+"/events", "", "Authorization", "Bearer other").status)

	b.do(http.MethodGet, "/v1/runs", "", "Authorization", "Bearer other")
	b.do(http.MethodGet, "/v1/runs", "", "Authorization", "Bearer ops")
	require.Equal(t, "key:other", b.book.filters[0].Principal)
	require.Empty(t, b.book.filters[1].Principal)
}

func TestWhatAKeyMayDependsOnItsRole(t *testing.T) {
	t.Parallel()
	b := newBundle(t, serve, func(o *httpapi.Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	})
	for path, status := range map[string]int{"/metrics": 403, "/v1/explain/AS1": 403, "/v1/doctor": 403, "/v1/flows": 200} {
		require.Equal(t, status, b.do(http.MethodGet, path, "", "Authorization", "Bearer app").status, path)
		require.Equal(t, 200, b.do(http.MethodGet, path, "", "Authorization", "Bearer ops").status, path)
	}
	flowPath := "/v1/flows/product-specs"
	require.NotContains(t, b.do(http.MethodGet, flowPath, "", "Authorization", "Bearer app").body, `"plan":`)
	require.Contains(t, b.do(http.MethodGet, flowPath, "", "Authorization", "Bearer ops").body, `"plan":`)
}
