package residency

import "encoding/binary"

// chunk is part of a value that PostgreSQL keeps outside its row.
type chunk struct {
	id, seq  uint32
	from, to int
}

// datums finds values that PostgreSQL has compressed, in the pages of tables and in
// records of the write-ahead log, where they are in the row or in chunks of about 2,000
// bytes.
func (s *Scanner) datums(src *source, b []byte, from, to int) {
	chunks := map[[2]uint32]chunk{}
	var first []chunk
	s.headers(b, func(at int, header uint32) {
		size := int(header >> 2)
		switch {
		case header&3 == 2 && at >= from && at < to: // compressed, in the row
			if plain := detoast(b[at+4 : min(len(b), at+size)]); plain != nil {
				s.unpacked(src, at, "toast", plain)
			}
		case header&3 == 0 && at >= 8:
			c := chunk{binary.LittleEndian.Uint32(b[at-8:]), binary.LittleEndian.Uint32(b[at-4:]), at + 4, min(len(b), at+size)}
			if c.id < 10_000 || c.seq > 1<<20 {
				return
			}
			if chunks[[2]uint32{c.id, c.seq}] = c; c.seq == 0 && at >= from && at < to {
				first = append(first, c)
			}
		}
	})
	for _, c := range first {
		var value []byte
		for at, ok := c, true; ok; at, ok = chunks[[2]uint32{c.id, at.seq + 1}] {
			value = append(value, b[at.from:at.to]...)
		}
		if plain := detoast(value); plain != nil {
			s.unpacked(src, c.from, "toast", plain)
		} else if len(value) > c.to-c.from {
			s.unpacked(src, c.from, "chunks", value)
		}
	}
}

// headers calls for the four bytes before every value that may be one of at most a page.
//
//go:norace
func (s *Scanner) headers(b []byte, each func(at int, header uint32)) {
	for i := 0; i+8 < len(b); i++ {
		if b[i+3] == 0 && b[i+2] == 0 && b[i]&1 == 0 && (b[i+1] != 0 || b[i] >= 48) {
			if header := uint32(b[i]) | uint32(b[i+1])<<8; header < 8192<<2 {
				each(i, header)
			}
		}
	}
}

// detoast decompresses what begins with the size that comes out and the method; nil
// when it does not look like that.
func detoast(b []byte) []byte {
	if len(b) < 8 {
		return nil
	}
	info := binary.LittleEndian.Uint32(b)
	size := int(info & 0x3fffffff)
	if size <= len(b)-4 || size > 1<<24 {
		return nil
	}
	var plain []byte
	switch info >> 30 {
	case 0:
		plain = pglz(b[4:], size)
	case 1:
		plain = lz4Block(nil, b[4:], size)
	default:
		return nil
	}
	if len(plain) < minAnchor {
		return nil
	}
	return plain
}

// Pages of the write-ahead log are 8 KiB, each with a header in the middle of whatever
// goes on there.
const (
	logPage   = 8192
	logHeader = 24
	logLong   = 40 // of the first page of a file
)

// logRecords takes the headers of pages out of the write-ahead log.
func logRecords(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for at := 0; at < len(b); at += logPage {
		page := b[at:min(len(b), at+logPage)]
		header := logHeader
		if len(page) > 2 && page[2]&2 != 0 { // XLP_LONG_HEADER
			header = logLong
		}
		out = append(out, page[min(header, len(page)):]...)
	}
	return out
}
