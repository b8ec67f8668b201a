package sap

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

type (
	// sessions keeps the one session that the writes of a connection share. A token is
	// good for all services of a system and user, together with its cookies only.
	sessions struct {
		turn chan struct{} // whoever holds it signs on; the others wait

		mu      sync.Mutex
		current *session
	}

	// session is a CSRF token with its cookies; without a token the system asks for
	// none.
	session struct{ token, cookies string }
)

// lockedFor is when a write comes again that met a lock of somebody else.
const lockedFor = 2 * time.Second

func newSessions() *sessions { return &sessions{turn: make(chan struct{}, 1)} }

func (x *sessions) get() *session {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.current
}

func (x *sessions) set(s *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.current = s
}

// drop forgets a session that the system refused, unless it is replaced already.
func (x *sessions) drop(refused *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.current == refused {
		x.current = nil
	}
}

// session returns the current session, or fetches one.
func (s *SAP) session(ctx context.Context, root string) (*session, error) {
	if now := s.sessions.get(); now != nil {
		return now, nil
	}
	select {
	case s.sessions.turn <- struct{}{}:
		defer func() { <-s.sessions.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if now := s.sessions.get(); now != nil {
		return now, nil
	}
	now, err := s.fetch(ctx, root)
	if err == nil {
		s.sessions.set(now)
	}
	return now, err
}

// fetch asks the root of a service for a token: with a slash at its end and, where
// that leads elsewhere, without. A token counts also when it comes with an error.
func (s *SAP) fetch(ctx context.Context, root string) (*session, error) {
	var failed error
	for _, target := range []string{root + "/", root} {
		answer, err := s.transport.Do(ctx, connector.Request{
			Method: http.MethodGet, Target: target + s.query(), Header: http.Header{csrfHeader: {"Fetch"}}, Collection: true,
		}, nil)
		token := answer.Header.Get(csrfHeader)
		if strings.EqualFold(token, csrfRequired) {
			token = ""
		}
		switch {
		case token != "" && answer.Status != http.StatusUnauthorized:
			return &session{token, cookiesOf(answer.Header)}, nil
		case err == nil:
			return &session{cookies: cookiesOf(answer.Header)}, nil
		case failed == nil:
			failed = err
		}
		if moved := answer.Status >= 300 && answer.Status < 400 || answer.Status == http.StatusNotFound; !moved {
			return nil, err
		}
	}
	return nil, failed
}

func cookiesOf(h http.Header) string {
	var list []string
	for _, c := range (&http.Response{Header: h}).Cookies() {
		list = append(list, c.Name+"="+c.Value)
	}
	return strings.Join(list, "; ")
}

// write sends a request that changes something. A token that the system refuses is
// renewed once: nothing was done under it.
func (s *SAP) write(ctx context.Context, root string, r connector.Request) error {
	r.Write = true
	for second := false; ; second = true {
		now, err := s.session(ctx, root)
		if err != nil {
			return err
		}
		signed := r
		signed.Header = r.Header.Clone()
		if now.token != "" {
			signed.Header.Set(csrfHeader, now.token)
		}
		if now.cookies != "" {
			signed.Header.Set("Cookie", now.cookies)
		}
		if _, err = s.transport.Do(ctx, signed, nil); err == nil {
			return nil
		}
		f := fault.Of(err)
		if f.Code != System+".csrf" {
			return s.later(err)
		}
		if s.sessions.drop(now); second {
			return fault.New(fault.Unavailable, f.Code, s.config.Name+" does not accept the CSRF tokens that it gives; nothing was written", err)
		}
	}
}

// later gives a lock the class it has: it is gone in a moment.
func (s *SAP) later(err error) error {
	f := fault.Of(err)
	if f.Code != System+".locked" {
		return err
	}
	locked := fault.New(fault.Unavailable, f.Code, f.Text, err)
	locked.After = lockedFor
	return locked
}
