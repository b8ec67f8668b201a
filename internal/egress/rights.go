package egress

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// mostSessions is how many a peer may have: it needs four, and a process that takes over
// as many.
const mostSessions = "16"

// login makes the role of a peer one that may log in and nothing else.
func login(ctx context.Context, conn *pgx.Conn, p PeerRole) error {
	may, err := store.Login(ctx, conn, p.Role, p.Password, peerSettings)
	if err != nil {
		return err
	}
	if !may {
		return fault.New(fault.Invalid, "egress.owner", "the owner of the database may not create roles; let one apply the flow that may", nil)
	}
	role := pgx.Identifier{p.Role}.Sanitize()
	statements := []string{`alter role ` + role + ` connection limit ` + mostSessions}
	rows, err := conn.Query(ctx, `select m.roleid::regrole::text from pg_auth_members m where m.member = $1::text::regrole`, role)
	if err != nil {
		return err
	}
	memberships, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, of := range memberships {
		statements = append(statements, `revoke `+of+` from `+role)
	}
	for _, sql := range statements {
		if err := again(func() error { _, err := conn.Exec(ctx, sql); return err }); err != nil {
			return err
		}
	}
	return nil
}

// rolesOf are the roles that have a part in a flow.
func rolesOf(ctx context.Context, tx pgx.Tx, flowName string) ([]string, error) {
	rows, err := tx.Query(ctx, `select distinct role::text from egress.acknowledged where flow = $1 order by 1`, flowName)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// join says which regions have a part in the tables of a flow. One that comes later
// begins with what is still there.
func join(ctx context.Context, tx pgx.Tx, plan *flow.Plan, peers []PeerRole) error {
	var regions, roles, tables []string
	for _, p := range peers {
		regions, roles = append(regions, p.Region), append(roles, p.Role)
	}
	for _, t := range plan.Sync.Tables {
		tables = append(tables, t.Name)
	}
	if _, err := tx.Exec(ctx, `delete from egress.acknowledged where flow = $1 and not (peer = any($2))`, plan.Flow, regions); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		insert into egress.acknowledged (flow, "table", peer, role)
		select $1, t, p.region, p.role from unnest($2::text[]) t cross join unnest($3::text[], $4::text[]) p(region, role)
		on conflict (flow, "table", peer) do update set role = excluded.role`, plan.Flow, tables, regions, roles)
	return err
}

// narrow takes every right in this database from the roles of a flow, those that it had
// before included, and gives each what egress.acknowledged says: one that has no part in
// any table any more may not even connect.
func narrow(ctx context.Context, tx pgx.Tx, before []string, peers []PeerRole) error {
	if err := closed(ctx, tx); err != nil {
		return err
	}
	roles := slices.Clone(before)
	for _, p := range peers {
		roles = append(roles, p.Role)
	}
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		if err := strip(ctx, tx, role); err != nil {
			return err
		}
		if err := grant(ctx, tx, role); err != nil {
			return err
		}
	}
	return nil
}

// closed shuts the database to everybody, and opens it again for the application, which
// is whoever may put batches. It gives the application its tables, too.
func closed(ctx context.Context, tx pgx.Tx) error {
	var database string
	var super bool
	if err := tx.QueryRow(ctx, `select current_database(), rolsuper from pg_roles where rolname = current_user`).Scan(&database, &super); err != nil {
		return err
	}
	database = pgx.Identifier{database}.Sanitize()
	statements := []string{
		`revoke all on database ` + database + ` from public`,
		`revoke all on schema public from public`,
		`revoke all on schema egress from public`,
		`revoke all on all tables in schema egress from public`,
	}
	if super {
		// Whoever may log in may make large objects otherwise, and fill the disk.
		statements = append(statements, `revoke execute on function pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid), pg_catalog.lo_from_bytea(oid, bytea) from public`)
	}
	rows, err := tx.Query(ctx, `
		select distinct a.grantee::regrole::text from pg_class c cross join lateral aclexplode(c.relacl) a
		where c.oid = 'egress.batch'::regclass and a.privilege_type = 'INSERT' and a.grantee not in (0, c.relowner)`)
	if err != nil {
		return err
	}
	applications, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	tables, err := collect(ctx, tx, `select relation from egress.border order by 1`)
	if err != nil {
		return err
	}
	for _, role := range applications {
		statements = append(statements, `grant connect, temporary on database `+database+` to `+role)
		for _, relation := range tables {
			statements = append(statements, `grant select, insert, delete on `+qualified(relation)+` to `+role)
		}
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	var open bool
	err = tx.QueryRow(ctx, `
		select d.datacl is null or exists (select from aclexplode(d.datacl) a where a.grantee = 0)
		from pg_database d where d.datname = current_database()`).Scan(&open)
	if err == nil && open {
		return fault.New(fault.Invalid, "egress.owner", "only the owner of the database itself may close it to others; let its owner apply the flow", nil)
	}
	return err
}

// strip takes all rights of a role in this database. One that owns something was misused.
func strip(ctx context.Context, tx pgx.Tx, role string) error {
	var owns, super bool
	err := tx.QueryRow(ctx, `
		select exists (select from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid = r.oid and deptype = 'o'),
		       (select rolsuper from pg_roles where rolname = current_user)
		from pg_roles r where rolname = $1`, role).Scan(&owns, &super)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil // somebody removed it, and with it all it had
	case err != nil:
		return err
	case owns:
		return fault.New(fault.Conflict, "egress.role", "the egress role "+role+" owns something in the cluster; remove it first", nil)
	}
	quoted := pgx.Identifier{role}.Sanitize()
	statements := []string{`drop owned by ` + quoted}
	if !super { // who may do that is the role itself
		statements = []string{`grant ` + quoted + ` to current_user`, `drop owned by ` + quoted, `revoke ` + quoted + ` from current_user`}
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// grant gives a role what it has a part in, of all flows.
func grant(ctx context.Context, tx pgx.Tx, role string) error {
	rows, err := tx.Query(ctx, `
		select distinct b.relation, b.columns from egress.border b join egress.acknowledged a using (flow, "table") where a.role = $1 order by 1`, role)
	if err != nil {
		return err
	}
	type part struct {
		Relation string
		Columns  []string
	}
	parts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[part])
	if err != nil || len(parts) == 0 {
		return err
	}
	var database string
	if err := tx.QueryRow(ctx, `select current_database()`).Scan(&database); err != nil {
		return err
	}
	to := ` to ` + pgx.Identifier{role}.Sanitize()
	statements := []string{
		`grant connect on database ` + pgx.Identifier{database}.Sanitize() + to,
		`grant usage on schema egress` + to,
		`grant select on egress.batch` + to,
		`grant execute on function egress.acknowledge, egress.acknowledged, egress.ask, egress.answer, egress.digests, egress.held, egress.resend, egress.resent` + to,
	}
	for _, p := range parts {
		statements = append(statements, `grant select (`+quotedList(p.Columns)+`) on `+qualified(p.Relation)+to)
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func collect(ctx context.Context, tx pgx.Tx, sql string) ([]string, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
