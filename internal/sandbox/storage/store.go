package storage

import (
	"context"
	"errors"
	"iter"
)

// ErrUnique says that a write met another row with the same key. A store
// retries the transaction first, so a caller sees it only when asking before
// the write did not help.
var ErrUnique = errors.New("a row with this key exists")

// ErrRace is what the fn of a Write returns when it saw that another transaction
// came in between, and that it would act otherwise now: it runs again.
var ErrRace = errors.New("another transaction came in between")

type (
	// Store holds tables. Whoever opened it closes it.
	Store interface {
		// Create makes the tables that are missing.
		Create(ctx context.Context, tables ...*Table) error
		// Read runs fn over what is committed; two statements of one fn may see
		// two states.
		Read(ctx context.Context, fn func(Tx) error) error
		// Write runs fn in one transaction, committed when fn returns nil. fn runs
		// again after a lost race, so it must not touch anything but tx.
		Write(ctx context.Context, fn func(Tx) error) error
		Close()
	}

	// Tx reads and writes rows.
	Tx interface {
		Find(ctx context.Context, t *Table, q Query) ([]Row, error)
		Count(ctx context.Context, t *Table, where Expr) (int, error)
		Insert(ctx context.Context, t *Table, rows ...Row) error
		// Update writes the columns each row holds, by its primary key.
		Update(ctx context.Context, t *Table, rows ...Row) error
		Delete(ctx context.Context, t *Table, where Expr) (int, error)
		// Load inserts many rows at once; Empty removes all of them.
		Load(ctx context.Context, t *Table, rows iter.Seq[Row]) error
		Empty(ctx context.Context, t *Table) error
		// Versions draws n numbers from a counter: unique and rising in the order of
		// allocation, which is not that of commit. "" is the counter of the store, any
		// other that of a schema which has one (Table.Counter).
		Versions(ctx context.Context, counter string, n int) ([]int64, error)
		// Nested runs fn so that its error undoes what fn wrote and no more.
		Nested(ctx context.Context, fn func(Tx) error) error
	}

	// Query is one bounded read. Limit 0 is no limit. Lock keeps the rows from
	// other writers until the transaction ends, Keep only from being deleted. Omit
	// leaves columns out.
	Query struct {
		Where         Expr
		Order         []Order
		Limit, Offset int
		Lock, Keep    bool
		Omit          []string
	}

	// Order is one sort key; the primary key is always the last one.
	Order struct {
		Column     string
		Desc       bool
		NullsFirst bool
	}
)

// First is the one row that satisfies where, or nil.
func First(ctx context.Context, tx Tx, t *Table, where Expr, lock bool) (Row, error) {
	rows, err := tx.Find(ctx, t, Query{Where: where, Limit: 1, Lock: lock})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// Version draws one number from the counter of the store.
func Version(ctx context.Context, tx Tx) (int64, error) {
	v, err := tx.Versions(ctx, "", 1)
	if err != nil {
		return 0, err
	}
	return v[0], nil
}
