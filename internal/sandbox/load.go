package sandbox

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"patchbay/internal/sandbox/bank"
	"patchbay/internal/sandbox/bureau"
	"patchbay/internal/sandbox/dataverse"
	"patchbay/internal/sandbox/graph"
	"patchbay/internal/sandbox/ibm"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/mail"
	"patchbay/internal/sandbox/oracle"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/sap"
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
	list = append(list, filling{ibm.Tables()[0], seed.Documents(s.opts.Seed)})
	trade := catalogue.Trade(s.opts.Seed)
	for _, t := range sap.Tables() {
		list = append(list, filling{t, trade[t.Name]})
	}
	documents := graph.First()
	for _, t := range graph.Tables() {
		list = append(list, filling{t, documents[t.Name]})
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
	if err := loadMessages(ctx, tx, s.env); err != nil {
		return err
	}
	if err := s.maersk.Seed(ctx, tx); err != nil {
		return err
	}
	if err := loadLoans(ctx, tx); err != nil {
		return err
	}
	// Numbers below belong to seeded rows.
	_, err := tx.Versions(ctx, "", seed.Versions)
	return err
}

// loadMessages gives an environment the messages that steps are registered for.
func loadMessages(ctx context.Context, tx storage.Tx, env *dataverse.Environment) error {
	messages, filters := env.Messages()
	if err := tx.Load(ctx, env.Rows("sdkmessage"), slices.Values(messages)); err != nil {
		return err
	}
	return tx.Load(ctx, env.Rows("sdkmessagefilter"), slices.Values(filters))
}

// loadLoans gives bureau and bank those who apply for loans, where they have nobody.
func loadLoans(ctx context.Context, tx storage.Tx) error {
	if err := bureau.Seed(ctx, tx, seed.Subjects()); err != nil {
		return err
	}
	rows := seed.Bank()
	for _, t := range bank.Tables() {
		n, err := tx.Count(ctx, t, nil)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := tx.Load(ctx, t, rows[t.Name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// ready brings what an older sandbox left up to date and draws a version number:
// whatever has a higher one is written from now on.
func (s *Server) ready(ctx context.Context) (drawn int64, err error) {
	err = s.store.Write(ctx, func(tx storage.Tx) error {
		n, err := s.env.Size(ctx, tx, "sdkmessage")
		if err != nil {
			return err
		}
		if n == 0 {
			if err := loadMessages(ctx, tx, s.env); err != nil {
				return err
			}
		}
		if n, err = tx.Count(ctx, ibm.Tables()[0], nil); err != nil {
			return err
		}
		if n == 0 {
			if err := tx.Load(ctx, ibm.Tables()[0], seed.Documents(s.opts.Seed)); err != nil {
				return err
			}
		}
		if there, err := s.maersk.Seeded(ctx, tx); err != nil || !there {
			if err != nil {
				return err
			}
			if err := s.maersk.Seed(ctx, tx); err != nil {
				return err
			}
		}
		if err := readyDocuments(ctx, tx); err != nil {
			return err
		}
		if err := loadLoans(ctx, tx); err != nil {
			return err
		}
		drawn, err = storage.Version(ctx, tx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("readying the sandbox: %w", err)
	}
	return drawn, nil
}

// readyDocuments fills the libraries of a database that is older than they are.
func readyDocuments(ctx context.Context, tx storage.Tx) error {
	tables := graph.Tables()
	n, err := tx.Count(ctx, tables[0], nil)
	if err != nil || n > 0 {
		return err
	}
	documents := graph.First()
	for _, t := range tables {
		if rows := documents[t.Name]; rows != nil {
			if err := tx.Load(ctx, t, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

// reset brings every table back to its first rows, the record included, and
// clears the faults.
func (s *Server) reset(ctx context.Context) error {
	var drawn int64
	awake, drawnOf := s.awake(), map[*region]int64{}
	err := s.store.Write(ctx, func(tx storage.Tx) error {
		for _, t := range append(s.stored(), record.Calls, mail.Box) {
			if err := tx.Empty(ctx, t); err != nil {
				return err
			}
		}
		if err := s.fill(ctx, tx); err != nil {
			return err
		}
		var err error
		for _, r := range awake {
			if drawnOf[r], err = r.fill(ctx, tx); err != nil {
				return err
			}
		}
		drawn, err = storage.Version(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("resetting the sandbox: %w", err)
	}
	s.crm.Restart(drawn)
	for r, n := range drawnOf {
		r.crm.Restart(n)
	}
	s.faults.Clear("")
	s.drop.Restart()
	for _, t := range s.tallies {
		t.Restart()
	}
	if s.book != nil {
		s.book.Restart()
	}
	return nil
}
