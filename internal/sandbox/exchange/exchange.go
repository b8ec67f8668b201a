// Package exchange is the way of a call through the sandbox, the same for every
// system: read it, do the faults, check the caller, serve it in a transaction,
// record it, commit, and only then answer.
//
// The sandbox mounts one Line a system. A system implements System and knows
// nothing of faults, records or connections. Effects and the entry of the call
// record are one transaction, so the record never claims what did not happen
// and never misses what did. A client that hangs up changes nothing: the call
// is served to its end, as at the vendors.
//
// It imports storage, record, faults and login.
package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/storage"
)

const (
	maxBody = 64 << 20
	// serveFor is the vendors' own end of one operation: Dataverse stops at two
	// minutes, Oracle at five.
	serveFor = 5 * time.Minute
)

type (
	// Call is one request as a system sees it. Path is decoded and below the
	// system's prefix; Base is the address of that prefix as the caller wrote it,
	// for links. Short asks for pages that are shorter than they could be and claim
	// that there is more, Repeats for pages that lead to themselves; a system without
	// such pages leaves it alone. Expired makes the tokens of change tracking, or of a
	// session, unknown.
	Call struct {
		Method, Path, RawPath, RawQuery, Base string
		Header                                http.Header
		Body                                  []byte
		Upload                                *Upload // in its place, where the System is a Receiver of it
		User                                  *login.User
		At                                    time.Time
		Short, Repeats, Expired               bool
		Truncates                             string // the table whose long texts are cut; * is all
		Foreign                               bool   // links to pages lead to another host
		Odd                                   string // what a model does wrong, or what is wrong with a document
		// Parts are what a batch asked for, for the record: each kind of operation once,
		// with its query, without the values in it.
		Parts []string
	}

	// Answer is what a system says. What it wrote stays when Status is below 400,
	// or when Keep is set.
	Answer struct {
		Status int
		Header http.Header
		Body   []byte
		Keep   bool
		// Stream writes Size bytes in the place of Body, after the call is recorded. Its
		// error cuts the connection.
		Stream func(ctx context.Context, w io.Writer) error
		Size   int64
	}

	// System is one stand-in.
	System interface {
		// Admit decides whether the caller may go on; nil is yes. done, when not
		// nil, is called after the answer is made.
		Admit(c *Call) (refusal *Answer, done func())
		// Serve answers the call. A GET or HEAD must not write.
		Serve(ctx context.Context, tx storage.Tx, c *Call) (Answer, error)
		// Refuse words a failure as this vendor does: a fault asked for, a call that
		// was too large, an error of the sandbox itself.
		Refuse(c *Call, status int) Answer
	}

	// Line is the http.Handler of one system.
	Line struct {
		Name   string
		Prefix string
		System System
		Store  storage.Store
		Book   *record.Book // nil in the lean sandbox
		Faults *faults.Board
		Tally  *Tally
		Log    *zap.Logger
	}
)

// errUndo rolls the effects of a refused call back.
var errUndo = errors.New("undo")

