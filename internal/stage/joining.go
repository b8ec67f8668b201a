package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
)

// mostLevels is how many levels the state of a target may have before they become one.
const mostLevels = 6

type (
	// JoinOptions say how a run is joined.
	JoinOptions struct {
		Accepted bool // a person says that the figures are right, whatever the guard says
		Rows     int  // of a chunk; 0: 10,000
		// Fold says which keys are one to the target; nil: only equal ones. It gets the
		// cells of write.key.
		Fold func(key [][]byte) string
	}

	// Joined is what a run has to write. Held is why it writes nothing.
	Joined struct {
		Keys      int64
		Changed   int64
		Unchanged int64
		Rejected  int64
		Held      *fault.Fault
	}

	// input is a source as a run uses it.
	input struct {
		name       string
		state      flow.SourceState
		generation int64
		sum        join.Sum
		rows       int64
		asOf       time.Time
		held       *fault.Fault
		count      flow.SourceCount
	}
)

// Join joins what a run has read, compares with what the target holds and freezes what
// differs as chunks, all of it or nothing. A run that was joined before is not joined
// again. Where all that goes in is what went into the last join, nothing is read.
func (s *Stage) Join(ctx context.Context, plan *flow.Plan, j *join.Plan, runID string, o JoinOptions) (Joined, error) {
	if out, done, err := s.joined(ctx, runID); done || err != nil {
		return out, err
	}
	inputs, err := s.inputs(ctx, plan, runID)
	if err != nil {
		return Joined{}, err
	}
	w := &joining{Stage: s, plan: plan, join: j, runID: runID, options: o, inputs: inputs}
	if w.options.Rows <= 0 {
		w.options.Rows = 10_000
	}
	w.spec, w.digest = plan.Digest(), w.digestOfInputs()
	for i := range inputs {
		if inputs[i].held != nil {
			return w.hold(ctx, inputs[i].held)
		}
	}
	if out, same, err := w.repeat(ctx); same || err != nil {
		return out, settled(err)
	}
	out, err := w.run(ctx)
	if held := (*fault.Fault)(nil); errors.As(err, &held) && (held.Code == CodeZero || held.Code == CodeShare) {
		return w.hold(ctx, held)
	}
	return out, settled(err)
}

// joined is what an earlier attempt has made of the run. One that was put aside, and that
// another run has passed since, writes nothing any more: its rows are older than those
// that the target has.
func (s *Stage) joined(ctx context.Context, runID string) (out Joined, done bool, err error) {
	err = s.store.Read(ctx, func(c *pgxpool.Conn) error {
		var passed bool
		err := c.QueryRow(ctx, `
			select keys, changed, unchanged, rejected, held,
			       written + refused < changed and exists (select from stage_join l where l.flow = j.flow and l.id > j.id and l.held is null)
			from stage_join j where run_id = $1`, runID).
			Scan(&out.Keys, &out.Changed, &out.Unchanged, &out.Rejected, &out.Held, &passed)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if passed && out.Held == nil {
			out.Held = fault.New(fault.Rejected, CodePassed, "a later run of the flow has been joined since; what this one would write is older", nil)
		}
		done = err == nil
		return err
	})
	return out, done, err
}

// inputs finds out what there is of each source.
func (s *Stage) inputs(ctx context.Context, plan *flow.Plan, runID string) ([]input, error) {
	var out []input
	err := s.store.Read(ctx, func(c *pgxpool.Conn) error {
		out = make([]input, len(plan.Gather.Sources))
		for i, source := range plan.Gather.Sources {
			in := &out[i]
			in.name = source.Name
			var sum []byte
			var spec string
			var age time.Duration
			err := c.QueryRow(ctx, `select spec, generation, sum, rows, as_of, now() - as_of from stage_source where flow = $1 and source = $2`, plan.Flow, source.Name).
				Scan(&spec, &in.generation, &sum, &in.rows, &in.asOf, &age)
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			usable := err == nil && spec == specOf(source)
			in.sum = join.SumOf(sum)
			read, err := in.read(ctx, c, runID)
			if err != nil {
				return err
			}
			in.decide(source, usable, read, age)
			if err := c.QueryRow(ctx, `select count(*) from stage_reject where flow = $1 and source = $2 and resolved_at is null and open`, plan.Flow, source.Name).
				Scan(&in.count.Rejected); err != nil {
				return err
			}
			in.counted()
		}
		return nil
	})
	return out, err
}

