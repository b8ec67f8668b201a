package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"patchbay/internal/config"
	"patchbay/internal/store/storetest"
	"patchbay/internal/telemetry"
)

// followFlows are a flow that reacts to a table of another database.
func followFlows(t *testing.T, owner string) fstest.MapFS {
	t.Helper()
	u, err := url.Parse(owner)
	require.NoError(t, err)
	password, _ := u.User.Password()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(password), 0o600))
	return fstest.MapFS{
		"connections.yaml": {Data: []byte(strings.NewReplacer("HOST", u.Host, "DATABASE", strings.Trim(u.Path, "/"), "USER", u.User.Username(), "FILE", file).Replace(`connections:
  shop:
    system: postgres
    url: postgres://HOST/DATABASE
    auth: { kind: basic, username: USER, password: "${file:FILE}" }
    tables:
      orders: { path: orders, keys: [[nr]], columns: { nr: int, status: int, mail: string, note: string } }
  news:
    system: webhook
    url: https://news.example.com
    auth: { kind: none }
    hook: { scheme: header, name: X-Key, secrets: ["${file:FILE}"] }
    options: { id: /id, record: /nr }
    tables: { orders: { path: orders, columns: { nr: int, status: int, mail: string, note: string } } }
  mail:
    system: smtp
    url: smtp://mail.example.com
    auth: { kind: none }
    options: { from: service@example.com }
    tables: { message: { path: message, keys: [[id]], columns: { id: string, recipient: string, subject: string, text: string, html: string } } }
`))},
		"orders.yaml": {Data: []byte(`flow: orders
pattern: event
summary: A customer is told of an order
on: [{ source: shop.orders, change: [create, update, delete], key: row.nr }]
collapse: { quiet: 1h, max_wait: 2h }
send: { to: mail, template: order.html, recipient: row.mail, subject: "{{.Row.note}}" }
`)},
		"order.html": {Data: []byte("<p>{{.Row.status}}</p>\n")},
	}
}

// shop is a database of another party, and a Patchbay that follows it.
type shop struct {
	*testing.T
	sql, own *pgx.Conn
	core     *core
	stop     func()
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{T: t, stop: func() {}}
	owner, d := storetest.Empty(t), storetest.NewDatabase(t)
	connect := func(url string) *pgx.Conn {
		c, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
		return c
	}
	s.sql, s.own = connect(owner), connect(d.Owner)
	s.exec(`create table orders (nr int primary key, status int, mail text default 'a@example.com', note text, secret text default 'geheim');
		alter table orders alter note set storage external; insert into orders values (1, 1), (2, 1), (3, 1)`)
	metrics, err := telemetry.New()
	require.NoError(t, err)
	s.core, err = open(t.Context(), Settings{Database: d.App, Temporal: nobody(t), Speed: 1, Resolve: config.Resolve, Log: zap.NewNop(), Metrics: metrics})
	require.NoError(t, err)
	t.Cleanup(s.core.close)
	s.apply(followFlows(t, owner))
	t.Cleanup(func() {
		s.stop()
		s.lose()
	})
	return s
}

// lose drops the slots of the database that is followed; a reader that has just ended may
// be in one for a moment.
func (s *shop) lose() {
	s.Helper()
	var err error
	require.True(s, eventually(func() bool {
		_, err = s.sql.Exec(context.WithoutCancel(s.Context()), `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`)
		return err == nil
	}), err)
}

func (s *shop) apply(files fstest.MapFS) {
	s.Helper()
	_, err := apply(s.Context(), s.core.plans, s.core.board, s.core.slots, applying{files: files, name: "shop", speed: 1, by: "test"})
	require.NoError(s, err)
}

// follow runs a process that follows, in the place of the one before.
func (s *shop) follow() {
	s.stop()
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan struct{})
	f := s.core.follower()
	go func() { defer close(ended); f.Run(ctx) }()
	s.stop = func() { cancel(); <-ended }
}

