package storage

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
)

type (
	// Memory keeps the tables in this process. Writers wait for each other;
	// readers run together.
	Memory struct {
		mu       sync.RWMutex
		tables   map[string]*memTable
		versions map[string]int64
	}

	// memTable holds each row once, under every key it has. A stored row is never
	// changed: an update puts a new one in its place.
	memTable struct {
		def     *Table
		rows    map[string]Row
		indexes []*memIndex
	}

	memIndex struct {
		columns []string
		unique  bool
		rows    map[string][]Row
	}

	memTx struct {
		m    *Memory
		undo *[]func()
	}
)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{tables: map[string]*memTable{}, versions: map[string]int64{}}
}

// Close does nothing: the rows go with the process.
func (m *Memory) Close() {}

// Create makes the tables that are missing.
func (m *Memory) Create(_ context.Context, tables ...*Table) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range tables {
		if m.tables[t.id()] == nil {
			m.tables[t.id()] = newMemTable(t)
		}
	}
	return nil
}

func newMemTable(t *Table) *memTable {
	mt := &memTable{def: t, rows: map[string]Row{}}
	for _, key := range t.Unique {
		mt.indexes = append(mt.indexes, &memIndex{columns: key, unique: true, rows: map[string][]Row{}})
	}
	for _, key := range t.Index {
		mt.indexes = append(mt.indexes, &memIndex{columns: key, rows: map[string][]Row{}})
	}
	return mt
}

