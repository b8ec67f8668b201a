package app

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"patchbay/internal/config"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store/storetest"
	"patchbay/internal/telemetry"
)

// What a caller must never be shown.
const (
	keyOfApp   = "key-of-app-geheim"
	keyOfOther = "key-of-other-geheim"
	keyOfDesk  = "key-of-desk-geheim"
	host       = "gate.example.com"
)

// gateFlows are two flows of one parameter that is needed and two that are not;
// the second lets nobody wait.
var gateFlows = func() fstest.MapFS {
	const connections = `connections:
  plm:
    system: oracle
    url: https://plm.example.com
    auth: { kind: none }
    tables: { items: { path: itemsV2 } }
`
	const gate = `flow: NAME
pattern: instant
summary: What a caller of the gateway needs
params:
  product_id: { type: string, pattern: "^[A-Z0-9-]{3,40}$", example: AS54888 }
  count: { type: int, optional: true }
  amount: { type: decimal, optional: true }
read: { from: plm.items, where: { ItemNumber: params.product_id }, select: [ItemNumber] }
limits: { timeout: 1h, queue: QUEUE }
`
	named := func(name, queue string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.NewReplacer("NAME", name, "QUEUE", queue).Replace(gate))}
	}
	return fstest.MapFS{
		"connections.yaml": {Data: []byte(connections)}, "gate.yaml": named("gate", "1000"), "narrow.yaml": named("narrow", "1"),
	}
}()

// gateway is the API as `patchbay serve` runs it: its own listener, the keys of a
// file, a database of its own. Temporal is away: what is accepted waits.
type gateway struct {
	*testing.T
	addr string
	db   *pgx.Conn // of the owner
}

// newGateway starts one; database gives it another address than the real one.
func newGateway(t *testing.T, database func(url string) string) *gateway {
	t.Helper()
	return newGatewayOf(t, database, gateFlows)
}

func newGatewayOf(t *testing.T, database func(url string) string, flows fstest.MapFS) *gateway {
	t.Helper()
	d := storetest.NewDatabase(t)
	g := &gateway{T: t}
	var err error
	g.db, err = pgx.Connect(t.Context(), d.Owner)
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.db.Close(context.WithoutCancel(t.Context())) })

	file := filepath.Join(t.TempDir(), "keys")
	lines := ""
	for name, key := range map[string]string{"app press": keyOfApp, "other press": keyOfOther, "desk operate": keyOfDesk} {
		name, role, _ := strings.Cut(name, " ")
		sum := sha256.Sum256([]byte(key))
		lines += fmt.Sprintf("%s %s %s\n", name, hex.EncodeToString(sum[:]), role)
	}
	require.NoError(t, os.WriteFile(file, []byte(lines), 0o600))
	keys, err := config.ReadKeys(file)
	require.NoError(t, err)
	metrics, err := telemetry.New()
	require.NoError(t, err)
	c, err := open(t.Context(), Settings{
		Database: database(d.App), Temporal: nobody(t), Speed: 1, Resolve: config.Resolve, Log: zap.NewNop(), Metrics: metrics,
	})
	require.NoError(t, err)
	_, err = apply(t.Context(), c.plans, c.board, c.slots, applying{files: flows, name: "gate", speed: 1, by: "test"})
	require.NoError(t, err)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g.addr = ln.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.withBook(ctx, func(ctx context.Context) error {
			return newAPI(c, Face{Keys: keys, Hosts: []string{host}, Environment: "test", Version: "test"}).run(ctx, ln)
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			require.Equal(t, fault.Unavailable, fault.Of(err).Class, "the database may be what a test has cut off: %v", err)
		}
		c.close()
	})
	return g
}

func straight(url string) string { return url }

// proxy stands between the gateway and its database until cut is called, or the
// test ends: then its connections break, and no other is taken.
func proxy(t *testing.T, database string) (address string, cut func()) {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	to := u.Host
	u.Host = ln.Addr().String()
	var open []net.Conn
	var all sync.WaitGroup
	accepting := make(chan struct{})
	all.Go(func() {
		defer close(accepting)
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			open = append(open, in, out)
			all.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
			all.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
		}
	})
	cut = sync.OnceFunc(func() {
		_ = ln.Close()
		<-accepting // what it has taken is in open
		for _, c := range open {
			_ = c.Close()
		}
		all.Wait()
	})
	t.Cleanup(cut)
	return u.String(), cut
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// press is a press of the flow gate as it should be, with some headers more.
func press(body string, header ...string) string {
	return request("POST", "/v1/flows/gate/runs", body, append([]string{"Content-Type: application/json", "Prefer: wait=0"}, header...)...)
}

