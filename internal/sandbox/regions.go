package sandbox

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/dataverse"
	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/seed"
	"patchbay/internal/sandbox/storage"
)

// region is a regional organisation of Dataverse. Its tables are made at its first
// call, because most who start a sandbox need none of them; from then on they are as
// durable as all others.
type region struct {
	of     *Server
	number int
	env    *dataverse.Environment

	mu   sync.Mutex
	made chan struct{} // closed once what follows is there
	crm  *dataverse.System
	line *exchange.Line
}

// regionsMade are the regions that have their tables.
var regionsMade = storage.NewTable(storage.Table{Schema: "sandbox", Name: "regions", Columns: []storage.Column{{Name: "name"}}, Primary: []string{"name"}})

// awake are the regions that have their tables.
func (s *Server) awake() []*region {
	var list []*region
	for _, r := range s.regions {
		select {
		case <-r.made:
			list = append(list, r)
		default: // nobody has called it
		}
	}
	return list
}

// wakeMade makes ready the regions that somebody called before this process began.
func (s *Server) wakeMade(ctx context.Context) error {
	var rows []storage.Row
	err := s.store.Read(ctx, func(tx storage.Tx) (err error) {
		rows, err = tx.Find(ctx, regionsMade, storage.Query{})
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range s.regions {
		if slices.ContainsFunc(rows, func(row storage.Row) bool { return row["name"] == r.env.Name }) {
			if err := r.wake(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// ServeHTTP serves a call of the region.
func (r *region) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.Context()), time.Minute)
	defer cancel()
	if err := r.wake(ctx); err != nil {
		r.of.opts.Logger.Error("making a region", zap.String("region", r.env.Name), zap.Error(err))
		http.Error(w, "the sandbox cannot reach its database", http.StatusServiceUnavailable)
		return
	}
	r.line.ServeHTTP(w, q)
}

// wake makes the region where it is missing.
func (r *region) wake(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line != nil {
		return nil
	}
	s := r.of
	if err := s.store.Create(ctx, r.env.Stored()...); err != nil {
		return err
	}
	var drawn int64
	err := s.store.Write(ctx, func(tx storage.Tx) error {
		mark := storage.Row{"name": r.env.Name}
		found, err := storage.First(ctx, tx, regionsMade, regionsMade.Key(mark), false)
		switch {
		case err != nil:
			return err
		case found == nil:
			if drawn, err = r.fill(ctx, tx); err != nil {
				return err
			}
			return tx.Insert(ctx, regionsMade, mark)
		}
		drawn, err = r.draw(ctx, tx, 1)
		return err
	})
	if err != nil {
		return fmt.Errorf("making %s: %w", r.env.Name, err)
	}
	r.crm = s.organisation(r.env, drawn)
	r.line = s.line(r.env.Name, r.crm)
	close(r.made)
	return nil
}

// draw takes n numbers from the region's own counter and gives the last.
func (r *region) draw(ctx context.Context, tx storage.Tx, n int) (int64, error) {
	list, err := tx.Versions(ctx, r.env.Counter(), n)
	if err != nil {
		return 0, err
	}
	return slices.Max(list), nil
}

// fill gives the region its first rows, and tells the number above those of them.
func (r *region) fill(ctx context.Context, tx storage.Tx) (drawn int64, err error) {
	var users []seed.User
	for _, u := range login.Regional(r.env.Name) {
		users = append(users, seed.User{ID: u.ID, Name: u.Name, ClientID: u.ClientID})
	}
	rows := seed.Region(r.of.opts.Seed, r.number, login.Regions[r.number].Region, users)
	for _, t := range r.env.Stored() {
		if rows[t.Name] == nil {
			continue
		}
		if err := tx.Load(ctx, t, rows[t.Name]); err != nil {
			return 0, err
		}
	}
	if err := loadMessages(ctx, tx, r.env); err != nil {
		return 0, err
	}
	return r.draw(ctx, tx, seed.RegionVersions)
}
