package stage

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/join"
	"patchbay/internal/store"
)

// The buffers between PostgreSQL and a join, of each source.
const (
	bufferSize = 256 << 10
	bufferMany = 4
)

// stream gives the rows of a generation, sorted, while PostgreSQL sends them. One
// goroutine fills buffers, the join empties them.
type stream struct {
	full   chan []byte
	free   chan []byte
	failed error // read after full is closed
	block  []byte
	rest   []byte
	begun  bool
}

// open begins to read a generation; done is called when it has ended. The caller cancels
// ctx to end it early.
func openStream(ctx context.Context, s *store.Store, generation int64, all *sync.WaitGroup) *stream {
	st := &stream{full: make(chan []byte, bufferMany), free: make(chan []byte, bufferMany)}
	for range bufferMany {
		st.free <- make([]byte, 0, bufferSize)
	}
	all.Go(func() {
		defer close(st.full)
		st.failed = s.Long(ctx, longest, func(tx pgx.Tx) error {
			w := &filler{over: ctx.Done(), stream: st}
			_, err := tx.Conn().PgConn().CopyTo(ctx, w, `copy (select key, ident, n, cells from `+table(generation)+
				` order by key, ident, n) to stdout (format binary)`)
			if err == nil {
				err = w.flush()
			}
			return err
		})
	})
	return st
}

// filler collects what PostgreSQL sends, message by message, in buffers. A row never
// lies in two of them.
type filler struct {
	over   <-chan struct{} // nobody waits for it any more
	stream *stream
	buffer []byte
}

// Write implements io.Writer.
func (f *filler) Write(p []byte) (int, error) {
	if f.buffer != nil && len(f.buffer)+len(p) > cap(f.buffer) {
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	if f.buffer == nil {
		select {
		case f.buffer = <-f.stream.free:
		case <-f.over:
			return 0, context.Canceled
		}
	}
	f.buffer = append(f.buffer, p...)
	return len(p), nil
}

func (f *filler) flush() error {
	if f.buffer == nil {
		return nil
	}
	select {
	case f.stream.full <- f.buffer:
		f.buffer = nil
		return nil
	case <-f.over:
		return context.Canceled
	}
}

// Next implements join.Stream.
func (s *stream) Next() (row join.Row, err error) {
	for len(s.rest) == 0 {
		if s.block != nil {
			s.free <- s.block[:0]
		}
		block, ok := <-s.full
		if !ok {
			s.block = nil
			if s.failed != nil {
				return row, s.failed
			}
			return row, io.ErrUnexpectedEOF // the trailer ends what is whole
		}
		s.block, s.rest = block, block
		if !s.begun {
			if len(block) < len(copyHeader) {
				return row, errCopy
			}
			s.begun, s.rest = true, block[len(copyHeader):]
		}
	}
	if len(s.rest) >= 2 && s.rest[0] == 0xff && s.rest[1] == 0xff {
		return row, io.EOF
	}
	r := s.rest
	if len(r) < 2 || binary.BigEndian.Uint16(r) != 4 {
		return row, errCopy
	}
	r = r[2:]
	if row.Key, r, err = field(r); err != nil {
		return row, err
	}
	if row.Ident, r, err = field(r); err != nil {
		return row, err
	}
	n, r, err := field(r)
	if err != nil || len(n) != 8 {
		return row, errors.Join(err, errCopy)
	}
	row.N = int64(binary.BigEndian.Uint64(n))
	row.Cells, s.rest, err = field(r)
	return row, err
}

var errCopy = fault.New(fault.Bug, "bug.stage", "the database sent rows in a form that cannot be read", nil)

func field(b []byte) (f, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errCopy
	}
	n := int(binary.BigEndian.Uint32(b))
	if len(b) < 4+n {
		return nil, nil, errCopy
	}
	return b[4 : 4+n : 4+n], b[4+n:], nil
}
