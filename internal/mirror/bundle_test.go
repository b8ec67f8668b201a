package mirror_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/postgres"
	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/mirror"
	"patchbay/internal/replica"
	"patchbay/internal/store/storetest"
)

// world is some regions, each with an ERP of its own, without Temporal: what the
// activities do, done by goroutines of the test.
type world struct {
	testing.TB
	ctx     context.Context //nolint:containedctx // of the test
	plan    *flow.Plan
	regions map[string]*region
	systems map[string]string // URLs of ERPs that are others than a database of the tests' server
}

type region struct {
	name     string
	erp      *pgxpool.Pool // as the people of the region work on it
	url      string
	database storetest.Database
	side     *mirror.Side
	border   *egress.Egress
	replica  *replica.Replica
	peers    map[string]*egress.Peer
	roles    []egress.PeerRole
	urls     map[string]string // by which the others come
	stop     context.CancelFunc
	working  sync.WaitGroup
	mu       sync.Mutex
	done     map[string]mirror.Counts // by "export", "import from X"
	told     map[string]*fault.Fault  // of the export, see listening
}

const schema = `
	create table account (accountnumber text primary key, name varchar(60), phone text, credit numeric(20, 4), diagnosis text);
	create table contact (number text primary key, fullname text, account text references account (accountnumber), patient text);`

func sharing() *flow.Sync {
	return &flow.Sync{
		Tables: []flow.SyncTable{
			{Name: "account", Key: []string{"accountnumber"}, Columns: []flow.SyncColumn{
				{Name: "name", Type: flow.String}, {Name: "phone", Type: flow.String}, {Name: "credit", Type: flow.Decimal}}},
			{Name: "contact", Key: []string{"number"}, Columns: []flow.SyncColumn{{Name: "fullname", Type: flow.String}, {Name: "account", Type: flow.String, Refers: "account"}}},
		},
		Conflict: []flow.ConflictRule{{Rule: flow.RuleLatest}}, Skew: time.Minute, MaxRow: 64 << 10,
	}
}

func newWorld(t testing.TB, sync *flow.Sync, names ...string) *world {
	t.Helper()
	return newWorldOf(t, map[string]string{}, sync, names...)
}

// newWorldOf is newWorld with ERPs of some regions elsewhere.
func newWorldOf(t testing.TB, systems map[string]string, sync *flow.Sync, names ...string) *world {
	t.Helper()
	w := &world{TB: t, ctx: t.Context(), plan: &flow.Plan{Flow: "account-sync", Pattern: flow.Synchronization, Sync: sync}, regions: map[string]*region{}, systems: systems}
	for _, name := range names {
		sync.Regions = append(sync.Regions, flow.Region{Name: name, Connection: "erp-" + name})
	}
	for _, name := range names {
		w.found(name)
	}
	for _, r := range w.regions {
		for _, other := range w.regions {
			if other != r {
				peer, err := egress.Dial(w.ctx, other.urls[r.name])
				require.NoError(t, err)
				t.Cleanup(peer.Close)
				r.peers[other.name] = peer
			}
		}
	}
	return w
}

// found makes a region and prepares its border.
func (w *world) found(name string) {
	w.Helper()
	if w.systems[name] == "" {
		w.systems[name] = storetest.Empty(w)
	}
	r := &region{name: name, url: w.systems[name], database: storetest.NewDatabase(w), peers: map[string]*egress.Peer{}, urls: map[string]string{}, done: map[string]mirror.Counts{}}
	var err error
	r.erp, err = pgxpool.New(w.ctx, r.url)
	require.NoError(w, err)
	w.Cleanup(r.erp.Close)
	_, err = r.erp.Exec(w.ctx, schema)
	require.NoError(w, err)
	u, err := url.Parse(r.url)
	require.NoError(w, err)
	password, _ := u.User.Password()
	config := connector.Config{Name: "erp-" + name, System: postgres.System, Auth: connector.Auth{Kind: "basic", Username: u.User.Username(), Password: password},
		Limits: connector.Limits{Timeout: 20 * time.Second}, Tables: map[string]connector.Table{
			"account": {Path: "account", Keys: [][]string{{"accountnumber"}}},
			"contact": {Path: "contact", Keys: [][]string{{"number"}}},
		}}
	u.User, u.RawQuery = nil, ""
	config.URL = u.String()
	system, err := postgres.New(config, connector.Deps{Resolve: func(s string) (string, error) { return s, nil }})
	require.NoError(w, err)
	w.Cleanup(func() { system.Close(context.WithoutCancel(w.ctx)) })
	var peers []egress.PeerRole
	for _, other := range w.plan.Sync.Regions {
		if other.Name == name {
			continue
		}
		p := egress.PeerRole{Region: other.Name, Role: egress.RoleOf(w.Name(), r.database.Owner, other.Name), Password: "secret-of-" + other.Name}
		as, err := url.Parse(r.database.Owner)
		require.NoError(w, err)
		as.User = url.UserPassword(p.Role, p.Password)
		r.urls[other.Name] = as.String()
		peers = append(peers, p)
		w.Cleanup(func() { w.drop(r.database.Owner, p.Role) })
	}
	r.roles = peers
	require.NoError(w, egress.Prepare(w.ctx, r.database.Owner, name, w.plan, peers))
	db := storetest.Open(w, r.database.App)
	r.border = egress.New(db)
	r.replica = replica.New(db, r.border)
	r.side = &mirror.Side{Place: replica.Place{Flow: w.plan.Flow, Region: name, Sync: w.plan.Sync}, System: system, Replica: r.replica, Poll: 100 * time.Millisecond,
		Broke: func(table, trace string) { w.Errorf("the work on %s broke off: %s", table, trace) }}
	w.regions[name] = r
}

