package residency

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"
)

type (
	// Scanner looks for the values of a Set. Its methods may be called from several
	// goroutines at once.
	Scanner struct {
		set     *Set
		anchors []anchor
		grams   map[uint32][]place // where four bytes may stand in an anchor
		filter  [filterBits / 64]uint64

		mu     sync.Mutex
		report Report
		began  time.Time
		inName *regexp.Regexp
	}

	// place is an anchor and how far into it four bytes stand.
	place struct{ anchor, off int }

	// source is one thing that is scanned.
	source struct {
		name string
		// path is how what is scanned came out of the source: "gzip".
		path string
		base int64 // where it begins in the source; of something unpacked, where that began
		// fixed: every offset is base, because what is scanned is unpacked.
		fixed    bool
		depth    int  // of what was unpacked inside what was unpacked
		postgres bool // its compression is undone too
		tries    int  // searches for the beginning of a block without a mark, that are left
		tried    int  // where the last such block ends
	}
)

const (
	// Four bytes are looked at in every eight: an anchor of at least eleven has four that
	// are looked at whatever it is aligned to.
	stride     = 8
	gram       = 4
	minAnchor  = stride + gram - 1
	filterLog  = 18
	filterBits = 1 << filterLog

	// A piece is scanned with what stands before it, for the decoders, and after it, for
	// what is unpacked.
	piece  = 16 << 20
	before = 8 << 10
	behind = 1 << 20
)

// buffers are used again: most sources are much smaller than one.
var buffers sync.Pool

// Scanner makes one. The time that its report gives begins now.
func (s *Set) Scanner() *Scanner {
	out := &Scanner{set: s, anchors: anchors(s.prefix, minAnchor), grams: map[uint32][]place{}, began: time.Now(),
		inName: regexp.MustCompile(s.prefix + "[0-9a-f]*")}
	out.report.found = make([]bool, s.Len())
	for i, a := range out.anchors {
		for off := range stride {
			g := binary.LittleEndian.Uint32(a.text[off:])
			out.grams[g] = append(out.grams[g], place{i, off})
			at := slot(g)
			out.filter[at/64] |= 1 << (at % 64)
		}
	}
	return out
}

func slot(g uint32) uint32 { return g * 2654435761 >> (32 - filterLog) }

// Bytes scans what is in memory.
func (s *Scanner) Bytes(name string, b []byte) {
	s.scan(&source{name: name, tries: blockTries}, b, 0, len(b))
	s.scanned(name, int64(len(b)))
}

// Stream scans what can be read once, in pieces. Compressed data is unpacked as far as
// the piece goes that it begins in, at least 1 MiB.
func (s *Scanner) Stream(name string, r io.Reader) error {
	return s.stream(&source{name: name, tries: blockTries}, r, piece, behind)
}

func (s *Scanner) stream(src *source, r io.Reader, piece, behind int) error {
	var total int64
	kept, _ := buffers.Get().(*[]byte)
	if kept == nil || cap(*kept) != before+piece+behind {
		fresh := make([]byte, 0, before+piece+behind)
		kept = &fresh
	}
	defer buffers.Put(kept)
	buf := (*kept)[:0]
	for from := 0; ; {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		total += int64(n)
		if last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); last || err != nil {
			s.scan(src, buf, from, len(buf))
			s.scanned(src.name, total)
			if !last {
				return fmt.Errorf("reading %s: %w", src.name, err)
			}
			return nil
		}
		to := len(buf) - behind
		s.scan(src, buf, from, to)
		src.base += int64(to - before)
		buf = buf[:copy(buf, buf[to-before:])]
		from = before
	}
}

// scan finds what begins in b between two places.
func (s *Scanner) scan(src *source, b []byte, from, to int) {
	s.find(b, from, to, func(at int, a anchor) { s.resolve(src, b, at, a) })
	s.seams(src, b, from, to)
	s.packed(src, b, from, to)
	if src.postgres {
		s.datums(src, b, from, to)
	}
}

