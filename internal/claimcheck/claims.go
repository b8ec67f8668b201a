package claimcheck

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/store"
)

type (
	// Owner is who needs a document: a run or an event, by the ID of its row.
	Owner struct {
		Run   string
		Event int64
	}

	// Runs tells whether runs need what they hold.
	Runs interface {
		// Needing says of each of the runs that are known whether it is open, or may be
		// redriven. One that no longer needs its documents never does again.
		Needing(ctx context.Context, runIDs []string) (map[string]bool, error)
	}

	// Events tells of which events somebody may still need the documents, by the IDs of their
	// rows. One that is not is so for good.
	Events interface {
		Waiting(ctx context.Context, ids []int64) (map[int64]bool, error)
	}

	// Cleaner removes documents that nobody needs.
	Cleaner struct {
		Checks *Checks
		Runs   Runs
		Events Events
	}
)

const (
	// unborn is how long a claim may be there before its run is.
	unborn = time.Hour
	// givenUp is how long nothing is heard of a document that is being read until it is
	// nobody's: longer than any attempt is silent.
	givenUp = 15 * time.Minute
	// mostAsked bounds the owners that are asked for at a time.
	mostAsked = 500
)

// Hold notes, in a transaction, that an owner needs documents, by their checksums. It gives
// those that are not kept.
func Hold(ctx context.Context, tx pgx.Tx, by Owner, sums ...string) (missing []string, err error) {
	if len(sums) == 0 {
		return nil, nil
	}
	raw := make([][]byte, 0, len(sums))
	for _, s := range sums {
		if b, err := hex.DecodeString(s); err == nil {
			raw = append(raw, b)
		}
	}
	rows, err := tx.Query(ctx, `
		with kept as (select id, sha256 from content where sha256 = any ($1) for key share), held as (
			insert into claim (content, run_id, event) select id, nullif($2, ''), nullif($3::bigint, 0) from kept on conflict do nothing)
		select encode(sha256, 'hex') from kept`, raw, by.Run, by.Event)
	if err != nil {
		return nil, err
	}
	kept, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, s := range sums {
		if !slices.Contains(kept, s) {
			missing = append(missing, s)
		}
	}
	return missing, err
}

// HoldAll is Hold, but that all have to be there: Rejected "document.unknown".
func HoldAll(ctx context.Context, tx pgx.Tx, by Owner, sums ...string) error {
	missing, err := Hold(ctx, tx, by, sums...)
	if err == nil && len(missing) > 0 {
		err = unknown(missing[0])
	}
	return err
}

// Reserve notes that a run that is about to be accepted needs documents; it fails as HoldAll
// does. A run that is not there within an hour does not need them.
func (c *Checks) Reserve(ctx context.Context, runID string, sums ...string) error {
	if len(sums) == 0 {
		return nil
	}
	return c.store.Tx(ctx, func(tx pgx.Tx) error { return HoldAll(ctx, tx, Owner{Run: runID}, sums...) })
}

// Kept says how many documents are kept, and their bytes.
func (c *Checks) Kept(ctx context.Context) (documents int, bytes int64, err error) {
	err = c.store.Read(ctx, func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `select count(*), coalesce(sum(size), 0) from content where sha256 is not null`).Scan(&documents, &bytes)
	})
	return documents, bytes, err
}

// Clean removes the claims of owners that need nothing any more, then the documents that
// nobody claims; it says how many. Any number may clean at the same time.
func (c *Cleaner) Clean(ctx context.Context) (removed int, err error) {
	if err := c.runs(ctx); err != nil {
		return 0, err
	}
	if err := c.events(ctx); err != nil {
		return 0, err
	}
	for {
		gone, err := c.remove(ctx)
		if err != nil || !gone {
			return removed, err
		}
		removed++
	}
}

// owners reads a page of owners: the next after one.
func owners[T any](ctx context.Context, s *store.Store, sql string, after T) (page []T, err error) {
	err = s.Read(ctx, func(conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, sql, after, mostAsked)
		if err == nil {
			page, err = pgx.CollectRows(rows, pgx.RowTo[T])
		}
		return err
	})
	return page, err
}

func (c *Cleaner) runs(ctx context.Context) error {
	for after := ""; ; {
		page, err := owners(ctx, c.Checks.store, `select distinct run_id from claim where run_id > $1 order by run_id limit $2`, after)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1]
		needing, err := c.Runs.Needing(ctx, page)
		if err != nil {
			return err
		}
		var over, absent []string
		for _, id := range page {
			switch needs, known := needing[id]; {
			case !known:
				absent = append(absent, id)
			case !needs:
				over = append(over, id)
			}
		}
		if err := c.release(ctx, `delete from claim where run_id = any ($1)`, over); err != nil {
			return err
		}
		if err := c.release(ctx, `delete from claim where run_id = any ($1) and made_at < now() - $2::interval`, absent, unborn); err != nil {
			return err
		}
	}
}

func (c *Cleaner) events(ctx context.Context) error {
	for after := int64(0); ; {
		page, err := owners(ctx, c.Checks.store, `select distinct event from claim where event > $1 order by event limit $2`, after)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1]
		waiting, err := c.Events.Waiting(ctx, page)
		if err != nil {
			return err
		}
		over := slices.DeleteFunc(page, func(id int64) bool { return waiting[id] })
		if err := c.release(ctx, `delete from claim where event = any ($1)`, over); err != nil {
			return err
		}
	}
}

func (c *Cleaner) release(ctx context.Context, sql string, args ...any) error {
	return c.Checks.store.Write(ctx, func(conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, sql, args...)
		return err
	})
}

// remove deletes one document that nobody claims. One that is claimed in this moment is
// kept by the foreign key, and looked at again at the next time.
func (c *Cleaner) remove(ctx context.Context) (gone bool, err error) {
	err = c.Checks.store.Tx(ctx, func(tx pgx.Tx) error {
		gone = false
		var id int64
		err := tx.QueryRow(ctx, `
			select id from content c where (sha256 is not null or touched_at < now() - $1::interval) and not exists (select from claim where content = c.id)
			order by id limit 1 for update skip locked`, givenUp).Scan(&id)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		}
		gone = true
		return remove(ctx, tx, id)
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == foreignKey {
		return false, nil
	}
	return gone && err == nil, err
}

// foreignKey is PostgreSQL's code of a row that others refer to.
const foreignKey = "23503"
