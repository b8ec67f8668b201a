package join

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"patchbay/internal/fault"
)

type (
	// Level is what the target took from one run: keys and digests, sorted by key, in
	// blocks.
	Level struct {
		Layout string
		Next   func() ([]byte, error) // the next block; io.EOF after the last
	}

	// levels reads several of them as one: of a key the newest counts.
	levels struct {
		heads []*levelHead // the newest first
	}

	levelHead struct {
		Level
		comparable bool
		size       int // of the digests of an entry
		rest       []byte
		key        []byte
		digests    []byte
		over       bool
	}

	// Entry is one key that the target holds. Digests is nil where they are made up in
	// another way.
	entry struct {
		key     []byte
		digests []byte
	}
)

func openLevels(all []Level, layout string) (*levels, error) {
	l := &levels{}
	for _, level := range all {
		h := &levelHead{Level: level, comparable: level.Layout == layout}
		if err := h.next(); err != nil {
			return nil, err
		}
		l.heads = append(l.heads, h)
	}
	return l, nil
}

// peek gives the least key; ok is false when there is none. What it points into stays
// until skip.
func (l *levels) peek() (e entry, ok bool) {
	for _, h := range l.heads {
		if !h.over && (!ok || bytes.Compare(h.key, e.key) < 0) {
			e, ok = entry{h.key, nil}, true
			if h.comparable {
				e.digests = h.digests
			}
		}
	}
	return e, ok
}

// skip passes the least key.
func (l *levels) skip() error {
	e, ok := l.peek()
	if !ok {
		return nil
	}
	key := e.key
	for _, h := range l.heads {
		if !h.over && bytes.Equal(h.key, key) {
			if err := h.next(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *levelHead) next() error {
	for len(h.rest) == 0 {
		block, err := h.Next()
		if errors.Is(err, io.EOF) {
			h.over = true
			return nil
		}
		if err != nil {
			return err
		}
		if len(block) == 0 {
			return broken()
		}
		h.size, h.rest = int(block[0])*digestSize, block[1:]
	}
	n, used := binary.Uvarint(h.rest)
	if used <= 0 || uint64(len(h.rest)-used) < n+uint64(h.size) {
		return broken()
	}
	h.rest = h.rest[used:]
	h.key, h.digests, h.rest = h.rest[:n:n], h.rest[n:n+uint64(h.size)], h.rest[n+uint64(h.size):]
	return nil
}

func broken() error {
	return fault.New(fault.Bug, "bug.stage", "what was kept of an earlier run cannot be read", nil)
}

// appendEntry adds a key and its digests to a block, which begins with the number of
// parts.
func appendEntry(block []byte, parts int, key, digests []byte) []byte {
	if len(block) == 0 {
		block = append(block, byte(parts))
	}
	block = binary.AppendUvarint(block, uint64(len(key)))
	block = append(block, key...)
	return append(block, digests...)
}
