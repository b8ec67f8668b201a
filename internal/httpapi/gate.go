package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"patchbay/internal/fault"
)

// gate is what every request passes before a route or the console sees it.
type gate struct {
	*Server
	auth *Auth
}

// ServeHTTP names the request, judges it and hands it on.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	begun(r.Context())
	id := r.Header.Get("X-Request-Id")
	if !plain(id, 64) {
		id = newID()
	}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
	rec := &recorder{ResponseWriter: w}
	h := rec.Header()
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	defer g.finish(rec, &r, began)

	if err := g.judge(r); err != nil {
		writeProblem(rec, r, err)
		return
	}
	if !g.open[r.URL.Path] && !proved(r.URL.Path) {
		p, err := g.auth.Principal(r)
		if err != nil {
			writeProblem(rec, r, err)
			return
		}
		r = withPrincipal(r, p)
	}
	if err := readBody(rec, r); err != nil {
		writeProblem(rec, r, err)
		if rec.status == http.StatusRequestEntityTooLarge {
			linger(rec, r)
		}
		return
	}
	g.routes.ServeHTTP(rec, r)
}

// judge refuses what no route should have to think about.
func (g *gate) judge(r *http.Request) error {
	if err := g.auth.Host(r); err != nil {
		return err
	}
	for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if _, set := r.Header[name]; set {
			return fault.New(fault.Invalid, "method.not_allowed", "a header cannot override the method; send the request with the method it is meant to have", nil)
		}
	}
	return judgePath(r.URL)
}

// judgePath refuses paths that would mean something else after one more
// decoding, here or in a proxy, and text that no name of ours holds.
func judgePath(u *url.URL) error {
	bad := func(s string) bool {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return true
		}
		for _, segment := range strings.FieldsFunc(s, func(r rune) bool { return r == '/' || r == '\\' }) {
			if segment == "." || segment == ".." {
				return true
			}
		}
		return false
	}
	twice, err := url.PathUnescape(u.Path)
	if bad(u.Path) || err == nil && bad(twice) {
		return fault.New(fault.Invalid, "path.invalid", "the path holds dot segments, control characters or text that is not UTF-8; send it plain, with names percent-encoded once", nil)
	}
	return nil
}

// finish closes the request's books, and answers for a route that panicked. The
// value of a panic may hold anybody's data: only the runtime's own are logged.
func (g *gate) finish(rec *recorder, r **http.Request, began time.Time) {
	if v := recover(); v != nil {
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		what := fmt.Sprintf("%T", v)
		var own runtime.Error
		if err, ok := v.(error); ok && errors.As(err, &own) {
			what = own.Error()
		}
		g.log.Error("a route panicked", zap.String("panic", what), zap.String("route", (*r).Pattern),
			zap.String("request_id", requestID((*r).Context())), zap.Stack("stack"))
		if rec.status == 0 {
			writeProblem(rec, *r, fault.New(fault.Bug, "bug", "Patchbay made a mistake; the request ID leads to it in the log", nil))
		}
	}
	took := time.Since(began)
	if g.o.Observe != nil && (*r).Pattern != "" {
		g.o.Observe((*r).Pattern, rec.status, took)
	}
	if rec.status >= http.StatusInternalServerError {
		g.log.Warn("answered", zap.String("route", (*r).Pattern), zap.Int("status", rec.status),
			zap.Duration("took", took), zap.String("request_id", requestID((*r).Context())))
	}
}

// recorder remembers the status that was sent.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader records the first final status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write sends 200 where nothing else was sent before.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach deadlines and Flush.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

type requestKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return hex.EncodeToString(b[:])
}

// plain reports whether s is a short word that may stand in a header and a log.
func plain(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}
