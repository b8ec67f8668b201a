package sandbox

import (
	"context"
	"fmt"
	"iter"

	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/oracle"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/seed"
	"patchbay/internal/sandbox/storage"
)

// seeded remembers which seed a database was filled from, in the transaction
// that filled it: a kill in between leaves an empty database.
var seeded = storage.NewTable(storage.Table{Schema: "sandbox", Name: "seeded",
	Columns: []storage.Column{{Name: "seed"}}, Primary: []string{"seed"}})

// filling is one table and its first rows.
type filling struct {
	table *storage.Table
	rows  iter.Seq[storage.Row]
}

func (s *Server) seedOnce(ctx context.Context) error {
	mark := storage.Row{"seed": fmt.Sprintf("%d/%d", s.opts.Seed, s.opts.Products)}
	return s.store.Write(ctx, func(tx storage.Tx) error {
		found, err := storage.First(ctx, tx, seeded, nil, false)
		if err != nil {
			return err
		}
		if found != nil && found["seed"] != mark["seed"] {
			return fmt.Errorf("the sandbox's database was seeded with %v, not %v: use another database, or the same seed", found["seed"], mark["seed"])
		}
		if found != nil {
			return nil
		}
		if err := s.fill(ctx, tx); err != nil {
			return err
		}
		return tx.Insert(ctx, seeded, mark)
	})
}

func (s *Server) fill(ctx context.Context, tx storage.Tx) error {
	catalogue := seed.NewCatalogue(s.opts.Seed, s.opts.Products)
	rows := catalogue.Rows(s.opts.Seed)
	users := make([]seed.User, 0, len(login.Users))
	for _, u := range login.Users {
		if u.Member {
			users = append(users, seed.User{ID: u.ID, Name: u.Name, ClientID: u.ClientID})
		}
	}
	var list []filling
	for _, t := range oracle.Tables() {
		list = append(list, filling{t, rows[t.Name]})
	}
	customers := catalogue.Customers(s.opts.Seed, users)
	for _, t := range s.env.Stored() {
		list = append(list, filling{t, customers[t.Name]})
	}
	for _, f := range list {
		if f.rows == nil {
			continue
		}
		if err := tx.Load(ctx, f.table, f.rows); err != nil {
			return err
		}
	}
	// Numbers below belong to seeded rows.
	_, err := tx.Versions(ctx, seed.Versions)
	return err
}

// reset brings every table back to its first rows, the record included, and
// clears the faults.
func (s *Server) reset(ctx context.Context) error {
	err := s.store.Write(ctx, func(tx storage.Tx) error {
		for _, t := range append(append(oracle.Tables(), s.env.Stored()...), record.Calls) {
			if err := tx.Empty(ctx, t); err != nil {
				return err
			}
		}
		return s.fill(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("resetting the sandbox: %w", err)
	}
	s.faults.Clear("")
	for _, t := range s.tallies {
		t.Restart()
	}
	if s.book != nil {
		s.book.Restart()
	}
	return nil
}
