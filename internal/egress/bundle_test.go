package egress_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

const password = "egress-test"

// bundle is the region de on a database of its own, whose border fr and ch may read.
type bundle struct {
	testing.TB
	database storetest.Database
	store    *store.Store
	egress   *egress.Egress
	plan     *flow.Plan
	peers    []egress.PeerRole
}

func newBundle(t testing.TB) *bundle {
	t.Helper()
	b := bare(t)
	b.prepare()
	return b
}

// bare is a bundle whose border is not prepared.
func bare(t testing.TB) *bundle {
	t.Helper()
	d := storetest.NewDatabase(t)
	s := storetest.Open(t, d.App)
	b := &bundle{TB: t, database: d, store: s, egress: egress.New(s), plan: &flow.Plan{
		Flow: "account-sync", Pattern: flow.Synchronization,
		Sync: &flow.Sync{
			Regions: []flow.Region{{Name: "ch"}, {Name: "de"}, {Name: "fr"}},
			Tables: []flow.SyncTable{
				{Name: "account", Key: []string{"accountnumber"}, Columns: columns("name", "telephone1", "emailaddress1")},
				{Name: "contact", Key: []string{"tenant", "number"}, Columns: columns("fullname")},
			},
		},
	}}
	for _, region := range []string{"ch", "fr"} {
		p := egress.PeerRole{Region: region, Role: egress.RoleOf(t.Name(), d.Owner, region), Password: password}
		b.peers = append(b.peers, p)
		t.Cleanup(func() { b.dropRole(d.Owner, p.Role) })
	}
	return b
}

func columns(names ...string) (out []flow.SyncColumn) {
	for _, name := range names {
		out = append(out, flow.SyncColumn{Name: name, Type: flow.String})
	}
	return out
}

func (b *bundle) dropRole(owner, role string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own context has ended
	defer cancel()
	conn, err := pgx.Connect(ctx, owner)
	require.NoError(b, err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where usename = $1`, role)
	require.NoError(b, err)
	for _, sql := range []string{`drop owned by ` + role, `drop role ` + role} {
		if _, err = conn.Exec(ctx, sql); err != nil {
			var exists bool
			require.NoError(b, conn.QueryRow(ctx, `select exists (select from pg_roles where rolname = $1)`, role).Scan(&exists))
			require.False(b, exists, "%s: %v", sql, err)
		}
	}
}

func (b *bundle) prepare() {
	b.Helper()
	require.NoError(b, egress.Prepare(b.Context(), b.database.Owner, "de", b.plan, b.peers))
}

func (b *bundle) table(name string) *flow.SyncTable { return b.plan.Sync.Table(name) }

// url is where a peer reads.
func (b *bundle) url(region string) string { return as(b, b.database.Owner, b.role(region), password) }

func (b *bundle) role(region string) string {
	for _, p := range b.peers {
		if p.Region == region {
			return p.Role
		}
	}
	b.Fatalf("no region %s", region)
	return ""
}

func as(t testing.TB, owner, role, password string) string {
	t.Helper()
	u, err := url.Parse(owner)
	require.NoError(t, err)
	u.User = url.UserPassword(role, password)
	return u.String()
}

func (b *bundle) dial(region string) *egress.Peer {
	b.Helper()
	p, err := egress.Dial(b.Context(), b.url(region))
	require.NoError(b, err)
	b.Cleanup(p.Close)
	return p
}

func (b *bundle) connect(url string) *pgx.Conn {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// owner runs a statement as whoever may do everything.
func (b *bundle) owner(sql string, args ...any) {
	b.Helper()
	conn := b.connect(b.database.Owner)
	_, err := conn.Exec(b.Context(), sql, args...)
	require.NoError(b, err)
	require.NoError(b, conn.Close(b.Context()))
}

func (b *bundle) put(table string, deltas ...flow.Delta) {
	b.Helper()
	require.NoError(b, b.tryPut(table, deltas...))
}

func (b *bundle) tryPut(table string, deltas ...flow.Delta) error {
	return b.store.Tx(b.Context(), func(tx pgx.Tx) error {
		return b.egress.Put(b.Context(), tx, b.plan.Flow, b.table(table), deltas)
	})
}

func (b *bundle) pull(p *egress.Peer, table string, after int64, most int) []egress.Batch {
	b.Helper()
	out, err := p.Pull(b.Context(), b.plan.Flow, b.table(table), after, most)
	require.NoError(b, err)
	return out
}

// keys are those of all deltas, batch by batch.
func keys(batches []egress.Batch) (out [][]string) {
	for _, batch := range batches {
		var of []string
		for _, d := range batch.Deltas {
			of = append(of, d.Key[0])
		}
		out = append(out, of)
	}
	return out
}

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func version(n int) flow.Version {
	return flow.Version{Stamp: now.Add(time.Duration(n) * time.Second).UnixMicro(), Region: "de", Seen: map[string]int64{"de": int64(n)}}
}

// account is a delta that says the name of an account.
func account(n int) flow.Delta {
	return flow.Delta{Key: []string{fmt.Sprintf(`"A-%d"`, n)}, Cells: []flow.SyncCell{{Value: fmt.Appendf(nil, `"name %d"`, n), Version: version(n + 1)}, {}, {}}}
}

func requireFault(t testing.TB, err error, class fault.Class, code string) *fault.Fault {
	t.Helper()
	f := fault.Of(err)
	require.NotNil(t, f)
	require.Equal(t, []any{class, code}, []any{f.Class, f.Code}, f.Text)
	return f
}
