package hook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
	"patchbay/internal/fault"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const body = `{"b":1, "a":"x"}`

// deps resolves ${env:NAME} to a secret made of the name.
var deps = connector.Deps{
	Now: func() time.Time { return now },
	Resolve: func(text string) (string, error) {
		name, ok := strings.CutPrefix(strings.TrimSuffix(text, "}"), "${env:")
		if !ok || name == "MISSING" {
			return "", fault.Invalidf("secret.missing", "there is no value")
		}
		return secret(name), nil
	},
}

func secret(name string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte("the secret "+name+" of this test"))
}

func guard(t *testing.T, h connector.Hook, options ...string) *hook.Guard {
	t.Helper()
	c := connector.Config{Name: "crm", Hook: h, Options: map[string]string{}}
	for i := 0; i < len(options); i += 2 {
		c.Options[options[i]] = options[i+1]
	}
	g, err := hook.New(c, deps)
	require.NoError(t, err)
	return g
}

// sign signs as the specification says, apart from the code under test.
func sign(name, id, timestamp, body string) string {
	m := hmac.New(sha256.New, []byte("the secret "+name+" of this test"))
	m.Write([]byte(id + "." + timestamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

func standard(id, timestamp, signature, body string) connector.Delivery {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	if signature != "" {
		h.Set("webhook-signature", signature)
	}
	return connector.Delivery{Header: h, Body: []byte(body)}
}

func at(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }

var rotating = connector.Hook{Scheme: "standard", Secrets: []string{"${env:NEW}", "${env:OVERLAP}"}, Retired: []string{"${env:OLD}"}}

// The numbers are those of the table of bad inputs; each has a code of its own that senders can act on.
func TestStandardWebhooksAreProvedOrRefusedByTheirCode(t *testing.T) {
	t.Parallel()
	g := guard(t, rotating)
	good := sign("NEW", "msg_1", at(0), body)
	for name, c := range map[string]struct {
		delivery connector.Delivery
		code     string
	}{
		"good":                             {standard("msg_1", at(0), good, body), ""},
		"at the end of the tolerance":      {standard("msg_1", at(-300*time.Second), sign("NEW", "msg_1", at(-300*time.Second), body), body), ""},
		"one of several":                   {standard("msg_1", at(0), "v1a,x v1,AAAA "+good, body), ""},
		"sixteen":                          {standard("msg_1", at(0), strings.Repeat(sign("X", "a", at(0), "")+" ", 15)+good, body), ""},
		"W14 in overlap":                   {standard("msg_1", at(0), sign("OVERLAP", "msg_1", at(0), body), body), ""},
		"W01 no signature":                 {standard("msg_1", at(0), "", body), "hook.unsigned"},
		"W02 wrong":                        {standard("msg_1", at(0), sign("OTHER", "msg_1", at(0), body), body), "hook.signature"},
		"W03 of another id":                {standard("msg_2", at(0), good, body), "hook.signature"},
		"W03 of another body":              {standard("msg_1", at(0), good, body+"x"), "hook.signature"},
		"W04 too old":                      {standard("msg_1", at(-301*time.Second), sign("NEW", "msg_1", at(-301*time.Second), body), body), "hook.too_old"},
		"W05 too new":                      {standard("msg_1", at(301*time.Second), sign("NEW", "msg_1", at(301*time.Second), body), body), "hook.too_new"},
		"W06 empty":                        {standard("msg_1", "", good, body), "hook.timestamp"},
		"W06 negative":                     {standard("msg_1", "-1", good, body), "hook.timestamp"},
		"W06 exponent":                     {standard("msg_1", "1e9", good, body), "hook.timestamp"},
		"W06 2^63":                         {standard("msg_1", "9223372036854775808", good, body), "hook.timestamp"},
		"W07 no id":                        {standard("", at(0), good, body), "hook.id"},
		"W07 point":                        {standard("msg.1", at(0), sign("NEW", "msg.1", at(0), body), body), "hook.id"},
		"W07 line":                         {standard("msg\r\n1", at(0), good, body), "hook.id"},
		"W07 long":                         {standard(strings.Repeat("m", 257), at(0), good, body), "hook.id"},
		"W08 v0":                           {standard("msg_1", at(0), "v0,"+good[3:], body), "hook.signature"},
		"W08 no version":                   {standard("msg_1", at(0), good[3:], body), "hook.signature"},
		"W08 seventeen":                    {standard("msg_1", at(0), strings.Repeat(good+" ", 17), body), "hook.signature"},
		"W14 retired":                      {standard("msg_1", at(0), sign("OLD", "msg_1", at(0), body), body), "hook.secret_retired"},
		"id and time may not trade places": {standard("msg_1", at(0), sign("NEW", "msg_1."+at(0), "", body), body), "hook.signature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proof, err := g.Prove(c.delivery)
			if c.code == "" {
				require.NoError(t, err)
				require.Equal(t, "msg_1", proof.ID)
				return
			}
			f := fault.Of(err)
			require.Equal(t, c.code, f.Code)
			class := fault.Unauthorized
			if c.code == "hook.id" || c.code == "hook.timestamp" {
				class = fault.Invalid
			}
			require.Equal(t, class, f.Class)
			require.NotContains(t, f.Text, "secret NEW")
		})
	}
}

func TestABodyThatWasWrittenAnewIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	g := guard(t, rotating)
	for name, signed := range map[string]string{
		"compact": `{"b":1,"a":"x, \"y: z"}`, "Python": `{"b": 1, "a": "x, \"y: z"}`, "indented": "{\n  \"b\": 1,\n  \"a\": \"x, \\\"y: z\"\n}", "sorted": `{"a":"x, \"y: z","b":1}`,
	} {
		arrived := `{ "b":1,"a":"x, \"y: z" }`
		_, err := g.Prove(standard("m", at(0), sign("NEW", "m", at(0), signed), arrived))
		require.Equal(t, "hook.signature", fault.Of(err).Code, name)
		require.Contains(t, fault.Of(err).Text, "sign the raw bytes", name)
	}
	_, err := g.Prove(standard("m", at(0), sign("NEW", "m", at(0), `{"b":2}`), `{"b":1}`))
	require.NotContains(t, fault.Of(err).Text, "raw bytes", "another value is no matter of form")
}

func TestAnHMACHeaderIsHexOrBase64BehindItsPrefix(t *testing.T) {
	t.Parallel()
	sum := func(name, text string) []byte {
		m := hmac.New(sha256.New, []byte(secret(name)))
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	github := guard(t, connector.Hook{Scheme: "hmac", Name: "X-Hub-Signature-256", Secrets: []string{"${env:NEW}"}, Retired: []string{"${env:OLD}"}}, "signature_prefix", "sha256=")
	shop := guard(t, connector.Hook{Scheme: "hmac", Name: "X-Shop-Hmac", Secrets: []string{"${env:NEW}"}}, "timestamp_header", "X-Shop-Time")
	prove := func(g *hook.Guard, pairs ...string) string {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		_, err := g.Prove(connector.Delivery{Header: h, Body: []byte(body)})
		if err == nil {
			return ""
		}
		return fault.Of(err).Code
	}
	require.Empty(t, prove(github, "X-Hub-Signature-256", "sha256="+hex.EncodeToString(sum("NEW", body))))
	require.Empty(t, prove(github, "X-Hub-Signature-256", "sha256="+base64.StdEncoding.EncodeToString(sum("NEW", body))))
	require.Equal(t, "hook.signature", prove(github, "X-Hub-Signature-256", hex.EncodeToString(sum("NEW", body))), "without the prefix")
	require.Equal(t, "hook.signature", prove(github, "X-Hub-Signature-256", "sha256="+hex.EncodeToString(sum("NEW", body+" "))))
	require.Equal(t, "hook.secret_retired", prove(github, "X-Hub-Signature-256", "sha256="+hex.EncodeToString(sum("OLD", body))))
	require.Equal(t, "hook.unsigned", prove(github))

	require.Empty(t, prove(shop, "X-Shop-Time", at(0), "X-Shop-Hmac", hex.EncodeToString(sum("NEW", at(0)+"."+body))))
	require.Equal(t, "hook.signature", prove(shop, "X-Shop-Time", at(1), "X-Shop-Hmac", hex.EncodeToString(sum("NEW", at(time.Second)+"."+body))))
	require.Equal(t, "hook.timestamp", prove(shop, "X-Shop-Hmac", hex.EncodeToString(sum("NEW", body))), "a time that is left out is not a way around the tolerance")
	require.Equal(t, "hook.too_old", prove(shop, "X-Shop-Time", at(-time.Hour), "X-Shop-Hmac", hex.EncodeToString(sum("NEW", at(-time.Hour)+"."+body))))
}

func TestASecretAsItIsProvesByKeyHeaderOrParameter(t *testing.T) {
	t.Parallel()
	secrets := connector.Hook{Secrets: []string{"${env:NEW}"}, Retired: []string{"${env:OLD}"}}
	key, header, query := secrets, secrets, secrets
	key.Scheme, header.Scheme, header.Name, query.Scheme, query.Name = "key", "header", "X-Key", "query", "k"
	bearer := header
	bearer.Name = "Authorization"
	for name, c := range map[string]struct {
		hook          connector.Hook
		header, query [2]string
		code          string
	}{
		"key":               {hook: key, query: [2]string{"code", secret("NEW")}},
		"key, wrong":        {hook: key, query: [2]string{"code", secret("NEWER")}, code: "hook.signature"},
		"key, retired":      {hook: key, query: [2]string{"code", secret("OLD")}, code: "hook.secret_retired"},
		"key, none":         {hook: key, code: "hook.unsigned"},
		"header":            {hook: header, header: [2]string{"x-key", secret("NEW")}},
		"header, prefix":    {hook: header, header: [2]string{"x-key", secret("NEW")[:20]}, code: "hook.signature"},
		"header, none":      {hook: header, query: [2]string{"X-Key", secret("NEW")}, code: "hook.unsigned"},
		"bearer":            {hook: bearer, header: [2]string{"Authorization", "Bearer " + secret("NEW")}},
		"query":             {hook: query, query: [2]string{"k", secret("NEW")}},
		"query, wrong":      {hook: query, query: [2]string{"k", "x"}, code: "hook.signature"},
		"no hook":           {hook: connector.Hook{}, code: "hook.unsigned"},
		"none":              {hook: connector.Hook{Scheme: "none"}},
		"secret is missing": {hook: connector.Hook{Scheme: "key", Secrets: []string{"${env:MISSING}"}}, query: [2]string{"code", "x"}, code: "hook.secret"},
	} {
		d := connector.Delivery{Header: http.Header{}, Query: map[string][]string{}}
		if c.header[0] != "" {
			http.Header(d.Header).Set(c.header[0], c.header[1])
		}
		if c.query[0] != "" {
			d.Query[c.query[0]] = []string{c.query[1]}
		}
		_, err := guard(t, c.hook).Prove(d)
		if c.code == "" {
			require.NoError(t, err, name)
			continue
		}
		require.Equal(t, c.code, fault.Of(err).Code, name)
	}
}

func TestADeliveryComesFromAnAddressOfTheListWhereThereIsOne(t *testing.T) {
	t.Parallel()
	h := connector.Hook{Scheme: "query", Name: "k", Secrets: []string{"${env:NEW}"}, From: []string{"203.0.113.0/24", "198.51.100.7", "2001:db8::/32"}}
	for from, code := range map[string]string{
		"203.0.113.9": "", "::ffff:203.0.113.9": "", "198.51.100.7": "", "2001:db8::1": "",
		"198.51.100.8": "hook.source", "::1": "hook.source", "": "hook.source",
	} {
		d := connector.Delivery{Query: map[string][]string{"k": {secret("NEW")}}}
		if from != "" {
			d.From = netip.MustParseAddr(from)
		}
		_, err := guard(t, h).Prove(d)
		if code == "" {
			require.NoError(t, err, from)
			continue
		}
		require.Equal(t, code, fault.Of(err).Code, from)
	}
	h.From = []string{"anywhere"}
	_, err := hook.New(connector.Config{Name: "crm", Hook: h}, deps)
	require.Equal(t, "connector.hook", fault.Of(err).Code)
}

func TestAHookThatCannotProveAnythingIsNoHook(t *testing.T) {
	t.Parallel()
	for _, h := range []connector.Hook{{Scheme: "md5"}, {Scheme: "standard"}, {Scheme: "header", Secrets: []string{"x"}}} {
		_, err := hook.New(connector.Config{Name: "crm", Hook: h}, connector.Deps{})
		require.Equal(t, "connector.hook", fault.Of(err).Code, h.Scheme)
	}
}

func TestPointersFollowAndTimesAreRead(t *testing.T) {
	t.Parallel()
	v := map[string]any{"a/b": []any{map[string]any{"~": "x"}}}
	p, ok := hook.ParsePointer("/a~1b/0/~0")
	require.True(t, ok)
	require.Equal(t, "x", p.Text(v))
	_, ok = hook.ParsePointer("a")
	require.False(t, ok)
	_, found := hook.Pointer{"a/b", "7"}.In(v)
	require.False(t, found)
	for text, want := range map[string]string{"2026-03-01T12:00:00+01:00": "2026-03-01T11:00:00Z", "1767225600": "2026-01-01T00:00:00Z", "1767225600123": "2026-01-01T00:00:00.123Z", "1767225600.5": "2026-01-01T00:00:00.5Z"} {
		got, ok := hook.Time(text)
		require.True(t, ok, text)
		require.Equal(t, want, got.Format(time.RFC3339Nano))
	}
	_, ok = hook.Time("yesterday")
	require.False(t, ok)
}

// Whatever stands in the headers, the guard answers with a fault of its own and accepts nothing without the secret.
func FuzzSignatureHeader(f *testing.F) {
	g, err := hook.New(connector.Config{Name: "crm", Hook: connector.Hook{Scheme: "standard", Secrets: []string{secret("NEW")}}}, deps)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("msg_1", at(0), "v1,AAAA", body)
	f.Add("", "1e9", "v0, v1, ,,", "{}")
	f.Add("a.b", "-1", strings.Repeat("v1,x ", 20), "")
	f.Fuzz(func(t *testing.T, id, timestamp, signature, body string) {
		_, err := g.Prove(standard(id, timestamp, signature, body))
		if err == nil {
			t.Fatal("nobody signed this")
		}
		if c := fault.Of(err).Class; c != fault.Unauthorized && c != fault.Invalid {
			t.Fatalf("%v is no fault of the sender", err)
		}
	})
}
