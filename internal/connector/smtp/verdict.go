package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"patchbay/internal/fault"
)

// The waits where a server says "later": SMTP has no way to say when.
const (
	afterBusy  = 15 * time.Second
	afterRetry = time.Minute
)

// fault classifies a failure once. A failure before the final dot, and a refusal in
// words at any time, is certain: the mail was not sent. nil stays nil.
func (s *SMTP) fault(outer, inner context.Context, err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	if known := new(fault.Fault); errors.As(f.err, &known) { // why the sender may not send any more
		return f.err
	}
	name := s.config.Name
	certificate := new(tls.CertificateVerificationError)
	switch code := f.code(); {
	case f.sent:
		return s.gate.Broken(outer, inner, true, f.err)
	case errors.Is(f.err, errNoTLS):
		return fault.New(fault.Unauthorized, System+".no_tls", name+" offers no STARTTLS, and without TLS nothing is sent", nil)
	case errors.As(f.err, &certificate):
		return fault.New(fault.Unauthorized, System+".certificate", name+" shows a certificate that is not trusted for its name; see root_certificate", nil)
	case code >= 500:
		return s.refused(f.at, code)
	case code >= 400:
		return s.later(f.at, code)
	case code != 0:
		return fault.New(fault.Unavailable, System+".protocol", fmt.Sprintf("%s answered %s with a code that has no meaning there (%d)", name, f.at, code), nil)
	case f.at == atAuth && outer.Err() == nil && inner.Err() == nil && !broken(f.err):
		return fault.New(fault.Unauthorized, System+".unauthorized", name+" offers no way to sign in with name and password", nil)
	}
	var dialled *net.OpError
	if errors.As(f.err, &dialled) {
		return s.gate.Broken(outer, inner, false, dialled)
	}
	return s.gate.Broken(outer, inner, false, f.err)
}

// broken reports whether the connection is what failed.
func broken(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF)
}

// refused is a 5xx. What concerns the mail has a code email.…; the rest concerns
// every mail alike.
func (s *SMTP) refused(at state, code int) error {
	name := s.config.Name
	said := fmt.Sprintf(" (%d)", code)
	switch {
	case code == 552 && at != atConnect && at != atHello:
		return rejected("email.too_large", name+" refused the mail as too large"+said)
	case code == 530, code == 534, code == 535, code == 538, at == atAuth:
		return fault.New(fault.Unauthorized, System+".unauthorized", name+" did not accept the credentials"+said, nil)
	case at == atMail:
		return fault.New(fault.Unauthorized, System+".sender", name+" does not take mail from the address of the connection"+said, nil)
	case at == atRcpt:
		return rejected("email.refused", name+" does not take mail for the recipient"+said)
	case at == atData, at == atDot:
		return rejected("email.refused", name+" refused the mail"+said)
	}
	return fault.New(fault.Unauthorized, System+".refused", name+" does not take mail from here"+said, nil)
}

// later is a 4xx. Of one recipient it concerns that recipient; else the server has
// enough for now, and the others would only hear the same.
func (s *SMTP) later(at state, code int) error {
	name := s.config.Name
	said := fmt.Sprintf(" (%d)", code)
	switch {
	case code == 421:
		return fault.ThrottledFor(s.scaled(afterBusy), System+".throttled", name+" takes no more mail for now"+said, nil)
	case at == atRcpt:
		f := fault.New(fault.Unavailable, "email.deferred", name+" does not take mail for the recipient now"+said, nil)
		f.After = s.scaled(afterRetry)
		return f
	case code == 450, code == 451, code == 452:
		return fault.ThrottledFor(s.scaled(afterBusy), System+".throttled", name+" asks to send the mail later"+said, nil)
	}
	f := fault.New(fault.Unavailable, System+".unavailable", name+" cannot do its work now"+said, nil)
	f.After = s.scaled(afterBusy)
	return f
}

func (s *SMTP) scaled(d time.Duration) time.Duration {
	if s.config.Speed > 0 {
		return time.Duration(float64(d) / s.config.Speed)
	}
	return d
}

// aboutMail reports whether a failure concerns one mail and not the server.
func aboutMail(err error) bool {
	var f *fault.Fault
	if !errors.As(err, &f) {
		return false
	}
	return f.Class == fault.Rejected || f.Code == "email.deferred"
}