// find calls for every anchor that begins in b between two places.
func (s *Scanner) find(b []byte, from, to int, each func(at int, a anchor)) {
	for _, at := range s.candidates(b, nil) {
		for _, p := range s.grams[binary.LittleEndian.Uint32(b[at:])] {
			if start := int(at) - p.off; start >= from && start < to && bytes.HasPrefix(b[start:], s.anchors[p.anchor].text) {
				each(start, s.anchors[p.anchor])
			}
		}
	}
}

// candidates gives where the filter lets four bytes pass. It is most of the time that a
// scan takes, and reads memory that nobody writes: the race detector would make it ten
// times as long.
//
//go:norace
func (s *Scanner) candidates(b []byte, out []int32) []int32 {
	for i := 0; i+gram <= len(b); i += stride {
		at := slot(binary.LittleEndian.Uint32(b[i:]))
		if s.filter[at/64]&(1<<(at%64)) != 0 {
			out = append(out, int32(i))
		}
	}
	return out
}

// resolve says which value an anchor belongs to.
func (s *Scanner) resolve(src *source, b []byte, at int, a anchor) {
	if a.codec == nil {
		which := s.set.which(b[at:])
		s.block(src, b, at)
		s.hit(src, at, "", which)
		return
	}
	found := false
	s.plain(a.codec.decode(b, at), a.codec.name, 0, func(encoding string, which int) {
		found = true
		s.hit(src, at, encoding, which)
	})
	if !found {
		s.hit(src, at, a.codec.name, torn)
	}
}

// plain finds values in a few bytes that were decoded.
func (s *Scanner) plain(b []byte, encoding string, depth int, found func(encoding string, which int)) {
	s.find(b, 0, len(b), func(at int, a anchor) {
		switch {
		case a.codec == nil:
			found(encoding, s.set.which(b[at:]))
		case depth == 0:
			s.plain(a.codec.decode(b, at), encoding+" of "+a.codec.name, depth+1, found)
		}
	})
}

// seams looks across the ends of lines that mail, PEM and PostgreSQL's encode put into
// base64 and quoted-printable.
func (s *Scanner) seams(src *source, b []byte, from, to int) {
	const arm = 160
	for {
		at := bytes.IndexByte(b[from:to], '\n')
		if at < 0 {
			return
		}
		at += from
		from = at + 1
		if !oneWord(b[max(0, at-80):at], b[from:]) {
			continue
		}
		around := b[max(0, at-arm):min(len(b), at+arm)]
		apart := map[int]bool{} // what the ends of lines do not hide
		s.plain(around, "", 0, func(_ string, which int) { apart[which] = true })
		s.plain(unwrap(around), "lines", 0, func(encoding string, which int) {
			if which != torn && !apart[which] {
				s.hit(src, at, encoding, which)
			}
		})
	}
}

// oneWord reports whether a line ends, and the next begins, as base64 does that was
// broken into lines, or as quoted-printable.
func oneWord(left, right []byte) bool {
	const sure = 12
	left = bytes.TrimSuffix(left, []byte("\r"))
	if bytes.HasSuffix(left, []byte("=")) {
		return true
	}
	if len(left) < 60 || len(right) < 2 || !base64Char(right[0]) || !base64Char(right[1]) {
		return false
	}
	for _, c := range left[len(left)-sure:] {
		if !base64Char(c) {
			return false
		}
	}
	return true
}

// unwrap takes the ends of lines out.
func unwrap(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	b = bytes.ReplaceAll(b, []byte("=\n"), nil)
	return bytes.ReplaceAll(b, []byte("\n"), nil)
}

func (s *Scanner) hit(src *source, at int, encoding string, which int) {
	offset := src.base
	if !src.fixed {
		offset += int64(at)
	}
	switch {
	case src.path == "":
	case encoding == "":
		encoding = src.path
	default:
		encoding = src.path + " of " + encoding
	}
	if encoding == "" {
		encoding = "plain"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(Hit{Source: s.safe(src.name), Offset: offset, Encoding: encoding, Label: Label(which)}, which)
}

func (s *Scanner) scanned(name string, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source(s.safe(name)).Bytes += size
}

// safe takes values out of the name of a source.
func (s *Scanner) safe(name string) string { return s.inName.ReplaceAllString(name, "(a value)") }
