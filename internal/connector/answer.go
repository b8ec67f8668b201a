package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"patchbay/internal/fault"
)

var errTooLarge = errors.New("answer larger than allowed")

// readBody reads a whole answer of at most limit bytes, counted after expansion.
func readBody(answer *http.Response, limit int64) ([]byte, error) {
	if answer.ContentLength > limit {
		return nil, errTooLarge
	}
	if n := answer.ContentLength; n >= 0 {
		body := make([]byte, n)
		_, err := io.ReadFull(answer.Body, body)
		return body, err
	}
	var buffer bytes.Buffer
	n, err := buffer.ReadFrom(io.LimitReader(answer.Body, limit+1))
	if err == nil && n > limit {
		err = errTooLarge
	}
	return buffer.Bytes(), err
}

// decode reads exactly one JSON document; numbers become json.Number.
func decode(body []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the document")
	}
	return nil
}

// isHTML recognises a page meant for a person.
func isHTML(h http.Header, body []byte) bool {
	kind := strings.ToLower(h.Get("Content-Type"))
	if strings.Contains(kind, "json") {
		return false
	}
	if strings.Contains(kind, "html") {
		return true
	}
	start := bytes.ToLower(bytes.TrimLeft(body[:min(len(body), 64)], " \t\r\n\ufeff"))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// unreadable is the fault of a success whose body cannot be used. After a write
// that is a doubt: the success was said, what it was is unknown.
func (t *Transport) unreadable(r Request, code, text string, cause error) *fault.Fault {
	if r.Write {
		return fault.New(fault.InDoubt, code, text+"; the write may have been applied", cause)
	}
	return fault.New(fault.Unavailable, code, text, cause)
}

// Malformed is the fault of an answer to a read that is JSON but not what the
// vendor documents; what says so in a clause without any value of the answer.
func (t *Transport) Malformed(what string) *fault.Fault {
	return fault.New(fault.Unavailable, "vendor.malformed", "the answer of "+t.config.Name+" is not what is documented: "+what, nil)
}

// undecodable is the fault of a body that is no JSON, with a look at its shape.
func (t *Transport) undecodable(r Request, body []byte, err error) *fault.Fault {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return t.unreadable(r, "vendor.truncated", "the answer of "+t.config.Name+" ends in the middle", err)
	}
	at := len(body)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = int(syntax.Offset)
	case errors.As(err, &kind):
		at = int(kind.Offset)
	}
	from := max(0, min(at, len(body))-40)
	return t.unreadable(r, "vendor.malformed", "the answer of "+t.config.Name+" is not the JSON expected, near "+shape(body[from:]), err)
}

// shape shows how a text is built and nothing of what it says: a run of letters
// becomes one "a", a run of digits one "0"; at most 80 characters.
func shape(text []byte) string {
	out := make([]byte, 0, 80)
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			c = '0'
		case bytes.IndexByte([]byte(`{}[]":,<>/=`), c) >= 0:
		case c <= ' ':
			c = ' '
		default:
			c = 'a'
		}
		if n := len(out); n > 0 && out[n-1] == c && (c == 'a' || c == '0' || c == ' ') {
			continue
		}
		if out = append(out, c); len(out) == cap(out) {
			break
		}
	}
	return string(out)
}