func (w *world) drop(owner, role string) {
	ctx := context.WithoutCancel(w.ctx)
	c, err := pgx.Connect(ctx, owner)
	if err != nil {
		return
	}
	defer func() { _ = c.Close(ctx) }()
	name := pgx.Identifier{role}.Sanitize()
	_, _ = c.Exec(ctx, `drop owned by `+name)
	_, _ = c.Exec(ctx, `drop role if exists `+name)
}

// work has a region export and import until halt.
func (w *world) work(names ...string) {
	for _, name := range names {
		r := w.regions[name]
		ctx, stop := context.WithCancel(w.ctx)
		r.stop = stop
		end := time.Now().Add(time.Hour)
		keep := func(what string, counts mirror.Counts) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.done[what] = counts
		}
		r.working.Go(func() { keep("export", r.side.Export(ctx, end)) })
		r.working.Go(func() { r.side.Publish(ctx, r.border) })
		for from, peer := range r.peers {
			r.working.Go(func() { keep("import from "+from, r.side.Import(ctx, from, peer, end)) })
		}
	}
	w.Cleanup(func() { w.halt(names...) })
}

// apply puts another plan in force in a region, whose work it interrupts.
func (w *world) apply(name string, sync *flow.Sync) {
	w.Helper()
	r := w.regions[name]
	w.halt(name)
	sync.Regions = w.plan.Sync.Regions
	plan := &flow.Plan{Flow: w.plan.Flow, Pattern: flow.Synchronization, Sync: sync}
	require.NoError(w, egress.Prepare(w.ctx, r.database.Owner, name, plan, r.roles))
	side := *r.side
	side.Place.Sync = sync
	r.side = &side
	w.work(name)
}

// halt ends what work began.
func (w *world) halt(names ...string) {
	for _, name := range names {
		if r := w.regions[name]; r.stop != nil {
			r.stop()
			r.working.Wait()
		}
	}
}

// run is what a person of a region does to its ERP.
func (w *world) run(region, sql string, args ...any) {
	w.Helper()
	_, err := w.regions[region].erp.Exec(w.ctx, sql, args...)
	require.NoError(w, err)
}

// shared is what the tables of a region hold of what is shared.
func (w *world) shared(region string) string {
	w.Helper()
	var b strings.Builder
	for _, sql := range []string{
		`select format('account %s: %s, %s, %s', accountnumber, name, phone, trim_scale(credit)) from account order by accountnumber`,
		`select format('contact %s: %s of %s', number, fullname, account) from contact order by number`,
	} {
		rows, err := w.regions[region].erp.Query(w.ctx, sql)
		require.NoError(w, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(w, err)
		for _, line := range lines {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

// same waits until all regions hold the same, and it stays.
func (w *world) same(within time.Duration) string {
	w.Helper()
	deadline := time.Now().Add(within)
	for last := ""; ; {
		var all []string
		for _, r := range w.plan.Sync.Regions {
			all = append(all, w.shared(r.Name))
		}
		equal := true
		for _, s := range all {
			equal = equal && s == all[0]
		}
		if equal && all[0] == last {
			return last
		}
		if last = ""; equal {
			last = all[0]
		}
		if time.Now().After(deadline) {
			for i, r := range w.plan.Sync.Regions {
				status, err := w.regions[r.Name].replica.Status(w.ctx, w.regions[r.Name].side.Place)
				w.Logf("%s holds:\n%.2000s\nstatus %+v %v", r.Name, all[i], status, err)
			}
			w.Fatalf("regions do not hold the same after %s", within)
		}
		select { // it has to stay for a while
		case <-w.ctx.Done():
			w.Fatal("the test has ended")
		case <-time.After(300 * time.Millisecond):
		}
	}
}
