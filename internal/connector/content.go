package connector

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"patchbay/internal/fault"
)

// ErrContent is the fault of a content that is not the one that its size and checksum
// are of. It comes before the last of it is sent, so nothing is stored.
var ErrContent = fault.New(fault.Conflict, "connector.content", "the content of the document is not the one that its size and checksum are of; nothing was stored", nil)

// Verified is the content, which gives its last bytes only when all of it is what its
// size and checksum say: a request that carries it is not sent whole otherwise.
func (c Content) Verified() Content {
	open := c.Open
	c.Open = func(ctx context.Context, from int64) (io.ReadCloser, error) {
		body, err := open(ctx, from)
		if err != nil {
			return nil, err
		}
		return &verified{body: body, left: c.Size - from, want: c.SHA256, whole: from == 0, sum: sha256.New()}, nil
	}
	return c
}

// Framed is the content with bytes before and behind it, as one body.
func (c Content) Framed(head, tail []byte) Content {
	open := c.Open
	return Content{Size: int64(len(head)) + c.Size + int64(len(tail)), Open: func(ctx context.Context, from int64) (io.ReadCloser, error) {
		if from != 0 {
			return nil, fault.New(fault.Bug, "bug.offset", "a body is sent from its beginning", nil)
		}
		body, err := open(ctx, 0)
		if err != nil {
			return nil, err
		}
		return framed{io.MultiReader(bytes.NewReader(head), body, bytes.NewReader(tail)), body}, nil
	}}
}

type framed struct {
	io.Reader
	io.Closer
}

type verified struct {
	body  io.ReadCloser
	left  int64
	want  string
	whole bool // read from the first byte on: the checksum can be compared
	sum   hash.Hash
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.body.Read(p)
	_, _ = v.sum.Write(p[:n]) // never fails
	v.left -= int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return 0, err
	case v.left < 0, v.left > 0 && err != nil,
		v.left == 0 && v.whole && v.want != "" && !strings.EqualFold(v.want, hex.EncodeToString(v.sum.Sum(nil))):
		return 0, ErrContent
	}
	return n, err
}

func (v *verified) Close() error { return v.body.Close() }

// SameContent reports whether a document that is there has a content. It reads both, up to
// where they differ, where their sizes do not tell them apart.
func SameContent(ctx context.Context, system DocumentReader, ref DocumentRef, size int64, c Content) (bool, error) {
	if size >= 0 && size != c.Size {
		return false, nil
	}
	ours, err := c.Open(ctx, 0)
	if err != nil {
		return false, err
	}
	defer ours.Close()
	theirs, err := system.Open(ctx, ref, 0)
	if err != nil {
		return false, err
	}
	defer theirs.Body.Close()
	var parts [2][64 << 10]byte
	for {
		var got [2]int
		for i, from := range []io.Reader{ours, theirs.Body} {
			n, err := io.ReadFull(from, parts[i][:])
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
			got[i] = n
		}
		switch {
		case !bytes.Equal(parts[0][:got[0]], parts[1][:got[1]]):
			return false, nil
		case got[0] < len(parts[0]):
			return true, nil
		}
	}
}

// continuations is how often a reading that broke off without any progress is begun
// again at the place that it came to.
const continuations = 4

// Continued is the bytes of a document, which are begun again where they broke off.
type Continued struct {
	Name string // of the connection
	At   int64
	Size int64 // -1: not known; then the end of the bytes is the end of the document
	// Begin gives the bytes from an offset on; End says, when all were read, whether they
	// still are the version that was asked for.
	Begin func(from int64) (io.ReadCloser, error)
	End   func() error

	body  io.ReadCloser
	tries int // in a row that brought nothing
	err   error
}

func (c *Continued) Read(p []byte) (int, error) {
	for c.err == nil && len(p) > 0 {
		if c.Size >= 0 && c.At >= c.Size {
			c.end()
			break
		}
		if c.body == nil {
			if c.tries++; c.tries > continuations {
				c.err = fault.New(fault.Unavailable, "vendor.truncated", "the document from "+c.Name+" broke off again and again at the same place", nil)
				break
			}
			body, err := c.Begin(c.At)
			if err != nil {
				if !passing(err) {
					c.err = err
				}
				continue
			}
			c.body = body
		}
		n, err := c.body.Read(p)
		if n > 0 {
			c.At += int64(n)
			c.tries = 0
		}
		if err != nil {
			c.drop()
			switch {
			case errors.Is(err, io.EOF) && c.Size < 0:
				c.end()
			case !errors.Is(err, io.EOF) && !passing(err):
				c.err = err
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, c.err
}

// passing reports whether the same bytes may come at another try.
func passing(err error) bool {
	f := fault.Of(err)
	return f != nil && f.Class == fault.Unavailable && f.After == 0 && strings.HasPrefix(f.Code, "vendor.")
}

func (c *Continued) end() {
	c.drop()
	if c.err = c.End(); c.err == nil {
		c.err = io.EOF
	}
}

func (c *Continued) drop() {
	if c.body != nil {
		_ = c.body.Close() // what was read stands
		c.body = nil
	}
}

// Close ends the reading.
func (c *Continued) Close() error {
	c.drop()
	if c.err == nil {
		c.err = io.ErrClosedPipe
	}
	return nil
}

// Skipped is a body without its first bytes, of a system that knows no ranges.
func Skipped(body io.ReadCloser, from int64) (io.ReadCloser, error) {
	if _, err := io.CopyN(io.Discard, body, from); err != nil {
		_ = body.Close() // nothing of it is used
		return nil, err
	}
	return body, nil
}
