package conformance

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

type (
	// Database is a system that speaks a protocol of its own, as a real one that is
	// new and empty: the suite reads and writes it over a line that it cuts and stills.
	Database struct {
		Server string // HOST:PORT
		// Connect makes the connector of a connection to an address.
		Connect func(address string, adjust func(*connector.Config, *connector.Deps)) any
		// Query reads all rows of its table by pages of Query.Limit; no where. Fill puts
		// so many rows there, of which the first selected column counts from 0.
		Query connector.Query
		Fill  func(rows int)
		// Upsert writes two rows, and Written tells how many of their table there are.
		Upsert  connector.Upsert
		Written func() int
		// Committed is in the answer to a commit and in no other.
		Committed []byte
	}

	// session is a test with its database.
	session struct {
		*testing.T
		Database
		line   *line
		system any

		mu   sync.Mutex
		skew time.Duration // of the connector's clock
	}
)

// RunDatabase holds a connector to the contract, as far as it is not one of HTTP, by
// rows and by sheets. open gives each test a database of its own.
func RunDatabase(t *testing.T, open func(t *testing.T) Database) {
	t.Helper()
	tests := map[string]func(*session){
		"every row is read once, in order, over several pages":      (*session).everyPage,
		"nobody at the address is retryable":                        (*session).unreachable,
		"an answer cut off is never the last page":                  (*session).cutOff,
		"a caller that gives up gets its own error, at once":        (*session).givenUp,
		"a slow answer is given up in time":                         (*session).slow,
		"a caller behind a request that hangs is told when to come": (*session).busy,
		"a system that is away is left to rest, then tried by one":  (*session).resting,
		"an unknown table or column is refused before anything":     (*session).unknownNames,
		"a page token of somebody else is refused":                  (*session).foreignToken,
		"every row has its outcome":                                 (*session).accepted,
		"a write applied whose answer is lost is in doubt":          (*session).answerLost,
		"a write that never got there is not in doubt":              (*session).unsent,
		"a write whose sender may not send any more is not sent":    (*session).held,
		"no row is an empty result":                                 (*session).nothing,
	}
	for _, form := range []string{"rows", "sheets"} {
		for name, test := range tests {
			t.Run(form+": "+name, func(t *testing.T) {
				t.Parallel()
				s := &session{T: t, Database: open(t)}
				s.line = newLine(t, s.Server)
				connect := s.Connect
				s.Connect = func(address string, adjust func(*connector.Config, *connector.Deps)) any {
					system := connect(address, func(c *connector.Config, d *connector.Deps) {
						d.Now = s.now
						if adjust != nil {
							adjust(c, d)
						}
					})
					if form == "sheets" {
						return bySheets{system}
					}
					return system
				}
				s.system = s.Connect(s.line.address, nil)
				test(s)
			})
		}
	}
}

func (s *session) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.skew)
}

func (s *session) read(ctx context.Context, token string) (connector.Page, error) {
	return s.system.(connector.PageReader).ReadPage(ctx, s.Query, token)
}

func (s *session) upsert(u connector.Upsert) ([]connector.Result, error) {
	return s.system.(connector.Upserter).Upsert(s.Context(), u)
}

// failed is the fault of a write that failed as a whole, or that every row shares.
func (s *session) failed(results []connector.Result, err error) *fault.Fault {
	s.Helper()
	if err == nil {
		require.NotEmpty(s, results)
		for _, r := range results {
			require.Error(s, r.Err)
		}
		err = results[0].Err
	}
	return s.fault(err)
}

func (s *session) fault(err error) *fault.Fault {
	s.Helper()
	var f *fault.Fault
	require.ErrorAs(s, err, &f)
	require.NotContains(s, err.Error(), s.line.address, "a fault shows only what anyone may see")
	return f
}

func (s *session) everyPage() {
	n := 2*s.Query.Limit + 1
	s.Fill(n)
	seen, pages := 0, 0
	for token := ""; ; {
		page, err := s.read(s.Context(), token)
		require.NoError(s, err)
		for _, row := range page.Rows {
			require.Len(s, row, len(s.Query.Select))
			require.Equal(s, fmt.Sprint(seen), fmt.Sprint(row[s.Query.Select[0]]))
			seen++
		}
		if pages++; page.Next == "" {
			break
		}
		token = page.Next
	}
	require.Equal(s, n, seen)
	require.Equal(s, 3, pages)
}

func (s *session) unreachable() {
	s.line.set(func() { s.line.absent = true })
	_, err := s.read(s.Context(), "")
	require.Equal(s, fault.Unavailable, s.fault(err).Class)
}

// The line breaks after ever more of what the system says, until all of it comes.
func (s *session) cutOff() {
	s.Fill(s.Query.Limit)
	whole := 0
	for at := 0; whole == 0; at += 97 {
		require.Less(s, at, 1<<20, "a page of a megabyte")
		s.line.set(func() { s.line.left = at })
		page, err := s.read(s.Context(), "")
		s.line.hangUp()
		s.line.set(func() { s.line.left = -1 })
		if err == nil {
			require.Len(s, page.Rows, s.Query.Limit, "cut behind %d bytes", at)
			whole++
			continue
		}
		require.Equal(s, fault.Unavailable, s.fault(err).Class, "cut behind %d bytes", at)
		s.system = s.Connect(s.line.address, nil) // before the connection rests
	}
}

