package stage

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
	"patchbay/internal/strictjson"
)

type (
	// Customer is what there is of one key, source by source.
	Customer struct {
		Key     string
		Sources map[string]Belongings
	}

	// Belongings are the rows of one source that have the key, each identity once.
	Belongings struct {
		Rows  []flow.Row
		AsOf  time.Time // when they were read; zero: never
		Stale bool      // by an earlier run, or not at all
	}
)

// Customers gives what there is of keys in the sources as a run uses them, in the order
// of keys. One look passes over whole sources: ask for many at a time.
func (s *Stage) Customers(ctx context.Context, plan *flow.Plan, runID string, keys []string) ([]Customer, error) {
	inputs, err := s.inputs(ctx, plan, runID)
	if err != nil {
		return nil, err
	}
	all := make([]Customer, len(keys))
	at := make(map[string]*Customer, len(keys))
	for i, key := range keys {
		all[i] = Customer{Key: key, Sources: make(map[string]Belongings, len(inputs))}
		at[key] = &all[i]
	}
	for i, in := range inputs {
		for n := range all {
			all[n].Sources[in.name] = Belongings{AsOf: in.asOf, Stale: in.state != flow.Fresh}
		}
		if in.state == flow.Missing {
			continue
		}
		source := plan.Gather.Sources[i]
		err := s.store.Long(ctx, time.Minute, func(tx pgx.Tx) error { return belong(ctx, tx, in, source, keys, at) })
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func belong(ctx context.Context, tx pgx.Tx, in input, source flow.Source, keys []string, at map[string]*Customer) error {
	rows, err := tx.Query(ctx, `select key, ident, cells from `+table(in.generation)+` where key = any ($1) and n >= 0 order by key, ident, n`, keys)
	if err != nil {
		return err
	}
	defer rows.Close()
	var key string
	var last, ident, cells string
	for rows.Next() {
		before := key
		if err := rows.Scan(&key, &ident, &cells); err != nil {
			return err
		}
		row, err := rowOf(source.Select, []byte(cells))
		if err != nil {
			return err
		}
		b := at[key].Sources[in.name]
		if n := len(b.Rows); n > 0 && key == before && (source.One || ident == last) {
			b.Rows[n-1] = row // the later one counts
		} else {
			b.Rows = append(b.Rows, row)
		}
		at[key].Sources[in.name] = b
		last = ident
	}
	return rows.Err()
}

func rowOf(columns []string, packed []byte) (flow.Row, error) {
	cells := join.Cells(nil, packed)
	if len(cells) != len(columns) {
		return nil, fault.New(fault.Bug, "bug.stage", "a staged row has other columns than its source", nil)
	}
	row := make(flow.Row, len(columns))
	for i, cell := range cells {
		if cell == nil {
			continue
		}
		v, err := strictjson.Decode(cell, columns[i])
		if err != nil {
			return nil, err
		}
		row[columns[i]] = v
	}
	return row, nil
}
