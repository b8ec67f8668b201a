package paid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/store"
)

type (
	// Computed are the outputs of calculators that may be used again. It is safe for concurrent use.
	Computed struct {
		store *store.Store
		key   key
	}

	// Calculation is all that an output depends on. Input is in its canonical form
	// (calculator.Canonical); it is digested and not kept. Model is the digest of the calculator's
	// model, empty where it has none.
	Calculation struct {
		Function, Version, Model string
		Seed                     uint64
		Input                    json.RawMessage
		// Reuse is how old an output of another run may be; 0: none is used.
		Reuse time.Duration
		Run   string // that the output is for
	}

	// Output is what a calculation came to, byte for byte as it was kept.
	Output struct {
		Body json.RawMessage
		At   time.Time
		Run  string // that computed it
	}
)

// NewComputed gives the outputs of a store.
func NewComputed(s *store.Store) *Computed { return &Computed{store: s, key: key{store: s}} }

func (c *Computed) digest(ctx context.Context, q Calculation) ([]byte, error) {
	return c.key.of(ctx, "computed", q.Function, q.Version, q.Model, strconv.FormatUint(q.Seed, 10), string(q.Input))
}

// Find gives the output that there is, and notes that the run uses it; false: compute it, and Keep it.
func (c *Computed) Find(ctx context.Context, q Calculation) (out Output, found bool, err error) {
	question, err := c.digest(ctx, q)
	if err != nil {
		return Output{}, false, err
	}
	err = c.store.Tx(ctx, func(tx pgx.Tx) error {
		out, found = Output{}, false
		err := tx.QueryRow(ctx, `
			update computed set keep_until = greatest(keep_until, at + make_interval(secs => $2))
			where question = $1 and output is not null and (run_id = $3 or at > now() - make_interval(secs => $2))
			returning output, at, run_id`, question, q.Reuse.Seconds(), q.Run).Scan(&out.Body, &out.At, &out.Run)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		out.At, found = out.At.UTC(), true
		_, err = tx.Exec(ctx, `insert into computed_use (question, run_id) values ($1, $2) on conflict do nothing`, question, q.Run)
		return err
	})
	return out, found, err
}

// Keep keeps an output. One that differs from what the same calculation gave before, while that is
// there, is a Bug, "computed.differs": a calculator is a function of its input and its seed.
func (c *Computed) Keep(ctx context.Context, q Calculation, body json.RawMessage) error {
	question, err := c.digest(ctx, q)
	if err != nil {
		return err
	}
	return c.store.Tx(ctx, func(tx pgx.Tx) error {
		var known []byte
		err := tx.QueryRow(ctx, `
			insert into computed as k (question, function, version, run_id, output, keep_until)
			values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
			on conflict (question) do update set
				output = coalesce(k.output, excluded.output), at = now(), run_id = excluded.run_id, keep_until = greatest(k.keep_until, excluded.keep_until)
			returning output`, question, q.Function, q.Version, q.Run, []byte(body), max(q.Reuse, forRun).Seconds()).Scan(&known)
		if err != nil {
			return err
		}
		if !bytes.Equal(known, body) {
			return fault.New(fault.Bug, "computed.differs", q.Function+" "+q.Version+" gave another output than before for the same input and seed", nil)
		}
		_, err = tx.Exec(ctx, `insert into computed_use (question, run_id) values ($1, $2) on conflict do nothing`, question, q.Run)
		return err
	})
}