func (s *session) givenUp() {
	s.Fill(1)
	s.line.set(func() { s.line.silent = true })
	ctx, cancel := context.WithCancel(s.Context())
	go func() { <-s.line.silence; cancel() }()
	_, err := s.read(ctx, "")
	require.ErrorIs(s, err, context.Canceled)
}

func (s *session) slow() {
	s.line.set(func() { s.line.silent = true })
	s.system = s.Connect(s.line.address, func(c *connector.Config, _ *connector.Deps) { c.Limits.Timeout = 200 * time.Millisecond })
	_, err := s.read(s.Context(), "")
	require.Equal(s, "vendor.timeout", s.fault(err).Code)
	require.Equal(s, fault.Unavailable, s.fault(err).Class)
}

func (s *session) busy() {
	s.Fill(1)
	s.system = s.Connect(s.line.address, func(c *connector.Config, _ *connector.Deps) { c.Limits.Concurrent = 1 })
	s.line.set(func() { s.line.silent = true })
	hanging, stop := context.WithCancel(s.Context())
	defer stop()
	first := make(chan error, 1)
	go func() {
		_, err := s.read(hanging, "")
		first <- err
	}()
	<-s.line.silence
	short, cancel := context.WithTimeout(s.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.read(short, "")
	require.Equal(s, "connector.busy", s.fault(err).Code)
	require.Positive(s, s.fault(err).After)
	stop()
	require.ErrorIs(s, <-first, context.Canceled)
	s.line.set(func() { s.line.silent = false })
	_, err = s.read(s.Context(), "")
	require.NoError(s, err, "the hanging request left its slot with its caller")
}

func (s *session) resting() {
	s.Fill(1)
	s.line.set(func() { s.line.absent = true })
	var f *fault.Fault
	for n := 0; f == nil || f.Code != "connector.resting"; n++ {
		require.Less(s, n, 20, "twenty different reads failed, and the next was sent")
		q := s.Query
		q.Where = []connector.Match{{Column: q.Select[0], Value: fmt.Sprint(n)}}
		_, err := s.system.(connector.PageReader).ReadPage(s.Context(), q, "")
		f = s.fault(err)
		require.Equal(s, fault.Unavailable, f.Class)
	}
	require.Positive(s, f.After)
	s.line.set(func() { s.line.absent = false })
	s.mu.Lock()
	s.skew = f.After
	s.mu.Unlock()
	_, err := s.read(s.Context(), "")
	require.NoError(s, err)
}

func (s *session) unknownNames() {
	s.system = s.Connect("127.0.0.1:1", nil) // where nobody answers
	read := func(change func(*connector.Query)) {
		s.Helper()
		q := s.Query
		change(&q)
		_, err := s.system.(connector.PageReader).ReadPage(s.Context(), q, "")
		require.Equal(s, fault.Invalid, s.fault(err).Class)
	}
	read(func(q *connector.Query) { q.Table = "no-such-table" })
	read(func(q *connector.Query) { q.Select = []string{"a,b&c=d"} })
	read(func(q *connector.Query) { q.Where = []connector.Match{{Column: "a eq 1 or b", Value: "x"}} })
	read(func(q *connector.Query) { q.Select = nil })
}

func (s *session) foreignToken() {
	s.system = s.Connect("127.0.0.1:1", nil)
	for _, token := range []string{"x", "1.2", "-5", "1.0000000000000000.http://elsewhere.example/", "s.x", "e30"} {
		_, err := s.read(s.Context(), token)
		require.Equal(s, "connector.page_token", s.fault(err).Code, token)
	}
}

func (s *session) accepted() {
	results, err := s.upsert(s.Upsert)
	require.NoError(s, err)
	require.Equal(s, make([]connector.Result, len(s.Upsert.Rows)), results)
	require.Equal(s, len(s.Upsert.Rows), s.Written())
}

func (s *session) answerLost() {
	s.line.set(func() { s.line.lost = s.Committed })
	require.Equal(s, fault.InDoubt, s.failed(s.upsert(s.Upsert)).Class)
	s.line.set(func() { s.line.lost = nil })
	require.Equal(s, 1, s.line.losses, "it is sent once")
	require.Equal(s, len(s.Upsert.Rows), s.Written())
}

func (s *session) unsent() {
	s.line.set(func() { s.line.absent = true })
	require.Equal(s, fault.Unavailable, s.failed(s.upsert(s.Upsert)).Class)
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.system.(connector.Upserter).Upsert(ctx, s.Upsert)
	require.ErrorIs(s, err, context.Canceled)
	require.Zero(s, s.Written())
}

func (s *session) held() {
	u := s.Upsert
	u.Held = loses(0)
	for range 20 { // more than the failures that make a connection rest
		f := s.failed(s.upsert(u))
		require.Equal(s, "worker.frozen", f.Code)
		require.Equal(s, fault.Unavailable, f.Class)
	}
	require.Zero(s, s.Written())
	_, err := s.upsert(s.Upsert)
	require.NoError(s, err, "the connection is as good as before")
}

func (s *session) nothing() {
	s.system = s.Connect("127.0.0.1:1", nil)
	u := s.Upsert
	u.Rows = nil
	results, err := s.upsert(u)
	require.NoError(s, err)
	require.Empty(s, results)
}
