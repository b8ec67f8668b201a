package connector

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
)

func serve(t *testing.T, handler http.HandlerFunc) (*httptest.Server, func(*Config, *Deps)) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s, func(c *Config, d *Deps) { c.URL, d.Client = s.URL+"/base/", s.Client() }
}

func TestNumbersArriveExactly(t *testing.T) {
	t.Parallel()
	_, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/base/things" {
			_, _ = io.WriteString(w, `{"id":300000001234567890,"price":0.10}`)
		}
	})
	var got map[string]any
	_, err := newTestTransport(t, Vendor{}, at).Do(t.Context(), Request{Method: http.MethodGet, Target: "/things"}, &got)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"id": json.Number("300000001234567890"), "price": json.Number("0.10")}, got)
}

func TestReferencesAreResolvedAtEachUseAndNamedWhenTheyCannotBe(t *testing.T) {
	t.Parallel()
	var seen atomic.Value
	s, at := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		seen.Store(user + ":" + password)
	})
	values := map[string]string{"${env:URL}": s.URL, "${env:PASSWORD}": "old"}
	transport := newTestTransport(t, Vendor{}, at, func(c *Config, d *Deps) {
		c.URL = "${env:URL}"
		c.Auth = Auth{Kind: "basic", Username: "u", Password: "${env:PASSWORD}"}
		d.Resolve = func(text string) (string, error) {
			if v, ok := values[text]; ok {
				return v, nil
			}
			return "", fault.Invalidf("secret.missing", "the reference %s names nothing", text)
		}
	})
	get := func() error {
		_, err := transport.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}, nil)
		return err
	}
	require.NoError(t, get())
	require.Equal(t, "u:old", seen.Load())
	values["${env:PASSWORD}"] = "new"
	require.NoError(t, get())
	require.Equal(t, "u:new", seen.Load(), "a rotated secret is found")
	delete(values, "${env:PASSWORD}")
	require.Equal(t, "secret.missing", fault.Of(get()).Code)
	transport.lookup = func(string) (string, error) { return "", errors.New("open /run/secrets/x: no such file") }
	f := fault.Of(get())
	require.Equal(t, "connector.reference", f.Code)
	require.NotContains(t, f.Error(), "/run")
	transport.lookup = nil
	require.Equal(t, "connector.reference", fault.Of(get()).Code)
}

func TestWrongConfigurationIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	for code, c := range map[string]Config{
		"connector.auth": {Name: "c", URL: "http://x", Auth: Auth{Kind: "kerberos"}},
		"connector.url":  {Name: "c"},
	} {
		_, err := NewTransport(c, Deps{}, Vendor{})
		require.Equal(t, code, fault.Of(err).Code)
	}
	_, err := NewTransport(Config{Name: "c", URL: "http://x", Auth: Auth{Kind: "oauth2"}}, Deps{}, Vendor{})
	require.Equal(t, "connector.auth", fault.Of(err).Code)

	for _, url := range []string{"ftp://x", "system.example", "http://[bad"} {
		transport := newTestTransport(t, Vendor{}, func(c *Config, _ *Deps) { c.URL = url })
		_, err := transport.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}, nil)
		require.Equal(t, "connector.url", fault.Of(err).Code, url)
		require.NotContains(t, err.Error(), url)
	}
}

func TestLinksAreFollowedOnTheOwnHostOnly(t *testing.T) {
	t.Parallel()
	transport := newTestTransport(t, Vendor{})
	for _, link := range []string{"http://system.example/a?b=c", "http://SYSTEM.example/x"} {
		got, err := transport.address(link)
		require.NoError(t, err)
		require.Equal(t, link, got, "verbatim")
	}
	for _, link := range []string{
		"https://system.example/a", "http://system.example:81/a", "http://system.example.evil/a", "http://u:p@system.example/a",
		"//system.example/a", "a", "", "http://169.254.169.254/latest", "file:///etc/passwd", "http://system.example@evil/", ":",
	} {
		_, err := transport.address(link)
		require.Equal(t, "egress.blocked", fault.Of(err).Code, link)
	}
}

