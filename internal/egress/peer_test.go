package egress_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestWhyAPeerDoesNotAnswerIsToldWithoutItsAddress(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := listener.Addr().String()
	require.NoError(t, listener.Close())
	u, err := url.Parse(b.url("fr"))
	require.NoError(t, err)
	elsewhere, nowhere := *u, *u
	elsewhere.Host = nobody
	nowhere.Path = "/secret_database"
	for _, c := range []struct {
		url   string
		class fault.Class
		code  string
	}{
		{"postgres://secret_user:secret_password@:bad:port/x", fault.Invalid, egress.CodeURL},
		{elsewhere.String(), fault.Unavailable, egress.CodeUnavailable},
		{as(t, b.database.Owner, b.role("fr"), "secret_password"), fault.Unauthorized, egress.CodeDenied},
		{as(t, b.database.Owner, "secret_user", "secret_password"), fault.Unauthorized, egress.CodeDenied},
		{nowhere.String(), fault.NotFound, egress.CodeMissing},
	} {
		_, err := egress.Dial(ctx, c.url)
		f := requireFault(t, err, c.class, c.code)
		for _, secret := range []string{"secret", "127.0.0.1", b.role("fr"), password} {
			require.NotContains(t, f.Error(), secret)
		}
	}
	p := b.dial("fr")
	for _, of := range [][2]string{{"another-flow", "account"}, {"account-sync", "another table"}} {
		table := *b.table("account")
		table.Name = of[1]
		_, err := p.Pull(ctx, of[0], &table, 0, 10)
		requireFault(t, err, fault.NotFound, egress.CodeMissing)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = p.Pull(gone, b.plan.Flow, b.table("account"), 0, 10)
	require.ErrorIs(t, err, context.Canceled)
}

// What a peer gives is believed as little as any other answer from outside.
func TestWhatCannotBeIsRefusedAndTheOtherTablesGoOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	p := b.dial("fr")
	relation := b.relation("account")
	b.put("contact", flow.Delta{Key: []string{`1`, `2`}, Cells: []flow.SyncCell{{Value: []byte(`"fine"`), Version: version(1)}}})
	after := int64(0)
	for name, sql := range map[string]string{
		"a value that is no JSON":      `update R set name = '"SECRET'`,
		"a value without a version":    `update R set ":stamp" = null, ":region" = null, ":seen" = null`,
		"half a version":               `update R set ":seen" = null`,
		"a version without time":       `update R set ":stamp" = null`,
		"a version of no region":       `update R set ":region" = ''`,
		"a version before all time":    `update R set ":stamp" = -1`,
		"a version that saw nothing":   `update R set ":seen" = '{}'`,
		"counts that are none":         `update R set ":seen" = '{"de": "SECRET"}'`,
		"counts that are fractions":    `update R set ":seen" = '{"de": 1.5}'`,
		"counts that are a list":       `update R set ":seen" = '[1]'`,
		"counts beyond all":            `update R set ":seen" = '{"de": 9223372036854775807}'`,
		"no key":                       `update R set accountnumber = null`,
		"a key that is null":           `update R set accountnumber = 'null'`,
		"a version of another column":  `update R set ":cells" = '{"SECRET": {"t": 1, "r": "de", "s": {"de": 1}}}'`,
		"a version of a value unsaid":  `update R set ":cells" = '{"telephone1": {"t": 1, "r": "de", "s": {"de": 1}}}'`,
		"a version with more in it":    `update R set ":cells" = '{"name": {"t": 1, "r": "de", "s": {"de": 1}, "SECRET": 1}}'`,
		"a version with other letters": `update R set ":cells" = '{"name": {"T": 1, "r": "de", "s": {"de": 1}}}'`,
		"versions that are none":       `update R set ":cells" = '"SECRET"'`,
		"a deletion that is none":      `update R set ":gone" = 'true'`,
		"a former key of two parts":    `update R set ":was" = '["1", "2"]'`,
		"a former key that is none":    `update R set ":was" = '["SECRET"]'`,
		"a record less":                `delete from R where ":n" = 1`,
		"a record more":                `insert into R (":batch", ":n", accountnumber) select ":batch", 2, '"SECRET"' from R where ":n" = 0`,
		"a record in between":          `insert into R (":batch", ":n", accountnumber) select ":batch" - 1, 0, '"SECRET"' from R where ":n" = 0`,
		"another order":                `update R set ":n" = 5 where ":n" = 0`,
		"a number of records":          `update egress.batch set rows = 0 where "table" = 'account'`,
		"more records than there are":  `update egress.batch set rows = 1000000000 where "table" = 'account'`,
	} {
		b.put("account", account(0), account(1))
		b.owner(strings.ReplaceAll(sql, "R ", relation+" "))
		_, err := p.Pull(t.Context(), b.plan.Flow, b.table("account"), after, 10)
		f := fault.Of(err)
		require.NotNil(t, f, name)
		require.Equal(t, egress.CodeMalformed, f.Code, "%s: %s", name, f.Text)
		require.NotContains(t, f.Error(), "SECRET", name)
		require.Len(t, b.pull(p, "contact", 0, 10), 1, name)
		b.owner(`truncate ` + relation)
		b.owner(`delete from egress.batch where "table" = 'account'`)
	}
	b.put("account", account(0))
	require.Len(t, b.pull(p, "account", after, 10), 1)
}