func (s *shop) exec(sql string) {
	s.Helper()
	_, err := s.sql.Exec(context.WithoutCancel(s.Context()), sql)
	require.NoError(s, err)
}

// comes waits until a query over our tables gives a text.
func (s *shop) comes(want, query string) {
	s.Helper()
	var got string
	if !eventually(func() bool {
		require.NoError(s, s.own.QueryRow(s.Context(), "select coalesce(("+query+")::text, '')").Scan(&got))
		return got == want
	}) {
		var problem string
		_ = s.own.QueryRow(s.Context(), `select coalesce(string_agg(problem, '; '), '') from cursor`).Scan(&problem)
		require.Equal(s, want, got, problem)
	}
}

func eventually(f func() bool) bool {
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); <-ticks.C {
		if f() {
			return true
		}
	}
	return false
}

const told = `select string_agg(record || ' ' || change || ' ' || reason, ', ' order by id) from event`

func TestAFlowReactsToWhatCommitsInADatabase(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.follow()
	s.comes("3", `select count(*) from record`)
	s.comes("true", `select position <> '' from cursor`)
	s.comes("0", `select count(*) from event`) // what is there is no event
	s.exec(`update orders set status = 2 where nr = 1`)
	s.exec(`insert into orders values (4, 1); delete from orders where nr = 2`)
	s.exec(`update orders set nr = 9 where nr = 3; update orders set secret = 'x' where nr = 1`)
	s.comes("1 update waiting, 4 create waiting, 2 delete waiting, 3 delete waiting, 9 create waiting, 1 update unchanged", told)
	s.comes("0", `select count(*) from event e where e::text like '%geheim%' or (select count(*) from record r where r::text like '%geheim%') > 0`)

	// The reader is away, and the slot goes on.
	s.stop()
	s.exec(`update orders set status = 7 where nr = 9`)
	s.follow()
	s.comes("update", `select change from event where record = '9' order by id desc limit 1`)
	s.comes("true", `select columns ->> 'status' = '7' from record where record = '9'`)

	// The slot is lost: what changed meanwhile is found by what is known.
	s.stop()
	s.lose()
	s.exec(`update orders set status = 8 where nr = 9; insert into orders values (10, 1)`)
	s.follow()
	s.comes("10 create waiting, 9 update waiting", `select string_agg(record || ' ' || change || ' ' || reason, ', ' order by record) from (select * from event order by id desc limit 2) as e`)

	// A flow that listens elsewhere leaves nothing there that keeps a log.
	s.stop()
	files := followFlows(t, s.sql.Config().ConnString())
	files["orders.yaml"].Data = []byte(strings.Replace(string(files["orders.yaml"].Data), "shop.orders", "news.orders", 1))
	s.apply(files)
	s.follow()
	s.comes("none", `select held_by from cursor where source = 'shop'`)
	var left int
	require.NoError(t, s.sql.QueryRow(t.Context(), `select (select count(*) from pg_replication_slots where database = current_database()) + (select count(*) from pg_publication)`).Scan(&left))
	require.Zero(t, left)
}

func TestReadersThatAreKilledLoseNoEventAndTellNoneTwice(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.follow()
	s.comes("true", `select position <> '' from cursor`)
	long := strings.Repeat("0123456789abcdef", 1000)
	s.exec(`update orders set note = '` + long + `' where nr = 1`)
	r := rand.New(rand.NewPCG(1, 2))
	const changes = 120
	for n := range changes {
		s.exec(fmt.Sprintf(`update orders set status = %d where nr = %d`, 100+n, 1+r.IntN(3)))
		switch r.IntN(25) {
		case 0:
			s.exec(`select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database() and active_pid is not null`)
		case 1:
			s.follow() // another process, in the middle of it
		}
	}
	s.comes(fmt.Sprint(changes+1), `select count(*) from event`)
	s.comes("waiting", `select string_agg(distinct reason, ',') from event`)
}
