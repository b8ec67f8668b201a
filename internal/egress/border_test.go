package egress_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"patchbay/internal/egress"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

const (
	denied = "42501"
)

// inhabited is a bundle with rows everywhere, a column that somebody added by hand, and a
// flow that only ch has a part in.
func inhabited(t *testing.T) *bundle {
	t.Helper()
	b := newBundle(t)
	b.put("account", account(1))
	other := &flow.Plan{Flow: "other", Sync: &flow.Sync{Regions: []flow.Region{{Name: "ch"}, {Name: "de"}}, Tables: b.plan.Sync.Tables[:1]}}
	require.NoError(t, egress.Prepare(t.Context(), b.database.Owner, "de", other, b.peers[:1]))
	b.owner(`alter table ` + b.relation("account") + ` add column diagnosis text`)
	b.owner(`update ` + b.relation("account") + ` set diagnosis = '"MEDICAL"'`)
	b.owner(`create table stage.g_1 (cells text)`)
	b.owner(`insert into stage.g_1 values ('MEDICAL')`)
	b.owner(`create view public.everything as select * from stage.g_1`)
	b.owner(`create sequence public.counter`)
	b.owner(`analyze`)
	return b
}

// Everything that a peer may try with its own credentials, by trying.
func TestAPeerReadsItsColumnsAndNothingElse(t *testing.T) {
	t.Parallel()
	b := inhabited(t)
	ctx := t.Context()
	fr := b.connect(b.url("fr"))
	account := b.relation("account")
	var app string
	require.NoError(t, b.store.Pool().QueryRow(ctx, `select current_user`).Scan(&app))

	for _, sql := range []string{
		// What it is for.
		`select ":batch", ":n", accountnumber, name, telephone1, emailaddress1, ":stamp", ":region", ":seen", ":cells", ":gone", ":was", ":over" from ` + account,
		`select flow, "table", batch, key, rows, bytes, made_at, oldest from egress.batch`,
		`select egress.acknowledge('account-sync', 'account', 0)`,
		`select egress.acknowledged('account-sync', 'account')`,
		`select egress.ask('account-sync', 'account')`,
		`select * from egress.answer('account-sync', 'account')`,
		`select * from egress.digests('account-sync', 'account', null)`,
		`select egress.resent('account-sync', 'account', egress.resend('account-sync', 'account'))`,
	} {
		_, err := fr.Exec(ctx, sql)
		require.NoError(t, err, sql)
	}

	type try struct{ sql, state string }
	tries := []try{
		// A column that is not granted, in every way to name one.
		{`select * from ` + account, denied},
		{`table ` + account, denied},
		{`select diagnosis from ` + account, denied},
		{`select a from ` + account + ` a`, denied},
		{`select to_jsonb(a) from ` + account + ` a`, denied},
		{`select (a).diagnosis from ` + account + ` a`, denied},
		{`select name from ` + account + ` where diagnosis is not null`, denied},
		{`select name from ` + account + ` order by diagnosis`, denied},
		{`select count(diagnosis) from ` + account, denied},
		{`select name from ` + account + ` join (select ''::text as diagnosis) x using (diagnosis)`, denied},
		{`copy ` + account + ` to stdout`, denied},
		{`copy ` + account + ` (diagnosis) to stdout`, denied},
		{`explain select diagnosis from ` + account, denied},
		{`select xmin, ctid from ` + account, denied},
		{`declare c cursor with hold for select diagnosis from ` + account, denied},
		{`do $$ begin perform diagnosis from ` + account + `; end $$`, denied},
		// A change, or a lock that stops others.
		{`insert into ` + account + ` (":batch", ":n") values (1, 1)`, denied},
		{`update ` + account + ` set name = name`, denied},
		{`delete from ` + account, denied},
		{`truncate ` + account, denied},
		{`select name from ` + account + ` for update`, denied},
		{`do $$ begin lock table ` + account + ` in access share mode; end $$`, denied},
		{`do $$ begin lock table egress.batch in row exclusive mode; end $$`, denied},
		{`do $$ begin lock table egress.batch in access exclusive mode; end $$`, denied},
		{`insert into egress.batch (flow, "table", batch, key, rows, bytes, oldest) values ('x', 'x', 1, '{}', 1, 1, now())`, denied},
		{`update egress.batch set rows = 0`, denied},
		{`delete from egress.batch`, denied},
		{`update egress.acknowledged set batch = 0`, denied},
		{`select * from egress.digest`, denied},
		{`select * from egress.published`, denied},
		{`update egress.published set columns = '{}'`, denied},
		{`alter table ` + account + ` add column x text`, denied},
		{`drop table ` + account, denied},
		{`create index on ` + account + ` (name)`, denied},
		{`comment on table ` + account + ` is 'x'`, denied},
		{`alter function egress.acknowledge reset all`, denied},
		// Anything new.
		{`create table public.mine ()`, denied},
		{`create table egress.mine ()`, denied},
		{`create table stage.mine ()`, denied},
		{`create temporary table mine ()`, denied},
		{`create schema mine`, denied},
		{`create function egress.mine() returns int language sql as 'select 1'`, denied},
		{`create extension pg_trgm`, denied},
		{`create extension dblink`, denied},
		{`create role mine`, denied},
		{`create database mine`, denied},
		{`create publication mine for all tables`, denied},
		{`create subscription mine connection 'host=127.0.0.1' publication x with (connect = false)`, denied},
		{`create event trigger mine on ddl_command_start execute function x()`, denied},
		{`create foreign data wrapper mine`, denied},
		{`create language mine handler x`, denied},
		{`create tablespace mine location '/tmp'`, denied},
		{`create cast (text as int) without function`, denied},
		{`select lo_create(0)`, denied},
		{`select lo_creat(-1)`, denied},
		{`select lo_from_bytea(0, 'x')`, denied},
		// Another's rights.
		{`set role ` + app, denied},
		{`set role ` + b.superuser(), denied},
		{`set role pg_read_all_data`, denied},
		{`set role ` + b.role("ch"), denied},
		{`set session authorization ` + b.superuser(), denied},
		{`grant pg_read_all_data to ` + b.role("fr"), denied},
		{`alter role ` + b.role("fr") + ` superuser`, denied},
		{`alter role ` + b.role("fr") + ` createdb bypassrls`, denied},
		{`alter role ` + b.role("fr") + ` connection limit -1`, denied},
		{`alter role ` + b.role("ch") + ` password 'x'`, denied},
		{`alter default privileges for role ` + b.superuser() + ` grant select on tables to public`, denied},
		{`alter system set log_statement = 'all'`, denied},
		{`set session_replication_role = replica`, denied},
		{`set log_statement = 'all'`, denied},
		// The machine.
		{`select pg_read_file('PG_VERSION')`, denied},
		{`select pg_read_binary_file('PG_VERSION')`, denied},
		{`select pg_ls_dir('.')`, denied},
		{`select pg_ls_waldir()`, denied},
		{`select pg_ls_logdir()`, denied},
		{`select pg_stat_file('PG_VERSION')`, denied},
		{`select lo_import('/etc/hostname')`, denied},
		{`copy (select 1) to '/tmp/patchbay-egress'`, denied},
		{`copy (select 1) to program 'true'`, denied},
		{`select pg_current_logfile()`, denied},
		{`load 'auto_explain'`, denied},
		// The catalogues that hold rows or passwords.
		{`select from pg_authid`, denied},
		{`select from pg_shadow`, denied},
		{`select from pg_statistic`, denied},
		{`select from pg_statistic_ext_data`, denied},
		{`select from pg_largeobject`, denied},
		{`select from pg_user_mapping`, denied},
		{`select subconninfo from pg_subscription`, denied},
		{`select from pg_hba_file_rules`, denied},
		{`select from pg_file_settings`, denied},
		{`select from pg_backend_memory_contexts`, denied},
		{`select from pg_shmem_allocations`, denied},
		// What commits, and who else is here.
		{`select pg_create_logical_replication_slot('mine', 'pgoutput')`, denied},
		{`select pg_create_physical_replication_slot('mine')`, denied},
		{`select pg_switch_wal()`, denied},
		{`select pg_terminate_backend(pid) from pg_stat_activity where usename = '` + b.superuser() + `'`, denied},
		{`select pg_cancel_backend(pid) from pg_stat_activity where usename = '` + b.superuser() + `'`, denied},
		{`checkpoint`, denied},
		{`vacuum full egress.batch`, ""}, // a warning, and nothing done
	}
	for _, name := range b.relations() {
		if name != account && name != b.relation("contact") && name != "egress.batch" {
			tries = append(tries, try{`select from ` + name, denied}, try{`explain select from ` + name, denied})
		}
	}
	tries = append(tries, try{`select nextval('public.counter')`, denied}, try{`select last_value from public.counter`, denied})
	require.Greater(t, len(tries), 120, "the tables of the store are among them")
	for _, try := range tries {
		_, err := fr.Exec(ctx, try.sql, pgx.QueryExecModeSimpleProtocol)
		if stateOf(err) != try.state {
			t.Errorf("%s: %v", try.sql, err)
		}
	}

	// What shows only what one may read shows nothing else.
	for sql, of := range map[string]string{
		`select count(*) from pg_stats where schemaname not in ('pg_catalog', 'information_schema', 'egress')`:                        "statistics of values",
		`select count(*) from pg_stats where attname = 'diagnosis'`:                                                                   "statistics of a column",
		`select count(*) from pg_stats_ext`:                                                                                           "statistics of columns together",
		`select count(*) from pg_stat_activity where usename <> current_user and query <> '' and query <> '<insufficient privilege>'`: "statements of others",
		`select count(*) from pg_largeobject_metadata`:                                                                                "large objects",
		`select count(*) from information_schema.columns where table_schema not in ('pg_catalog', 'information_schema') and table_name not in ('batch', '` + strings.TrimPrefix(account, "egress.") + `', '` + strings.TrimPrefix(b.relation("contact"), "egress.") + `')`: "columns by the standard's view",
	} {
		var n int
		require.NoError(t, fr.QueryRow(ctx, sql).Scan(&n), of)
		require.Zero(t, n, of)
	}
	require.Equal(t, "42501", stateOf(connects(ctx, b.url("fr")+"&replication=database")), "not for replication either")
}

