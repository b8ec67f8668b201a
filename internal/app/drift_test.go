package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/alert"
	"patchbay/internal/flow"
)

// drift looks once, and gives the codes and texts of the alerts of a kind.
func (s *shop) drift(kind alert.Kind) (codes []string, texts string) {
	s.Helper()
	report, _, err := inForceNow(s.Context(), s.core.plans)
	require.NoError(s, err)
	require.NoError(s, s.core.lookForDrift(s.Context(), report))
	open, err := s.core.board.Open(s.Context())
	require.NoError(s, err)
	for _, a := range open {
		if a.Kind == string(kind) {
			codes = append(codes, a.Code)
			texts += a.Text + " (" + a.Sample + ", " + a.Link + ")\n"
		}
	}
	slices.Sort(codes)
	return codes, texts
}

func TestAColumnThatWentUnderAFlowIsAnAlertBeforeTheFlowFails(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	codes, texts := s.drift(alert.Drift)
	require.Empty(t, codes, texts)

	s.exec(`alter table orders rename column mail to mails; alter table orders alter status type text; alter table orders drop column secret`)
	codes, texts = s.drift(alert.Drift)
	require.Equal(t, []string{"shop:online.column:shop.orders.mail", "shop:online.type:shop.orders.status"}, codes, "what no flow uses is nobody's alert")
	require.Contains(t, texts, "table orders of shop has no column mail; it may be called mails now. It stops flows that use it (orders, /map?item=shop.orders.mail)")
	require.Contains(t, texts, "table orders of shop has status as string, not as int")

	// A system that cannot be asked is not one that is right again.
	connections, err := s.core.plans.Connections(t.Context())
	require.NoError(t, err)
	file := connections[slices.IndexFunc(connections, func(c flow.Connection) bool { return c.Name == "shop" })].Auth.Password
	require.NoError(t, os.Remove(strings.TrimSuffix(strings.TrimPrefix(file, "${file:"), "}")))
	again, _ := s.drift(alert.Drift)
	require.Equal(t, codes, again)
}

func TestWhatEndsSoonIsSaidAhead(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(8), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(10*24*time.Hour + time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)

	c := &core{Settings: Settings{Resolve: func(text string) (string, error) { return text, nil }}, systems: &systems{}}
	day := func(days int) string { return now.UTC().AddDate(0, 0, days).Format(time.DateOnly) }
	connections := []flow.Connection{
		{Name: "soon", URL: "postgres://db.example.com/x", Auth: flow.Auth{Expires: day(12)}},
		{Name: "gone", URL: "postgres://db.example.com/x", Auth: flow.Auth{Expires: day(-3)}},
		{Name: "later", URL: "postgres://db.example.com/x", Auth: flow.Auth{Expires: day(90)}},
		{Name: "shown", URL: server.URL},
	}
	said := func() (texts []string) {
		for _, f := range c.ending(t.Context(), connections, now) {
			texts = append(texts, f.Code+" "+f.Text)
		}
		return texts
	}
	want := []string{
		"soon:credential.expires the credential of soon expires in 12 days, on " + now.UTC().AddDate(0, 0, 12).Format("2 January 2006"),
		"gone:credential.expires the credential of gone has expired, on " + now.UTC().AddDate(0, 0, -3).Format("2 January 2006"),
		"shown:certificate.expires the certificate of the server of shown expires in 10 days, on " + template.NotAfter.UTC().Format("2 January 2006"),
	}
	require.Equal(t, want, said(), "one that is not trusted ends too")
	c.roots = x509.NewCertPool()
	c.roots.AddCert(certificate)
	require.Equal(t, want, said())
}
