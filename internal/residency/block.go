package residency

import (
	"bytes"
	"encoding/binary"
)

// The formats here copy from what was unpacked already, and are decoded as far as they
// go: what is damaged or cut off gives what stands before.

// block looks for the block of snappy that a place is part of.
func (s *Scanner) block(src *source, b []byte, at int) {
	if src.tries <= 0 || src.depth >= maxDepth || at < src.tried {
		return
	}
	src.tries--
	for from := max(0, at-blockReach); from < at; from++ {
		size, n := binary.Uvarint(b[from:min(len(b), from+4)])
		if n <= 0 || size < tokenLen || size > 1<<22 || b[from+n]&3 != 0 {
			continue
		}
		plain, end := snappyBlock(b[from+n:], int(size))
		if from+n+end > at && s.whole(plain) {
			src.tried = from + n + end
			s.unpacked(src, from, "snappy block", plain)
			return
		}
	}
}

// whole reports whether there are values, and none is torn: else it was no block, by all
// odds.
func (s *Scanner) whole(b []byte) bool {
	some := false
	for at := bytes.Index(b, []byte(s.set.prefix)); at >= 0; at = bytes.Index(b, []byte(s.set.prefix)) {
		if b = b[at:]; s.set.which(b) == torn {
			return false
		}
		some, b = true, b[prefixLen:]
	}
	return some
}

// snappyBlock decodes a block that gives exactly so many bytes, and where it ends; else nil.
func snappyBlock(b []byte, size int) (plain []byte, end int) {
	i := 0
	for len(plain) < size {
		if i >= len(b) {
			return nil, 0
		}
		tag := b[i]
		i++
		var length, offset int
		switch tag & 3 {
		case 0:
			length = int(tag >> 2)
			if extra := length - 59; extra > 0 {
				if i+extra > len(b) {
					return nil, 0
				}
				length = 0
				for k := range extra {
					length |= int(b[i+k]) << (8 * k)
				}
				i += extra
			}
			length++
			if length > size-len(plain) || i+length > len(b) {
				return nil, 0
			}
			plain = append(plain, b[i:i+length]...)
			i += length
			continue
		case 1:
			if i >= len(b) {
				return nil, 0
			}
			length, offset = 4+int(tag>>2&7), int(tag>>5)<<8|int(b[i])
			i++
		case 2:
			if i+2 > len(b) {
				return nil, 0
			}
			length, offset = 1+int(tag>>2), int(binary.LittleEndian.Uint16(b[i:]))
			i += 2
		default:
			if i+4 > len(b) {
				return nil, 0
			}
			length, offset = 1+int(tag>>2), int(binary.LittleEndian.Uint32(b[i:]))
			i += 4
		}
		if length > size-len(plain) {
			return nil, 0
		}
		var ok bool
		if plain, ok = again(plain, offset, length); !ok {
			return nil, 0
		}
	}
	return plain, i
}

// again appends what stands so far back.
func again(plain []byte, offset, length int) ([]byte, bool) {
	from := len(plain) - offset
	if offset <= 0 || from < 0 {
		return plain, false
	}
	for i := range length { // what it appends itself may be part of it
		plain = append(plain, plain[from+i])
	}
	return plain, true
}

// lz4Block decodes one block behind what was decoded before it.
func lz4Block(plain, b []byte, most int) []byte {
	for i := 0; i < len(b) && len(plain) < most; {
		token := b[i]
		i++
		length := func(n int) int {
			for more := n == 15; more && i < len(b); {
				n += int(b[i])
				more = b[i] == 255
				i++
			}
			return n
		}
		literals := min(length(int(token>>4)), len(b)-i)
		plain = append(plain, b[i:i+literals]...)
		if i += literals; i+2 > len(b) {
			break
		}
		offset := int(binary.LittleEndian.Uint16(b[i:]))
		i += 2
		var ok bool
		if plain, ok = again(plain, offset, 4+length(int(token&15))); !ok {
			break
		}
	}
	return plain
}

// unlz4 decodes a frame.
func unlz4(b []byte) (plain []byte) {
	if len(b) < 7 {
		return nil
	}
	flags, at := b[4], 6
	if flags&8 != 0 {
		at += 8 // the size of what is in it
	}
	if flags&1 != 0 {
		at += 4 // a dictionary
	}
	at++ // of the header's checksum
	for at+4 <= len(b) && len(plain) < unpackMost {
		size := binary.LittleEndian.Uint32(b[at:])
		at += 4
		n := int(size & 0x7fffffff)
		if n == 0 || at+n > len(b) {
			break
		}
		if size>>31 != 0 {
			plain = append(plain, b[at:at+n]...)
		} else {
			plain = lz4Block(plain, b[at:at+n], unpackMost)
		}
		if at += n; flags&16 != 0 {
			at += 4 // of the block's checksum
		}
	}
	return plain
}

// pglz decodes PostgreSQL's own format.
func pglz(b []byte, size int) (plain []byte) {
	for i := 0; i < len(b) && len(plain) < size; {
		control := b[i]
		i++
		for range 8 {
			if i >= len(b) || len(plain) >= size {
				break
			}
			if control&1 == 0 {
				plain = append(plain, b[i])
				i++
			} else {
				if i+2 > len(b) {
					return plain
				}
				length, offset := int(b[i]&15)+3, int(b[i]&0xf0)<<4|int(b[i+1])
				if i += 2; length == 18 && i < len(b) {
					length += int(b[i])
					i++
				}
				var ok bool
				if plain, ok = again(plain, offset, min(length, size-len(plain))); !ok {
					return plain
				}
			}
			control >>= 1
		}
	}
	return plain
}
