package graph

import (
	"net/http"
	"strconv"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
)

// answer is a success.
func answer(status int, body *ordered.Object) exchange.Answer {
	return exchange.Answer{Status: status, Header: jsonHeader(), Body: body.Bytes()}
}

func jsonHeader() http.Header {
	return http.Header{"Content-Type": {"application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"},
		"Cache-Control": {"no-store, no-cache"}}
}

// refuse is an error; inner, which may be empty, is the code that says more.
func refuse(c *exchange.Call, status int, code, inner, message string) exchange.Answer {
	id := guid("request", c.At.UnixNano(), c.Path)
	about := ordered.New()
	if inner != "" {
		about.Set("code", inner)
	}
	about.Set("date", c.At.Format("2006-01-02T15:04:05")).Set("request-id", id).Set("client-request-id", id)
	a := answer(status, ordered.New("error", ordered.New("code", code, "message", message, "innerError", about)))
	a.Header.Set("Request-Id", id)
	a.Header.Set("Client-Request-Id", id)
	return a
}

func notFound(c *exchange.Call) exchange.Answer {
	return refuse(c, http.StatusNotFound, "itemNotFound", "", "The resource could not be found.")
}

func badRequest(c *exchange.Call, message string) exchange.Answer {
	return refuse(c, http.StatusBadRequest, "invalidRequest", "", message)
}

// codes are what a status is called where a fault asks for it.
var codes = map[int][2]string{
	400: {"invalidRequest"}, 401: {"InvalidAuthenticationToken"}, 403: {"accessDenied"}, 404: {"itemNotFound"}, 405: {"notAllowed"}, 409: {"nameAlreadyExists"},
	410: {"resyncRequired", "resyncApplyDifferences"}, 412: {"resourceModified"}, 413: {"invalidRequest"}, 416: {"invalidRange"}, 423: {"locked"},
	429: {"activityLimitReached", "throttledRequest"}, 500: {"generalException"}, 503: {"serviceNotAvailable"}, 504: {"serviceNotAvailable"}, 507: {"quotaLimitReached"},
}

// Refuse words a failure as Graph does.
func (s *System) Refuse(c *exchange.Call, status int) exchange.Answer {
	code, ok := codes[status]
	if !ok {
		code[0] = "generalException"
	}
	a := refuse(c, status, code[0], code[1], http.StatusText(status))
	if status == http.StatusUnauthorized {
		a.Header.Set("WWW-Authenticate", `Bearer realm=""`)
	}
	return a
}

// budget counts the resource units of each application, a minute at a time.
func (s *System) budget(c *exchange.Call, units int) (http.Header, *exchange.Answer) {
	if s.lean {
		return nil, nil
	}
	window := time.Duration(float64(time.Minute) / s.speed)
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.used[c.User.ClientID]
	if u == nil || c.At.Sub(u.since) >= window {
		u = &usage{since: c.At}
		s.used[c.User.ClientID] = u
	}
	u.units += units
	left := max(1, int((window-c.At.Sub(u.since)+time.Second-1)/time.Second))
	h := http.Header{}
	if u.units*5 >= unitsPerMinute*4 {
		h.Set("RateLimit-Limit", strconv.Itoa(unitsPerMinute))
		h.Set("RateLimit-Remaining", strconv.Itoa(max(0, unitsPerMinute-u.units)))
		h.Set("RateLimit-Reset", strconv.Itoa(left))
	}
	if u.units <= unitsPerMinute {
		return h, nil
	}
	a := refuse(c, http.StatusTooManyRequests, "activityLimitReached", "throttledRequest", "The request has been throttled")
	for name, v := range h {
		a.Header[name] = v
	}
	a.Header.Set("Retry-After", strconv.Itoa(left))
	return h, &a
}

// unitsPerMinute is what a tenant with up to a thousand licences gives one application.
const unitsPerMinute = 1200

type usage struct {
	since time.Time
	units int
}