func TestARateIsKeptAndWhatCannotWaitIsTold(t *testing.T) {
	t.Parallel()
	_, at := serve(t, func(http.ResponseWriter, *http.Request) {})
	transport := newTestTransport(t, Vendor{}, at, func(c *Config, _ *Deps) { c.Limits.PerSecond, c.Limits.Burst = 0.01, 1 })
	get := func(ctx context.Context) error {
		_, err := transport.Do(ctx, Request{Method: http.MethodGet, Target: "/"}, nil)
		return err
	}
	require.NoError(t, get(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	f := fault.Of(get(ctx))
	require.Equal(t, "connector.rate", f.Code)
	require.Equal(t, fault.Throttled, f.Class)
	require.InDelta(t, 100, f.After.Seconds(), 5)

	fast := newTestTransport(t, Vendor{}, at, func(c *Config, _ *Deps) { c.Limits.PerSecond, c.Limits.Burst, c.Speed = 1, 1, 1000 })
	for range 5 { // five seconds of real time, divided by the speed
		_, err := fast.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}, nil)
		require.NoError(t, err)
	}
}

func TestSpeedShortensTheReserveOfATokenAndShortTokensStillWork(t *testing.T) {
	t.Parallel()
	var given atomic.Int64
	s, at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			given.Add(1)
			if id, secret, _ := r.BasicAuth(); id != "id" || secret != "s%2Fs" || r.FormValue("client_secret") != "" {
				t.Error("the client goes into the header, and only there")
			}
			_, _ = io.WriteString(w, `{"token_type":"Bearer","expires_in":10,"access_token":"t"}`)
		}
	})
	var skew atomic.Int64
	transport := newTestTransport(t, Vendor{}, at, func(c *Config, d *Deps) {
		c.Auth = Auth{Kind: "oauth2", TokenURL: s.URL + "/token", ClientID: "id", ClientSecret: "s/s"}
		c.Options = map[string]string{"token_auth": "header"}
		d.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	})
	get := func() {
		_, err := transport.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}, nil)
		require.NoError(t, err)
	}
	get()
	skew.Store(int64(3 * time.Second))
	get()
	require.EqualValues(t, 1, given.Load(), "a token shorter than the reserve is used for half its life")
	skew.Store(int64(6 * time.Second))
	get()
	require.EqualValues(t, 2, given.Load())
}

func TestATokenEndpointInTroubleIsClassified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		class  fault.Class
	}{
		{429, "", fault.Throttled},
		{503, "", fault.Unavailable},
		{400, `{"error":"invalid_scope"}`, fault.Unauthorized},
		{403, "<html>", fault.Unauthorized},
		{302, "", fault.Unauthorized},
		{200, `{"token_type":"Bearer"}`, fault.Unavailable},
		{200, `{"token_type":"Bearer","access_token":"a\nb"}`, fault.Unavailable},
		{200, `{"token_type":"mac","access_token":"a"}`, fault.Unavailable},
		{200, `<html>`, fault.Unavailable},
	} {
		s, at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.status == 302 {
				w.Header().Set("Location", "http://elsewhere.invalid/")
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		transport := newTestTransport(t, Vendor{}, at, func(cfg *Config, _ *Deps) {
			cfg.Auth = Auth{Kind: "oauth2", TokenURL: s.URL, ClientID: "id", ClientSecret: "s"}
		})
		_, err := transport.Do(t.Context(), Request{Method: http.MethodPost, Target: "/", Write: true}, nil)
		require.Equal(t, c.class, fault.Of(err).Class, "%+v: %v", c, err)
	}
}

func TestTheRegistryNamesWhatItKnows(t *testing.T) {
	t.Parallel()
	r := New(map[string]Builder{
		"b": func(c Config, _ Deps) (any, error) { return c.Name, nil },
		"a": func(Config, Deps) (any, error) { return nil, fault.Invalidf("connector.url", "no url") },
	})
	require.Equal(t, []string{"a", "b"}, r.Systems())
	got, err := r.Build(Config{Name: "x", System: "b"}, Deps{})
	require.NoError(t, err)
	require.Equal(t, "x", got)
	_, err = r.Build(Config{Name: "x", System: "c"}, Deps{})
	require.EqualError(t, err, `connector.unknown_system: connection x: system "c" is unknown; known are a, b`)
	_, err = r.Build(Config{Name: "x", System: "a"}, Deps{})
	require.Equal(t, "connector.url", fault.Of(err).Code)
}

func TestNamesThatCouldChangeARequestAreNoColumns(t *testing.T) {
	t.Parallel()
	open, known := Table{Name: "t"}, Table{Name: "t", Columns: []string{"a"}}
	require.NoError(t, open.Check("a", "_b_value", "C9"))
	require.NoError(t, known.Check("a"))
	require.Error(t, known.Check("b"))
	for _, name := range []string{"", "9a", "a b", "a,b", "a&b", "a=b", "a'", "ä", strings.Repeat("a", 129)} {
		require.Error(t, open.Check(name), name)
	}
}
