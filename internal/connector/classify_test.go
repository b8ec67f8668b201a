package connector

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestTransport(t *testing.T, v Vendor, adjust ...func(*Config, *Deps)) *Transport {
	t.Helper()
	c, d := Config{Name: "plant-7", URL: "http://system.example"}, Deps{}
	for _, change := range adjust {
		change(&c, &d)
	}
	v.System = "acme"
	transport, err := NewTransport(c, d, v)
	require.NoError(t, err)
	return transport
}

func TestAnswersThatAreNoSuccessAreClassifiedInOnePlace(t *testing.T) {
	t.Parallel()
	const s = time.Second
	read, write, table := Request{}, Request{Write: true}, Request{Collection: true}
	for _, c := range []struct {
		request Request
		status  int
		after   string // Retry-After
		said    Verdict
		class   fault.Class
		code    string
		wait    time.Duration
	}{
		{read, 400, "", Verdict{}, fault.Rejected, "acme.bad_request", 0},
		{read, 401, "", Verdict{}, fault.Unauthorized, "acme.unauthorized", 0},
		{read, 403, "", Verdict{}, fault.Unauthorized, "acme.forbidden", 0},
		{read, 404, "", Verdict{}, fault.NotFound, "acme.not_found", 0},
		{table, 404, "", Verdict{}, fault.Rejected, "acme.unknown_resource", 0},
		{read, 405, "", Verdict{}, fault.Rejected, "acme.not_allowed", 0},
		{read, 408, "", Verdict{}, fault.Unavailable, "acme.timeout", 0},
		{write, 408, "", Verdict{}, fault.InDoubt, "acme.timeout", 0},
		{write, 409, "", Verdict{}, fault.Conflict, "acme.conflict", 0},
		{read, 410, "", Verdict{}, fault.NotFound, "acme.gone", 0},
		{write, 412, "", Verdict{}, fault.Conflict, "acme.precondition", 0},
		{write, 413, "", Verdict{}, fault.Rejected, "acme.too_large", 0},
		{write, 415, "", Verdict{}, fault.Rejected, "acme.media_type", 0},
		{write, 422, "", Verdict{}, fault.Rejected, "acme.bad_request", 0},
		{read, 418, "", Verdict{}, fault.Rejected, "acme.refused", 0},
		{read, 429, "", Verdict{}, fault.Throttled, "acme.throttled", s},
		{write, 429, "3", Verdict{}, fault.Throttled, "acme.throttled", 3 * s},
		{read, 500, "", Verdict{}, fault.Unavailable, "acme.server_error", 0},
		{write, 500, "", Verdict{}, fault.InDoubt, "acme.server_error", 0},
		{write, 501, "", Verdict{}, fault.Rejected, "acme.not_implemented", 0},
		{read, 503, "", Verdict{}, fault.Unavailable, "acme.unavailable", 0},
		{read, 503, "4", Verdict{}, fault.Throttled, "acme.unavailable", 4 * s},
		{write, 503, "4", Verdict{}, fault.InDoubt, "acme.unavailable", 4 * s},
		{read, 599, "", Verdict{}, fault.Unavailable, "acme.server_error", 0},
		{read, 304, "", Verdict{}, fault.Bug, "acme.unexpected_status", 0},
		{read, 101, "", Verdict{}, fault.Bug, "acme.unexpected_status", 0},
		{read, 500, "", Verdict{Reason: "duplicate", Class: fault.Conflict, Text: "has it already"}, fault.Conflict, "acme.duplicate", 0},
		{write, 500, "", Verdict{Reason: "sql", Class: fault.Unavailable, Text: "is tired"}, fault.InDoubt, "acme.sql", 0},
		{read, 400, "", Verdict{Detail: "E-17"}, fault.Rejected, "acme.bad_request", 0},
	} {
		transport := newTestTransport(t, Vendor{Verdict: func(int, http.Header, []byte) Verdict { return c.said }})
		h := http.Header{}
		if c.after != "" {
			h.Set("Retry-After", c.after)
		}
		f := transport.classify(c.request, c.status, h, []byte("a body"))
		require.Equal(t, c.class, f.Class, "%+v", c)
		require.Equal(t, c.code, f.Code)
		require.Equal(t, c.wait, f.After, "%+v", c)
		require.True(t, strings.HasPrefix(f.Text, "plant-7 "), f.Text)
		require.Contains(t, f.Text, c.said.Detail)
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0":                             0,
		"7":                             7 * time.Second,
		" 1.5 ":                         1500 * time.Millisecond,
		"-3":                            0,
		"99999999999":                   time.Hour,
		"1e400":                         time.Hour,
		"Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 01 Mar 2026 11:00:00 GMT": 0,
		"Sun, 01 Mar 2099 11:00:00 GMT": time.Hour,
	} {
		got, told := retryAfter(http.Header{"Retry-After": {value}}, now)
		require.True(t, told || value == "1e400", value)
		if told {
			require.Equal(t, want, got, value)
		}
	}
	for _, value := range []string{"", "soon", "NaN"} {
		_, told := retryAfter(http.Header{"Retry-After": {value}}, now)
		require.False(t, told, value)
	}
	skewed, _ := retryAfter(http.Header{"Retry-After": {"Sun, 01 Mar 2026 13:00:30 GMT"}, "Date": {"Sun, 01 Mar 2026 13:00:00 GMT"}}, now)
	require.Equal(t, 30*time.Second, skewed, "the answer's own clock counts")
}

func TestThrottlingWithoutATimeWaitsLongerEachTime(t *testing.T) {
	t.Parallel()
	l := newLimits(Config{Speed: 2}, time.Now)
	var waits []time.Duration
	for range 9 {
		waits = append(waits, l.backoff())
	}
	require.Equal(t, 500*time.Millisecond, waits[0], "our own waits are divided by the speed")
	require.Equal(t, time.Second, waits[1])
	require.Equal(t, 30*time.Second, waits[8], "and bounded")
	p, err := l.enter(t.Context(), &Request{})
	require.NoError(t, err)
	l.leave(p, &Request{}, succeeded, nil)
	require.Equal(t, 500*time.Millisecond, l.backoff())
}

func TestTheShapeOfAnAnswerShowsNothingOfWhatItSays(t *testing.T) {
	t.Parallel()
	for text, shown := range map[string]string{
		`{"items":[{"Patient Name":4711,"café":"Ünal5x`: `{"a":[{"a a":0,"a":"a0a`,
		"<p>Jane\n\tDoe</p>":                            "<a>a a</a>",
		"":                                              "",
	} {
		require.Equal(t, shown, shape([]byte(text)))
	}
	require.Len(t, shape([]byte(strings.Repeat("{", 500))), 80)
}
