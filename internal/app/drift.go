package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/alert"
	"patchbay/internal/check"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

const (
	// driftEvery is how often systems are asked whether they still are what flows go by;
	// driftLooks how soon after a deploy, and driftFirst after the start, when there is
	// other work. All are of real time, for so the others change their systems.
	driftEvery = time.Hour
	driftLooks = time.Minute
	driftFirst = 5 * time.Minute
	// certificateWithin bounds how long a server may take to show its certificate.
	certificateWithin = 10 * time.Second
)

// drifting asks systems until ctx ends what their tables look like, and keeps what has
// changed under flows, and which credentials end soon, on the board. It belongs beside a
// worker, which has the secrets of the systems.
func (c *core) drifting(ctx context.Context) {
	last, of := time.Time{}, ""
	for next := driftFirst; ; next = driftLooks {
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
		report, now, err := inForceNow(ctx, c.plans)
		if err == nil && (now != of || time.Since(last) >= driftEvery) {
			if err = c.lookForDrift(ctx, report); err == nil {
				last, of = time.Now(), now
			}
		}
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("comparing flows with their systems", zap.Error(err))
		}
	}
}

// lookForDrift asks all systems once.
func (c *core) lookForDrift(ctx context.Context, report check.Report) error {
	found := c.drifted(ctx, report)
	open, err := c.board.Open(ctx)
	if err != nil {
		return err
	}
	for _, a := range open { // an alert does not end because nobody could look
		if a.Kind == string(alert.Drift) && found.unseen[connectionOf(a.Code)] {
			found.list = append(found.list, alert.Finding{Flow: a.Flow, Code: a.Code, Text: a.Text, Sample: a.Sample, Link: a.Link, Count: 1})
		}
	}
	return errors.Join(c.board.Found(ctx, alert.Drift, found.list), c.board.Found(ctx, alert.Credentials, c.ending(ctx, report.Connections, time.Now())))
}

// drifts are what systems have otherwise than flows go by. Unseen are connections that
// could not be asked.
type drifts struct {
	list   []alert.Finding
	unseen map[string]bool
}

func (c *core) drifted(ctx context.Context, report check.Report) drifts {
	out := drifts{unseen: map[string]bool{}}
	for _, d := range check.Differences(ctx, report, func(ctx context.Context, one flow.Connection, table string) (*check.Shape, error) {
		if err := c.dialled(one); err != nil {
			return nil, err
		}
		return c.systems.describe(ctx, one, table)
	}) {
		switch {
		case d.Code == check.CodeElsewhere || d.Code == check.CodeUnreachable:
			out.unseen[d.Connection] = true
		case len(d.Flows) > 0:
			out.add(d)
		}
	}
	return out
}

// add makes one alert of what stops several flows.
func (o *drifts) add(d check.Difference) {
	code := d.Connection + ":" + d.Code + ":" + d.Item
	text := d.Message
	if d.Fix != "" && d.Code != check.CodeChanged {
		text += "; " + d.Fix
	}
	flows := strings.Join(d.Flows, ", ")
	for i := range o.list {
		if f := &o.list[i]; f.Code == code {
			if !slices.Contains(strings.Split(f.Sample, ", "), flows) {
				f.Sample += ", " + flows
			}
			return
		}
	}
	o.list = append(o.list, alert.Finding{Code: code, Text: text + ". It stops flows that use it", Sample: flows, Link: "/map?item=" + url.QueryEscape(d.Item), Count: 1})
}

func connectionOf(code string) string {
	name, _, _ := strings.Cut(code, ":")
	return name
}

// dialled refuses connections that this process does not dial.
func (c *core) dialled(one flow.Connection) error {
	missing := unresolved([]flow.Connection{one}, cmp.Or(one.Region, c.Region), c.Resolve)
	if err := c.systems.ours(nil, one); err != nil || len(missing) > 0 {
		return fault.New(fault.Rejected, check.CodeElsewhere, one.Name+" is not dialled here", err)
	}
	return nil
}

// ending are credentials and certificates that end soon, or have.
func (c *core) ending(ctx context.Context, connections []flow.Connection, now time.Time) []alert.Finding {
	var found []alert.Finding
	add := func(one flow.Connection, what, name string, left time.Duration) {
		if left > flow.Ending {
			return
		}
		end := now.Add(left)
		text := fmt.Sprintf("%s of %s expires in %d days, on %s", what, one.Name, int(left.Hours()/24), end.UTC().Format("2 January 2006"))
		if left <= 0 {
			text = fmt.Sprintf("%s of %s has expired, on %s", what, one.Name, end.UTC().Format("2 January 2006"))
		}
		found = append(found, alert.Finding{Code: one.Name + ":" + name, Text: text, Link: "/map?item=" + url.QueryEscape(one.Name), Count: 1})
	}
	for _, one := range connections {
		if left, said := one.Auth.Left(now); said {
			add(one, "the credential", "credential.expires", left-time.Second)
		}
		if c.dialled(one) != nil {
			continue
		}
		if until, ok := c.certificate(ctx, one); ok {
			add(one, "the certificate of the server", "certificate.expires", until.Sub(now))
		}
	}
	return found
}

// certificate gives the end of what the server of a connection shows; ok is false where
// it shows none, or does not answer.
func (c *core) certificate(ctx context.Context, one flow.Connection) (until time.Time, ok bool) {
	address, err := c.Resolve(one.URL)
	if err != nil {
		return until, false
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" {
		return until, false
	}
	ctx, cancel := context.WithTimeout(ctx, certificateWithin)
	defer cancel()
	dialler := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots}}
	conn, err := dialler.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")))
	var refused *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused):
		return earliest(refused.UnverifiedCertificates)
	case err != nil:
		return until, false
	}
	defer func() { _ = conn.Close() }()
	shown, _ := conn.(*tls.Conn)
	return earliest(shown.ConnectionState().PeerCertificates)
}

// earliest is the end of a chain: of its first certificate to end.
func earliest(chain []*x509.Certificate) (until time.Time, ok bool) {
	for _, one := range chain {
		if until.IsZero() || one.NotAfter.Before(until) {
			until = one.NotAfter
		}
	}
	return until, len(chain) > 0
}

// examineDrift says what is known of systems that changed under flows, and of credentials.
func (a *api) examineDrift(ctx context.Context) verdictOf {
	open, err := a.board.Open(ctx)
	if err != nil {
		return broken(err)
	}
	var texts []string
	for _, one := range open {
		if one.Kind == string(alert.Drift) || one.Kind == string(alert.Credentials) {
			texts = append(texts, one.Text)
		}
	}
	if len(texts) > 0 {
		return warn("%s", strings.Join(texts, "; "))
	}
	return okay("systems are what flows go by, as far as they say; no credential is known to end soon")
}
