package connector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"patchbay/internal/fault"
)

// Stream sends the request and gives the body of a success as it comes, however long it
// is: what bounds it is that no part of it may take longer than one request may. The
// body has one of the connection's parallel requests until it is closed, which the
// caller does. Its errors are faults, as are those of Do, or the context's own.
func (t *Transport) Stream(ctx context.Context, r Request) (Answer, io.ReadCloser, error) {
	p, err := t.limits.enter(ctx, &r)
	if err != nil {
		return Answer{}, nil, err
	}
	inner, watch := watched(ctx, t.timeout)
	var body io.ReadCloser
	r.body = &body
	s := &stream{t: t, r: r, pass: p, outer: ctx, inner: inner, watch: watch}
	answer, token, err := t.paid(ctx, inner, &s.pass, r, nil)
	if token != "" && answer.Status == http.StatusUnauthorized {
		t.tokens.drop(token)
		answer, _, err = t.paid(ctx, inner, &s.pass, r, nil)
	}
	s.body, s.said = body, succeeded
	if err != nil {
		s.said, s.f = t.judge(ctx, s.pass, answer, err)
		_ = s.Close() // it has no body
		return answer, nil, err
	}
	return answer, s, nil
}

// stream is the body of an answer on its way.
type stream struct {
	t            *Transport
	r            Request
	pass         pass
	outer, inner context.Context //nolint:containedctx // the contexts of the request that it is the answer of
	watch        *watch
	body         io.ReadCloser
	once         sync.Once
	said         outcome
	f            *fault.Fault
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.watch.moved()
	switch {
	case err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return n, err
	case s.inner.Err() != nil:
		err = s.t.broken(s.outer, s.inner, s.r, true, err)
	default:
		err = s.t.unreadable(s.r, "vendor.truncated", "the answer of "+s.t.config.Name+" was cut off", bare(err))
	}
	if s.outer.Err() == nil {
		s.said, s.f = failed, fault.Of(err)
	}
	return n, err
}

// Close ends the request, whatever of its answer was read.
func (s *stream) Close() error {
	s.once.Do(func() {
		s.watch.stop()
		if s.body != nil {
			_ = s.body.Close() // what was read stands
		}
		s.t.limits.leave(s.pass, &s.r, s.said, s.f)
	})
	return nil
}

// watch ends a context when nothing has moved for a while.
type watch struct {
	patience time.Duration
	timer    *time.Timer
	cancel   context.CancelFunc
}

func watched(ctx context.Context, patience time.Duration) (context.Context, *watch) {
	inner, cancel := context.WithCancel(ctx)
	return inner, &watch{patience: patience, timer: time.AfterFunc(patience, cancel), cancel: cancel}
}

func (w *watch) moved() { w.timer.Reset(w.patience) }

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel()
}

// elsewhere checks an address that the system gave, where requests bear no credentials.
func (t *Transport) elsewhere(target string) (string, error) {
	base, err := t.resolve(t.config.URL)
	if err != nil {
		return "", err
	}
	own, err := url.Parse(base)
	if err != nil {
		return "", fault.Invalidf("connector.url", "connection %s: url is no URL", t.config.Name)
	}
	to, err := url.Parse(target)
	switch {
	case err != nil || to.Host == "" || to.User != nil:
		return "", t.blocked("an address that is none")
	case to.Scheme == own.Scheme && strings.EqualFold(to.Host, own.Host):
		return target, nil
	case to.Scheme != "https" || t.vendor.Elsewhere == nil || !t.vendor.Elsewhere(to):
		return "", t.blocked("an address")
	}
	return target, nil
}