// request is the text of a request by the key of app. A header replaces the one of
// its name before it, and one without a value leaves it out; what must come twice
// stands in one text.
func request(method, path, body string, header ...string) string {
	lines := []string{"Host: " + host, "Authorization: Bearer " + keyOfApp}
	if body != "" {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ":")
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, name+":") })
		if value != "" {
			lines = append(lines, h)
		}
	}
	return method + " " + path + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// answer is what came back, read whole.
type answer struct {
	status    int
	header    http.Header
	body      string
	closed    bool   // the server ended the connection
	allocated uint64 // by this process meanwhile
}

// send sends bytes as they are and reads one answer. An answer that does not come
// is a status of 0.
func (g *gateway) send(raw string) answer {
	g.Helper()
	c, err := net.Dial("tcp", g.addr)
	require.NoError(g, err)
	defer func() { _ = c.Close() }()
	require.NoError(g, c.SetDeadline(time.Now().Add(30*time.Second)))
	reader := bufio.NewReader(c)
	sent := []byte(raw)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = c.Write(sent) // a server that has seen enough may close meanwhile
	method, _, _ := strings.Cut(raw, " ")
	got, err := http.ReadResponse(reader, &http.Request{Method: method})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return answer{closed: true}
	}
	require.NoError(g, err)
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	require.NoError(g, err)
	runtime.ReadMemStats(&after)
	a := answer{status: got.StatusCode, header: got.Header, body: string(body), allocated: after.TotalAlloc - before.TotalAlloc}
	if got.Close {
		_, err = reader.ReadByte()
		a.closed = errors.Is(err, io.EOF)
	}
	return a
}

// problem is the body of a refusal.
type problem struct {
	Title     string        `json:"title"`
	Status    int           `json:"status"`
	Code      string        `json:"code"`
	Detail    string        `json:"detail"`
	Retry     bool          `json:"retry"`
	Errors    []fault.Field `json:"errors"`
	RequestID string        `json:"request_id"`
}

// refusal requires that an answer has the form of every refusal.
func (g *gateway) refusal(a answer) problem {
	g.Helper()
	require.Equal(g, "application/problem+json", a.header.Get("Content-Type"), "%d %s", a.status, a.body)
	var p problem
	require.NoError(g, json.Unmarshal([]byte(a.body), &p), a.body)
	require.Equal(g, a.status, p.Status)
	require.Equal(g, http.StatusText(a.status), p.Title)
	require.NotEmpty(g, p.RequestID, "a caller can name the case to its operator")
	require.Equal(g, a.header.Get("X-Request-Id"), p.RequestID)
	shown := a.body
	for name, values := range a.header {
		shown += "\n" + name + ": " + strings.Join(values, ", ")
	}
	for _, never := range []string{"geheim", "goroutine", ".go:", "panic", "postgres", "127.0.0.1", "sql", "Sql", "SQL"} {
		require.NotContains(g, shown, never)
	}
	return p
}

func (g *gateway) run(a answer) flow.Run {
	g.Helper()
	var run flow.Run
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.UseNumber()
	require.NoError(g, dec.Decode(&run), a.body)
	return run
}

// written counts the rows of everything that a press or a cancel may write.
func (g *gateway) written() string {
	g.Helper()
	var rows string
	require.NoError(g, g.db.QueryRow(g.Context(), `select format('%s runs, %s effects, %s seals, %s entries of the journal',
		(select count(*) from work), (select count(*) from effect), (select count(*) from seal), (select count(*) from journal))`).Scan(&rows))
	return rows
}

// pressedBy is the ID of a run that the holder of a key has pressed.
func (g *gateway) pressedBy(key string) string {
	g.Helper()
	got := g.send(press(`{"product_id":"AS54888"}`, "Authorization: Bearer "+key))
	require.Equal(g, http.StatusAccepted, got.status, got.body)
	return g.run(got).RunID
}
