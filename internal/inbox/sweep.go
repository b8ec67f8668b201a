package inbox

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// Sweep is one look of change tracking at a table, in the hands of who took it.
type Sweep struct {
	Flow       string
	Connection string
	Table      string
	Columns    []string
	Every      time.Duration
	Position   string // cursor of the last look; empty: everything there is
	First      bool   // nothing was ever swept: what is there is remembered, and is no event
}

// sweepLease is how long a look may take until somebody else takes it up.
const sweepLease = 2 * time.Minute

// TakeSweep takes the sweep of a flow's table that is due; false when none is.
func (x *Inbox) TakeSweep(ctx context.Context, name string) (Sweep, bool, error) {
	plan, _, err := x.reacting(ctx, name)
	if err != nil {
		return Sweep{}, false, err
	}
	sources := sourcesOf(plan)
	if plan.Reaction.Sweep <= 0 {
		return Sweep{}, false, nil
	}
	s := Sweep{Flow: name, Every: plan.Reaction.Sweep}
	found := false
	err = x.store.Tx(ctx, func(tx pgx.Tx) error {
		found = false
		if _, err := tx.Exec(ctx, `insert into cursor (flow, source) select $1, s from unnest($2::text[]) as s on conflict do nothing`, name, sources); err != nil {
			return err
		}
		var source string
		err := tx.QueryRow(ctx, `
			update cursor c set due_at = now() + $3::interval from (
				select flow, source from cursor where flow = $1 and source = any($2) and due_at <= now() order by due_at limit 1 for update skip locked
			) as d where c.flow = d.flow and c.source = d.source
			returning c.source, c.position, c.swept_at is null`, name, sources, max(sweepLease, s.Every)).Scan(&source, &s.Position, &s.First)
		if err == pgx.ErrNoRows { //nolint:errorlint // pgx gives it as it is
			return nil
		}
		found = err == nil
		s.Connection, s.Table, _ = strings.Cut(source, ".")
		return err
	})
	s.Columns = watched(plan, s.Connection, s.Table)
	return s, found, err
}

func sourcesOf(plan *flow.Plan) []string {
	var out []string
	seen := map[string]bool{}
	for _, t := range plan.Reaction.On {
		if source := t.Connection + "." + t.Table; !seen[source] {
			seen[source] = true
			out = append(out, source)
		}
	}
	return out
}

// Look makes the sweeps of a connection's tables due now, those that the flow reacts to,
// and says how many. One that is under way is followed by another.
func (x *Inbox) Look(ctx context.Context, plan *flow.Plan, connection string, tables []string) (int, error) {
	var sources []string
	for _, table := range tables {
		if source := connection + "." + table; slices.Contains(sourcesOf(plan), source) {
			sources = append(sources, source)
		}
	}
	if len(sources) == 0 {
		return 0, nil
	}
	return len(sources), x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `insert into cursor as c (flow, source) select $1, s from unnest($2::text[]) as s
			on conflict (flow, source) do update set due_at = least(c.due_at, now())`, plan.Flow, sources)
		return err
	})
}

// Found commits what a sweep found, as Accept does. What was told already leaves
// nothing but a count.
func (x *Inbox) Found(ctx context.Context, s Sweep, events []flow.Occurrence) (flow.Receipt, error) {
	plan, judge, err := x.reacting(ctx, s.Flow)
	if err != nil {
		return flow.Receipt{}, err
	}
	d := &delivery{plan: plan, judge: judge, counts: map[string]int64{stageSwept: int64(len(events))}, swept: true, baseline: s.First}
	for _, e := range events {
		n, err := newEntry(plan, e)
		if err != nil {
			return flow.Receipt{}, err
		}
		d.entries = append(d.entries, n)
	}
	return x.commit(ctx, d)
}

// Swept keeps how far a sweep has come; done says that it has come to the end, and
// the next one is due after its interval, or at once where Look asked for it meanwhile.
func (x *Inbox) Swept(ctx context.Context, s Sweep, position string, done bool) error {
	next := sweepLease
	if done {
		next = s.Every
	}
	return x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			update cursor set position = $3, due_at = case when due_at <= now() then due_at else now() + $4::interval end, swept_at = case when $5 then now() else swept_at end, problem = ''
			where flow = $1 and source = $2`, s.Flow, s.Connection+"."+s.Table, position, next, done)
		return err
	})
}

// SweepFailed notes why a sweep did not come to its end. It is due again after its
// interval; an expired cursor begins anew at once, and nothing is lost: what is known
// of each record tells what changed since.
func (x *Inbox) SweepFailed(ctx context.Context, s Sweep, why error) error {
	f := fault.Of(why)
	position, next := s.Position, max(f.After, min(s.Every, time.Minute))
	if f.Code == "connector.cursor_expired" {
		position, next = "", 0
	}
	return x.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `update cursor set position = $3, due_at = now() + $4::interval, problem = $5 where flow = $1 and source = $2`,
			s.Flow, s.Connection+"."+s.Table, position, next, store.Text(f.Text))
		return err
	})
}

// SweepProblems gives the sources of a flow whose last sweep did not come to its end, and
// the connections whose stream ended.
func (x *Inbox) SweepProblems(ctx context.Context, plan *flow.Plan) ([]flow.Feed, error) {
	var list []flow.Feed
	err := x.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select source, swept_at, due_at, problem from cursor where flow = $1 and source = any($2) and problem <> '' order by source`,
			plan.Flow, feedsOf(plan))
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (flow.Feed, error) {
			var f flow.Feed
			err := r.Scan(&f.Source, &f.SweptAt, &f.SweepAt, &f.Problem)
			return f, err
		})
		return err
	})
	return list, err
}