// reading is what a run has read of a source.
type reading struct {
	whole bool         // it is complete
	held  *fault.Fault // why it is not used
}

func (in *input) read(ctx context.Context, c *pgxpool.Conn, runID string) (r reading, err error) {
	err = c.QueryRow(ctx, `select ended_at is not null, held, rows + rejected, pages, bytes from stage_read where run_id = $1 and source = $2`, runID, in.name).
		Scan(&r.whole, &r.held, &in.count.Fresh, &in.count.Pages, &in.count.Bytes)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	r.whole = r.whole && r.held == nil
	return r, err
}

// decide says what is used of a source, by its policy where it could not be read.
func (in *input) decide(source flow.Source, usable bool, read reading, age time.Duration) {
	why := "it was not read"
	if read.held != nil {
		why = read.held.Text
	}
	if in.state = flow.Fresh; read.whole && usable {
		return
	}
	if f := read.held; f != nil && (f.Code == CodeZero || f.Code == CodeShare) {
		in.held, in.state, in.count.Note = f, flow.Stale, f.Text
		return
	}
	in.count.Note = why
	switch {
	case source.OnMissing == flow.LastGood && usable && (source.Stale == 0 || age <= source.Stale):
		in.state = flow.Stale
		return
	case source.OnMissing == flow.LastGood && usable:
		in.held = fault.New(fault.Rejected, CodeTooOld, fmt.Sprintf("the source %s cannot be read, and what was read last is older than %s; nothing is written: %s", in.name, source.Stale, why), nil)
	case source.OnMissing != flow.Partial:
		in.held = fault.New(fault.Rejected, CodeMissing, fmt.Sprintf("the source %s cannot be read, and nothing is written without it: %s", in.name, why), nil)
	}
	in.state, in.generation, in.sum, in.rows, in.asOf = flow.Missing, 0, join.Sum{}, 0, time.Time{}
}

// counted fills in what is known before the join.
func (in *input) counted() {
	if in.state == flow.Missing {
		in.count.Rejected = 0 // of rows that are not looked at
	}
	in.count.State, in.count.AsOf = in.state, in.asOf.UTC()
	if in.asOf.IsZero() {
		in.count.AsOf = time.Time{}
	}
	in.count.Staged, in.count.Read = in.rows, in.rows+in.count.Rejected
	in.count.Unmatched = in.rows // until a join says otherwise
}

// joining is the join of one run.
type joining struct {
	*Stage
	plan    *flow.Plan
	join    *join.Plan
	runID   string
	options JoinOptions
	inputs  []input
	spec    string
	digest  string // of all that goes in
	id      int64
	chunks  int
	kept    []int64 // the levels that there are, the newest first
}

// digestOfInputs is equal for equal rows of all sources.
func (w *joining) digestOfInputs() string {
	type one struct {
		Name string
		Sum  join.Sum
		Rows int64
		Gone bool
	}
	all := make([]one, len(w.inputs))
	for i, in := range w.inputs {
		all[i] = one{in.name, in.sum, in.rows, in.state == flow.Missing}
	}
	return digestOf(all)
}

func (w *joining) sources() map[string]flow.SourceCount {
	out := make(map[string]flow.SourceCount, len(w.inputs))
	for _, in := range w.inputs {
		out[in.name] = in.count
	}
	return out
}

func (w *joining) asOf() []time.Time {
	out := make([]time.Time, len(w.inputs))
	for i, in := range w.inputs {
		out[i] = in.asOf
	}
	return out
}

// hold records a run that writes nothing.
func (w *joining) hold(ctx context.Context, held *fault.Fault) (Joined, error) {
	out := Joined{Held: held}
	err := w.store.Tx(ctx, func(tx pgx.Tx) error { return w.record(ctx, tx, join.Counts{}, held) })
	return out, settled(err)
}