// ServeHTTP takes one call through.
func (l *Line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), serveFor)
	defer cancel()
	c := &Call{
		Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, l.Prefix), RawQuery: r.URL.RawQuery,
		RawPath: strings.TrimPrefix(r.URL.EscapedPath(), l.Prefix),
		Base:    baseOf(r) + l.Prefix, Header: r.Header, At: time.Now().UTC(),
	}
	done, err := l.receive(w, r, c)
	defer done()
	if err != nil {
		if tooLarge(err) {
			l.send(ctx, w, l.finish(ctx, c, l.System.Refuse(c, http.StatusRequestEntityTooLarge), ""))
		}
		return // else the client is gone before it said what it wants
	}
	l.Tally.add(c.Method, c.Path)
	rule := l.Faults.Next(l.Name, faults.Call{Method: c.Method, Path: r.URL.Path, Query: c.RawQuery, Body: c.head()})
	if wait := rule.Latency(); wait > 0 {
		pause(ctx, wait)
	}
	switch {
	case rule.DropAfterCommit:
		l.serve(ctx, c, "drop")
		panic(http.ErrAbortHandler) // net/http cuts the connection without an answer
	case rule.Body == faults.HTML || rule.Body == faults.Login:
		l.send(ctx, w, l.finish(ctx, c, page(rule), "body"))
	case rule.Status != 0:
		refusal := l.System.Refuse(c, rule.Status)
		if rule.RetryAfter > 0 {
			refusal.Header = withHeader(refusal.Header, "Retry-After", strconv.Itoa(rule.RetryAfter))
		}
		l.send(ctx, w, l.finish(ctx, c, refusal, "status"))
	case rule.Body != "":
		l.garble(ctx, w, rule.Body, l.serve(ctx, c, "body"))
	case rule.HasMoreLies:
		c.Short = true
		l.send(ctx, w, l.serve(ctx, c, "has_more"))
	case rule.RepeatPage:
		c.Repeats = true
		l.send(ctx, w, l.serve(ctx, c, "repeat"))
	case rule.ForeignPage:
		c.Foreign = true
		l.send(ctx, w, l.serve(ctx, c, "foreign"))
	case rule.ExpireTokens:
		c.Expired = true
		l.send(ctx, w, l.serve(ctx, c, "tokens"))
	case rule.Truncate != "":
		c.Truncates = rule.Truncate
		l.send(ctx, w, l.serve(ctx, c, "truncate"))
	case rule.Model != "":
		c.Odd = rule.Model
		l.send(ctx, w, l.serve(ctx, c, "model"))
	case rule.Document != "":
		c.Odd = rule.Document
		l.send(ctx, w, l.serve(ctx, c, "document"))
	case rule.LatencyMS > 0:
		l.send(ctx, w, l.serve(ctx, c, "latency"))
	default:
		l.send(ctx, w, l.serve(ctx, c, ""))
	}
}

