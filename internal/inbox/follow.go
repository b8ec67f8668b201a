package inbox

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Followed is the stream of what changes behind one connection of a flow, in the hands
// of who took it: there is one reader at a time.
type Followed struct {
	Flow       string
	Connection string
	Holder     string
	Position   string // what is before it is accepted; empty: what is there has to be read first
	First      bool   // nothing was ever read: what is there is remembered, and is no event
}

// followLease is how long a reader that says nothing is waited for.
const followLease = 30 * time.Second

// TakeFeed takes the stream of a flow's connection; false when somebody else has it, or
// it is not due again after a failure.
func (x *Inbox) TakeFeed(ctx context.Context, name, connection, holder string) (Followed, bool, error) {
	f := Followed{Flow: name, Connection: connection, Holder: holder}
	found := false
	err := x.store.Tx(ctx, func(tx pgx.Tx) error {
		found = false
		if _, err := tx.Exec(ctx, `insert into cursor (flow, source) values ($1, $2) on conflict do nothing`, name, connection); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `
			update cursor set due_at = now() + $4::interval, held_by = $3 where flow = $1 and source = $2 and due_at <= now()
			returning position, swept_at is null`, name, connection, holder, followLease).Scan(&f.Position, &f.First)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		found = err == nil
		return err
	})
	return f, found, err
}

// KeepFeed keeps how far a stream was accepted, and that its reader lives. Another one
// that has it meanwhile is Conflict "feed.taken", and then nothing is kept.
func (x *Inbox) KeepFeed(ctx context.Context, f Followed, position string) error {
	return x.store.Write(ctx, func(c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, `
			update cursor set position = $4, due_at = now() + $5::interval, problem = '', swept_at = case when $4 = '' then swept_at else now() end
			where flow = $1 and source = $2 and held_by = $3`, f.Flow, f.Connection, f.Holder, position, followLease)
		if err == nil && tag.RowsAffected() == 0 {
			return fault.New(fault.Conflict, "feed.taken", "somebody else reads what changes at "+f.Connection+" for "+f.Flow, nil)
		}
		return err
	})
}

// FeedFailed gives a stream back, nil for no failure. After an expired position all is
// read again, and what is known of each record tells what changed since.
func (x *Inbox) FeedFailed(ctx context.Context, f Followed, why error) error {
	position, text, wait := f.Position, "", time.Duration(0)
	if why != nil {
		said := fault.Of(why)
		text, wait = said.Text, max(said.After, 2*time.Second)
		if said.Code == "connector.cursor_expired" {
			position, wait = "", 0
		}
	}
	return x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			update cursor set position = $4, due_at = now() + $5::interval, problem = $6, held_by = null where flow = $1 and source = $2 and held_by = $3`,
			f.Flow, f.Connection, f.Holder, position, wait, store.Text(text))
		return err
	})
}

// Feeds gives the streams that there are, also those that the plan in force has no use for.
func (x *Inbox) Feeds(ctx context.Context) ([]Followed, error) {
	var list []Followed
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select flow, source from cursor where strpos(source, '.') = 0 and held_by is distinct from 'none'`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (Followed, error) {
			var f Followed
			err := r.Scan(&f.Flow, &f.Connection)
			return f, err
		})
		return err
	})
	return list, err
}

// EndFeed forgets the stream of a flow that does not follow the connection any more.
func (x *Inbox) EndFeed(ctx context.Context, f Followed) error {
	return x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			update cursor set position = '', due_at = now(), swept_at = null, held_by = 'none', problem = '' where flow = $1 and source = $2`, f.Flow, f.Connection)
		return err
	})
}

// feedsOf are the sources of a flow and its connections, by which its streams are known.
func feedsOf(plan *flow.Plan) []string {
	list := sourcesOf(plan)
	for _, source := range list[:len(list):len(list)] {
		connection, _, _ := strings.Cut(source, ".")
		list = append(list, connection)
	}
	return list
}
