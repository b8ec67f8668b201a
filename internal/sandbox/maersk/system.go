package maersk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// Name is the system's name in paths, faults and the record.
const Name = "maersk"

// The token endpoints of the two stored versions of Maersk's page; the first wants the
// Consumer-Key, too.
const (
	tokenPath    = "/customer-identity/oauth/v2/access_token"
	tokenPathTwo = "/oauth2/access_token"
)

const (
	privateEvents = "/track-and-trace-private/events"
	publicEvents  = "/track-and-trace/events"
	dcsaEvents    = "/v2/events"
	subscribed    = "/v2/event-subscriptions"
	booked        = "/v2/bookings"
	consumerKey   = "Consumer-Key"
)

// System is the stand-in; it holds no rows of its own.
type System struct {
	authority *login.Authority
	speed     float64
	key       []byte // seals cursors
	hosts     []string
	wake      chan struct{}
}

// New returns the stand-in; speed shortens the timers, hosts are those that callbacks
// may go to besides this machine.
func New(authority *login.Authority, seed uint64, speed float64, hosts []string) *System {
	key := sha256.Sum256(fmt.Appendf(nil, "sandbox cursor key %d", seed))
	return &System{authority: authority, speed: speed, key: key[:], hosts: hosts, wake: make(chan struct{}, 1)}
}

// stir wakes Run, after something that it may have to do was committed.
func (s *System) stir() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

func (s *System) after(now time.Time, d time.Duration) time.Time {
	return now.Add(time.Duration(float64(d) / s.speed)).UTC().Truncate(time.Microsecond)
}

// Admit wants the Consumer-Key of the client and its token; catalogue calls want the
// key alone.
func (s *System) Admit(c *exchange.Call) (*exchange.Answer, func()) {
	if c.Path == tokenPath || c.Path == tokenPathTwo {
		return nil, nil
	}
	key := c.Header.Get(consumerKey)
	if c.Path == publicEvents {
		for _, u := range login.Users {
			if u.ClientID == key {
				c.User = u
				return nil, nil
			}
		}
	}
	user, err := s.authority.Check(c.Header.Get("Authorization"), false)
	if err != nil || key != user.ClientID {
		refusal := s.Refuse(c, http.StatusUnauthorized)
		return &refusal, nil
	}
	c.User = user
	if c.Method == http.MethodGet {
		return nil, nil
	}
	return nil, s.stir
}

// Serve answers one call.
func (s *System) Serve(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	if c.Path == tokenPath || c.Path == tokenPathTwo {
		return s.token(c), nil
	}
	if v := c.Header.Get("API-Version"); v != "" && strings.SplitN(v, ".", 2)[0] != "2" {
		return s.refusal(c, http.StatusNotAcceptable, "", "API-Version "+v+" is not supported"), nil
	}
	w := &work{s: s, tx: tx, c: c, owner: c.User.ClientID, now: c.At.Truncate(time.Microsecond)}
	rest, below := strings.CutPrefix(c.Path, booked)
	switch {
	case c.Path == privateEvents, c.Path == publicEvents, c.Path == dcsaEvents:
		return w.list(ctx)
	case c.Path == subscribed || strings.HasPrefix(c.Path, subscribed+"/"):
		return w.subscriptions(ctx, strings.Split(strings.Trim(strings.TrimPrefix(c.Path, subscribed), "/"), "/"))
	case below && (rest == "" || rest[0] == '/' && !strings.Contains(rest[1:], "/")):
		return w.bookings(ctx, strings.TrimPrefix(rest, "/"))
	}
	return s.refusal(c, http.StatusNotFound, "", "There is no such resource"), nil
}

// work is one call under way.
type work struct {
	s     *System
	tx    storage.Tx
	c     *exchange.Call
	owner string
	now   time.Time
}

// token answers both endpoints; the first compares the Consumer-Key with the client.
func (s *System) token(c *exchange.Call) exchange.Answer {
	form, err := url.ParseQuery(string(c.Body))
	if c.Path == tokenPath && (err != nil || c.Header.Get(consumerKey) == "" || c.Header.Get(consumerKey) != form.Get("client_id")) {
		return gateway(http.StatusUnauthorized, "Invalid Consumer-Key")
	}
	reply := s.authority.Serve(login.Request{Method: c.Method, Path: "/oauth2/v1/token", Base: c.Base, Header: c.Header, Body: c.Body})
	return exchange.Answer{Status: reply.Status, Body: reply.Body.Bytes(), Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}}
}

// gateway is an answer of what stands before the APIs.
func gateway(status int, text string) exchange.Answer {
	return exchange.Answer{Status: status, Body: ordered.New("code", status, "message", text).Bytes(), Header: http.Header{"Content-Type": {"application/json"}}}
}

// Refuse words a failure as the gateway does, or the API behind it.
func (s *System) Refuse(c *exchange.Call, status int) exchange.Answer {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return gateway(status, http.StatusText(status))
	}
	return s.refusal(c, status, "", http.StatusText(status))
}

// refusal is an error body of Track & Trace, or one of bookings.
func (s *System) refusal(c *exchange.Call, status int, property, text string, more ...*ordered.Object) exchange.Answer {
	body := ordered.New("httpMethod", c.Method, "requestUri", c.Path, "statusCode", status, "statusCodeText", http.StatusText(status))
	if strings.HasPrefix(c.Path, booked) {
		if more == nil {
			more = []*ordered.Object{invalid(property, "", text)}
		}
		body.Set("statusCodeMessage", text).Set("providerCorrelationReference", newID()).Set("errorDateTime", c.At).Set("errors", more)
	} else {
		body.Set("errorDateTime", c.At).Set("errors", []*ordered.Object{ordered.New("reason", reasons[status], "message", text)})
	}
	return exchange.Answer{Status: status, Body: body.Bytes(), Header: jsonHeader()}
}

var reasons = map[int]string{http.StatusBadRequest: "invalidQuery", http.StatusNotFound: "notFound", http.StatusConflict: "conflict"}

func jsonHeader() http.Header {
	return http.Header{"Content-Type": {"application/json"}, "API-Version": {"2.2.0"}}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
