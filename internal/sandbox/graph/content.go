package graph

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"patchbay/internal/sandbox/storage"
)

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
	if err := chunks.Send(ctx, store, textOf(item, "content"), from, to, w); err != nil {
		return fmt.Errorf("sending a file: %w", err)
	}
	return nil
}
