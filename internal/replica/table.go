package replica

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// table is a table of a flow, in a transaction that holds the lock on it.
type table struct {
	id     int32
	name   string
	flow   *flow.SyncTable
	alg    *algebra
	layout int32 // of the plan's columns
	// places maps the layouts in which records may be kept to the plan's columns: the
	// place of each kept value, -1 where the plan has no such column any more.
	places   map[int32][]int
	fence    int64
	writer   int64
	writing  bool       // the lease of the writer has not ended
	refuses  bool       // there are refused records
	folds    bool       // and pages
	together int        // from how many on records are kept in pages
	restored *time.Time // nil: it was not, or has recovered
	now      int64      // by the database's clock, microseconds
	rev      int64      // of what this transaction changes
	span     int64      // and of the range of records that it makes; 0: it makes none,
	spanned  int        // and of how many records
}

// tableOf gives the shape of a table of the plan.
func tableOf(p Place, name string) (*flow.SyncTable, error) {
	t := p.Sync.Table(name)
	if t == nil {
		return nil, fault.NotFoundf(CodeTable, "the flow has no table %s", name)
	}
	return t, nil
}

// open locks a table, and makes it known where it is not.
func (r *Replica) open(ctx context.Context, tx pgx.Tx, p Place, name string) (*table, error) {
	shape, err := tableOf(p, name)
	if err != nil {
		return nil, err
	}
	t := &table{name: name, together: r.together, flow: shape, alg: newAlgebra(p, shape), places: map[int32][]int{}}
	var elsewhere bool
	for range 2 {
		err = tx.QueryRow(ctx, `
			select id, fence, writer, writer_until > clock_timestamp(),
				(extract(epoch from clock_timestamp()) * 1000000)::bigint, nextval('replica_id'), restored,
				exists (select from replica_home where identity <> `+identity+`)
			from replica_table t where flow = $1 and name = $2 for no key update`, p.Flow, name).
			Scan(&t.id, &t.fence, &t.writer, &t.writing, &t.now, &t.rev, &t.restored, &elsewhere)
		if !errors.Is(err, pgx.ErrNoRows) {
			break
		}
		if _, err := tx.Exec(ctx, `insert into replica_table (id, flow, name) values (nextval('replica_id'), $1, $2) on conflict do nothing`, p.Flow, name); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	if elsewhere { // Begin and Recovering come first, and see to it
		return nil, restoring(name)
	}
	return t, t.columns(ctx, tx)
}

// columns finds, or makes, the layout of the plan's columns, and looks what else there is. Only a
// statement after the one that waited for the lock sees what was committed meanwhile.
func (t *table) columns(ctx context.Context, tx pgx.Tx) error {
	names := make([]string, len(t.flow.Columns))
	for i, c := range t.flow.Columns {
		names[i] = c.Name
	}
	rows, err := tx.Query(ctx, `select id, columns, exists (select from replica_refused where tbl = $1), exists (select from replica_page where tbl = $1) from replica_layout where tbl = $1`, t.id)
	if err != nil {
		return err
	}
	var id int32
	var kept []string
	_, err = pgx.ForEachRow(rows, []any{&id, &kept, &t.refuses, &t.folds}, func() error {
		places := make([]int, len(kept))
		for i, name := range kept {
			places[i] = slices.Index(names, name)
		}
		t.places[id] = places
		if slices.Equal(kept, names) {
			t.layout = id
		}
		return nil
	})
	if err != nil || t.layout != 0 {
		return err
	}
	places := make([]int, len(names))
	for i := range places {
		places[i] = i
	}
	if err := tx.QueryRow(ctx, `insert into replica_layout (id, tbl, columns) values (nextval('replica_id'), $1, $2) returning id`, t.id, names).Scan(&t.layout); err != nil {
		return err
	}
	t.places[t.layout] = places
	return nil
}

// idOf gives the ID of a table that is known; 0: nothing is known of it.
func idOf(ctx context.Context, q querier, p Place, name string) (id int32, err error) {
	if _, err := tableOf(p, name); err != nil {
		return 0, err
	}
	err = q.QueryRow(ctx, `select id from replica_table where flow = $1 and name = $2`, p.Flow, name).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return id, err
}
