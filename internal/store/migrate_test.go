package store_test

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

const testRole = "patchbay_migrate_test"

func TestProcessesThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	owner := storetest.Empty(t)
	urls, errs := make([]string, 4), make([]error, 4)
	var wg sync.WaitGroup
	for i := range urls {
		wg.Go(func() {
			urls[i], errs[i] = store.Migrate(t.Context(), owner, store.MigrateOptions{Role: testRole, Password: `o'h\no`})
		})
	}
	wg.Wait()
	for i := range urls {
		require.NoError(t, errs[i])
		require.Equal(t, urls[0], urls[i])
	}
	u, err := url.Parse(urls[0])
	require.NoError(t, err)
	require.Equal(t, testRole, u.User.Username())
	s := storetest.Open(t, urls[0])
	var user string
	require.NoError(t, s.Pool().QueryRow(t.Context(), `select current_user`).Scan(&user))
	require.Equal(t, testRole, user)
}

func TestAPasswordThatCannotBeKeptIsRefusedWithoutItsText(t *testing.T) {
	t.Parallel()
	_, err := store.Migrate(t.Context(), storetest.Empty(t), store.MigrateOptions{Role: testRole, Password: "häslich"})
	requireFault(t, err, fault.Invalid, "store.password")
	require.NotContains(t, err.Error(), "slich")
}

func TestWithoutAPasswordTheOwnersURLIsUsed(t *testing.T) {
	t.Parallel()
	owner := storetest.Empty(t)
	app, err := store.Migrate(t.Context(), owner, store.MigrateOptions{})
	require.NoError(t, err)
	require.Equal(t, owner, app)
}

// A managed database gives a role that may do everything in its database and
// create no roles.
func TestARoleThatMayCreateNoRolesKeepsWorkingAsItself(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	super := storetest.Open(t, d.Owner)
	const name = "patchbay_managed_test"
	var database string
	require.NoError(t, super.Pool().QueryRow(t.Context(), `select current_database()`).Scan(&database))
	for _, sql := range []string{
		`drop schema public, stage, egress cascade`, `create schema public`,
		`do $$ begin create role ` + name + ` login password 'managed'; exception when duplicate_object or unique_violation then null; end $$`,
		`alter schema public owner to ` + name, `grant create on database ` + database + ` to ` + name,
	} {
		_, err := super.Pool().Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	u, err := url.Parse(d.Owner)
	require.NoError(t, err)
	u.User = url.UserPassword(name, "managed")
	app, err := store.Migrate(t.Context(), u.String(), store.MigrateOptions{Role: testRole, Password: "x"})
	require.NoError(t, err)
	require.Equal(t, u.String(), app)
	s := storetest.Open(t, app)
	var timeout string
	require.NoError(t, s.Pool().QueryRow(t.Context(), `show lock_timeout`).Scan(&timeout))
	require.Equal(t, "5s", timeout, "the timeouts hold for any role")
}

func TestASchemaThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, storetest.Empty(t))
	_, err := s.Setting(t.Context(), "k", func() []byte { return nil })
	requireFault(t, err, fault.Unavailable, "store.schema")
}

