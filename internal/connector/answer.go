package connector

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
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

// decode reads exactly one JSON object, strictly: what two readers could
// understand differently, such as a key that stands twice, is no answer. Numbers
// become json.Number.
func decode(body []byte) (map[string]any, error) {
	v, err := strictjson.Decode(body, "")
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("an answer that is no object")
	}
	return object, nil
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

// undecodable is the fault of a body that is no JSON object, with a look at its
// shape.
func (t *Transport) undecodable(r Request, body []byte, err error) *fault.Fault {
	at := 0
	var place strictjson.PlaceError
	if errors.As(err, &place) {
		at = place.Offset
		if begun.Match(body[at:]) {
			return t.unreadable(r, "vendor.truncated", "the answer of "+t.config.Name+" ends in the middle", err)
		}
	}
	what := "is not the JSON expected"
	switch {
	case fault.Of(err).Code == strictjson.CodeDuplicateKey:
		what = "gives a key of one object twice"
	case !utf8.Valid(body):
		what = "is not UTF-8"
	}
	return t.unreadable(r, "vendor.malformed", "the answer of "+t.config.Name+" "+what+", near "+shape(body[max(0, at-40):]), err)
}

// begun is what a text that was cut off ends with, from the place on where it
// cannot be read: nothing, or the beginning of a word, a number or an escape.
var begun = regexp.MustCompile(`^(t(ru?)?|f(a(ls?)?)?|nu?l?|-?[0-9]*\.?[0-9]*([eE][-+]?)?|\\(u[0-9a-fA-F]{0,3})?)$`)

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
