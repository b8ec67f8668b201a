package exchange

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"patchbay/internal/sandbox/record"
)

// maxUpload bounds a body that is kept in a file: 250 MB, a third more for base64, and
// what stands around them.
const maxUpload = 400 << 20

type (
	// Receiver is a System that takes bodies too large to hold.
	Receiver interface {
		// Receives says of a call, whose head alone is known, that its body is Upload.
		Receives(c *Call) bool
	}

	// Upload is the body of a call in a file, which is there until the call is over.
	Upload struct {
		Size int64

		file *os.File
		sum  string
	}
)

// Open gives the bytes [from, to).
func (u *Upload) Open(from, to int64) io.Reader { return io.NewSectionReader(u.file, from, to-from) }

// receive takes the body of a call; done gives up what it is kept in.
func (l *Line) receive(w http.ResponseWriter, r *http.Request, c *Call) (done func(), err error) {
	done = func() {}
	receiver, can := l.System.(Receiver)
	if !can || r.Body == nil || r.Body == http.NoBody || !receiver.Receives(c) {
		c.Body, err = readBody(w, r)
		return done, err
	}
	file, err := os.CreateTemp("", "sandbox-upload-*")
	if err != nil {
		return done, fmt.Errorf("keeping a large body: %w", err)
	}
	done = func() {
		_ = file.Close()           // it was only read
		_ = os.Remove(file.Name()) // what is left in the temporary directory harms nobody
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(file, sum), http.MaxBytesReader(w, r.Body, maxUpload), make([]byte, 256<<10))
	if err != nil {
		return done, fmt.Errorf("reading the body: %w", err)
	}
	c.Upload = &Upload{Size: n, file: file, sum: hex.EncodeToString(sum.Sum(nil))}
	return done, nil
}

// head is the body of a call as far as faults look at it.
func (c *Call) head() []byte {
	if c.Upload == nil {
		return c.Body
	}
	p := make([]byte, min(c.Upload.Size, 64<<10))
	n, _ := c.Upload.file.ReadAt(p, 0) // what cannot be read matches nothing
	return p[:n]
}

// digest is that of the body of a call.
func (c *Call) digest() string {
	if c.Upload != nil {
		return c.Upload.sum
	}
	return record.Digest(c.Body)
}

// tooLarge reports whether a body was larger than any may be.
func tooLarge(err error) bool {
	var is *http.MaxBytesError
	return errors.As(err, &is)
}
