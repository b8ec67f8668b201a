package residency

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// packing is one way to compress, known by how it begins.
type packing struct {
	name   string
	mark   []byte
	unpack func(b []byte) []byte // of b, which begins with the mark; as far as it goes
}

const (
	unpackMost = 64 << 20 // bytes of one compressed stream
	maxDepth   = 4        // of what was unpacked inside what was unpacked

	// A block of snappy has no mark: where a prefix is, every beginning of one before it is
	// tried, so often in a source.
	blockTries = 256
	blockReach = 64 << 10
)

var packings = []packing{
	{"gzip", []byte{0x1f, 0x8b, 8}, gunzip},
	{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, unzstd},
	{"snappy", []byte("\xff\x06\x00\x00sNaPpY"), unsnappy},
	{"snappy", []byte("\xff\x06\x00\x00S2sTwO"), unsnappy},
	{"lz4", []byte{0x04, 0x22, 0x4d, 0x18}, unlz4},
	{"zip", []byte("PK\x03\x04"), unzip},
	{"zlib", []byte{0x78, 0x01}, inflate},
	{"zlib", []byte{0x78, 0x5e}, inflate},
	{"zlib", []byte{0x78, 0x9c}, inflate},
	{"zlib", []byte{0x78, 0xda}, inflate},
	{"gzip in base64", []byte("H4sI"), fromBase64(gunzip)},
	{"zstd in base64", []byte("KLUv"), fromBase64(unzstd)},
	{"zlib in base64", []byte("eJw"), fromBase64(inflate)},
	{"zlib in base64", []byte("eJx"), fromBase64(inflate)},
	{"zlib in base64", []byte("eJy"), fromBase64(inflate)},
	{"zlib in base64", []byte("eJz"), fromBase64(inflate)},
	{"gzip in hex", []byte("1f8b08"), fromHex(gunzip)},
	{"gzip in hex", []byte("1F8B08"), fromHex(gunzip)},
	{"zstd in hex", []byte("28b52ffd"), fromHex(unzstd)},
	{"zstd in hex", []byte("28B52FFD"), fromHex(unzstd)},
	{"zlib in hex", []byte("789c"), fromHex(inflate)},
	{"zlib in hex", []byte("789C"), fromHex(inflate)},
}

// marks has a bit for every two bytes that a mark begins with.
var marks = func() (out [1 << 16 / 64]uint64) {
	for _, p := range packings {
		at := binary.LittleEndian.Uint16(p.mark)
		out[at/64] |= 1 << (at % 64)
	}
	return out
}()

// packed unpacks what is compressed and scans that.
func (s *Scanner) packed(src *source, b []byte, from, to int) {
	if src.depth >= maxDepth {
		return
	}
	for _, at := range marked(b, from, to) {
		for _, p := range packings {
			if bytes.HasPrefix(b[at:], p.mark) {
				s.unpacked(src, int(at), p.name, p.unpack(b[at:]))
			}
		}
	}
}

// marked gives where a mark may begin.
//
//go:norace
func marked(b []byte, from, to int) (out []int32) {
	for i := from; i+1 < len(b) && i < to; i++ {
		at := uint16(b[i]) | uint16(b[i+1])<<8
		if marks[at/64]&(1<<(at%64)) != 0 {
			out = append(out, int32(i))
		}
	}
	return out
}

// unpacked scans what came out of a source at a place.
func (s *Scanner) unpacked(src *source, at int, how string, b []byte) {
	if len(b) < minAnchor {
		return
	}
	inner := &source{name: src.name, path: how, base: src.base, fixed: true, depth: src.depth + 1, tries: blockTries / 16}
	if !src.fixed {
		inner.base += int64(at)
	}
	if src.path != "" {
		inner.path = src.path + " of " + how
	}
	s.scan(inner, b, 0, len(b))
}

// all reads what can be read.
func all(r io.Reader) []byte {
	b, _ := io.ReadAll(io.LimitReader(r, unpackMost)) // what is cut off or damaged: as far as it goes
	return b
}

func gunzip(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	r.Multistream(false) // what follows is found by its own mark
	return all(r)
}

func inflate(b []byte) []byte {
	if len(b) < 2 || (int(b[0])<<8+int(b[1]))%31 != 0 {
		return nil
	}
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	return all(r)
}

func unzstd(b []byte) []byte {
	r, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(unpackMost))
	if err != nil {
		return nil
	}
	defer r.Close()
	return all(r)
}

func unsnappy(b []byte) []byte { return all(s2.NewReader(bytes.NewReader(b))) }

// unzip unpacks one member of an archive.
func unzip(b []byte) []byte {
	const header = 30
	if len(b) < header || binary.LittleEndian.Uint16(b[8:]) != zip.Deflate {
		return nil
	}
	data := header + int(binary.LittleEndian.Uint16(b[26:])) + int(binary.LittleEndian.Uint16(b[28:]))
	if data >= len(b) {
		return nil
	}
	return all(flate.NewReader(bytes.NewReader(b[data:])))
}

func fromBase64(unpack func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		n := 0
		for n < len(b) && n < unpackMost && base64Char(b[n]) {
			n++
		}
		if n < 4*minAnchor/3 {
			return nil
		}
		return unpack(decodeBase64(b[:n]))
	}
}

func fromHex(unpack func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		n := 0
		for n < len(b) && n < unpackMost && (b[n] >= '0' && b[n] <= '9' || b[n] >= 'a' && b[n] <= 'f' || b[n] >= 'A' && b[n] <= 'F') {
			n++
		}
		plain := make([]byte, n/2)
		_, _ = hex.Decode(plain, b[:n/2*2]) // these are digits
		return unpack(plain)
	}
}

func decodeBase64(b []byte) []byte {
	if len(b)%4 == 1 {
		b = b[:len(b)-1]
	}
	text := bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("-"), []byte("+")), []byte("_"), []byte("/"))
	plain := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, _ := base64.RawStdEncoding.Decode(plain, text) // of its alphabet alone
	return plain[:n]
}

func base64Char(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}
