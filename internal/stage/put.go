package stage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
)

// page is one page made ready to be committed.
type page struct {
	copy    copyBuffer
	rows    int64
	rejects []flow.RejectedRow
	idents  []string
	next    string
	bytes   int64
}

// Put commits a page: its rows, the rows that are rejected, and where the next one
// begins. A next token that was given before is Unavailable, CodePageLoop; a page after
// another attempt has taken over is CodeFenced. Either leaves everything as it was.
func (r *Reading) Put(ctx context.Context, sheet flow.Sheet) error {
	p := &page{next: sheet.Next, bytes: sheet.Bytes}
	p.copy.bytes = r.buffer // pages are of a size
	p.copy.begin()
	// A later read has the greater numbers, whatever of it is merged where.
	first := r.generation<<32 + r.Rows + r.Rejected
	packed, err := r.packer.Pack(sheet, first, fmt.Sprintf("page %d", r.Pages+1), func(row join.Row) {
		p.copy.row(row)
		p.rows++
	}, func(row flow.RejectedRow, ident []byte) {
		p.rejects, p.idents = append(p.rejects, row), append(p.idents, string(ident))
	})
	if err != nil {
		return err
	}
	p.copy.end()
	r.buffer = p.copy.bytes
	sum, seen, firstSeen := r.sum.Add(packed.Sum), join.Later(r.seen, []byte(packed.Latest)), r.firstSeen
	if r.Pages == 0 {
		firstSeen = packed.Latest
	}
	err = settled(r.stage.store.Tx(ctx, func(tx pgx.Tx) error {
		// The row first: it is the fence, and orders this page with a successor's attempt.
		tag, err := tx.Exec(ctx, `
			update stage_read set token = $5, pages = pages + 1, rows = rows + $6, rejected = rejected + $7, bytes = bytes + $8,
			       sum = $9, seen = $10, first_seen = $11, failing_at = null
			where run_id = $1 and source = $2 and fence = $3 and pages = $4 and ended_at is null`,
			r.RunID, r.source.Name, r.fence, r.Pages, p.next, p.rows, len(p.rejects), p.bytes, sum.Bytes(), seen, firstSeen)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fenced(pgx.ErrNoRows)
		}
		if err := r.follow(ctx, tx, p.next); err != nil {
			return err
		}
		if p.rows > 0 {
			_, err = tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(p.copy.bytes), `copy `+table(r.generation)+` (key, hash, ident, n, cells) from stdin (format binary)`)
			if err != nil {
				return err
			}
		}
		return putRejects(ctx, tx, r.Flow, r.RunID, false, p.rejects, p.idents)
	}))
	if err != nil {
		return err
	}
	r.Token, r.Pages, r.Rows, r.Rejected = p.next, r.Pages+1, r.Rows+p.rows, r.Rejected+int64(len(p.rejects))
	r.sum, r.seen, r.firstSeen = sum, seen, firstSeen
	return nil
}

// follow keeps the token of the page that comes next, once.
func (r *Reading) follow(ctx context.Context, tx pgx.Tx, token string) error {
	if token == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(token))
	tag, err := tx.Exec(ctx, `insert into stage_token (run_id, source, sha256) values ($1, $2, $3) on conflict do nothing`, r.RunID, r.source.Name, sum[:])
	if err == nil && tag.RowsAffected() == 0 {
		return fault.New(fault.Unavailable, CodePageLoop, r.source.Name+" gave the same page token twice", nil)
	}
	return err
}

// Last reports whether the page that was put last is the last of the source.
func (r *Reading) Last() bool { return r.Pages > 0 && r.Token == "" }

// copyBuffer is rows in PostgreSQL's binary copy format: nothing in it has to be
// escaped, and no row costs an allocation.
type copyBuffer struct{ bytes []byte }

// copyHeader is the signature, no flags, no extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (c *copyBuffer) begin() { c.bytes = append(c.bytes[:0], copyHeader...) }

func (c *copyBuffer) end() { c.bytes = append(c.bytes, 0xff, 0xff) }

func (c *copyBuffer) row(r join.Row) {
	c.bytes = binary.BigEndian.AppendUint16(c.bytes, 5)
	c.text(r.Key)
	c.int(r.Hash)
	c.text(r.Ident)
	c.int(r.N)
	c.text(r.Cells)
}

func (c *copyBuffer) text(s []byte) {
	c.bytes = binary.BigEndian.AppendUint32(c.bytes, uint32(len(s)))
	c.bytes = append(c.bytes, s...)
}

func (c *copyBuffer) int(n int64) {
	c.bytes = binary.BigEndian.AppendUint32(c.bytes, 8)
	c.bytes = binary.BigEndian.AppendUint64(c.bytes, uint64(n))
}
