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

// grants is all that the application may do. Only what events and consolidations leave behind is deleted, when its time is
// over; plan, seal and journal are append-only even for a process that was taken over.
var grants = map[string]string{
	"setting":          "select, insert",
	"plan":             "select, insert",
	"flow_current":     "select, insert, update",
	"connection":       "select, insert, update",
	"work":             "select, insert, update",
	"batch":            "select, insert, update",
	"dead":             "select, insert, update",
	"task":             "select, insert, update",
	"topic_event":      "select, insert, update, delete", // kept for 30 days after its end
	"topic_wait":       "select, insert, update, delete", // so are waits
	"topic_run":        "select, insert, update, delete", // with their event
	"content":          "select, insert, update, delete", // until nobody needs it
	"content_part":     "select, insert, delete",
	"claim":            "select, insert, delete",
	"effect":           "select, insert, update",
	"seal":             "select, insert",
	"journal":          "select, insert",
	"event":            "select, insert, update, delete", // kept for 30 days
	"record":           "select, insert, update",
	"change_window":    "select, insert, update, delete",
	"funnel":           "select, insert, update, delete",
	"cursor":           "select, insert, update",
	"throttle":         "select, insert, update, delete",
	"spike":            "select, insert, update, delete",
	"quota":            "select, insert, update",
	"stop":             "select, insert, update, delete",
	"event_fate":       "select",
	"alert":            "select, insert, update, delete", // what is over is kept for 30 days
	"notice":           "select, insert, update, delete",
	"alerting":         "select, insert, update",
	"paid_inquiry":     "select, insert, update", // answers are erased; what was paid is kept
	"paid_use":         "select, insert",
	"paid_day":         "select, insert, update",
	"shadow":           "select, insert",
	"computed":         "select, insert, update",
	"computed_use":     "select, insert",
	"advice":           "select, insert, update",
	"decision":         "select, insert, update",
	"opinion":          "select, insert",
	"schedule":         "select, insert, update, delete", // dead flows have none
	"schedule_pause":   "select, insert, update, delete",
	"slot":             "select, insert, update, delete", // kept for 400 days, a hundred thousand a flow
	"slot_run":         "select, insert, update, delete",
	"stage_source":     "select, insert, update, delete", // rows of sources have their time, and all that tells of them
	"stage_read":       "select, insert, update, delete",
	"stage_token":      "select, insert, delete",
	"stage_reject":     "select, insert, update, delete",
	"stage_drift":      "select, insert, update, delete",
	"stage_join":       "select, insert, update, delete",
	"stage_chunk":      "select, insert, update, delete",
	"stage_level":      "select, insert, update, delete",
	"replica_table":    "select, insert, update",
	"replica_layout":   "select, insert",
	"replica_record":   "select, insert, update",
	"replica_page":     "select, insert, update, delete", // as long as nothing became of its records
	"replica_paged":    "select",
	"replica_pending":  "select, insert, update, delete", // what was written is no longer pending
	"replica_written":  "select, insert, update",
	"replica_received": "select, insert, update",
	"replica_conflict": "select, insert, update",
	"replica_feed":     "select, insert, update, delete", // until nobody follows it
	"replica_refused":  "select, insert, update, delete", // until the record is as it should be
	"replica_pause":    "select, insert, delete",
	"replica_column":   "select, insert, update, delete",
	"replica_trouble":  "select, insert, update, delete", // until it is over
	"replica_compared": "select, insert, update",
	"replica_hook":     "select, insert, update",
	"replica_home":     "select, insert, update",
	"replica_told":     "select, insert, update, delete", // until a restored table is as it was
	"replica_passed":   "select, insert, delete",
	"residency_report": "select, insert",
	"goose_db_version": "select",

	// The border is made by apply, as the owner; its tables get their rights there.
	"egress.border":       "select, update (last)",
	"egress.batch":        "select, insert, delete",
	"egress.acknowledged": "select",
	"egress.published":    "select, update",
	"egress.digest":       "select, insert, update, delete",
	"egress.resend":       "select, update (upto)",
}

// ensureRole creates or updates the application role and its grants. It reports
// false, and changes nothing, when the owner may not create roles.
func ensureRole(ctx context.Context, conn *pgx.Conn, database string, o MigrateOptions) (bool, error) {
	may, err := Login(ctx, conn, o.Role, o.Password, sessionSettings)
	if err != nil || !may {
		return false, err
	}
	return true, grant(ctx, conn, pgx.Identifier{database}.Sanitize(), pgx.Identifier{o.Role}.Sanitize())
}

// Login makes a role that may log in, and nothing else, or makes one that exists no more
// than that. An empty password keeps the one that it has. The settings hold for its
// sessions in the database of conn. It reports false, and changes nothing, when the
// user of conn may not create roles. Errors are not classified.
func Login(ctx context.Context, conn *pgx.Conn, role, password string, settings map[string]string) (bool, error) {
	var may, exists bool
	var database, excess string
	// Whatever a role has and may not have is taken away by name: only a superuser may as
	// much as mention that attribute.
	err := conn.QueryRow(ctx, `
		select me.rolsuper or me.rolcreaterole, r.oid is not null, current_database(), concat_ws(' ',
			case when r.rolsuper then 'nosuperuser' end, case when r.rolcreatedb then 'nocreatedb' end,
			case when r.rolcreaterole then 'nocreaterole' end, case when r.rolreplication then 'noreplication' end,
			case when r.rolbypassrls then 'nobypassrls' end, case when r.rolinherit then 'noinherit' end,
			case when not r.rolcanlogin then 'login' end)
		from pg_roles me left join pg_roles r on r.rolname = $1 where me.rolname = current_user`, role).Scan(&may, &exists, &database, &excess)
	if err != nil || !may {
		return false, err
	}
	quoted := pgx.Identifier{role}.Sanitize()
	if !exists {
		// Roles belong to the cluster: another database's migration may be first.
		err := cluster(ctx, conn, `create role `+quoted+` login noinherit`)
		if err != nil && sqlState(err) != "42710" && sqlState(err) != "23505" {
			return false, err
		}
	}
	if password != "" {
		kept, err := verifier(password)
		if err != nil {
			return false, err
		}
		excess += ` password ` + literal(kept)
	}
	if excess != "" {
		if err := cluster(ctx, conn, `alter role `+quoted+` `+excess); err != nil {
			return false, err
		}
	}
	in := ` in database ` + pgx.Identifier{database}.Sanitize()
	for _, name := range sorted(settings) {
		if err := cluster(ctx, conn, `alter role `+quoted+in+` set `+name+` = `+literal(settings[name])); err != nil {
			return false, err
		}
	}
	return true, nil
}

// grant replaces the rights of the role on the schema, in one transaction.
func grant(ctx context.Context, conn *pgx.Conn, database, role string) error {
	statements := []string{
		// Where there is a border, not everybody may connect any more.
		`grant connect, temporary on database ` + database + ` to ` + role,
		`grant usage on schema egress to ` + role,
		`grant execute on function egress.held to ` + role, // nothing is held from it
		`revoke all on all tables in schema public from ` + role,
		`revoke all on all sequences in schema public from ` + role,
		`grant usage on schema public to ` + role,
		`grant usage on sequence effect_fence, event_id_seq, change_window_id_seq, stage_id, stage_reject_id_seq, replica_id to ` + role,
		`grant usage, create on schema stage to ` + role, // a table for each full read of a source
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
