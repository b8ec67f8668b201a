package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
)

// RoleOf names the application role of one installation, known by its directory
// and the database of ownerURL. Roles belong to the whole cluster: two that shared
// one, and set its password at each start, would lock each other out.
func RoleOf(dir, ownerURL string) string {
	database := ""
	if u, err := url.Parse(ownerURL); err == nil {
		database = u.Path
	}
	sum := sha256.Sum256([]byte(dir + "\x00" + database))
	return "patchbay_dev_" + hex.EncodeToString(sum[:4])
}

// grants is all that the application may do. Nothing is ever deleted; plan, seal
// and journal are append-only even for a process that was taken over.
var grants = map[string]string{
	"setting":          "select, insert",
	"plan":             "select, insert",
	"flow_current":     "select, insert, update",
	"connection":       "select, insert, update",
	"work":             "select, insert, update",
	"batch":            "select, insert, update",
	"dead":             "select, insert, update",
	"effect":           "select, insert, update",
	"seal":             "select, insert",
	"journal":          "select, insert",
	"goose_db_version": "select",
}

// ensureRole creates or updates the application role and its grants. It reports
// false, and changes nothing, when the owner may not create roles.
func ensureRole(ctx context.Context, conn *pgx.Conn, database string, o MigrateOptions) (bool, error) {
	var may, exists bool
	err := conn.QueryRow(ctx, `
		select r.rolsuper or r.rolcreaterole, exists (select from pg_roles where rolname = $1)
		from pg_roles r where r.rolname = current_user`, o.Role).Scan(&may, &exists)
	if err != nil || !may {
		return false, err
	}
	role := pgx.Identifier{o.Role}.Sanitize()
	const rights = ` login noinherit nosuperuser nocreatedb nocreaterole`
	if !exists {
		// Roles belong to the cluster: another database's migration may be first.
		err := cluster(ctx, conn, `create role `+role+rights)
		if err != nil && sqlState(err) != "42710" && sqlState(err) != "23505" {
			return false, err
		}
	}
	kept, err := verifier(o.Password)
	if err != nil {
		return false, err
	}
	if err := cluster(ctx, conn, `alter role `+role+rights+` password `+literal(kept)); err != nil {
		return false, err
	}
	in := ` in database ` + pgx.Identifier{database}.Sanitize()
	for _, name := range sorted(sessionSettings) {
		if err := cluster(ctx, conn, `alter role `+role+in+` set `+name+` = `+literal(sessionSettings[name])); err != nil {
			return false, err
		}
	}
	return true, grant(ctx, conn, role)
}

// grant replaces the rights of the role on the schema, in one transaction.
func grant(ctx context.Context, conn *pgx.Conn, role string) error {
	statements := []string{
		`revoke all on all tables in schema public from ` + role,
		`revoke all on all sequences in schema public from ` + role,
		`grant usage on schema public to ` + role,
		`grant usage on sequence effect_fence to ` + role,
	}
	for _, table := range sorted(grants) {
		statements = append(statements, `grant `+grants[table]+` on `+table+` to `+role)
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// cluster runs a statement on a catalogue that all databases share; the update
// of another database's migration may get in between (XX000, "tuple concurrently
// updated").
func cluster(ctx context.Context, conn *pgx.Conn, sql string) error {
	var err error
	for range 20 {
		if _, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); sqlState(err) != "XX000" {
			return err
		}
	}
	return err
}

// literal quotes one of our own values, none of which has a quote or a backslash,
// for statements that take no parameters.
func literal(s string) string { return "'" + s + "'" }

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// withUser gives the owner's URL with the application's user and password.
func withUser(ownerURL string, o MigrateOptions) (string, error) {
	u, err := url.Parse(ownerURL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", fault.New(fault.Invalid, "store.url", "the database URL must have the form postgres://user@host:5432/name", nil)
	}
	u.User = url.UserPassword(o.Role, o.Password)
	return u.String(), nil
}
