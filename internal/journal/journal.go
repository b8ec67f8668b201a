package journal

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// limit bounds what one explain answers; the newest entries win.
const limit = 1000

// maxKey bounds a key in bytes. A longer one is cut, when written and when asked.
const maxKey = 200

// Insert begins a statement that adds entries, for the owner of a table that
// journals in the very statement that changes it. The columns that follow are
// flow, run, what, reason, final, keys (see Keys) and detail; those of a run that
// may have been redriven begin with InsertRound, which has the round first.
const (
	Insert      = `insert into journal (flow, run, what, reason, final, keys, detail) `
	InsertRound = `insert into journal (round, flow, run, what, reason, final, keys, detail) `
)

type (
	// Entry is one thing that happened to a run.
	Entry struct {
		Flow   string
		Run    string
		What   string // "effect", "closed", …
		Reason Reason
		Final  bool           // the one final reason of the run, in its round
		Round  int            // how often the run had been accepted again
		Keys   []string       // business keys it is found by, besides the run
		Detail map[string]any // safe to show
	}

	// Journal answers questions about the past.
	Journal struct {
		store *store.Store
	}
)

// New gives a Journal on a store.
func New(s *store.Store) *Journal { return &Journal{store: s} }

// Keys makes business keys fit to be stored and searched: no empty ones, no
// duplicates, none too long.
func Keys(keys ...string) []string {
	out := make([]string, 0, len(keys))
	for _, k := range keys {
		if k = key(k); k != "" && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func key(s string) string {
	s = store.Text(s)
	if len(s) > maxKey {
		s = strings.ToValidUTF8(s[:maxKey], "")
	}
	return s
}

// Write adds entries in their order, in one statement of the caller's
// transaction. A second final reason of a run is a Bug, code
// "journal.second_final".
func Write(ctx context.Context, tx pgx.Tx, entries ...Entry) error {
	var batch pgx.Batch
	if err := Queue(&batch, entries...); err != nil {
		return err
	}
	return Verdict(tx.SendBatch(ctx, &batch).Close())
}

// Queue adds entries as Write does, as a statement of a batch that the caller
// sends. Verdict names what may be wrong with it.
func Queue(batch *pgx.Batch, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	type line struct {
		Flow   string         `json:"flow"`
		Run    string         `json:"run"`
		What   string         `json:"what"`
		Reason Reason         `json:"reason"`
		Final  bool           `json:"final"`
		Round  int            `json:"round"`
		Keys   []string       `json:"keys"`
		Detail map[string]any `json:"detail"`
	}
	lines := make([]line, len(entries))
	for i, e := range entries {
		lines[i] = line{e.Flow, e.Run, e.What, e.Reason, e.Final, e.Round, Keys(e.Keys...), clean(e.Detail)}
	}
	body, err := json.Marshal(lines)
	if err != nil {
		return fault.New(fault.Bug, "journal.detail", "a journal entry cannot be encoded", err)
	}
	batch.Queue(InsertRound+`
		select (e->>'round')::smallint, e->>'flow', e->>'run', e->>'what', e->>'reason', (e->>'final')::boolean,
		       array(select jsonb_array_elements_text(e->'keys')), e->'detail'
		from jsonb_array_elements($1::jsonb) with ordinality as t(e, n) order by n`, body)
	return nil
}

// Verdict is err, which a batch with queued entries ended with, by its name.
func Verdict(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.ConstraintName == "journal_final" {
		return fault.New(fault.Bug, "journal.second_final", "a run was given a second final reason", err)
	}
	return err
}

// clean keeps details storable; jsonb takes no NUL.
func clean(detail map[string]any) map[string]any {
	out := make(map[string]any, len(detail))
	for k, v := range detail {
		if s, ok := v.(string); ok {
			v = store.Text(s)
		}
		out[k] = v
	}
	return out
}

// Explain gives what happened to a business key or a run_id, oldest first; the
// newest 1,000 entries if there are more, none if the key is unknown.
func (j *Journal) Explain(ctx context.Context, about string) ([]flow.Entry, error) {
	entries := []flow.Entry{}
	err := j.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			select at, flow, run, what, reason, detail from journal
			where keys @> array[$1] or run = $1
			order by id desc limit $2`, key(about), limit)
		if err != nil {
			return err
		}
		entries, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (flow.Entry, error) {
			var e flow.Entry
			var at time.Time
			err := r.Scan(&at, &e.Flow, &e.Run, &e.What, &e.Reason, &e.Detail)
			e.At = at.UTC()
			return e, err
		})
		return err
	})
	slices.Reverse(entries)
	return entries, err
}
