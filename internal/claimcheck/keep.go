package claimcheck

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

const (
	// partSize is what one row holds, and what is read at a time.
	partSize = 256 << 10
	// together is how many parts are kept by one transaction.
	together = 8
)

// Checks are the documents that are kept.
type Checks struct{ store *store.Store }

// New gives the documents of a store.
func New(s *store.Store) *Checks { return &Checks{s} }

// Keep reads a document to its end and keeps it for a run, in many small transactions of
// which the last makes it known: until then it is nobody's. The claim has no name yet. A
// document that is kept already is not kept twice. Faults: those of the reader, and Rejected
// "document.too_large" beyond flow.MostDocument.
func (c *Checks) Keep(ctx context.Context, runID string, from io.Reader) (flow.Claim, error) {
	id, err := c.begin(ctx)
	if err != nil {
		return flow.Claim{}, fmt.Errorf("keeping a document: %w", err)
	}
	sum, size := sha256.New(), int64(0)
	buffer := make([]byte, together*partSize)
	for n, ended := 0, false; !ended; n += together {
		got, err := io.ReadFull(from, buffer)
		ended = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return flow.Claim{}, err
		}
		if size += int64(got); size > flow.MostDocument {
			return flow.Claim{}, fault.New(fault.Rejected, flow.DocumentLargeCode, fmt.Sprintf("the document is larger than the %d MiB that a flow carries", flow.MostDocument>>20), nil)
		}
		_, _ = sum.Write(buffer[:got]) // never fails
		if err := c.add(ctx, id, n, buffer[:got]); err != nil {
			return flow.Claim{}, fmt.Errorf("keeping a part of a document: %w", err)
		}
	}
	claim := flow.Claim{Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}
	if err := c.finish(ctx, id, runID, claim); err != nil {
		return flow.Claim{}, fmt.Errorf("keeping a document: %w", err)
	}
	return claim, nil
}

func (c *Checks) begin(ctx context.Context) (id int64, err error) {
	err = c.store.Write(ctx, func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `insert into content default values returning id`).Scan(&id)
	})
	return id, err
}

// lost is the fault of a reading that took so long that its parts were cleaned away.
func lost() error {
	return fault.New(fault.Unavailable, "document.lost", "the document was read so slowly that it was taken for given up; it is read anew", nil)
}

// add keeps parts. That they are on disk is sure once the last transaction is.
func (c *Checks) add(ctx context.Context, id int64, n int, bytes []byte) error {
	if len(bytes) == 0 {
		return nil
	}
	return c.store.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local synchronous_commit = off`); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update content set touched_at = now() where id = $1`, id)
		switch {
		case err != nil:
			return err
		case tag.RowsAffected() == 0:
			return lost()
		}
		row := make([]any, 3)
		at := 0
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"content_part"}, []string{"content", "n", "bytes"}, pgx.CopyFromFunc(func() ([]any, error) {
			if at >= len(bytes) {
				return nil, nil
			}
			part := bytes[at:min(at+partSize, len(bytes))]
			row[0], row[1], row[2] = id, n+at/partSize, part
			at += len(part)
			return row, nil
		}))
		return err
	})
}

// finish makes a document known by its checksum, and the run one that needs it.
func (c *Checks) finish(ctx context.Context, id int64, runID string, claim flow.Claim) error {
	sum, err := hex.DecodeString(claim.SHA256)
	if err != nil {
		return err
	}
	return c.store.Tx(ctx, func(tx pgx.Tx) error {
		kept := id
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 45))`, claim.SHA256); err != nil {
			return err
		}
		switch err := tx.QueryRow(ctx, `select id from content where sha256 = $1 for update`, sum).Scan(&kept); {
		case errors.Is(err, pgx.ErrNoRows):
			tag, err := tx.Exec(ctx, `update content set sha256 = $2, size = $3, touched_at = now() where id = $1`, id, sum, claim.Size)
			if err == nil && tag.RowsAffected() == 0 {
				err = lost()
			}
			if err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			if err := remove(ctx, tx, id); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `insert into claim (content, run_id) values ($1, $2) on conflict do nothing`, kept, runID)
		return err
	})
}

// remove deletes a content with its parts.
func remove(ctx context.Context, tx pgx.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `delete from content where id = $1`, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `delete from content_part where content = $1`, id)
	return err
}

// Open gives the bytes of a document from an offset on. Rejected "document.unknown": they
// are not kept, or no longer.
func (c *Checks) Open(ctx context.Context, claim flow.Claim, from int64) (io.ReadCloser, error) {
	sum, err := hex.DecodeString(claim.SHA256)
	if err != nil {
		return nil, unknown(claim.SHA256)
	}
	r := &reader{ctx: ctx, checks: c, at: from}
	err = c.store.Read(ctx, func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `select id, size from content where sha256 = $1`, sum).Scan(&r.id, &r.size)
	})
	switch {
	case fault.Is(err, fault.NotFound), errors.Is(err, pgx.ErrNoRows):
		return nil, unknown(claim.SHA256)
	case err != nil:
		return nil, fmt.Errorf("opening a document: %w", err)
	case from < 0 || from > r.size:
		return nil, fault.Invalidf("document.offset", "a document of %d bytes is not read from %d on", r.size, from)
	}
	return r, nil
}

func unknown(sum string) error {
	return fault.New(fault.Rejected, flow.DocumentUnknownCode, "no document with the SHA-256 "+sum+" is kept; it was never read in, or nobody needed it any more", nil)
}

// reader gives the bytes of a content, a part at a time.
type reader struct {
	ctx      context.Context //nolint:containedctx // it bounds the whole reading, as Open says
	checks   *Checks
	id       int64
	size, at int64
	buffer   []byte
	ready    []byte
	closed   bool
}

func (r *reader) Read(p []byte) (int, error) {
	switch {
	case r.closed:
		return 0, io.ErrClosedPipe
	case len(p) == 0:
		return 0, nil
	case r.at == r.size:
		return 0, io.EOF
	case len(r.ready) == 0:
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.ready)
	r.ready, r.at = r.ready[n:], r.at+int64(n)
	return n, nil
}

func (r *reader) fill() error {
	first := r.at / partSize
	err := r.checks.store.Read(r.ctx, func(conn *pgxpool.Conn) error {
		rows, err := conn.Query(r.ctx, `select bytes from content_part where content = $1 and n = $2`, r.id, first)
		if err != nil {
			return err
		}
		defer rows.Close()
		r.buffer = r.buffer[:0]
		for rows.Next() {
			r.buffer = append(r.buffer, rows.RawValues()[0]...)
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("reading a document: %w", err)
	}
	if int64(len(r.buffer)) < min(partSize, r.size-first*partSize) {
		return fault.New(fault.Rejected, flow.DocumentUnknownCode, "the document was removed while it was read", nil)
	}
	r.ready = r.buffer[r.at-first*partSize:]
	return nil
}

// Close ends the reading.
func (r *reader) Close() error {
	r.closed = true
	return nil
}
