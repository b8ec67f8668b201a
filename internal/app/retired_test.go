package app

import (
	"context"
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
	"patchbay/internal/contract"
	"patchbay/internal/egress"
	"patchbay/internal/store/storetest"
	"patchbay/internal/telemetry"
)

// erpFlows share tables of a database between regions.
func erpFlows(t *testing.T, owner, regions string, tables ...string) fstest.MapFS {
	t.Helper()
	u, err := url.Parse(owner)
	require.NoError(t, err)
	password, _ := u.User.Password()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(password), 0o600))
	var connections, shared strings.Builder
	for _, region := range []string{"de", "fr", "ch"} {
		database := strings.Trim(u.Path, "/")
		if region != "de" {
			database += "-" + region // nobody dials it
		}
		connections.WriteString(strings.NewReplacer("REGION", region, "HOST", u.Host, "DATABASE", database, "USER", u.User.Username(), "FILE", file).Replace(`  erp-REGION:
    system: postgres
    url: postgres://HOST/DATABASE
    auth: { kind: basic, username: USER, password: "${file:FILE}" }
    tables:
      account: { path: account, keys: [[nr]], columns: { nr: string, name: string } }
      contact: { path: contact, keys: [[nr]], columns: { nr: string, name: string } }
`))
	}
	for _, table := range tables {
		shared.WriteString("  " + table + ": { key: [nr], allow: [name] }\n")
	}
	return fstest.MapFS{
		"connections.yaml": {Data: []byte("regions:\n  de: { egress: \"${env:PATCHBAY_EGRESS_DE}\" }\n  fr: { egress: \"${env:PATCHBAY_EGRESS_FR}\" }\n  ch: { egress: \"${env:PATCHBAY_EGRESS_CH}\" }\nconnections:\n" + connections.String())},
		"share.yaml":       {Data: []byte("flow: share\npattern: synchronization\nsummary: What regions share\nregions: " + regions + "\ntables:\n" + shared.String())},
	}
}

// A table, and then the whole region, leaves a flow: what its system kept for us and what
// others could fetch of it goes, and the rest stays. Nothing fills the disk of anybody.
func TestWhatLeavesAFlowLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	owner, d := storetest.Empty(t), storetest.NewDatabase(t)
	connect := func(url string) *pgx.Conn {
		c, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
		return c
	}
	erp, own := connect(owner), connect(d.Owner)
	_, err := erp.Exec(t.Context(), `create table account (nr text primary key, name text); create table contact (nr text primary key, name text);
		insert into account values ('A1', 'Acme'); insert into contact values ('C1', 'Anna')`)
	require.NoError(t, err)
	metrics, err := telemetry.New()
	require.NoError(t, err)
	settings := Settings{Database: d.App, Region: "de", Temporal: nobody(t), Speed: 1, Resolve: config.Resolve, Log: zap.NewNop(), Metrics: metrics}
	c, err := open(t.Context(), settings)
	require.NoError(t, err)
	t.Cleanup(c.close)
	settings.Database = d.Owner
	stop := func() {}
	t.Cleanup(func() { stop() })
	put := func(regions string, tables ...string) {
		t.Helper()
		stop()
		f, err := apply(t.Context(), c.plans, c.board, c.slots, applying{files: erpFlows(t, owner, regions, tables...), name: "share", speed: 1, by: "test", region: "de"})
		require.NoError(t, err)
		require.NoError(t, prepareBorders(t.Context(), settings, ApplyOptions{Out: testWriter{t}, Egress: map[string]string{}}, f))
		plan, digest, err := c.plans.Current(t.Context(), "share")
		require.NoError(t, err)
		if plan.Sync.Region("de") == nil {
			return
		}
		for _, r := range plan.Sync.Regions {
			if r.Name != "de" {
				t.Cleanup(func() { dropRole(t, d.Owner, egress.RoleOf("", d.Owner, r.Name)) })
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = c.mirrors.Export(ctx, plan, contract.SyncInput{Flow: "share", Digest: digest, Region: "de"}, time.Now().Add(time.Hour), nil)
		}()
		stop = func() { cancel(); <-ended; stop = func() {} }
	}
	number := func(on *pgx.Conn, sql string) (n int) {
		require.NoError(t, on.QueryRow(t.Context(), sql).Scan(&n))
		return n
	}
	left := func() []int {
		return []int{
			number(erp, `select count(*) from pg_replication_slots where database = current_database()`), number(erp, `select count(*) from pg_publication`),
			number(own, `select count(*) from egress.border`), number(own, `select count(*) from pg_tables where schemaname = 'egress' and tablename like 'share_%'`),
			number(own, `select count(*) from egress.batch`),
		}
	}
	is := func(want ...int) {
		t.Helper()
		require.Eventually(t, func() bool {
			got := left()
			for i := range want {
				if got[i] != want[i] {
					return false
				}
			}
			return true
		}, time.Minute, 50*time.Millisecond, "%v", want)
	}
	retiring, end := context.WithCancel(t.Context())
	retired := make(chan struct{})
	go func() { c.retire(retiring); close(retired) }()
	t.Cleanup(func() { end(); <-retired })

	put("{ de: erp-de, fr: erp-fr }", "account", "contact")
	is(2, 2, 2, 2, 2)
	put("{ de: erp-de, fr: erp-fr }", "account")
	is(1, 1, 1, 1, 1)
	put("{ fr: erp-fr, ch: erp-ch }", "account")
	is(0, 0, 0, 0, 0)
	put("{ de: erp-de, fr: erp-fr }", "account") // it joins once more: all that is there is told
	is(1, 1, 1, 1)
	_, err = erp.Exec(t.Context(), `insert into account values ('A2', 'Bolt')`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return number(own, `select coalesce(sum(rows), 0) from egress.batch`) >= 1 }, time.Minute, 50*time.Millisecond)
	stop()
	put("{ fr: erp-fr, ch: erp-ch }", "account")
	is(0, 0, 0, 0, 0)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
