package graph

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"patchbay/internal/sandbox/storage"
)

// chunkSize is how large a row of content is, but for the last of a part.
const chunkSize = 1 << 20

// checksum is quickXorHash: each byte is laid 11 bits further on into 160 bits, and the
// length over the last 64 of them.
type checksum struct {
	bits   [20]byte
	length uint64
}

func (s *checksum) Write(p []byte) (int, error) {
	bit := int(s.length * 11 % 160)
	for _, b := range p {
		both := uint16(b) << (bit % 8)
		s.bits[bit/8] ^= byte(both)
		s.bits[(bit/8+1)%20] ^= byte(both >> 8)
		bit = (bit + 11) % 160
	}
	s.length += uint64(len(p))
	return len(p), nil
}

func (s *checksum) text() string {
	out := s.bits
	for i := range 8 {
		out[12+i] ^= byte(s.length >> (8 * i))
	}
	return base64.StdEncoding.EncodeToString(out[:])
}

// state is what a session keeps of it between two parts.
func (s *checksum) state() []byte {
	return binary.LittleEndian.AppendUint64(s.bits[:len(s.bits):len(s.bits)], s.length)
}

func restored(state []byte) *checksum {
	s := &checksum{}
	if len(state) == 28 {
		copy(s.bits[:], state)
		s.length = binary.LittleEndian.Uint64(state[20:])
	}
	return s
}

// made fills p with the bytes from an offset on of what a number makes.
func made(generator, at int64, p []byte) {
	var word [8]byte
	for i := 0; i < len(p); {
		n := (at + int64(i)) / 8
		x := uint64(generator)*0x9e3779b97f4a7c15 + uint64(n)*0xbf58476d1ce4e5b9
		x ^= x >> 30
		x *= 0x94d049bb133111eb
		x ^= x >> 31
		binary.LittleEndian.PutUint64(word[:], x)
		i += copy(p[i:], word[(at+int64(i))%8:])
	}
}

func hashOf(generator, size int64) string {
	sum := &checksum{}
	p := make([]byte, 64<<10)
	for at := int64(0); at < size; {
		n := min(int64(len(p)), size-at)
		made(generator, at, p[:n])
		_, _ = sum.Write(p[:n])
		at += n
	}
	return sum.text()
}

// errGone is what becomes of a download whose content went away.
var errGone = errors.New("the content is gone")

// send writes the bytes [from, to) of an item as it was read.
func send(ctx context.Context, store storage.Store, item storage.Row, from, to int64, w io.Writer) error {
	if item["generator"] != nil {
		p := make([]byte, 64<<10)
		for from < to {
			n := min(int64(len(p)), to-from)
			made(intOf(item, "generator"), from, p[:n])
			if _, err := w.Write(p[:n]); err != nil {
				return fmt.Errorf("sending content: %w", err)
			}
			from += n
		}
		return nil
	}
	for from < to {
		var row storage.Row
		err := store.Read(ctx, func(tx storage.Tx) error {
			rows, err := tx.Find(ctx, chunks, storage.Query{Limit: 1, Order: []storage.Order{{Column: "at", Desc: true}}, Where: storage.And{
				storage.Compare{Column: "blob", Op: storage.Eq, Value: textOf(item, "content")}, storage.Compare{Column: "at", Op: storage.Le, Value: from}}})
			if len(rows) > 0 {
				row = rows[0]
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("reading content: %w", err)
		}
		p, _ := row["bytes"].([]byte)
		if skip := from - intOf(row, "at"); skip < int64(len(p)) {
			p = p[skip:]
		} else {
			return errGone
		}
		p = p[:min(int64(len(p)), to-from)]
		if _, err := w.Write(p); err != nil {
			return fmt.Errorf("sending content: %w", err)
		}
		from += int64(len(p))
	}
	return nil
}

// keep stores a part of a content.
func keep(ctx context.Context, tx storage.Tx, blob string, at int64, p []byte) error {
	for len(p) > 0 {
		n := min(chunkSize, len(p))
		if err := tx.Insert(ctx, chunks, storage.Row{"blob": blob, "at": at, "bytes": append([]byte(nil), p[:n]...)}); err != nil {
			return fmt.Errorf("storing content: %w", err)
		}
		at, p = at+int64(n), p[n:]
	}
	return nil
}

func forget(ctx context.Context, tx storage.Tx, blob string) error {
	if blob == "" {
		return nil
	}
	if _, err := tx.Delete(ctx, chunks, storage.Compare{Column: "blob", Op: storage.Eq, Value: blob}); err != nil {
		return fmt.Errorf("forgetting content: %w", err)
	}
	return nil
}
