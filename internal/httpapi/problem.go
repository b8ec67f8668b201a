package httpapi

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Problem is the body of every answer that is not the one asked for: RFC 9457
// with a stable code to program against.
type Problem struct {
	Title     string        `json:"title" doc:"The class of the problem in two or three words"`
	Status    int           `json:"status" doc:"The HTTP status of this answer"`
	Code      string        `json:"code" doc:"Stable, dotted, for programs" example:"params.invalid"`
	Detail    string        `json:"detail" doc:"What is wrong, where, and what to do, in one or two sentences"`
	Retry     bool          `json:"retry" doc:"The same request may succeed later; Retry-After says when"`
	Errors    []fault.Field `json:"errors,omitempty" doc:"One entry for each wrong place of the input"`
	RequestID string        `json:"request_id" doc:"Also in the header X-Request-Id and in the log"`

	header http.Header
}

// Error makes a Problem an error that huma can answer with.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus gives huma the status of the answer.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders gives huma the headers of the answer.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType names the media type of a problem.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// retryAfter is the wait we ask for where the fault knows none.
const retryAfter = 2 * time.Second

// byCode holds the faults whose code says more about the status than their class.
var byCode = map[string]int{
	"auth.forbidden":       http.StatusForbidden,
	"review.conflict":      http.StatusForbidden,
	"body.encoding":        http.StatusUnsupportedMediaType,
	"body.expands":         http.StatusRequestEntityTooLarge,
	"body.media_type":      http.StatusUnsupportedMediaType,
	"body.too_large":       http.StatusRequestEntityTooLarge,
	"body.too_slow":        http.StatusRequestTimeout,
	"host.unknown":         http.StatusMisdirectedRequest,
	"hook.batch_too_large": http.StatusRequestEntityTooLarge,
	"hook.media":           http.StatusUnsupportedMediaType,
	"hook.source":          http.StatusForbidden,
	"method.not_allowed":   http.StatusMethodNotAllowed,
	"origin.foreign":       http.StatusForbidden,
	"params.invalid":       http.StatusUnprocessableEntity,
	flow.TopicInvalidCode:  http.StatusUnprocessableEntity,
	"request.interrupted":  http.StatusBadRequest,
}

// statusOf is the one place that knows which failure is which HTTP status.
func statusOf(f *fault.Fault) int {
	if status, ok := byCode[f.Code]; ok {
		return status
	}
	switch f.Class {
	case fault.Invalid:
		// Understood but wrong in its values: those name their fields. The rest
		// could not be read at all.
		if strings.HasPrefix(f.Code, "params.") || strings.HasPrefix(f.Code, "field.") {
			return http.StatusUnprocessableEntity
		}
		return http.StatusBadRequest
	case fault.Rejected:
		return http.StatusUnprocessableEntity
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Unauthorized:
		return http.StatusUnauthorized
	case fault.Throttled:
		return http.StatusTooManyRequests
	case fault.Unavailable, fault.InDoubt:
		// In doubt here is our own commit whose outcome is unknown: the same
		// Idempotency-Key finds out.
		return http.StatusServiceUnavailable
	case fault.Bug:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}

// problemOf shows err to a caller: its fault and nothing else of it.
func problemOf(err error, requestID string) *Problem {
	f := fault.Of(err)
	status := statusOf(f)
	p := &Problem{
		Title: http.StatusText(status), Status: status, Code: f.Code, Detail: f.Text,
		Errors: f.Fields, RequestID: requestID, header: http.Header{},
	}
	switch status {
	case http.StatusUnauthorized:
		p.header.Set("WWW-Authenticate", `Bearer realm="patchbay"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		p.Retry = true
		p.header.Set("Retry-After", seconds(f.After, retryAfter))
	}
	return p
}

// seconds renders a wait for a Retry-After header: whole, at least one.
func seconds(d, otherwise time.Duration) string {
	if d <= 0 {
		d = otherwise
	}
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}

// writeProblem answers a request that never reached a route of huma's.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p, known := err.(*Problem) //nolint:errorlint // it is never wrapped
	if !known {
		p = problemOf(err, requestID(r.Context()))
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.body()) // the client may have gone; nobody else to tell
	}
}

func (p *Problem) body() []byte {
	body, err := json.Marshal(p)
	if err != nil { // strings and integers only
		panic("httpapi: a problem that cannot be encoded: " + err.Error())
	}
	return append(body, '\n')
}

// wire is the whole answer to a request of which there is nothing to go by.
func (p *Problem) wire() []byte {
	body := p.body()
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: %s\r\nConnection: close\r\n\r\n%s",
		p.Status, p.Title, problemType, len(body), p.RequestID, body)
}

// ownProblems replaces huma's error model, should one of its own checks ever
// answer first: there is one shape of problem.
func ownProblems(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &Problem{
		Title: http.StatusText(m.Status), Status: m.Status, Code: "request.invalid",
		Detail: m.Detail, RequestID: requestID(ctx.Context()),
	}
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, fault.Field{Path: e.Location, Code: "field.invalid", Detail: e.Message})
	}
	return p, nil
}
