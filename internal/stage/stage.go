package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
	"patchbay/internal/store"
)

// The codes of this package.
const (
	CodeFenced   = "stage.fenced"     // another attempt has taken over
	CodeMoved    = "stage.moved"      // what was read belongs to rows that are replaced: Restart
	CodePageLoop = "vendor.page_loop" // the same page token twice
	CodeLost     = "source.lost_column"
	CodeGained   = "source.gained_column"
	CodeMissing  = "source.missing"
	CodeTooOld   = "source.too_old"
	CodeZero     = "guard.zero"
	CodeShare    = "guard.share"
	CodePassed   = "stage.passed" // a later run has been joined
)

// longest is how long a merge, an index or a sorted read may take.
const longest = 2 * time.Hour

type (
	// Stage keeps the rows of consolidations. It is safe for concurrent use.
	Stage struct {
		store *store.Store
	}

	// Reading is one attempt at reading a source for a run. It is used by one goroutine.
	Reading struct {
		stage  *Stage
		packer *join.Packer
		source flow.Source

		Flow  string
		RunID string
		// Since is the watermark to read from, as JSON text; empty: everything is read.
		Since string
		// Token is of the page to read next; Pages says how many there were.
		Token string
		Pages int64
		Rows  int64 // staged so far
		// Rejected counts the rows that were not.
		Rejected int64
		// Ended: it is complete, or nothing more comes of it.
		Ended bool
		// Held is why what was read is not believed; only of a reading that has ended.
		Held *fault.Fault

		spec       string
		generation int64
		base       int64
		fence      int64
		seen       string
		firstSeen  string
		sum        join.Sum
		beganAt    time.Time
		drift      error
		buffer     []byte
	}
)

// New gives a Stage on a store.
func New(s *store.Store) *Stage { return &Stage{store: s} }

// Begin begins to read a source of a plan for a run, or takes over from an earlier
// attempt: its pages are kept, and it can add none any more. full reads everything,
// whatever the watermark says.
func (s *Stage) Begin(ctx context.Context, plan *flow.Plan, source flow.Source, runID string, full bool) (*Reading, error) {
	packer, err := join.NewPacker(plan.Flow, source)
	if err != nil {
		return nil, err
	}
	r := &Reading{stage: s, packer: packer, source: source, Flow: plan.Flow, RunID: runID, spec: specOf(source)}
	err = s.store.Tx(ctx, func(tx pgx.Tx) error {
		again, err := r.resume(ctx, tx)
		if again || err != nil {
			return err
		}
		return r.begin(ctx, tx, full)
	})
	return r, err
}

// specOf is the digest of all that the staged rows of a source depend on.
func specOf(s flow.Source) string {
	kept := struct {
		Connection, Table, Key string
		Where                  []flow.Match
		Select                 []string
		Types                  []flow.Type
		Identity               []string
		Changed                string
	}{s.Connection, s.Table, s.Key, s.Where, s.Select, s.Types, s.Identity, ""}
	if s.Changed != nil {
		kept.Changed = s.Changed.Column
	}
	return digestOf(kept)
}

func digestOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("stage: what is ours cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// resume takes over what an earlier attempt has read.
func (r *Reading) resume(ctx context.Context, tx pgx.Tx) (bool, error) {
	var sum []byte
	err := tx.QueryRow(ctx, `
		update stage_read set fence = nextval('stage_id') where run_id = $1 and source = $2
		returning fence, generation, base, since, token, pages, rows, rejected, sum, seen, first_seen, began_at, ended_at is not null, held`,
		r.RunID, r.source.Name).Scan(&r.fence, &r.generation, &r.base, &r.Since, &r.Token, &r.Pages, &r.Rows, &r.Rejected, &sum,
		&r.seen, &r.firstSeen, &r.beganAt, &r.Ended, &r.Held)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	r.sum = join.SumOf(sum)
	return true, err
}

// begin decides how much is read, and makes the table for it.
func (r *Reading) begin(ctx context.Context, tx pgx.Tx, full bool) error {
	r.base, r.Since, r.Token, r.Pages, r.Rows, r.Rejected, r.sum = 0, "", "", 0, 0, 0, join.Sum{}
	var known struct {
		spec, since string
		generation  int64
		age         time.Duration
	}
	err := tx.QueryRow(ctx, `select spec, since, generation, now() - full_at from stage_source where flow = $1 and source = $2`, r.Flow, r.source.Name).
		Scan(&known.spec, &known.since, &known.generation, &known.age)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if w := r.source.Changed; w != nil && !full && err == nil && known.spec == r.spec && known.since != "" && (w.Full == 0 || known.age < w.Full) {
		r.base, r.Since = known.generation, known.since
	}
	if err := tx.QueryRow(ctx, `
		insert into stage_read (run_id, source, flow, spec, generation, base, since, fence)
		values ($1, $2, $3, $4, nextval('stage_id'), $5, $6, nextval('stage_id')) returning generation, fence, began_at`,
		r.RunID, r.source.Name, r.Flow, r.spec, r.base, r.Since).Scan(&r.generation, &r.fence, &r.beganAt); err != nil {
		return err
	}
	options := ""
	if r.source.Changed == nil {
		options = ` with (autovacuum_enabled = off)` // it is filled once and dropped whole
	}
	_, err = tx.Exec(ctx, `create table `+table(r.generation)+` (
		key text collate "C" not null, hash bigint not null, ident text collate "C" not null, n bigint not null, cells text not null)`+options)
	return err
}

func table(generation int64) string { return fmt.Sprintf("stage.g_%d", generation) }

// Failing records that the source does not answer, and gives how long it has not
// since it last did.
func (r *Reading) Failing(ctx context.Context) (since time.Duration, err error) {
	err = r.stage.store.Tx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			update stage_read set failing_at = coalesce(failing_at, now()) where run_id = $1 and source = $2 and fence = $3 and ended_at is null
			returning now() - failing_at`, r.RunID, r.source.Name, r.fence).Scan(&since)
		return fenced(err)
	})
	return since, err
}

// Abandon ends a reading of which nothing more comes. What was read last and whole
// stays what it was.
func (r *Reading) Abandon(ctx context.Context, why *fault.Fault) error {
	return r.stage.store.Tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update stage_read set ended_at = now(), held = $4 where run_id = $1 and source = $2 and fence = $3 and ended_at is null`,
			r.RunID, r.source.Name, r.fence, why)
		if err == nil && tag.RowsAffected() == 0 {
			return fenced(pgx.ErrNoRows)
		}
		if err == nil {
			_, err = tx.Exec(ctx, `delete from stage_token where run_id = $1 and source = $2`, r.RunID, r.source.Name)
		}
		if err == nil {
			_, err = tx.Exec(ctx, `drop table if exists `+table(r.generation))
		}
		return err
	})
}

// fenced names a row that is not there because another attempt has it.
func fenced(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.Unavailable, CodeFenced, "another attempt has taken over", nil)
	}
	return err
}

// read runs a query that gives rows.
func read[T any](ctx context.Context, s *store.Store, scan pgx.RowToFunc[T], sql string, args ...any) (out []T, err error) {
	err = s.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scan)
		return err
	})
	return out, err
}
