package graph

import (
	"encoding/base64"
	"encoding/binary"
)

// quickXor is the hash that Microsoft gives of files in SharePoint: 160 bits over which
// each byte is laid 11 bits further on than the one before, with the length at the end.
type quickXor struct {
	cells  [3]uint64 // 64, 64 and 32 bits
	length uint64
}

const (
	hashBits  = 160
	hashShift = 11
)

// Write never fails.
func (q *quickXor) Write(p []byte) (int, error) {
	at := int(q.length * hashShift % hashBits)
	for _, b := range p {
		cell, bit := at/64, at%64
		width := 64
		if cell == 2 {
			width = 32
		}
		q.cells[cell] ^= uint64(b) << bit
		if over := bit + 8 - width; over > 0 {
			next := cell + 1
			if cell == 2 {
				next = 0
			}
			q.cells[next] ^= uint64(b) >> (8 - over)
		}
		if at += hashShift; at >= hashBits {
			at -= hashBits
		}
	}
	q.length += uint64(len(p))
	return len(p), nil
}

// text is the hash as Graph writes it.
func (q *quickXor) text() string {
	var out [20]byte
	binary.LittleEndian.PutUint64(out[0:], q.cells[0])
	binary.LittleEndian.PutUint64(out[8:], q.cells[1])
	binary.LittleEndian.PutUint32(out[16:], uint32(q.cells[2])) // what is above 32 bits went to the first cell
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], q.length)
	for i, b := range length {
		out[12+i] ^= b
	}
	return base64.StdEncoding.EncodeToString(out[:])
}