// The catalogue says what the application may do; the table of grants in the code
// is not asked.
func TestTheApplicationRoleOwnsNothingAndDeletesNothing(t *testing.T) {
	t.Parallel()
	d := storetest.NewDatabase(t)
	app, owner := storetest.Open(t, d.App), storetest.Open(t, d.Owner)
	var role string
	require.NoError(t, app.Pool().QueryRow(t.Context(), `select current_user`).Scan(&role))

	var super, createrole, createdb, bypass, owns bool
	require.NoError(t, owner.Pool().QueryRow(t.Context(), `
		select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, exists (select from pg_class where relowner = r.oid)
		from pg_roles r where rolname = $1`, role).Scan(&super, &createrole, &createdb, &bypass, &owns))
	require.Equal(t, []bool{false, false, false, false, false}, []bool{super, createrole, createdb, bypass, owns})

	rows, err := owner.Pool().Query(t.Context(), `
		select c.relname, string_agg(a.privilege_type, ' ' order by a.privilege_type)
		from pg_class c cross join lateral aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
		where r.rolname = $1 and c.relnamespace = 'public'::regnamespace group by 1`, role)
	require.NoError(t, err)
	got := map[string]string{}
	var table, rights string
	_, err = pgx.ForEachRow(rows, []any{&table, &rights}, func() error { got[table] = rights; return nil })
	require.NoError(t, err)
	for _, table := range []string{"plan", "seal", "journal", "setting"} {
		require.Equal(t, "INSERT SELECT", got[table], "%s is append-only", table)
	}
	require.Equal(t, "SELECT", got["goose_db_version"])
	passing := []string{"content", "content_part", "claim", "event", "stop", "topic_event", "topic_wait", "topic_run", "change_window", "funnel", "throttle", "spike", "alert", "notice", "schedule", "schedule_pause", "slot", "slot_run",
		"stage_source", "stage_read", "stage_token", "stage_reject", "stage_drift", "stage_join", "stage_chunk", "stage_level",
		"replica_page", "replica_pending", "replica_refused", "replica_pause", "replica_feed", "replica_column", "replica_trouble", "replica_told", "replica_passed"}
	for table, rights := range got {
		for _, never := range []string{"DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"} {
			if never == "DELETE" && slices.Contains(passing, table) {
				continue // what events and consolidations leave behind has its time, and so do alerts
			}
			require.NotContains(t, rights, never, table)
		}
	}
	var tables int
	require.NoError(t, owner.Pool().QueryRow(t.Context(), `select count(*) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`).Scan(&tables))
	granted := 0
	for name := range got {
		if !strings.HasSuffix(name, "_seq") && name != "effect_fence" && name != "stage_id" && name != "replica_id" && name != "event_fate" && name != "replica_paged" {
			granted++
		}
	}
	require.Equal(t, tables, granted, "a table without grants cannot be used: add it to the grants")

	_, err = app.Pool().Exec(t.Context(), `create table mine ()`)
	requireFault(t, store.Classify(err), fault.Unavailable, "store.forbidden")
}

func TestTheTimeoutsStandOnTheRoleItself(t *testing.T) {
	t.Parallel()
	app, err := store.Migrate(t.Context(), storetest.Empty(t), store.MigrateOptions{Role: testRole, Password: `o'h\no`})
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), app) // not by Open: as psql would
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(t.Context())) }()
	var statement, lock, idle string
	require.NoError(t, conn.QueryRow(t.Context(), `select current_setting('statement_timeout'), current_setting('lock_timeout'),
		current_setting('idle_in_transaction_session_timeout')`).Scan(&statement, &lock, &idle))
	require.Equal(t, []string{"10s", "5s", "10s"}, []string{statement, lock, idle})
}

// Roles belong to the cluster: what one environment does at its start must not
// lock out another.
func TestTwoInstallationsOnOneClusterLeaveEachOthersRoleAlone(t *testing.T) {
	t.Parallel()
	one, two := storetest.Empty(t), storetest.Empty(t)
	first, err := store.Migrate(t.Context(), one, store.MigrateOptions{Role: store.RoleOf("/home/a/.patchbay", one), Password: "first"})
	require.NoError(t, err)
	for _, other := range []struct{ dir, url string }{{"/home/b/.patchbay", one}, {"/home/a/.patchbay", two}} {
		_, err = store.Migrate(t.Context(), other.url, store.MigrateOptions{Role: store.RoleOf(other.dir, other.url), Password: "second"})
		require.NoError(t, err)
	}
	s := storetest.Open(t, first)
	require.NoError(t, s.Ping(t.Context()))
	require.Regexp(t, `^patchbay_dev_[0-9a-f]{8}$`, store.RoleOf("x", "no URL"))
}
