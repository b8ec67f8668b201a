package egress

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// PeerRole is another region and the role by which it reads here.
type PeerRole struct {
	Region   string
	Role     string // as RoleOf gives it
	Password string // printable ASCII; "": the one that the role has is kept
}

// Prepare makes the border of a region what the plan says: tables, roles and rights. The
// peers are all other regions of the plan. It is run by the owner of the database when
// the plan is applied, may be repeated, and leaves no border half made. A column that the
// plan does not allow any more goes with all its values that were not fetched; so does a
// table. After it nobody may connect to the database but the owner, the application and
// the peers.
func Prepare(ctx context.Context, ownerURL, region string, plan *flow.Plan, peers []PeerRole) error {
	if err := consistent(region, plan, peers); err != nil {
		return err
	}
	return asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		for _, p := range peers {
			if err := login(ctx, conn, p); err != nil {
				return err
			}
		}
		return again(func() error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if err := begin(ctx, tx, plan.Flow); err != nil {
					return err
				}
				before, err := rolesOf(ctx, tx, plan.Flow)
				if err != nil {
					return err
				}
				if err := shape(ctx, tx, plan); err != nil {
					return err
				}
				if err := join(ctx, tx, plan, peers); err != nil {
					return err
				}
				return narrow(ctx, tx, before, peers)
			})
		})
	})
}

// Retire removes what Prepare made for a flow that is no more, or that the region has no
// part in any more; where that is nothing, it changes nothing. Roles stay, without what
// they had for its sake: other flows may have the same.
func Retire(ctx context.Context, ownerURL, flowName string) error {
	return asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		return again(func() error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if err := begin(ctx, tx, flowName); err != nil {
					return err
				}
				var there bool
				if err := tx.QueryRow(ctx, `select exists (select from egress.border where flow = $1)`, flowName).Scan(&there); err != nil || !there {
					return err
				}
				before, err := rolesOf(ctx, tx, flowName)
				if err != nil {
					return err
				}
				if err := drop(ctx, tx, flowName, nil); err != nil {
					return err
				}
				return narrow(ctx, tx, before, nil)
			})
		})
	})
}

// RoleOf names the role by which a region reads the border of the installation in dir
// with the database of ownerURL. Roles belong to the whole cluster, so the name is of
// the installation.
func RoleOf(dir, ownerURL, peer string) string {
	database := ""
	if u, err := url.Parse(ownerURL); err == nil {
		database = u.Path
	}
	sum := sha256.Sum256([]byte(dir + "\x00" + database + "\x00" + peer))
	return "patchbay_" + hex.EncodeToString(sum[:4]) + "_egress_" + plain(peer, 32)
}

// plain is a name in a-z, 0-9 and _, cut to so many bytes.
func plain(name string, most int) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, name)
	return name[:min(len(name), most)]
}

// consistent refuses what does not belong together.
func consistent(region string, plan *flow.Plan, peers []PeerRole) error {
	if plan.Sync == nil || plan.Sync.Region(region) == nil {
		return fault.Invalidf("egress.plan", "the plan of flow %q shares nothing with region %q", plan.Flow, region)
	}
	names, roles := map[string]bool{}, map[string]bool{}
	for _, p := range peers {
		switch {
		case p.Region == region || plan.Sync.Region(p.Region) == nil || names[p.Region]:
			return fault.Invalidf("egress.peers", "region %q is no other region of flow %q, or is named twice", p.Region, plan.Flow)
		case !strings.HasPrefix(p.Role, "patchbay_") || len(p.Role) > 63 || plain(p.Role, 63) != p.Role || roles[p.Role]:
			return fault.Invalidf("egress.peers", "the role of region %q must be its own and have a name of a-z, 0-9 and _ that begins with patchbay_", p.Region)
		}
		names[p.Region], roles[p.Role] = true, true
	}
	for _, r := range plan.Sync.Regions {
		if r.Name != region && !names[r.Name] {
			return fault.Invalidf("egress.peers", "region %q of flow %q has no role", r.Name, plan.Flow)
		}
	}
	relations := map[string]bool{}
	for i := range plan.Sync.Tables {
		t := &plan.Sync.Tables[i]
		if err := sound(t); err != nil {
			return err
		}
		if relations[t.Name] {
			return fault.Invalidf("egress.plan", "table %q is named twice", t.Name)
		}
		relations[t.Name] = true
	}
	return nil
}

func asOwner(ctx context.Context, ownerURL string, fn func(*pgx.Conn) error) error {
	conn, err := store.Connect(ctx, ownerURL, "patchbay apply")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := fn(conn); err != nil {
		return fmt.Errorf("preparing the border: %w", store.Classify(err))
	}
	return nil
}

// again repeats what met another's change of a catalogue that all databases share.
func again(fn func() error) error {
	var err error
	for range 20 {
		var pg interface{ SQLState() string }
		if err = fn(); !errors.As(err, &pg) || pg.SQLState() != "XX000" && pg.SQLState() != "40P01" {
			break
		}
	}
	return err
}

