package connector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

// withheld is why a write was not sent: its sender may not send any more. It says
// nothing about the system.
type withheld struct{ error }

func (w withheld) Unwrap() error { return w.error }

func isWithheld(err error) bool { return errors.As(err, new(withheld)) }

// ask asks the sender of a write that is about to leave; nil may always send.
func ask(held func() error) error {
	if held == nil {
		return nil
	}
	if err := held(); err != nil {
		return withheld{err}
	}
	return nil
}

// outgoing is the body of a write. Its sender is asked when its bytes leave, not only
// when it was handed over: between the two lie the dialling, and the second sending
// of a request whose connection turned out to be dead. A body that is not whole has
// no effect.
type outgoing struct {
	content []byte
	large   *Content // in its place, where it is not nil
	held    func() error
	ctx     context.Context //nolint:containedctx // of the request that it is the body of

	mu  sync.Mutex
	why error
}

func (o *outgoing) size() int64 {
	if o.large != nil {
		return o.large.Size
	}
	return int64(len(o.content))
}

// body gives the bytes from the beginning.
func (o *outgoing) body() io.ReadCloser {
	if o.large != nil {
		return &sending{of: o}
	}
	return &sending{of: o, rest: io.NopCloser(bytes.NewReader(o.content))}
}

// refused is why bytes did not leave, nil when all might.
func (o *outgoing) refused() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why
}

func (o *outgoing) refuse(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.why = why
}

type sending struct {
	of   *outgoing
	rest io.ReadCloser
}

func (s *sending) Read(p []byte) (int, error) {
	if err := ask(s.of.held); err != nil {
		s.of.refuse(err)
		return 0, err
	}
	if s.of.large == nil {
		return s.rest.Read(p)
	}
	return s.content(p)
}

// content reads a large body, which its owner may fail to give.
func (s *sending) content(p []byte) (n int, err error) {
	if s.rest == nil {
		if s.rest, err = s.of.large.Open(s.of.ctx, 0); err != nil {
			s.of.refuse(withheld{err})
			return 0, err
		}
	}
	n, err = s.rest.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.of.refuse(withheld{err})
	}
	if s.of.large.moved != nil {
		s.of.large.moved()
	}
	return n, err
}

func (s *sending) Close() error {
	if s.rest == nil {
		return nil
	}
	return s.rest.Close()
}
