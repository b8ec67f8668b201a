package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Setting gives the installation's value of a name, made on first use. Processes
// that ask at the same time get the same value; it never changes afterwards.
func (s *Store) Setting(ctx context.Context, name string, fresh func() []byte) ([]byte, error) {
	var value []byte
	err := s.Tx(ctx, func(tx pgx.Tx) error {
		const read = `select value from setting where name = $1`
		err := tx.QueryRow(ctx, read, name).Scan(&value)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		// A concurrent insert is waited for; the second read then sees it.
		if _, err := tx.Exec(ctx, `insert into setting (name, value) values ($1, $2) on conflict do nothing`, name, fresh()); err != nil {
			return err
		}
		return tx.QueryRow(ctx, read, name).Scan(&value)
	})
	return value, err
}

// Choose sets what somebody chose for the installation, in place of what was chosen before.
// The owner of the database alone may.
func (s *Store) Choose(ctx context.Context, name string, value []byte) error {
	return s.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value`, name, value)
		return err
	})
}

// Chosen gives what was chosen for the installation; nil: nothing was.
func (s *Store) Chosen(ctx context.Context, name string) (value []byte, err error) {
	err = s.Read(ctx, func(c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, `select value from setting where name = $1`, name).Scan(&value)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return value, err
}
