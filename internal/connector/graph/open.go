package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// continuations is how often a reading that broke off without any progress is begun
// again at the place that it came to.
const continuations = 4

// Open implements connector.DocumentReader.
func (g *Graph) Open(ctx context.Context, ref connector.DocumentRef, from int64) (connector.OpenDocument, error) {
	r := &reader{g: g, ctx: ctx, ref: ref, at: from, sum: new(quickXor), whole: from == 0}
	if from < 0 {
		return connector.OpenDocument{}, fault.Invalidf("connector.offset", "a document is read from 0 on, not from %d", from)
	}
	f, err := g.at(ctx, ref, urlToo)
	if err != nil {
		return connector.OpenDocument{}, err
	}
	r.file, r.ref.Version = f, f.Version
	if from > f.Size {
		return connector.OpenDocument{}, g.changed()
	}
	if from < f.Size {
		if err := r.begin(); err != nil && !r.passing(err) {
			return connector.OpenDocument{}, err
		}
	}
	return connector.OpenDocument{Document: f.Document, Body: r}, nil
}

// urlToo asks for the address of the bytes besides.
const urlToo = ",@microsoft.graph.downloadUrl"

// reader gives the bytes of one version of a file.
type reader struct {
	g     *Graph
	ctx   context.Context //nolint:containedctx // bounds the whole reading, as Open says
	ref   connector.DocumentRef
	file  file
	at    int64
	body  io.ReadCloser // nil: to be begun
	whole bool          // read from the first byte on: the hash can be compared
	sum   *quickXor
	tries int // in a row that brought nothing
	err   error
}

func (r *reader) Read(p []byte) (int, error) {
	for r.err == nil && len(p) > 0 {
		if r.at >= r.file.Size {
			r.end()
			break
		}
		if r.body == nil {
			if err := r.resume(); err != nil {
				r.err = err
				break
			}
		}
		if left := r.file.Size - r.at; int64(len(p)) > left {
			p = p[:left]
		}
		n, err := r.body.Read(p)
		if n > 0 {
			_, _ = r.sum.Write(p[:n]) // never fails
			r.at += int64(n)
			r.tries = 0
		}
		if err != nil {
			r.drop()
			if !errors.Is(err, io.EOF) && !r.passing(err) {
				r.err = err
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

// passing reports whether the same bytes may come at another try.
func (r *reader) passing(err error) bool {
	f := fault.Of(err)
	return r.ctx.Err() == nil && (f.Class == fault.Unavailable && f.After == 0 && strings.HasPrefix(f.Code, "vendor.") || f.Code == staleURL)
}

// staleURL is the code of an address that is no longer good.
const staleURL = "graph.download_expired"

// resume begins again where the reading broke off, at the same version.
func (r *reader) resume() error {
	for {
		if r.tries++; r.tries > continuations {
			return fault.New(fault.Unavailable, "vendor.truncated", "the document from "+r.g.config.Name+" broke off again and again at the same place", nil)
		}
		f, err := r.g.at(r.ctx, r.ref, urlToo)
		if err == nil {
			r.file.url = f.url
			err = r.begin()
		}
		if err == nil || !r.passing(err) {
			return err
		}
	}
}

// begin opens the bytes from where the reading is. The address needs no credentials and
// is on another host, which gets none.
func (r *reader) begin() error {
	if r.file.url == "" {
		if err := r.redirected(); err != nil {
			return err
		}
	}
	h := reading()
	if r.at > 0 {
		h.Set("Range", "bytes="+strconv.FormatInt(r.at, 10)+"-")
	}
	answer, body, err := r.g.transport.Stream(r.ctx, connector.Request{Method: http.MethodGet, Target: r.file.url, Header: h, Elsewhere: true})
	if err != nil {
		switch answer.Status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
			return fault.New(fault.Unavailable, staleURL, "the address of a document's bytes in "+r.g.config.Name+" is no longer good", err)
		case http.StatusRequestedRangeNotSatisfiable:
			return r.g.changed()
		}
		return err
	}
	switch answer.Status {
	case http.StatusPartialContent:
		var from, to, size int64
		_, err = fmt.Sscanf(answer.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size)
		switch {
		case err != nil || from != r.at:
			err = r.g.transport.Malformed("it gives another part of a document than was asked for")
		case size != r.file.Size:
			err = r.g.changed()
		}
	default:
		_, err = io.CopyN(io.Discard, body, r.at) // it ignores ranges
	}
	if err != nil {
		_ = body.Close() // nothing of it is used
		return err
	}
	r.body = body
	return nil
}

// redirected asks for the address where the file itself does not give it.
func (r *reader) redirected() error {
	_, drive, err := r.g.drive(r.ctx, r.ref.Table)
	if err != nil {
		return err
	}
	answer, err := r.g.transport.Do(r.ctx, connector.Request{Method: http.MethodGet, Target: drive + "/items/" + segment(r.ref.ID) + "/content", Redirect: true}, nil)
	if err != nil {
		return err
	}
	if r.file.url = answer.Header.Get("Location"); r.file.url == "" {
		return r.g.transport.Malformed("it does not say where the bytes of a document are")
	}
	return nil
}

// end says what the last byte means: the end of the version that was asked for, or of
// something that nobody ever wrote.
func (r *reader) end() {
	r.drop()
	if _, err := r.g.at(r.ctx, r.ref, ""); err != nil {
		r.err = err
		return
	}
	if r.whole && r.file.hash != "" && r.sum.text() != r.file.hash {
		r.err = fault.New(fault.Unavailable, "vendor.checksum", "the bytes of the document from "+r.g.config.Name+" are not those that its checksum is of", nil)
		return
	}
	r.err = io.EOF
}

func (r *reader) drop() {
	if r.body != nil {
		_ = r.body.Close() // what was read stands
		r.body = nil
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.drop()
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	return nil
}
