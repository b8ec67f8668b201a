package maersk

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "maersk"

// What a table can hold: its path.
const (
	kindEvents     = "events"
	kindMilestones = "milestones"
	kindBookings   = "bookings"
)

// byReference and byCreation are how events may be asked for.
const (
	byReference = "reference"
	byCreation  = "created"
)

const keyHeader = "Consumer-Key"

// options are those of a connection, with what they are without a word.
var options = map[string]string{
	"consumer_key": "", "token_send_consumer_key": "true", "events_path": "/track-and-trace-private/events", "events_by": byReference,
	"subscriptions_path": "/v2/event-subscriptions", "bookings_path": "/v2/bookings", "booking_lookup": "events", "lookup_window": "720h",
	"overlap": "1h", "confirm_within": "10s", "page": "100",
	"signature_prefix": "sha256=", "signature_key": "base64", "timestamp_header": "",
}

// Maersk is one connection; safe for concurrent use.
type Maersk struct {
	transport *connector.Transport
	config    connector.Config
	deps      connector.Deps
	guard     *hook.Guard
	now       func() time.Time
	speed     float64
	overlap   time.Duration
	window    time.Duration
	confirm   time.Duration
	known     *references
}

var (
	_ connector.PageReader   = (*Maersk)(nil)
	_ connector.KeyReader    = (*Maersk)(nil)
	_ connector.Refuser      = (*Maersk)(nil)
	_ connector.Upserter     = (*Maersk)(nil)
	_ connector.ChangeReader = (*Maersk)(nil)
	_ connector.Identifier   = (*Maersk)(nil)
	_ connector.Receiver     = (*Maersk)(nil)
	_ connector.Subscriber   = (*Maersk)(nil)
	_ connector.Prober       = (*Maersk)(nil)
	_ connector.Expeditor    = (*Maersk)(nil)
)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*Maersk, error) {
	set := maps.Clone(options)
	for name, value := range c.Options {
		if _, known := options[name]; !known {
			return nil, fault.Invalidf("connector.option", "connection %s has no option %q; there are %s", c.Name, name, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		}
		set[name] = value
	}
	if set["consumer_key"] == "" {
		set["consumer_key"] = c.Auth.ClientID // they are one
	}
	c.Options = set
	if c.Hook.Scheme == "hmac" {
		c.Hook.Name = cmp.Or(c.Hook.Name, "Notification-Signature")
	}
	m := &Maersk{config: c, deps: d, now: d.Now, speed: max(c.Speed, 1), known: newReferences()}
	if m.now == nil {
		m.now = time.Now
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	var err error
	if m.guard, err = hook.New(c, d); err != nil {
		return nil, err
	}
	m.transport, err = connector.NewTransport(c, d, connector.Vendor{
		System: System, Header: http.Header{"Accept": {"application/json"}}, Verdict: verdict, SignIn: m.signIn,
	})
	return m, err
}

// check reads the options.
func (m *Maersk) check() error {
	c := m.config
	bad := func(name, want string) error {
		return fault.Invalidf("connector.option", "connection %s: option %s is %s", c.Name, name, want)
	}
	for name, into := range map[string]*time.Duration{"overlap": &m.overlap, "lookup_window": &m.window, "confirm_within": &m.confirm} {
		d, err := time.ParseDuration(c.Options[name])
		if err != nil || d < 0 {
			return bad(name, "a duration such as "+options[name])
		}
		*into = d
	}
	for _, name := range []string{"events_path", "subscriptions_path", "bookings_path"} {
		if p := c.Options[name]; !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?# ") || strings.Contains(p, "//") || strings.Contains(p, "..") {
			return bad(name, "a path such as "+options[name])
		}
	}
	if l := c.Options["booking_lookup"]; l != "events" && l != "none" && !(strings.HasPrefix(l, "/") && strings.Contains(l, "{reference}")) {
		return bad("booking_lookup", "events, none, or a path with {reference} in it")
	}
	if by := c.Options["events_by"]; by != byReference && by != byCreation {
		return bad("events_by", byReference+" or "+byCreation)
	}
	if send := c.Options["token_send_consumer_key"]; send != "true" && send != "false" {
		return bad("token_send_consumer_key", "true or false")
	}
	if n := c.Options["page"]; !isCount(n) {
		return bad("page", "a number from 1 to 1000")
	}
	for name, t := range c.Tables {
		if !slices.Contains([]string{kindEvents, kindMilestones, kindBookings}, t.Path) {
			return fault.Invalidf("connector.table", "connection %s: the path of table %s is one of events, milestones, bookings", c.Name, name)
		}
	}
	return nil
}

func isCount(text string) bool {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' || n > 1000 {
			return false
		}
		n = 10*n + int(c-'0')
	}
	return n >= 1 && n <= 1000
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Urgent implements connector.Expeditor.
func (m *Maersk) Urgent() any {
	u := *m
	u.transport = m.transport.Urgent()
	return &u
}

// Identify is the first key of a table, where that is one column.
func (m *Maersk) Identify(table string) string {
	switch m.config.Tables[table].Path {
	case kindMilestones:
		return milestone
	case kindBookings:
		return requestColumn
	}
	return eventID
}

// signIn adds the Consumer-Key to a request for a token.
func (m *Maersk) signIn(h http.Header) error {
	h.Set("Cache-Control", "no-cache")
	if m.config.Options["token_send_consumer_key"] == "false" {
		return nil
	}
	return m.addKey(h)
}

// addKey adds the Consumer-Key, where the connection has one.
func (m *Maersk) addKey(h http.Header) error {
	value, err := m.deps.Value(m.config.Name, m.config.Options["consumer_key"])
	if err != nil {
		return err
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.Invalidf("connector.option", "connection %s: the consumer key is no value of a header", m.config.Name)
	}
	if value != "" {
		h.Set(keyHeader, value)
	}
	return nil
}

// do sends a request with what every request bears.
func (m *Maersk) do(ctx context.Context, r connector.Request) (connector.Answer, error) {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if err := m.addKey(r.Header); err != nil {
		return connector.Answer{}, err
	}
	r.Header.Set("API-Version", "2")
	if len(r.Body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	return m.transport.Do(ctx, r, nil)
}

// Probe asks for a booking that there is none of, which needs both credentials and
// touches no data.
func (m *Maersk) Probe(ctx context.Context) error {
	_, err := m.do(ctx, connector.Request{Method: http.MethodGet, Target: m.config.Options["bookings_path"] + "/00000000-0000-0000-0000-000000000000"})
	if fault.Is(err, fault.NotFound) {
		return nil // it was understood, and there is none
	}
	return err
}