func baseOf(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	return body, nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// serve answers the call with its effects and its entry committed.
func (l *Line) serve(ctx context.Context, c *Call, fault string) Answer {
	refusal, done := l.System.Admit(c)
	if done != nil {
		defer done()
	}
	if refusal != nil {
		return l.finish(ctx, c, *refusal, fault)
	}
	if c.Method == http.MethodGet || c.Method == http.MethodHead {
		var answer Answer
		err := l.Store.Read(ctx, func(tx storage.Tx) (err error) {
			answer, err = l.System.Serve(ctx, tx, c)
			return err
		})
		if err != nil {
			answer = l.broken(c, err)
		}
		return l.finish(ctx, c, answer, fault)
	}
	var answer Answer
	entry := l.entry(c, fault)
	if l.Book != nil {
		l.Book.Number(entry)
		defer l.Book.Done(entry)
	}
	err := l.Store.Write(ctx, func(tx storage.Tx) (err error) {
		if answer, err = l.System.Serve(ctx, tx, c); err != nil {
			return err
		}
		if answer.Status >= http.StatusBadRequest && !answer.Keep {
			return errUndo
		}
		return l.write(ctx, tx, entry, c, answer)
	})
	switch {
	case err == nil:
		return answer
	case !errors.Is(err, errUndo):
		answer = l.broken(c, err)
	}
	return l.alone(ctx, entry, c, answer)
}

func (l *Line) broken(c *Call, err error) Answer {
	l.Log.Error("serving a call", zap.String("system", l.Name), zap.String("path", c.Path), zap.Error(err))
	return l.System.Refuse(c, http.StatusInternalServerError)
}

func (l *Line) entry(c *Call, fault string) *record.Entry {
	return &record.Entry{System: l.Name, At: c.At, Method: c.Method, Path: l.Prefix + c.Path, Query: c.RawQuery, Fault: fault}
}

func (l *Line) write(ctx context.Context, tx storage.Tx, e *record.Entry, c *Call, a Answer) error {
	if l.Book == nil {
		return nil
	}
	e.Status, e.BodySHA256 = a.Status, c.digest()
	if len(c.Parts) > 0 {
		e.Query = strings.Join(c.Parts, "\n")
	}
	if c.User != nil {
		e.User = c.User.ClientID
	}
	return l.Book.Write(ctx, tx, e)
}

// alone records a call without effects. When even that fails the caller gets an
// error instead of an answer that nobody can judge later.
func (l *Line) alone(ctx context.Context, e *record.Entry, c *Call, a Answer) Answer {
	if l.Book == nil {
		return a
	}
	err := l.Store.Read(ctx, func(tx storage.Tx) error { return l.write(ctx, tx, e, c, a) })
	if err != nil {
		return l.broken(c, fmt.Errorf("recording the call: %w", err))
	}
	return a
}

func (l *Line) finish(ctx context.Context, c *Call, a Answer, fault string) Answer {
	if l.Book == nil {
		return a
	}
	e := l.entry(c, fault)
	l.Book.Number(e)
	defer l.Book.Done(e)
	return l.alone(ctx, e, c, a)
}

func (l *Line) send(ctx context.Context, w http.ResponseWriter, a Answer) {
	h := w.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	if a.Stream != nil {
		h.Set("Content-Length", strconv.FormatInt(a.Size, 10))
		w.WriteHeader(a.Status)
		l.stream(ctx, a, w)
		return
	}
	if a.Status != http.StatusNoContent && a.Status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the client is gone; the call is committed and recorded
}

// stream writes a large body. It may take longer than a call may.
func (l *Line) stream(ctx context.Context, a Answer, w io.Writer) {
	if err := a.Stream(context.WithoutCancel(ctx), w); err != nil {
		l.Log.Debug("sending a large body", zap.String("system", l.Name), zap.Error(err))
		panic(http.ErrAbortHandler)
	}
}

// upto lets so many bytes of a large body through.
type upto struct {
	to   io.Writer
	left int64
}

func (u *upto) Write(p []byte) (int, error) {
	n, err := u.to.Write(p[:min(u.left, int64(len(p)))])
	if u.left -= int64(n); err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// garble sends the answer in a form no reader can use.
func (l *Line) garble(ctx context.Context, w http.ResponseWriter, how string, a Answer) {
	if how == faults.Malformed {
		a.Body = append(bytes.TrimRight(a.Body, "}]\n"), []byte(`,,{"`)...)
		if a.Status == http.StatusNoContent {
			a.Status = http.StatusOK
		}
		l.send(ctx, w, a)
		return
	}
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	if a.Stream != nil {
		w.Header().Set("Content-Length", strconv.FormatInt(a.Size, 10))
		w.WriteHeader(a.Status)
		l.stream(ctx, a, &upto{w, a.Size / 2})
		panic(http.ErrAbortHandler)
	}
	half := a.Body[:len(a.Body)/2]
	if how == faults.Endless {
		l.flood(w, a.Status, half)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(max(len(a.Body), 2)))
	w.WriteHeader(max(a.Status, http.StatusOK))
	_, _ = w.Write(half)
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

// flood begins with the answer and goes on for as long as the caller listens.
func (l *Line) flood(w http.ResponseWriter, status int, beginning []byte) {
	w.WriteHeader(status)
	more := bytes.Repeat([]byte(" and so on"), 6<<10)
	for chunk, err := beginning, error(nil); err == nil; chunk = more {
		_, err = w.Write(chunk)
	}
}

// page is what stands between a client and the system on a bad day: a gateway's
// error page, or the sign-in page that single sign-on answers with.
func page(rule faults.Rule) Answer {
	status, title, text := rule.Status, "Bad Gateway", "The upstream server could not be reached."
	if status == 0 {
		status = http.StatusOK
	}
	if rule.Body == faults.Login {
		title, text = "Sign in to your account", `<form method="post" action="/login/signin"><input name="user"><input name="password" type="password"></form>`
	}
	body := "<!DOCTYPE html>\n<html><head><title>" + title + "</title></head><body><h1>" + title + "</h1>" + text + "</body></html>\n"
	return Answer{Status: status, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}, Body: []byte(body)}
}

func withHeader(h http.Header, name, value string) http.Header {
	if h == nil {
		h = http.Header{}
	}
	h.Set(name, value)
	return h
}
