package connector

import (
	"bytes"
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
	held    func() error

	mu  sync.Mutex
	why error
}

// body gives the bytes from the beginning.
func (o *outgoing) body() io.ReadCloser { return &sending{o, bytes.NewReader(o.content)} }

// refused is why bytes did not leave, nil when all might.
func (o *outgoing) refused() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why
}

type sending struct {
	of   *outgoing
	rest *bytes.Reader
}

func (s *sending) Read(p []byte) (int, error) {
	if err := ask(s.of.held); err != nil {
		s.of.mu.Lock()
		s.of.why = err
		s.of.mu.Unlock()
		return 0, err
	}
	return s.rest.Read(p)
}

func (*sending) Close() error { return nil }
