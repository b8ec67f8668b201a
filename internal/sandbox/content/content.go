// Package content keeps what documents hold, as rows of chunks, so that no document is
// ever whole in memory.
//
// The stand-ins that have documents call it, each with a table of its own; it imports
// storage. A content has a name, which whoever stores it gives.
//
// Invariants: a content is written once, in the transaction of the call that brings it,
// and read from any place; a reader holds one chunk at a time.
package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"patchbay/internal/sandbox/storage"
)

// chunkSize is how large a row is, but for the last of a part.
const chunkSize = 1 << 20

// ErrGone is what becomes of a download whose content went away.
var ErrGone = errors.New("the content is gone")

// Chunks are the contents of one system.
type Chunks struct{ Table *storage.Table }

// New makes the table of a system.
func New(schema string) Chunks {
	return Chunks{storage.NewTable(storage.Table{Schema: schema, Name: "chunks",
		Columns: []storage.Column{{Name: "blob"}, {Name: "at", Kind: storage.Int}, {Name: "bytes", Kind: storage.Bytes}}, Primary: []string{"blob", "at"}})}
}

// Keep stores a part of a content.
func (c Chunks) Keep(ctx context.Context, tx storage.Tx, blob string, at int64, p []byte) error {
	for len(p) > 0 {
		n := min(chunkSize, len(p))
		if err := tx.Insert(ctx, c.Table, storage.Row{"blob": blob, "at": at, "bytes": append([]byte(nil), p[:n]...)}); err != nil {
			return fmt.Errorf("storing content: %w", err)
		}
		at, p = at+int64(n), p[n:]
	}
	return nil
}

// Copy stores a whole content and says how large it is, and its SHA-256 in hex.
func (c Chunks) Copy(ctx context.Context, tx storage.Tx, blob string, from io.Reader) (size int64, sum string, err error) {
	hash, p := sha256.New(), make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(from, p)
		_, _ = hash.Write(p[:n]) // never fails
		if kept := c.Keep(ctx, tx, blob, size, p[:n]); kept != nil {
			return 0, "", kept
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return size, hex.EncodeToString(hash.Sum(nil)), nil
		case err != nil:
			return 0, "", fmt.Errorf("reading content: %w", err)
		}
	}
}

// Send writes the bytes [from, to) of a content.
func (c Chunks) Send(ctx context.Context, store storage.Store, blob string, from, to int64, w io.Writer) error {
	for from < to {
		var row storage.Row
		err := store.Read(ctx, func(tx storage.Tx) error {
			rows, err := tx.Find(ctx, c.Table, storage.Query{Limit: 1, Order: []storage.Order{{Column: "at", Desc: true}}, Where: storage.And{
				storage.Compare{Column: "blob", Op: storage.Eq, Value: blob}, storage.Compare{Column: "at", Op: storage.Le, Value: from}}})
			if len(rows) > 0 {
				row = rows[0]
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("reading content: %w", err)
		}
		at, _ := row["at"].(int64)
		p, _ := row["bytes"].([]byte)
		if skip := from - at; skip < int64(len(p)) {
			p = p[skip:]
		} else {
			return ErrGone
		}
		p = p[:min(int64(len(p)), to-from)]
		if _, err := w.Write(p); err != nil {
			return fmt.Errorf("sending content: %w", err)
		}
		from += int64(len(p))
	}
	return nil
}

// Forget removes a content; "" is none.
func (c Chunks) Forget(ctx context.Context, tx storage.Tx, blob string) error {
	if blob == "" {
		return nil
	}
	if _, err := tx.Delete(ctx, c.Table, storage.Compare{Column: "blob", Op: storage.Eq, Value: blob}); err != nil {
		return fmt.Errorf("forgetting content: %w", err)
	}
	return nil
}