// Read runs fn beside other readers.
func (m *Memory) Read(_ context.Context, fn func(Tx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return fn(memTx{m: m})
}

// Write runs fn alone and undoes it when it fails.
func (m *Memory) Write(_ context.Context, fn func(Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var undo []func()
	err := fn(memTx{m: m, undo: &undo})
	if err != nil {
		rollback(undo)
	}
	return err
}

func rollback(undo []func()) {
	for _, f := range slices.Backward(undo) {
		f()
	}
}

func (x memTx) Nested(_ context.Context, fn func(Tx) error) error {
	mark := len(*x.undo)
	if err := fn(x); err != nil {
		rollback((*x.undo)[mark:])
		*x.undo = (*x.undo)[:mark]
		return err
	}
	return nil
}

func (x memTx) Versions(_ context.Context, counter string, n int) ([]int64, error) {
	list := make([]int64, n)
	for i := range list {
		x.m.versions[counter]++
		list[i] = x.m.versions[counter]
	}
	return list, nil
}

func (x memTx) Find(_ context.Context, t *Table, q Query) ([]Row, error) {
	rows := x.m.scan(t, q.Where)
	slices.SortStableFunc(rows, func(a, b Row) int { return t.compareRows(q.Order, a, b) })
	rows = rows[min(q.Offset, len(rows)):]
	if q.Limit > 0 {
		rows = rows[:min(q.Limit, len(rows))]
	}
	return rows, nil
}

func (t *Table) compareRows(orders []Order, a, b Row) int {
	for _, o := range orders {
		x, y := a[o.Column], b[o.Column]
		var c int
		switch {
		case x == nil && y == nil:
			continue
		case x == nil || y == nil:
			if (x == nil) == o.NullsFirst {
				return -1
			}
			return 1
		default:
			c = order(t.foldFor(o.Column, false), x, y)
		}
		if c != 0 {
			if o.Desc {
				return -c
			}
			return c
		}
	}
	for _, name := range t.Primary {
		if c := order(t.foldFor(name, false), a[name], b[name]); c != 0 {
			return c
		}
	}
	return 0
}

// scan finds the rows that satisfy where, by an index when equalities that
// must hold cover one.
func (m *Memory) scan(t *Table, where Expr) []Row {
	mt := m.tables[t.id()]
	var out []Row
	visit := func(row Row) {
		if eval(t, where, row, m.scan) == 1 {
			out = append(out, row)
		}
	}
	if candidates, ok := mt.candidates(where); ok {
		if _, all := where.(Tuples); all {
			return candidates // the index has just these
		}
		for _, row := range candidates {
			visit(row)
		}
		return out
	}
	for _, row := range mt.rows {
		visit(row)
	}
	return out
}

func (mt *memTable) candidates(where Expr) ([]Row, bool) {
	equal := Row{}
	var lists []In
	var tuples *Tuples
	var collect func(Expr)
	collect = func(e Expr) {
		switch e := e.(type) {
		case And:
			for _, x := range e {
				collect(x)
			}
		case Compare:
			if e.Op == Eq && (!e.Fold || mt.def.foldFor(e.Column, false)) {
				equal[e.Column] = e.Value
			}
		case In:
			lists = append(lists, e)
		case Tuples:
			tuples = &e
		}
	}
	collect(where)
	if key, ok := mt.def.keyOf(mt.def.Primary, equal); ok {
		if row := mt.rows[key]; row != nil {
			return []Row{row}, true
		}
		return nil, true
	}
	for _, ix := range mt.indexes {
		if key, ok := mt.def.keyOf(ix.columns, equal); ok {
			return ix.rows[key], true
		}
		for _, in := range lists {
			if len(ix.columns) == 1 && ix.columns[0] == in.Column {
				return mt.lookup(ix, len(in.Values), func(i int) Row { return Row{in.Column: in.Values[i]} }), true
			}
		}
		if tuples != nil && slices.Equal(ix.columns, tuples.Columns) {
			return mt.lookup(ix, len(tuples.Values), func(i int) Row {
				row := Row{}
				for j, name := range tuples.Columns {
					row[name] = tuples.Values[i][j]
				}
				return row
			}), true
		}
	}
	return nil, false
}

func (mt *memTable) lookup(ix *memIndex, n int, row func(int) Row) []Row {
	seen := make(map[string]bool, n)
	var out []Row
	for i := range n {
		key, ok := mt.def.keyOf(ix.columns, row(i))
		if ok && !seen[key] {
			seen[key] = true
			out = append(out, ix.rows[key]...)
		}
	}
	return out
}

func (x memTx) Count(_ context.Context, t *Table, where Expr) (int, error) {
	return len(x.m.scan(t, where)), nil
}

func (x memTx) Insert(_ context.Context, t *Table, rows ...Row) error {
	mt := x.m.tables[t.id()]
	for _, row := range rows {
		if err := mt.put(row); err != nil {
			return err
		}
		*x.undo = append(*x.undo, func() { mt.remove(row) })
	}
	return nil
}

func (x memTx) Load(ctx context.Context, t *Table, rows iter.Seq[Row]) error {
	return x.Insert(ctx, t, slices.Collect(rows)...)
}

func (x memTx) Update(_ context.Context, t *Table, rows ...Row) error {
	mt := x.m.tables[t.id()]
	for _, change := range rows {
		key, _ := t.keyOf(t.Primary, change)
		old := mt.rows[key]
		if old == nil {
			continue
		}
		row := make(Row, len(old)+len(change))
		for k, v := range old {
			row[k] = v
		}
		for k, v := range change {
			row[k] = v
		}
		mt.remove(old)
		if err := mt.put(row); err != nil {
			_ = mt.put(old) // it was there a moment ago, so no key of it is taken
			return err
		}
		*x.undo = append(*x.undo, func() { mt.remove(row); _ = mt.put(old) })
	}
	return nil
}

func (x memTx) Delete(_ context.Context, t *Table, where Expr) (int, error) {
	mt := x.m.tables[t.id()]
	rows := x.m.scan(t, where)
	for _, row := range rows {
		mt.remove(row)
		*x.undo = append(*x.undo, func() { _ = mt.put(row) })
	}
	return len(rows), nil
}

func (x memTx) Empty(_ context.Context, t *Table) error {
	old := x.m.tables[t.id()]
	x.m.tables[t.id()] = newMemTable(t)
	*x.undo = append(*x.undo, func() { x.m.tables[t.id()] = old })
	return nil
}

func (mt *memTable) put(row Row) error {
	primary, ok := mt.def.keyOf(mt.def.Primary, row)
	if !ok {
		return fmt.Errorf("inserting into %s: the primary key is null", mt.def.Name)
	}
	if mt.rows[primary] != nil {
		return ErrUnique
	}
	keys := make([]string, len(mt.indexes))
	has := make([]bool, len(mt.indexes))
	for i, ix := range mt.indexes {
		keys[i], has[i] = mt.def.keyOf(ix.columns, row)
		if has[i] && ix.unique && len(ix.rows[keys[i]]) > 0 {
			return ErrUnique
		}
	}
	mt.rows[primary] = row
	for i, ix := range mt.indexes {
		if has[i] {
			ix.rows[keys[i]] = append(ix.rows[keys[i]], row)
		}
	}
	return nil
}

func (mt *memTable) remove(row Row) {
	primary, _ := mt.def.keyOf(mt.def.Primary, row)
	delete(mt.rows, primary)
	for _, ix := range mt.indexes {
		key, ok := mt.def.keyOf(ix.columns, row)
		if !ok {
			continue
		}
		// A new slice: a reader may hold the old one only under the same lock, yet
		// candidates hand it out, so it is never edited in place.
		kept := slices.DeleteFunc(slices.Clone(ix.rows[key]), func(r Row) bool {
			k, _ := mt.def.keyOf(mt.def.Primary, r)
			return k == primary
		})
		if len(kept) == 0 {
			delete(ix.rows, key)
		} else {
			ix.rows[key] = kept
		}
	}
}
