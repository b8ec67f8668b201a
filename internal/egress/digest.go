package egress

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Print is the digest of a part of the records of a table, made of the columns that may
	// cross and of nothing else. It is what package replica calls a Part.
	Print struct {
		N       int
		Rows    int64
		Digest  int64
		Entries []byte // 16 bytes a record, where they are asked for
	}

	// Answer is what another region said of a table when it was asked: its digests lie in so
	// many parts; in them are all batches that it exported up to Last, and what it had
	// received of each region up to these.
	Answer struct {
		Parts    int
		Last     int64
		Received map[string]int64
	}
)

// mostParts bounds what another region may make us read: 1,000 records a part, and so a
// thousand million.
const mostParts = 1_000_000

// Asked tells which tables of a flow other regions want to compare, and the time of the
// last question, which Publish takes.
func (e *Egress) Asked(ctx context.Context, flowName string) (map[string]time.Time, error) {
	asked := map[string]time.Time{}
	err := e.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select "table", asked from egress.published where flow = $1 and asked > coalesce(answered, '-infinity')`, flowName)
		if err != nil {
			return err
		}
		var table string
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&table, &at}, func() error { asked[table] = at; return nil })
		return err
	})
	return asked, err
}

// Last is the last batch of a table that somebody has still to fetch, or fetched just now;
// 0: there is none.
func (e *Egress) Last(ctx context.Context, flowName, table string) (last int64, err error) {
	err = e.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select coalesce(max(batch), 0) from egress.batch where flow = $1 and "table" = $2`, flowName, table).Scan(&last)
	})
	return last, err
}

// Publish answers what was asked until a moment with digests that were made since, and
// with what had been received before they were made.
func (e *Egress) Publish(ctx context.Context, flowName string, t *flow.SyncTable, asked time.Time, received map[string]int64, prints []Print) error {
	upto, err := json.Marshal(received)
	if err != nil {
		return err
	}
	n := len(prints)
	parts, rows, digests, entries := make([]int, n), make([]int64, n), make([]int64, n), make([][]byte, n)
	for i, p := range prints {
		parts[i], rows[i], digests[i], entries[i] = p.N, p.Rows, p.Digest, p.Entries
		if entries[i] == nil {
			entries[i] = []byte{}
		}
	}
	return e.store.Tx(ctx, func(tx pgx.Tx) error {
		// What is as it was is not written again.
		_, err := tx.Exec(ctx, `
			insert into egress.digest as d (flow, "table", part, rows, digest, entries)
			select $1, $2, p.* from unnest($3::integer[], $4::bigint[], $5::bigint[], $6::bytea[]) as p
			on conflict (flow, "table", part) do update set rows = excluded.rows, digest = excluded.digest, entries = excluded.entries
				where d.entries <> excluded.entries`, flowName, t.Name, parts, rows, digests, entries)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from egress.digest where flow = $1 and "table" = $2 and part >= $3`, flowName, t.Name, n); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			update egress.published p set answered = $3, parts = $4, received = $5, columns = $6,
				last = (select coalesce(max(batch), 0) from egress.batch b where b.flow = p.flow and b."table" = p."table")
			where flow = $1 and "table" = $2`,
			flowName, t.Name, asked, n, upto, layout(t))
		return err
	})
}

// Ask asks another region for digests of a table; what it answers to a question is given by
// Answered. Its faults are those of Pull.
func (p *Peer) Ask(ctx context.Context, flowName, table string) (at time.Time, err error) {
	err = p.call(ctx, table, func(ctx context.Context, c *pgxpool.Conn, _ func()) error {
		var asked *time.Time
		if err := c.QueryRow(ctx, `select egress.ask($1, $2)`, flowName, table).Scan(&asked); err != nil {
			return err
		}
		if asked == nil {
			return fault.New(fault.NotFound, CodeMissing, "this region has no part in table "+table+" of the other region; apply the flow there", nil)
		}
		at = *asked
		return nil
	})
	return at, err
}

// Answered gives the answer to a question, or to a later one; nil: there is none yet. A
// region that lets other columns cross has no digests for our plan, CodeColumns.
func (p *Peer) Answered(ctx context.Context, flowName string, t *flow.SyncTable, asked time.Time) (answer *Answer, err error) {
	err = p.call(ctx, t.Name, func(ctx context.Context, c *pgxpool.Conn, _ func()) error {
		answer = nil
		var columns []string
		var received []byte
		var parts int32
		var last int64
		err := c.QueryRow(ctx, `select columns, received::text, parts, last from egress.answer($1, $2) where answered >= $3`, flowName, t.Name, asked).
			Scan(&columns, &received, &parts, &last)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := agrees(t, columns); err != nil {
			return err
		}
		answer = &Answer{Parts: int(parts), Last: last}
		if json.Unmarshal(received, &answer.Received) != nil || parts < 1 || parts > mostParts || last < 0 {
			return malformed(t, "what it says of its digests", nil)
		}
		return nil
	})
	return answer, err
}

// Prints gives the digests of a table: of all parts, without entries, or of some, with them.
func (p *Peer) Prints(ctx context.Context, flowName string, t *flow.SyncTable, some []int) (out []Print, err error) {
	err = p.call(ctx, t.Name, func(ctx context.Context, c *pgxpool.Conn, heard func()) error {
		out = nil
		rows, err := c.Query(ctx, `select part, rows, digest, entries from egress.digests($1, $2, $3) order by part`, flowName, t.Name, some)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			heard()
			var one Print
			if err := rows.Scan(&one.N, &one.Rows, &one.Digest, &one.Entries); err != nil {
				return malformed(t, "a digest", err)
			}
			if one.N < 0 || one.N >= mostParts || one.Rows < 0 || one.Rows > math.MaxInt32 || len(one.Entries) > mostBytes || len(out) > mostParts {
				return malformed(t, "a digest", nil)
			}
			out = append(out, one)
		}
		return rows.Err()
	})
	return out, err
}

// Reached reports whether somebody who has received so much has all that was known where
// so much had been received. Regions that are not asked about do not count.
func Reached(has, want map[string]int64) bool {
	for region := range want { // the answer is the same in any order
		if has[region] < want[region] {
			return false
		}
	}
	return true
}
