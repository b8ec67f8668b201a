package stage

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
	"patchbay/internal/store"
)

type (
	// Chunk is rows of a run's target that belong together in one write: they were frozen
	// by the join and never change. Rows are distinct by Targets.
	Chunk struct {
		N       int // from 0
		Sheet   flow.Sheet
		Keys    []string // of the rows, by which the sources were joined
		Targets [][]byte // the rows' keys in the target, each a JSON array of the values of write.key
		SHA256  []byte   // of all of it
		Written bool     // the target has it, and Written was told so

		chunk join.Chunk
	}

	// Refusal is a row of a chunk that the target did not take.
	Refusal struct {
		Row    int
		Code   string
		Reason string // in words, without values
	}
)

// Chunks is how many chunks a run has to write, numbered from 0; 0 when nothing
// differs, the run is held, or it was not joined. next is the first one that is not
// written.
func (s *Stage) Chunks(ctx context.Context, runID string) (chunks, next int, err error) {
	err = s.store.Read(ctx, func(c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, `
			select chunks, coalesce((select min(n) from stage_chunk c where c.run_id = j.run_id and written_at is null), chunks)
			from stage_join j where run_id = $1`, runID).Scan(&chunks, &next)
		if errors.Is(err, pgx.ErrNoRows) {
			chunks, next, err = 0, 0, nil
		}
		return err
	})
	return chunks, next, err
}

// Chunk reads a chunk of a run. columns are those of the plan's map.
func (s *Stage) Chunk(ctx context.Context, plan *flow.Plan, runID string, n int) (Chunk, error) {
	out := Chunk{N: n}
	columns := make([]string, len(plan.Map))
	for i, c := range plan.Map {
		columns[i] = c.Name
	}
	err := s.store.Read(ctx, func(c *pgxpool.Conn) error {
		var err error
		out.chunk, out.SHA256, out.Written, err = readChunk(ctx, c, columns, runID, n)
		return err
	})
	out.Sheet, out.Keys, out.Targets = out.chunk.Sheet, out.chunk.Keys, out.chunk.Targets
	return out, err
}

// querier reads one row: a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func readChunk(ctx context.Context, q querier, columns []string, runID string, n int) (c join.Chunk, sum []byte, written bool, err error) {
	var body []byte
	var rows int
	err = q.QueryRow(ctx, `select rows, body, sha256(body), written_at is not null from stage_chunk where run_id = $1 and n = $2`, runID, n).
		Scan(&rows, &body, &sum, &written)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, nil, false, fault.New(fault.Bug, "bug.stage", "a chunk that the join did not make", nil)
	}
	if err == nil {
		c, err = join.ReadChunk(columns, body, rows)
	}
	return c, sum, written, err
}

// Written records that the target took a chunk, but for the rows that it refused: they
// become rejects, and are tried again by the next run. A second call for the same chunk
// changes nothing. A row of which nobody knows whether the target has it counts as
// refused, with a code that says so.
func (s *Stage) Written(ctx context.Context, runID string, chunk Chunk, refused []Refusal) error {
	not := make(map[int]bool, len(refused))
	rejects := make([]flow.RejectedRow, 0, len(refused))
	for _, r := range refused {
		if not[r.Row] {
			continue
		}
		not[r.Row] = true
		rejects = append(rejects, flow.RejectedRow{Key: chunk.Keys[r.Row], Identity: string(chunk.Targets[r.Row]), Code: r.Code, Reason: r.Reason})
	}
	block, held := chunk.chunk.Level(not)
	return settled(s.store.Tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update stage_chunk set written_at = now() where run_id = $1 and n = $2 and written_at is null`, runID, chunk.N)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		var flow string
		err = tx.QueryRow(ctx, `update stage_join set written = written + $2, refused = refused + $3 where run_id = $1 returning flow`, runID, held, len(not)).Scan(&flow)
		if err != nil {
			return err
		}
		if held > 0 {
			if _, err := tx.Exec(ctx, `
				insert into stage_level (flow, level, n, layout, rows, body)
				select flow, id, $2, layout, $3, $4 from stage_join where run_id = $1`, runID, chunk.N, held, block); err != nil {
				return err
			}
		}
		return putRejects(ctx, tx, flow, runID, true, rejects, nil)
	}))
}

// settled makes a commit of which nobody knows whether it took effect worth another
// try: everything here finds out what there is before it goes on.
func settled(err error) error {
	if f := (*fault.Fault)(nil); errors.As(err, &f) && f.Class == fault.InDoubt {
		return fault.New(fault.Unavailable, f.Code, f.Text, err)
	}
	return err
}

// putRejects keeps rows that were not used. idents are their identities, nil for rows
// of the target.
func putRejects(ctx context.Context, tx pgx.Tx, flow, runID string, open bool, rejects []flow.RejectedRow, idents []string) error {
	if len(rejects) == 0 {
		return nil
	}
	columns := make([][]string, 6)
	for i := range columns {
		columns[i] = make([]string, len(rejects))
	}
	for i, r := range rejects {
		for j, v := range []string{r.Source, r.Key, r.Identity, "", r.Code, r.Reason} {
			columns[j][i] = store.Text(v)
		}
		if idents != nil {
			columns[3][i] = store.Text(idents[i])
		}
	}
	_, err := tx.Exec(ctx, `
		insert into stage_reject (flow, run_id, open, source, key, identity, ident, code, reason)
		select $1, $2, $3, * from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])`,
		flow, runID, open, columns[0], columns[1], columns[2], columns[3], columns[4], columns[5])
	return err
}