// relations are all tables, views and the like outside the catalogues.
func (b *bundle) relations() (out []string) {
	b.Helper()
	rows, err := b.connect(b.database.Owner).Query(b.Context(), `
		select quote_ident(nspname) || '.' || quote_ident(relname) from pg_class c join pg_namespace n on n.oid = relnamespace
		where relkind in ('r', 'v', 'm', 'p', 'f', 'S') and nspname !~ '^pg_' and nspname <> 'information_schema' order by 1`)
	require.NoError(b, err)
	out, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b, err)
	return out
}

func stateOf(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func connects(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err == nil {
		err = conn.Close(ctx)
	}
	return err
}

// Regions may share a cluster, as they do on one machine.
func TestAPeerOfOneRegionMayNotEvenConnectToAnother(t *testing.T) {
	t.Parallel()
	one, other := newBundle(t), newBundle(t)
	ctx := t.Context()
	require.NoError(t, connects(ctx, one.url("fr")))
	require.Equal(t, denied, stateOf(connects(ctx, as(t, other.database.Owner, one.role("fr"), password))))
	require.NoError(t, connects(ctx, other.database.App), "the application may")
}

// The catalogue is asked for everything that mentions a role, whatever kind of object it is.
func TestARoleHasExactlyTheseRights(t *testing.T) {
	t.Parallel()
	b := inhabited(t)
	ctx := t.Context()
	// What somebody gave by hand goes when the flow is applied again.
	fr := b.role("fr")
	for _, sql := range []string{
		`grant select on public.work to ` + fr, `grant all on schema public to ` + fr, `grant select (name) on public.setting to ` + fr,
		`grant select on ` + b.relation("account") + ` to ` + fr, `grant execute on function pg_catalog.pg_ls_dir(text) to ` + fr,
		`grant usage on sequence public.counter to ` + fr, `grant temporary on database ` + b.databaseName() + ` to ` + fr,
		`alter default privileges in schema stage grant select on tables to ` + fr, `grant pg_read_all_data to ` + fr,
		`alter role ` + fr + ` createdb createrole bypassrls inherit replication connection limit -1`,
		`grant select on ` + b.relation("account") + ` to public`, `grant connect on database ` + b.databaseName() + ` to public`,
	} {
		b.owner(sql)
	}
	require.Equal(t, []string{"may select all of " + b.relation("account")}, b.excess("ch"), "what everybody has")
	found := strings.Join(b.excess("fr"), "\n")
	for _, of := range []string{"is more than a role that logs in", "is a member of pg_read_all_data", "has rights on table work", "has rights on schema public",
		"has rights on column name of table setting", "may select all of " + b.relation("account"), "has rights on function pg_ls_dir(text)", "has rights on sequence counter",
		"may create things in the database", "has rights on default privileges on new relations belonging to role " + b.superuser() + " in schema stage", "may use schema public", "may use schema stage"} {
		require.Contains(t, found, of)
	}
	b.prepare()
	require.Empty(t, b.excess("fr"))
	require.Empty(t, b.excess("ch"))

	owner := b.connect(b.database.Owner)
	for _, p := range b.peers {
		var attributes []bool
		var limit int
		var settings []string
		require.NoError(t, owner.QueryRow(ctx, `
			select array[rolcanlogin, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
			             exists (select from pg_auth_members where member = r.oid or roleid = r.oid),
			             exists (select from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = r.oid and deptype not in ('a', 'i'))],
			       rolconnlimit, (select setconfig from pg_db_role_setting s join pg_database d on d.oid = setdatabase where setrole = r.oid and datname = current_database())
			from pg_roles r where rolname = $1`, p.Role).Scan(&attributes, &limit, &settings))
		require.Equal(t, []bool{true, false, false, false, false, false, false, false, false}, attributes, "it may log in; it inherits, may and owns nothing")
		require.Equal(t, 16, limit)
		require.Contains(t, settings, "statement_timeout=5min")

		rows, err := owner.Query(ctx, `
			select pg_describe_object(classid, objid, 0) from pg_shdepend
			where refclassid = 'pg_authid'::regclass and refobjid = $1::text::regrole and deptype in ('a', 'i') order by 1`, p.Role)
		require.NoError(t, err)
		objects, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		want := []string{"database " + b.databaseName(), "function egress.acknowledge(text,text,bigint)", "function egress.acknowledged(text,text)",
			"function egress.answer(text,text)", "function egress.ask(text,text)", "function egress.digests(text,text,integer[])", "function egress.held()", "function egress.resend(text,text)", "function egress.resent(text,text,timestamp with time zone)", "schema egress", "table egress.batch"}
		columns := map[string]string{}
		for _, table := range []string{"account", "contact"} {
			want = append(want, "table "+b.relation(table))
			keys := []string{"accountnumber", "emailaddress1", "name", "telephone1"}
			if table == "contact" {
				keys = []string{"fullname", "number", "tenant"}
			}
			all := append([]string{":batch", ":cells", ":gone", ":n", ":over", ":region", ":seen", ":stamp", ":was"}, keys...)
			for _, c := range all {
				columns[b.relation(table)+" "+c] = "SELECT"
			}
		}
		if p.Region == "ch" {
			var relation string
			require.NoError(t, owner.QueryRow(ctx, `select 'egress.' || relation from egress.border where flow = 'other'`).Scan(&relation))
			want = append(want, "table "+relation)
			for _, c := range []string{":batch", ":cells", ":gone", ":n", ":over", ":region", ":seen", ":stamp", ":was", "accountnumber", "emailaddress1", "name", "telephone1"} {
				columns[relation+" "+c] = "SELECT"
			}
		}
		slices.Sort(want)
		slices.Sort(objects)
		require.Equal(t, want, slices.Compact(objects), p.Region)

		rows, err = owner.Query(ctx, `
			select c.oid::regclass || ' ' || attname, string_agg(privilege_type || case when is_grantable then '*' else '' end, ' ')
			from pg_attribute join pg_class c on c.oid = attrelid cross join lateral aclexplode(attacl) a where a.grantee = $1::text::regrole group by 1`, p.Role)
		require.NoError(t, err)
		got := map[string]string{}
		var column, rights string
		_, err = pgx.ForEachRow(rows, []any{&column, &rights}, func() error { got[column] = rights; return nil })
		require.NoError(t, err)
		require.Equal(t, columns, got)

		var whole []string
		require.NoError(t, owner.QueryRow(ctx, `
			select array_agg(x order by x) from (
				select relname || ' ' || privilege_type as x from pg_class cross join lateral aclexplode(relacl) a where a.grantee = $1::text::regrole
				union all select nspname || ' ' || privilege_type from pg_namespace cross join lateral aclexplode(nspacl) a where a.grantee = $1::text::regrole
				union all select 'database ' || privilege_type from pg_database cross join lateral aclexplode(datacl) a where a.grantee = $1::text::regrole) x`, p.Role).Scan(&whole))
		require.Equal(t, []string{"batch SELECT", "database CONNECT", "egress USAGE"}, whole)
	}

	// Nor has everybody anything that they would have a share in.
	var public []string
	require.NoError(t, owner.QueryRow(ctx, `
		select coalesce(array_agg(x), '{}') from (
			select 'relation ' || c.oid::regclass as x from pg_class c join pg_namespace n on n.oid = relnamespace cross join lateral aclexplode(relacl) a
			where a.grantee = 0 and nspname !~ '^pg_' and nspname <> 'information_schema'
			union all select 'schema ' || nspname from pg_namespace cross join lateral aclexplode(nspacl) a
			where a.grantee = 0 and nspname !~ '^pg_' and nspname <> 'information_schema'
			union all select 'database' from pg_database left join lateral aclexplode(datacl) a on true
			where datname = current_database() and coalesce(a.grantee, 0) = 0
			union all select 'function ' || p.oid::regprocedure from pg_proc p where prosecdef and (proacl is null or exists (select from aclexplode(proacl) a where a.grantee = 0))) x`).Scan(&public))
	require.Empty(t, public)
}

// excess is what a role may do in this database that it should not.
func (b *bundle) excess(region string) (out []string) {
	b.Helper()
	all, err := b.egress.Excess(b.Context())
	require.NoError(b, err)
	elsewhere := false
	for _, x := range all {
		if x.Region == region && (!x.Elsewhere || !strings.Contains(x.What, "may connect")) {
			require.Equal(b, b.role(region), x.Role)
			out = append(out, x.What)
		}
		elsewhere = elsewhere || x.What == "may connect to database postgres"
	}
	require.True(b, elsewhere, "the database postgres of the tests is open to everybody, and that is told: %v", all)
	return out
}

func (b *bundle) databaseName() (name string) {
	b.Helper()
	require.NoError(b, b.store.Pool().QueryRow(b.Context(), `select current_database()`).Scan(&name))
	return name
}

// superuser is who owns the cluster of the test.
func (b *bundle) superuser() string {
	b.Helper()
	u, err := url.Parse(b.database.Owner)
	require.NoError(b, err)
	return u.User.Username()
}

// A managed database gives an owner that may create roles and is no superuser.
func TestAnOwnerThatIsNoSuperuserPreparesTheSame(t *testing.T) {
	t.Parallel()
	b := bare(t)
	ctx := t.Context()
	empty := storetest.Empty(t)
	admin := b.connect(empty)
	var database string
	require.NoError(t, admin.QueryRow(ctx, `select current_database()`).Scan(&database))
	name := "patchbay_owner_" + database[2:10]
	for _, sql := range []string{`create role ` + name + ` login createrole password 'managed'`, `alter database ` + database + ` owner to ` + name, `alter schema public owner to ` + name} {
		_, err := admin.Exec(ctx, sql)
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), empty)
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.Background()) }()
		for _, sql := range []string{`reassign owned by ` + name + ` to current_user`, `drop owned by ` + name, `drop role ` + name} {
			_, err = conn.Exec(context.Background(), sql)
			require.NoError(t, err)
		}
	})
	url := as(t, empty, name, "managed")
	b.database.Owner = empty
	app, err := store.Migrate(ctx, url, store.MigrateOptions{Role: "patchbay_app_" + database[2:10], Password: password})
	require.NoError(t, err)
	t.Cleanup(func() { b.dropRole(empty, "patchbay_app_"+database[2:10]) })
	b.store = storetest.Open(t, app)
	b.egress = egress.New(b.store)
	for range 2 {
		require.NoError(t, egress.Prepare(ctx, url, "de", b.plan, b.peers))
	}
	b.put("account", account(1))
	require.Len(t, b.pull(b.dial("fr"), "account", 0, 10), 1)
	fr := b.connect(b.url("fr"))
	for _, sql := range []string{`select from public.work`, `set role ` + name, `create table mine ()`, `select from egress.border`} {
		_, err := fr.Exec(ctx, sql)
		require.Contains(t, []string{denied, "3F000"}, stateOf(err), sql)
	}
	var members int
	require.NoError(t, admin.QueryRow(ctx, `select count(*) from pg_auth_members where roleid = $1::text::regrole`, b.role("fr")).Scan(&members))
	require.Zero(t, members, "nobody keeps its rights")
}
