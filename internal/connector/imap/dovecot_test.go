package imap_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/connector"
	"patchbay/internal/connector/imap"
	dove "patchbay/internal/wiretest/dovecot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dovecot is a server, and connections to it.
type dovecot struct {
	*dove.Dovecot

	t *testing.T
}

func newDovecot(t *testing.T) *dovecot {
	t.Helper()
	return &dovecot{dove.New(t), t}
}

func (d *dovecot) connection(options ...string) *imap.IMAP {
	d.t.Helper()
	c := connector.Config{Name: "mailbox", URL: "imap://127.0.0.1:" + strconv.Itoa(d.Port), Options: map[string]string{"tls": "none"},
		Auth:   connector.Auth{Kind: "basic", Username: dove.User, Password: dove.Password},
		Tables: map[string]connector.Table{"inbox": {Path: "INBOX", Keys: [][]string{{"id"}}}, "nowhere": {Path: "Nowhere"}}}
	for i := 0; i < len(options); i += 2 {
		switch options[i] {
		case "password":
			c.Auth.Password = options[i+1]
		case "url":
			c.URL = options[i+1]
		default:
			c.Options[options[i]] = options[i+1]
		}
	}
	m, err := imap.New(c, connector.Deps{})
	require.NoError(d.t, err)
	return m
}
