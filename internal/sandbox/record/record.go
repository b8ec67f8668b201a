// Package record keeps the durable record of every call the sandbox answered:
// the outside judge of every test that breaks something on purpose.
//
// The exchange writes an entry in the transaction of the call's effect, or in
// one of its own where nothing was changed, and sends the answer only after the
// commit: whoever got an answer finds its call here. A reader gets entries of a
// system in the order of n, without gaps that fill later.
//
// It imports storage. A Book is safe for concurrent use.
package record

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"patchbay/internal/sandbox/storage"
)

// Calls is the table of the record.
var Calls = storage.NewTable(storage.Table{
	Schema: "sandbox", Name: "calls",
	Columns: []storage.Column{
		{Name: "system"}, {Name: "n", Kind: storage.Int}, {Name: "at", Kind: storage.Time}, {Name: "method"}, {Name: "path"},
		{Name: "query"}, {Name: "status", Kind: storage.Int}, {Name: "body_sha256"}, {Name: "user"}, {Name: "fault"},
	},
	Primary: []string{"system", "n"},
	Index:   [][]string{{"at"}},
})

type (
	// Entry is one call. Status is what was, or would have been, sent; Fault names
	// what was done to the answer on purpose: "status", "drop", "body", "has_more", "repeat", "foreign", "truncate", "model", "document", "latency".
	Entry struct {
		System     string    `json:"-"`
		N          int64     `json:"n"`
		At         time.Time `json:"at"`
		Method     string    `json:"method"`
		Path       string    `json:"path"`
		Query      string    `json:"query"`
		Status     int       `json:"status"`
		BodySHA256 string    `json:"body_sha256"`
		User       string    `json:"user,omitempty"`
		Fault      string    `json:"fault,omitempty"`
	}

	// Book numbers the entries of each system.
	Book struct {
		store storage.Store

		mu      sync.Mutex
		last    map[string]int64
		pending map[string]map[int64]struct{}
	}
)

// Open continues the record found in the store.
func Open(ctx context.Context, store storage.Store, systems []string) (*Book, error) {
	b := &Book{store: store, last: map[string]int64{}, pending: map[string]map[int64]struct{}{}}
	err := store.Read(ctx, func(tx storage.Tx) error {
		for _, system := range systems {
			rows, err := tx.Find(ctx, Calls, storage.Query{
				Where: of(system), Order: []storage.Order{{Column: "n", Desc: true}}, Limit: 1})
			if err != nil {
				return err
			}
			b.pending[system] = map[int64]struct{}{}
			if len(rows) > 0 {
				b.last[system], _ = rows[0]["n"].(int64)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the call record: %w", err)
	}
	return b, nil
}

func of(system string) storage.Expr {
	return storage.Compare{Column: "system", Op: storage.Eq, Value: system}
}

// Number gives the entry its number. Readers wait for it: the caller calls Done
// once the entry is committed or given up.
func (b *Book) Number(e *Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[e.System]++
	e.N = b.last[e.System]
	b.pending[e.System][e.N] = struct{}{}
}

// Done says that the fate of the entry's number is known.
func (b *Book) Done(e *Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pending[e.System], e.N)
}

// Write adds the entry in the caller's transaction.
func (b *Book) Write(ctx context.Context, tx storage.Tx, e *Entry) error {
	return tx.Insert(ctx, Calls, storage.Row{
		"system": e.System, "n": e.N, "at": e.At, "method": e.Method, "path": e.Path, "query": e.Query,
		"status": int64(e.Status), "body_sha256": e.BodySHA256, "user": e.User, "fault": e.Fault,
	})
}

// Since lists up to limit entries of a system with a number above since, oldest
// first.
func (b *Book) Since(ctx context.Context, system string, since int64, limit int) ([]Entry, error) {
	where := storage.And{of(system), storage.Compare{Column: "n", Op: storage.Gt, Value: since},
		storage.Compare{Column: "n", Op: storage.Le, Value: b.settled(system)}}
	return b.find(ctx, storage.Query{Where: where, Limit: limit})
}

// Latest lists the newest entries of a system, or of all when it has no name,
// newest first.
func (b *Book) Latest(ctx context.Context, system string, limit int) ([]Entry, error) {
	q := storage.Query{Order: []storage.Order{{Column: "at", Desc: true}}, Limit: limit}
	if system != "" {
		q.Where, q.Order = of(system), []storage.Order{{Column: "n", Desc: true}}
	}
	return b.find(ctx, q)
}

// Count is the number of calls a system has answered.
func (b *Book) Count(system string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[system]
}

// Restart numbers from the beginning, after the table was emptied.
func (b *Book) Restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.last)
	for _, p := range b.pending {
		clear(p)
	}
}

func (b *Book) settled(system string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending[system]) > 0 {
		return slices.Min(slices.Collect(maps.Keys(b.pending[system]))) - 1
	}
	return b.last[system]
}

func (b *Book) find(ctx context.Context, q storage.Query) ([]Entry, error) {
	list := []Entry{}
	err := b.store.Read(ctx, func(tx storage.Tx) error {
		rows, err := tx.Find(ctx, Calls, q)
		for _, row := range rows {
			text := func(name string) string { s, _ := row[name].(string); return s }
			e := Entry{System: text("system"), Method: text("method"), Path: text("path"), Query: text("query"),
				BodySHA256: text("body_sha256"), User: text("user"), Fault: text("fault")}
			e.N, _ = row["n"].(int64)
			e.At, _ = row["at"].(time.Time)
			status, _ := row["status"].(int64)
			e.Status = int(status)
			list = append(list, e)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the call record: %w", err)
	}
	return list, nil
}

// Digest is the form in which a body is remembered.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