// begin orders what changes the border, and lets no batch in meanwhile.
func begin(ctx context.Context, tx pgx.Tx, flowName string) error {
	for _, sql := range []string{`set local lock_timeout = '10s'`, `select pg_advisory_xact_lock(hashtext('egress'))`} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `select from egress.border where flow = $1 order by "table" for update`, flowName)
	return err
}

// shape makes the tables.
func shape(ctx context.Context, tx pgx.Tx, plan *flow.Plan) error {
	var names []string
	for i := range plan.Sync.Tables {
		t := &plan.Sync.Tables[i]
		names = append(names, t.Name)
		if err := rekey(ctx, tx, plan.Flow, t); err != nil {
			return err
		}
		if err := shapeTable(ctx, tx, plan.Flow, t); err != nil {
			return err
		}
	}
	return drop(ctx, tx, plan.Flow, names)
}

// rekey removes a table whose records have another key now, once all that was put there
// is fetched: nobody could read it afterwards.
func rekey(ctx context.Context, tx pgx.Tx, flowName string, t *flow.SyncTable) error {
	var key []string
	var waiting bool
	err := tx.QueryRow(ctx, `
		select key, exists (select from egress.batch b where b.flow = o.flow and b."table" = o."table"
			and b.batch > (select coalesce(min(a.batch), o.last) from egress.acknowledged a where a.flow = o.flow and a."table" = o."table"))
		from egress.border o where flow = $1 and "table" = $2`, flowName, t.Name).Scan(&key, &waiting)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil || slices.Equal(key, t.Key):
		return err
	case waiting:
		return fault.New(fault.Conflict, "egress.key", "the key of table "+t.Name+" changes while the other regions have not fetched what is known by the old one; apply again when they have", nil)
	}
	return forget(ctx, tx, flowName, t.Name)
}

// shapeTable makes one table, or adds and drops columns of the one that is there.
func shapeTable(ctx context.Context, tx pgx.Tx, flowName string, t *flow.SyncTable) error {
	relation, columns := relationOf(flowName, t.Name), layout(t)
	name := qualified(relation)
	if _, err := tx.Exec(ctx, `create table if not exists `+name+` (":batch" bigint not null, ":n" int not null, ":stamp" bigint, ":region" text,
		":seen" jsonb, ":cells" jsonb, ":gone" jsonb, ":was" jsonb, ":over" text, primary key (":batch", ":n"))`); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `select attname::text from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped`, name)
	if err != nil {
		return err
	}
	have, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	narrower := false
	for _, c := range have {
		if slices.Contains(columns, c) {
			continue
		}
		if _, err := tx.Exec(ctx, `alter table `+name+` drop column `+pgx.Identifier{c}.Sanitize()); err != nil {
			return err
		}
		narrower = true
	}
	for _, c := range columns {
		if slices.Contains(have, c) {
			continue
		}
		if _, err := tx.Exec(ctx, `alter table `+name+` add column `+pgx.Identifier{c}.Sanitize()+` text`); err != nil {
			return err
		}
	}
	if narrower {
		if err := unversion(ctx, tx, name, t); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `
		insert into egress.border (flow, "table", relation, key, columns) values ($1, $2, $3, $4, $5)
		on conflict (flow, "table") do update set columns = excluded.columns`, flowName, t.Name, relation, t.Key, columns)
	return err
}

// unversion removes the versions of values whose column is gone.
func unversion(ctx context.Context, tx pgx.Tx, name string, t *flow.SyncTable) error {
	allowed := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		allowed[i] = c.Name
	}
	_, err := tx.Exec(ctx, `
		update `+name+` set ":cells" = nullif((select coalesce(jsonb_object_agg(k, v), '{}') from jsonb_each(":cells") as e(k, v) where k = any($1)), '{}')
		where ":cells" is not null and ":cells" - $1::text[] <> '{}'`, allowed)
	return err
}

// drop removes the tables of a flow but those that are named.
func drop(ctx context.Context, tx pgx.Tx, flowName string, keep []string) error {
	rows, err := tx.Query(ctx, `select "table" from egress.border where flow = $1 and not "table" = any(coalesce($2::text[], '{}'))`, flowName, keep)
	if err != nil {
		return err
	}
	gone, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, table := range gone {
		if err := forget(ctx, tx, flowName, table); err != nil {
			return err
		}
	}
	return nil
}

func forget(ctx context.Context, tx pgx.Tx, flowName, table string) error {
	if _, err := tx.Exec(ctx, `drop table if exists `+qualified(relationOf(flowName, table))); err != nil {
		return err
	}
	for _, of := range []string{"batch", "acknowledged", "published", "digest", "resend", "border"} {
		if _, err := tx.Exec(ctx, `delete from egress.`+of+` where flow = $1 and "table" = $2`, flowName, table); err != nil {
			return err
		}
	}
	return nil
}
