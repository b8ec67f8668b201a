package join

import (
	"encoding/binary"

	"patchbay/internal/flow"
)

// Chunk is rows of the target as they were frozen.
type Chunk struct {
	Sheet   flow.Sheet
	Keys    []string // of the rows, by which sources were joined
	Targets [][]byte // their keys in the target: JSON arrays of the key's values
	digests [][]byte
	parts   int
}

// appendOut adds a target row to the body of a chunk.
func appendOut(body []byte, parts int, key, target, digests, cells []byte) []byte {
	if len(body) == 0 {
		body = append(body, byte(parts))
	}
	body = binary.AppendUvarint(body, uint64(len(key)))
	body = append(body, key...)
	body = binary.AppendUvarint(body, uint64(len(target)))
	body = append(body, target...)
	body = append(body, digests...)
	body = binary.AppendUvarint(body, uint64(len(cells)))
	return append(body, cells...)
}

// ReadChunk reads the body of a chunk of rows with these columns. The chunk points
// into it.
func ReadChunk(columns []string, body []byte, rows int) (Chunk, error) {
	c := Chunk{Sheet: flow.Sheet{Columns: columns, Cells: make([][]byte, 0, rows*len(columns))}, Keys: make([]string, 0, rows), Targets: make([][]byte, 0, rows)}
	if len(body) == 0 {
		return c, nil
	}
	c.parts = int(body[0])
	rest := body[1:]
	field := func() []byte {
		n, used := binary.Uvarint(rest)
		if used <= 0 || uint64(len(rest)-used) < n {
			rest = nil
			return nil
		}
		f := rest[used : used+int(n) : used+int(n)]
		rest = rest[used+int(n):]
		return f
	}
	for len(rest) > 0 {
		key, target := field(), field()
		if target == nil || len(rest) < c.parts*digestSize {
			return c, broken()
		}
		digests := rest[:c.parts*digestSize]
		rest = rest[c.parts*digestSize:]
		before := len(c.Sheet.Cells)
		c.Sheet.Cells = Cells(c.Sheet.Cells, field())
		if len(c.Sheet.Cells) != before+len(columns) {
			return c, broken()
		}
		c.Keys, c.Targets, c.digests = append(c.Keys, string(key)), append(c.Targets, target), append(c.digests, digests)
	}
	return c, nil
}

// Level is the block that tells what the target holds when it took the chunk, but for
// the rows that it refused.
func (c Chunk) Level(refused map[int]bool) (block []byte, rows int) {
	for i, key := range c.Keys {
		if !refused[i] {
			block = appendEntry(block, c.parts, []byte(key), c.digests[i])
			rows++
		}
	}
	return block, rows
}

// Doubtful is the block of a level of which only the keys are known: those of the body of
// a chunk that was perhaps sent, and nobody heard what the target took of it.
func Doubtful(body []byte, rows int) ([]byte, error) {
	var block []byte
	if len(body) == 0 {
		return nil, broken()
	}
	digests, rest := int(body[0])*digestSize, body[1:]
	field := func() (f []byte, ok bool) {
		n, used := binary.Uvarint(rest)
		if used <= 0 || uint64(len(rest)-used) < n {
			return nil, false
		}
		f, rest = rest[used:used+int(n)], rest[used+int(n):]
		return f, true
	}
	for range rows {
		key, ok := field()
		if ok {
			_, ok = field()
		}
		if !ok || len(rest) < digests {
			return nil, broken()
		}
		rest = rest[digests:]
		if _, ok = field(); !ok {
			return nil, broken()
		}
		block = appendEntry(block, 0, key, nil)
	}
	return block, nil
}

// Cells adds the cells of a packed row to dst. They point into it.
func Cells(dst [][]byte, packed []byte) [][]byte {
	begun := 0
	for i, c := range packed {
		if c == separator {
			dst = append(dst, cell(packed[begun:i:i]))
			begun = i + 1
		}
	}
	return append(dst, cell(packed[begun:len(packed):len(packed)]))
}

func cell(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