// record keeps what became of all rows.
func (w *joining) record(ctx context.Context, tx pgx.Tx, c join.Counts, held *fault.Fault) error {
	_, err := tx.Exec(ctx, `
		insert into stage_join (run_id, id, flow, spec, inputs, layout, sources, fields, chunks, keys, changed, unchanged, rejected, gone, accepted, held)
		values ($1, coalesce(nullif($2::bigint, 0), nextval('stage_id')), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		on conflict (run_id) do nothing`,
		w.runID, w.id, w.plan.Flow, w.spec, w.digest, w.join.Layout(), w.sources(), w.join.Fields(w.asOf()), w.chunks,
		c.Keys, c.Changed, c.Unchanged, c.Rejected, c.Gone, w.options.Accepted, held)
	return err
}

// repeat takes over the counts of the last join when all that went into it goes in
// again and the target took all of it. Where rows came twice, or a value depends on when
// a source was read, that is not enough.
func (w *joining) repeat(ctx context.Context) (out Joined, same bool, err error) {
	if w.join.Timed() {
		return out, false, nil
	}
	err = w.store.Tx(ctx, func(tx pgx.Tx) error {
		var c join.Counts
		var last map[string]flow.SourceCount
		err := tx.QueryRow(ctx, `
			select keys, rejected, gone, sources from stage_join
			where flow = $1 and held is null and spec = $2 and inputs = $3 and refused = 0 and written = changed
			  and id = (select max(id) from stage_join where flow = $1 and held is null)`, w.plan.Flow, w.spec, w.digest).
			Scan(&c.Keys, &c.Rejected, &c.Gone, &last)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range w.inputs {
			n := &w.inputs[i].count
			was := last[w.inputs[i].name]
			if was.Duplicate > 0 {
				return nil
			}
			n.Used, n.Unmatched = was.Used, was.Unmatched
		}
		if held, err := believe(ctx, tx, w.plan.Flow, "target", "", c.Keys, w.plan.Gather.Guard, w.options.Accepted); held != nil || err != nil {
			return errors.Join(err, asError(held))
		}
		c.Unchanged = c.Keys - c.Rejected
		same, out = true, Joined{Keys: c.Keys, Unchanged: c.Unchanged, Rejected: c.Rejected}
		return w.record(ctx, tx, c, nil)
	})
	return out, same && err == nil, err
}

