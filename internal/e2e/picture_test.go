package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/store/storetest"
)

// The picture of customers that three tables of another party's database make, in a
// fourth table of it. The reference is a join in SQL.
const (
	pictureTables = `
		create table patchbay_effect (cause text not null, step text not null, key text not null, fence bigint not null,
			noted_at timestamptz not null default now(), applied_at timestamptz, primary key (cause, step, key));
		create table customer (id text primary key, name text not null, country text, changed_at timestamptz not null default now());
		create table invoice (number text primary key, customer text, amount numeric(18, 2) not null, changed_at timestamptz not null default now());
		create table contact (customer text primary key, mail text, changed_at timestamptz not null default now());
		create table picture (id text primary key, name text, country text, invoices bigint, total numeric(18, 2), mail text);
		create unlogged table written (n bigint generated always as identity, id text);
		create function note() returns trigger language plpgsql as $$ begin insert into written (id) values (new.id); return new; end $$;
		create trigger noted after insert or update on picture for each row execute function note();`

	pictureExpected = `
		select c.id, c.name, c.country, count(i.number), coalesce(sum(i.amount), 0)::numeric(18, 2), k.mail
		from customer c left join invoice i on i.customer = c.id left join contact k on k.customer = c.id
		group by c.id, c.name, c.country, k.mail`

	pictureFlow = `
flow: picture
pattern: consolidation
summary: One picture of each customer
%s
gather:
  customers: { from: erp.customer, select: [id, name, country, changed_at], key: row.id, identity: [id], one: true, changed: { by: changed_at, overlap: 1m } }
  invoices: { from: erp.invoice, select: [number, customer, amount, changed_at], key: row.customer, identity: [number], changed: { by: changed_at, overlap: 1m } }
  contacts: { from: erp.contact, select: [customer, mail, changed_at], key: row.customer, identity: [customer], one: true, on_missing: last_good }
base: customers
map:
  id: key
  name: customers.name
  country: customers.country
  invoices: size(invoices)
  total: sum(invoices.map(i, i.amount))
  mail: "contacts == null ? null : contacts.mail"
write: { to: erp.picture, key: [id] }
`
	pictureConnections = `
connections:
  erp:
    system: postgres
    url: %s
    auth: { kind: basic, username: %s, password: "${file:%s}" }
    limits: { concurrent: 8, timeout: 30s }
    tables:
      customer: { path: public.customer, keys: [[id]], columns: { id: string, name: string, country: string, changed_at: timestamp } }
      invoice: { path: public.invoice, keys: [[number]], columns: { number: string, customer: string, amount: decimal, changed_at: timestamp } }
      contact: { path: public.contact, keys: [[customer]], columns: { customer: string, mail: string, changed_at: timestamp } }
      picture: { path: public.picture, keys: [[id]], columns: { id: string, name: string, country: string, invoices: int, total: decimal, mail: string } }
`
)

// erp is the database of another party, with a flow that reads and writes it.
type erp struct {
	*patchbay
	sql *pgx.Conn
}

// picture runs `patchbay dev` with the flow; schedule is its section, or "".
func picture(t *testing.T, customers int, schedule string, args ...string) *erp {
	t.Helper()
	owner := storetest.Empty(t)
	conn, err := pgx.Connect(t.Context(), owner)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	e := &erp{sql: conn}
	_, err = conn.Exec(t.Context(), pictureTables)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `
		insert into customer (id, name, country) select 'C' || n, 'Customer "' || n || '" & Söhne', case n % 7 when 0 then null else 'DE' end from generate_series(1, $1) n`, customers)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `
		insert into invoice (number, customer, amount) select 'I' || n, 'C' || (n::bigint * 7919) % ($1 + 10) + 1, (n % 100000) / 100.0 from generate_series(1, 3 * $1) n`, customers)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `insert into contact (customer, mail) select id, lower(id) || '@example.com' from customer where id < 'C5'`)
	require.NoError(t, err)

	u, err := url.Parse(owner)
	require.NoError(t, err)
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User, u.RawQuery = nil, ""
	dir := dataDir(t)
	secret := filepath.Join(dir, "erp-password")
	require.NoError(t, os.WriteFile(secret, []byte(password), 0o600))
	flows := filepath.Join(dir, "flows")
	require.NoError(t, os.Mkdir(flows, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(flows, "picture.yaml"), fmt.Appendf(nil, pictureFlow, schedule), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(flows, "connections.yaml"), fmt.Appendf(nil, pictureConnections, u.String(), user, secret), 0o600))
	e.patchbay = start(t, dir, append([]string{"--flows", flows}, args...)...)
	return e
}

// ask starts a run and waits for its end.
func (e *erp) ask(params string) flow.Run {
	e.t.Helper()
	var run flow.Run
	resp := e.do(http.MethodPost, e.HTTP+"/v1/flows/picture/runs", http.Header{"Prefer": {"wait=0"}}, params, &run)
	require.Less(e.t, resp.StatusCode, 300, "%+v", run.Problem)
	return e.final(run.RunID, time.Minute)
}

func (e *erp) figures(r flow.Run) flow.Completeness {
	e.t.Helper()
	var c flow.Completeness
	require.NoError(e.t, json.Unmarshal(r.Completeness, &c), "%s", r.Completeness)
	for name, s := range c.Sources {
		require.Equal(e.t, s.Read, s.Staged+s.Rejected, name)
		require.Equal(e.t, s.Staged, s.Used+s.Unmatched+s.Duplicate, name)
	}
	require.Equal(e.t, c.Target.Keys, c.Target.Written+c.Target.Unchanged+c.Target.Rejected)
	return c
}