func TestASessionThatIsKilledInThePullIsRepeatedOrReported(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	const rows = 3000
	for n := range 5 {
		var deltas []flow.Delta
		for i := range rows {
			deltas = append(deltas, account(n*rows+i))
		}
		b.put("account", deltas...)
	}
	p := b.dial("fr")
	want := b.pull(p, "account", 0, 5*rows)
	killer := b.connect(b.database.Owner)
	stop, killed := make(chan struct{}), 0
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			var n int
			if failed = killer.QueryRow(ctx, `select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = $1 and state = 'active'`, b.role("fr")).Scan(&n); failed != nil {
				return
			}
			killed += n
		}
	})
	reported := 0
	for range 25 {
		got, err := p.Pull(ctx, b.plan.Flow, b.table("account"), 0, 5*rows)
		if err != nil {
			requireFault(t, err, fault.Unavailable, egress.CodeUnavailable)
			require.Nil(t, got, "nothing rather than a part")
			reported++
			continue
		}
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i].ID, got[i].ID)
			require.Len(t, got[i].Deltas, rows)
		}
	}
	close(stop)
	wg.Wait()
	require.NoError(t, failed)
	require.Positive(t, killed, "nobody was killed in a pull; %d were reported", reported)
	require.Equal(t, want, b.pull(p, "account", 0, 5*rows), "and then it goes on")
}

// A link that is open and silent must not hold an importer for ever.
func TestALinkThatFallsSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	var deltas []flow.Delta
	for i := range 2000 {
		deltas = append(deltas, account(i))
	}
	b.put("account", deltas...)
	u, err := url.Parse(b.url("fr"))
	require.NoError(t, err)
	link := newLink(t, u.Host)
	u.Host = link.listener.Addr().String()
	p, err := egress.Dial(t.Context(), u.String())
	require.NoError(t, err)
	t.Cleanup(p.Close)
	p.Patience(300 * time.Millisecond)
	require.Len(t, b.pull(p, "account", 0, 5000), 1)
	link.after(40 << 10)
	begun := time.Now()
	_, err = p.Pull(t.Context(), b.plan.Flow, b.table("account"), 0, 5000)
	requireFault(t, err, fault.Unavailable, egress.CodeUnavailable)
	require.Less(t, time.Since(begun), 8*time.Second)
	link.after(-1)
	require.Len(t, b.pull(p, "account", 0, 5000), 1, "it connects again")
}

// link is a line to a server on which answers stop after some bytes.
type link struct {
	listener net.Listener
	mu       sync.Mutex
	left     int // -1: no end
}

func newLink(t *testing.T, server string) *link {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &link{listener: listener, left: -1}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := new(net.Dialer).Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, to)
			mu.Unlock()
			wg.Go(func() { _, _ = io.Copy(to, client); _ = to.Close() })
			wg.Go(func() { l.answer(client, to); _ = client.Close() })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l
}

func (l *link) after(n int) {
	l.mu.Lock()
	l.left = n
	l.mu.Unlock()
}

func (l *link) answer(client, server net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		l.mu.Lock()
		if l.left >= 0 {
			n = min(n, l.left)
			l.left -= n
		}
		l.mu.Unlock()
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
