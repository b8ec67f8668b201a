package connector

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/fault"
)

// Verdict is what a vendor's error answer means. The zero Verdict leaves the
// decision to the status.
type Verdict struct {
	Reason string      // last part of the code: "duplicate-key" becomes "dataverse.duplicate_key"
	Class  fault.Class //
	Text   string      // safe to show; a clause that follows the connection's name
	Detail string      // the vendor's own code, safe to show
	// After is how long to wait, where the vendor says so outside Retry-After.
	After time.Duration
}

// byStatus is what a status says where the vendor says nothing better.
var byStatus = map[int]Verdict{
	400: {Reason: "bad_request", Class: fault.Rejected, Text: "refused the request as wrong"},
	401: {Reason: "unauthorized", Class: fault.Unauthorized, Text: "did not accept the credentials"},
	402: {Reason: "payment_required", Class: fault.Rejected, Text: "asks for payment"},
	403: {Reason: "forbidden", Class: fault.Unauthorized, Text: "does not allow this to the user of the connection"},
	404: {Reason: "not_found", Class: fault.NotFound, Text: "has no such thing"},
	405: {Reason: "not_allowed", Class: fault.Rejected, Text: "does not allow the operation there"},
	406: {Reason: "media_type", Class: fault.Rejected, Text: "cannot answer in JSON there"},
	408: {Reason: "timeout", Class: fault.Unavailable, Text: "gave up waiting for the request"},
	409: {Reason: "conflict", Class: fault.Conflict, Text: "holds the thing in another state than assumed"},
	410: {Reason: "gone", Class: fault.NotFound, Text: "no longer has that thing"},
	412: {Reason: "precondition", Class: fault.Conflict, Text: "holds the thing in another version than assumed"},
	413: {Reason: "too_large", Class: fault.Rejected, Text: "refused the request as too large"},
	414: {Reason: "too_large", Class: fault.Rejected, Text: "refused the address as too long"},
	415: {Reason: "media_type", Class: fault.Rejected, Text: "does not take JSON there"},
	422: {Reason: "bad_request", Class: fault.Rejected, Text: "understood the request and refused it"},
	423: {Reason: "locked", Class: fault.Conflict, Text: "has the thing locked"},
	429: {Reason: "throttled", Class: fault.Throttled, Text: "asks to slow down"},
	501: {Reason: "not_implemented", Class: fault.Rejected, Text: "does not offer the operation"},
	503: {Reason: "unavailable", Class: fault.Unavailable, Text: "is not available"},
}

// unknownResource is a 404 of something that every working connection has.
var unknownResource = Verdict{Reason: "unknown_resource", Class: fault.Rejected,
	Text: "has no such table or operation; check path and table of the connection"}

// Refused is the fault of an answer that came inside another one, as those of a batch.
func (t *Transport) Refused(r Request, status int, h http.Header, body []byte) *fault.Fault {
	return t.classify(r, status, h, body)
}

// classify is the one place where an answer that is no success becomes a fault.
// A server error on a write leaves the write in doubt: it may have been applied
// before the error arose.
func (t *Transport) classify(r Request, status int, h http.Header, body []byte) *fault.Fault {
	var v Verdict
	if t.vendor.Verdict != nil {
		v = t.vendor.Verdict(status, h, body)
	}
	detail, wait := v.Detail, v.After
	if v.Class == "" {
		v = byStatus[status]
		switch {
		case status == http.StatusNotFound && r.Collection:
			v = unknownResource
		case v.Class == "" && status >= 500:
			v = Verdict{Reason: "server_error", Class: fault.Unavailable, Text: "failed on its side"}
		case v.Class == "" && status >= 400:
			v = Verdict{Reason: "refused", Class: fault.Rejected, Text: "refused the request"}
		case v.Class == "":
			v = Verdict{Reason: "unexpected_status", Class: fault.Bug, Text: "answered with a status that has no meaning here"}
		}
	}
	text := fmt.Sprintf("%s %s (%d", t.config.Name, v.Text, status)
	if detail != "" {
		text += ", " + detail
	}
	text += ")"
	after, told := retryAfter(h, t.now())
	if !told && wait > 0 {
		after, told = min(wait, longestWait), true
	}
	switch {
	case v.Class == fault.Throttled:
		if !told {
			after = t.limits.backoff()
		}
		t.limits.close(after)
		return fault.ThrottledFor(after, t.code(v.Reason), text, nil)
	case v.Class == fault.Unavailable && r.Write:
		f := fault.New(fault.InDoubt, t.code(v.Reason), text+"; the write may have been applied", nil)
		f.After = after
		return f
	case status == http.StatusServiceUnavailable && told:
		return fault.ThrottledFor(after, t.code(v.Reason), text, nil)
	}
	f := fault.New(v.Class, t.code(v.Reason), text, nil)
	f.After = after
	return f
}

func (t *Transport) code(reason string) string { return t.vendor.System + "." + reason }

// retryAfter reads the header in both of its forms. A date is compared with the
// answer's own Date, so that the clocks need not agree.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0, false
	}
	var wait time.Duration
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(seconds) {
		wait = time.Duration(min(max(seconds, 0), longestWait.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(value); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		wait = at.Sub(now)
	} else {
		return 0, false
	}
	return min(max(wait, 0), longestWait), true
}

// longestWait bounds what a vendor's header can make a connection wait.
const longestWait = time.Hour