func (e *erp) number(query string, args ...any) (n int64) {
	e.t.Helper()
	require.NoError(e.t, e.sql.QueryRow(e.t.Context(), query, args...).Scan(&n))
	return n
}

// exact requires the picture to be what SQL says.
func (e *erp) exact(when string) {
	e.t.Helper()
	require.Zero(e.t, e.number(`select count(*) from (`+pictureExpected+` except select * from picture) x`), "%s: rows that are missing or wrong", when)
	require.Zero(e.t, e.number(`select count(*) from (select * from picture except `+pictureExpected+`) x`), "%s: rows too many", when)
}

func TestThreeTablesBecomeOnePicture(t *testing.T) {
	t.Parallel()
	e := picture(t, 2000, "")
	first := e.ask(`{}`)
	require.Equal(t, flow.Completed, first.Status, "%+v", first.Problem)
	c := e.figures(first)
	e.exact("after the first run")
	require.Equal(t, int64(2000), c.Target.Written)
	require.Positive(t, c.Sources["invoices"].Unmatched, "some invoices are of customers that nobody knows")

	again := e.figures(e.ask(`{}`))
	require.Equal(t, int64(2000), again.Target.Unchanged)
	require.Zero(t, again.Target.Written)
	require.Less(t, again.Sources["invoices"].Fresh, int64(6000)+1)
	require.Equal(t, int64(2000), e.number(`select count(*) from written`), "what is unchanged is not written")

	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		_, err := e.sql.Exec(t.Context(), `update invoice set amount = amount + 1, changed_at = now() where number = $1`, fmt.Sprintf("I%d", 1+random.IntN(6000)))
		require.NoError(t, err)
	}
	third := e.figures(e.ask(`{}`))
	e.exact("after invoices were changed")
	require.LessOrEqual(t, third.Target.Written, int64(20))

	stdout, stderr, status := e.cli("run", "picture", "full=true")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "2000 unchanged")
	require.Contains(t, strings.Join(strings.Fields(stdout), " "), "of 2000 keys: 0 written, 2000 unchanged, 0 rejected")
	e.exact("after everything was read once more")
}

// A person who asks for a run beside an open one is told which that is.
func TestAPictureHasOneRunAtATime(t *testing.T) {
	t.Parallel()
	e := picture(t, 500, "")
	lock, err := e.sql.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), `lock table picture in exclusive mode`)
	require.NoError(t, err)
	var run flow.Run
	e.do(http.MethodPost, e.HTTP+"/v1/flows/picture/runs", http.Header{"Prefer": {"wait=0"}}, `{}`, &run)
	e.await("writing", time.Minute, func() bool {
		var now flow.Run
		e.do(http.MethodGet, e.HTTP+"/v1/runs/"+run.RunID, nil, "", &now)
		return len(now.Progress) > 2
	})
	var problem struct{ Code, Detail string }
	resp := e.do(http.MethodPost, e.HTTP+"/v1/flows/picture/runs", http.Header{"Prefer": {"wait=0"}}, `{}`, &problem)
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, problem.Detail, run.RunID)
	require.NoError(t, lock.Rollback(t.Context()))
	require.Equal(t, flow.Completed, e.final(run.RunID, time.Minute).Status)
	e.exact("in the end")
}

// Blows of kill -9 while a run reads, joins and writes. `make pictures KILLS=50
// ROWS=200000` has more of both.
var (
	pictureKills = flag.Int("picture-kills", 3, "blows that the picture takes while it is made")
	pictureRows  = flag.Int("picture-rows", 20_000, "customers of the picture that takes them; there are three times as many invoices")
	pictureSeed  = flag.Uint64("picture-seed", 1, "of the moments of the blows")
)

func TestAPictureIsExactWhateverDiesWhileItIsMade(t *testing.T) {
	t.Parallel()
	e := picture(t, *pictureRows, "")
	random := rand.New(rand.NewPCG(*pictureSeed, 7))
	blows, runs := 0, 0
	for blows < *pictureKills {
		runs++
		_, err := e.sql.Exec(t.Context(), `update invoice set amount = amount + 1, changed_at = now() where hashtext(number) % 3 = $1`, runs%3)
		require.NoError(t, err)
		var run flow.Run
		resp := e.do(http.MethodPost, e.HTTP+"/v1/flows/picture/runs", http.Header{"Prefer": {"wait=0"}}, `{"full": true}`, &run)
		require.Less(t, resp.StatusCode, 300, "%+v", run.Problem)
		for ; blows < *pictureKills; blows++ {
			after := time.After(time.Duration(random.IntN(1500)) * time.Millisecond)
			done := false
			e.await("time to strike", time.Minute, func() bool {
				var now flow.Run
				e.do(http.MethodGet, e.HTTP+"/v1/runs/"+run.RunID, nil, "", &now)
				done = now.Status.Final()
				select {
				case <-after:
					return true
				default:
					return done
				}
			})
			if done {
				break
			}
			e.kill()
			e.again()
		}
		final := e.final(run.RunID, 3*time.Minute)
		require.Equal(t, flow.Completed, final.Status, "%+v", final.Problem)
		e.figures(final)
		e.exact(fmt.Sprintf("after %d blows", blows))
	}
	t.Logf("%d runs took %d blows", runs, blows)
}

// again starts `patchbay dev` on the directory of one that was killed.
func (e *erp) again() {
	e.t.Helper()
	e.patchbay = start(e.t, e.dir, "--flows", filepath.Join(e.dir, "flows"))
}
