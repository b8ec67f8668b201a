package egress

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Excess is something that the role of another region may do and should not.
type Excess struct {
	Region string
	Role   string
	What   string // in words that follow on the role: "may connect to database postgres"
	// Elsewhere is set when it is not of this region's database, so that applying the flow
	// again mends nothing.
	Elsewhere bool
}

// excessive asks the catalogues for whatever mentions a role, of any kind of object, and
// leaves out what Prepare gives. What everybody has, the role has too.
const excessive = `
	with peer as (
		select distinct a.peer, a.role, r.oid from egress.acknowledged a join pg_catalog.pg_roles r on r.rolname = a.role),
	part as (
		select distinct p.oid, pg_catalog.to_regclass(pg_catalog.format('egress.%I', b.relation)) as relation, b.columns
		from peer p join egress.acknowledged a on a.role = p.role join egress.border b using (flow, "table")),
	own as (select oid, datname from pg_catalog.pg_database where datname = pg_catalog.current_database()),
	found as (
		select oid, 'is more than a role that logs in' as what, true as elsewhere from pg_catalog.pg_roles
		where rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls or rolinherit
		union all
		select member, 'is a member of ' || pg_catalog.pg_get_userbyid(roleid), true from pg_catalog.pg_auth_members
		union all
		select roleid, 'has the member ' || pg_catalog.pg_get_userbyid(member), true from pg_catalog.pg_auth_members
		union all
		select refobjid, 'owns ' || case when dbid in (0, (select oid from own)) then pg_catalog.pg_describe_object(classid, objid, objsubid) else 'something in another database' end,
		       dbid <> (select oid from own)
		from pg_catalog.pg_shdepend where refclassid = 'pg_catalog.pg_authid'::regclass and deptype = 'o'
		union all
		select d.refobjid, 'has rights on ' || pg_catalog.pg_describe_object(classid, objid, objsubid), false
		from pg_catalog.pg_shdepend d
		where refclassid = 'pg_catalog.pg_authid'::regclass and deptype = 'a' and dbid = (select oid from own)
		  and not (classid = 'pg_catalog.pg_class'::regclass and (objid = 'egress.batch'::regclass or exists (select from part p where p.oid = refobjid and p.relation = objid)))
		  and not (classid = 'pg_catalog.pg_namespace'::regclass and objid = 'egress'::regnamespace)
		  and not (classid = 'pg_catalog.pg_proc'::regclass and objid in ('egress.acknowledge'::regproc, 'egress.acknowledged'::regproc, 'egress.ask'::regproc, 'egress.answer'::regproc, 'egress.digests'::regproc, 'egress.held'::regproc, 'egress.resend'::regproc, 'egress.resent'::regproc))
		union all
		select d.refobjid, 'has rights in another database', true
		from pg_catalog.pg_shdepend d
		where refclassid = 'pg_catalog.pg_authid'::regclass and deptype = 'a' and dbid not in (0, (select oid from own))
		union all
		select p.oid, 'may ' || pg_catalog.lower(a.privilege_type) || ' all of ' || c.oid::regclass, false
		from peer p, pg_catalog.pg_class c cross join lateral pg_catalog.aclexplode(c.relacl) a
		where c.relnamespace = 'egress'::regnamespace and a.grantee in (p.oid, 0)
		  and not (c.oid = 'egress.batch'::regclass and a.privilege_type = 'SELECT' and a.grantee = p.oid)
		union all
		select p.oid, 'may ' || pg_catalog.lower(a.privilege_type) || ' column ' || t.attname || ' of ' || t.attrelid::regclass, false
		from peer p, pg_catalog.pg_attribute t cross join lateral pg_catalog.aclexplode(t.attacl) a
		where a.grantee in (p.oid, 0) and not t.attisdropped and t.attrelid in (select oid from pg_catalog.pg_class where relnamespace = 'egress'::regnamespace)
		  and not (a.privilege_type = 'SELECT' and not a.is_grantable and a.grantee = p.oid
		           and exists (select from part where part.oid = p.oid and part.relation = t.attrelid and t.attname = any(part.columns)))
		union all
		select p.oid, 'may use schema ' || n.nspname, false from peer p, pg_catalog.pg_namespace n
		where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'egress') and pg_catalog.has_schema_privilege(p.oid, n.oid, 'USAGE, CREATE')
		union all
		select p.oid, 'may create things in schema egress', false from peer p where pg_catalog.has_schema_privilege(p.oid, 'egress', 'CREATE')
		union all
		select p.oid, 'may create things in the database', false from peer p, own where pg_catalog.has_database_privilege(p.oid, own.oid, 'CREATE, TEMPORARY')
		union all
		select p.oid, 'may connect to database ' || d.datname, true from peer p, pg_catalog.pg_database d
		where d.datallowconn and d.datname <> pg_catalog.current_database() and pg_catalog.has_database_privilege(p.oid, d.oid, 'CONNECT')
	)
	select distinct p.peer, p.role::text, f.what, f.elsewhere from peer p join found f using (oid) order by 1, 2, 3, 4`

// Excess tells what the roles of other regions may do beyond what Prepare gives them:
// what somebody granted by hand, and databases of the cluster that everybody may connect
// to. It needs no rights but the application's.
func (e *Egress) Excess(ctx context.Context) (out []Excess, err error) {
	err = e.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, excessive)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Excess])
		return err
	})
	return out, err
}