// run does the work: streams in, chunks out, in one transaction.
func (w *joining) run(ctx context.Context) (Joined, error) {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	in := join.Input{AsOf: w.asOf(), Rows: w.options.Rows, Fold: w.options.Fold}
	for _, source := range w.inputs {
		if source.state == flow.Missing {
			in.Streams = append(in.Streams, nil)
			continue
		}
		in.Streams = append(in.Streams, openStream(ctx, w.store, source.generation, &all))
	}
	levels, newest, err := w.levels(ctx)
	kept := len(levels)
	if err == nil {
		in.Levels, err = w.doubtful(ctx, levels)
	}
	if err != nil {
		return Joined{}, err
	}
	var counts join.Counts
	done := false
	err = w.store.Long(ctx, longest, func(tx pgx.Tx) error {
		// An attempt that was given up may still be at it: one after the other. What it
		// has made is seen by the statement after the one that waited for it.
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, w.runID); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `select exists (select from stage_join where run_id = $1)`, w.runID).Scan(&done); err != nil || done {
			return err
		}
		if err := tx.QueryRow(ctx, `select nextval('stage_id')`).Scan(&w.id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update stage_reject set resolved_at = now() where flow = $1 and source = '' and resolved_at is null and open`, w.plan.Flow); err != nil {
			return err
		}
		if kept > mostLevels {
			if err := w.compact(ctx, tx, &in, newest); err != nil {
				return err
			}
		}
		w.chunks = 0
		in.Chunk = func(rows int, body []byte) error {
			_, err := tx.Exec(ctx, `insert into stage_chunk (run_id, n, rows, body) values ($1, $2, $3, $4)`, w.runID, w.chunks, rows, body)
			w.chunks++
			return err
		}
		var rejects []flow.RejectedRow
		flush := func() error {
			err := putRejects(ctx, tx, w.plan.Flow, w.runID, true, rejects, nil)
			rejects = rejects[:0]
			return err
		}
		in.Reject = func(r flow.RejectedRow) error {
			if rejects = append(rejects, r); len(rejects) < 1000 {
				return nil
			}
			return flush()
		}
		var err error
		if counts, err = w.join.Run(ctx, in); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
		if held, err := believe(ctx, tx, w.plan.Flow, "target", "", counts.Keys, w.plan.Gather.Guard, w.options.Accepted); held != nil || err != nil {
			return errors.Join(err, asError(held))
		}
		w.take(counts)
		return w.record(ctx, tx, counts, nil)
	})
	if done {
		out, _, err := w.joined(ctx, w.runID)
		return out, err
	}
	return Joined{Keys: counts.Keys, Changed: counts.Changed, Unchanged: counts.Unchanged, Rejected: counts.Rejected}, err
}

// take fills in what became of the rows of each source.
func (w *joining) take(c join.Counts) {
	for i := range w.inputs {
		n := &w.inputs[i].count
		of := c.Sources[i]
		n.Staged, n.Used, n.Unmatched, n.Duplicate = of.Staged, of.Used, of.Unmatched, of.Duplicate
		n.Read = n.Staged + n.Rejected
	}
}

// levels are what the target holds, the newest first.
func (w *joining) levels(ctx context.Context) (levels []join.Level, newest int64, err error) {
	type one struct {
		level  int64
		layout string
	}
	found, err := read(ctx, w.store, func(r pgx.CollectableRow) (o one, err error) {
		return o, r.Scan(&o.level, &o.layout)
	}, `select level, min(layout) from stage_level where flow = $1 group by level order by level desc`, w.plan.Flow)
	if err != nil {
		return nil, 0, err
	}
	for _, o := range found {
		newest = max(newest, o.level)
		w.kept = append(w.kept, o.level)
		n := -1
		levels = append(levels, join.Level{Layout: o.layout, Next: func() (body []byte, err error) {
			err = w.store.Read(ctx, func(c *pgxpool.Conn) error {
				return c.QueryRow(ctx, `select n, body from stage_level where flow = $1 and level = $2 and n > $3 order by n limit 1`, w.plan.Flow, o.level, n).Scan(&n, &body)
			})
			if errors.Is(err, pgx.ErrNoRows) {
				err = io.EOF
			}
			return body, err
		}})
	}
	return slices.Clip(levels), newest, nil
}

// doubtful puts the keys of chunks that earlier runs left open among the levels: the
// target may have them or not, so that nothing of them counts as unchanged.
func (w *joining) doubtful(ctx context.Context, levels []join.Level) ([]join.Level, error) {
	type one struct {
		run string
		id  int64
	}
	open, err := read(ctx, w.store, func(r pgx.CollectableRow) (o one, err error) {
		return o, r.Scan(&o.run, &o.id)
	}, `
		select run_id, id from stage_join j where flow = $1 and held is null and run_id <> $2 and written + refused < changed
		  and exists (select from stage_chunk c where c.run_id = j.run_id and written_at is null)`, w.plan.Flow, w.runID)
	if err != nil {
		return nil, err
	}
	ids := slices.Clone(w.kept)
	for _, o := range open {
		n, at := -1, 0
		for at < len(ids) && ids[at] > o.id {
			at++
		}
		ids = slices.Insert(ids, at, o.id)
		levels = slices.Insert(levels, at, join.Level{Next: func() (block []byte, err error) {
			var body []byte
			var rows int
			err = w.store.Read(ctx, func(c *pgxpool.Conn) error {
				return c.QueryRow(ctx, `select n, rows, body from stage_chunk where run_id = $1 and n > $2 and written_at is null order by n limit 1`, o.run, n).Scan(&n, &rows, &body)
			})
			if errors.Is(err, pgx.ErrNoRows) {
				return nil, io.EOF
			}
			if err != nil {
				return nil, err
			}
			return join.Doubtful(body, rows)
		}})
	}
	return levels, nil
}

// compact has the join write all levels as one, in the place of the newest. What it
// reads meanwhile is what was there before its transaction.
func (w *joining) compact(ctx context.Context, tx pgx.Tx, in *join.Input, newest int64) error {
	if _, err := tx.Exec(ctx, `delete from stage_level where flow = $1 and level <= $2`, w.plan.Flow, newest); err != nil {
		return err
	}
	n := 0
	in.Merged = func(rows int, block []byte) error {
		_, err := tx.Exec(ctx, `insert into stage_level (flow, level, n, layout, rows, body) values ($1, $2, $3, $4, $5, $6)`,
			w.plan.Flow, newest, n, w.join.Layout(), rows, block)
		n++
		return err
	}
	return nil
}
