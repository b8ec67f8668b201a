package httpapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

const (
	maxBody    = 1 << 20          // of a request, expanded
	maxValues  = 10_000           // of JSON in a body
	bodyTime   = 10 * time.Second // for all of it to arrive
	lingerTime = time.Second
)

// readBody takes the whole body off the wire, within its limits, and leaves it
// in r.Body as plain bytes. No route waits for a client.
func readBody(w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if len(r.TransferEncoding) > 0 {
		// A length may have stood beside it, which net/http has dropped. Somebody on the
		// way may have gone by that length, so nothing may follow on this connection
		// (RFC 9112, section 6.1).
		w.Header().Set("Connection", "close")
	}
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close") // refused before anything of it is read
		return tooLarge()
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fault.New(fault.Bug, "bug", "the connection takes no deadline", err)
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return fault.New(fault.Invalid, "body.too_slow", "the body did not arrive within 10 seconds; send it again, all at once", err)
	case err != nil:
		return fault.New(fault.Invalid, "request.interrupted", "the body ended before its announced length; send it again, whole", err)
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fault.New(fault.Bug, "bug", "the connection takes no deadline", err)
	}
	if raw, err = expand(r.Header["Content-Encoding"], raw); err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return nil
}

// linger takes what a refused client still sends, for a moment: closing at once
// would reset the connection before the client has read why.
func linger(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if control.Flush() != nil || r.Header.Get("Expect") != "" {
		return // gone, or waiting for our word before it sends
	}
	if control.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, r.Body, 16*maxBody) // whatever ends it, the connection closes
	}
}

func tooLarge() error {
	return fault.New(fault.Invalid, "body.too_large", "the body is larger than 1 MiB; send less, or a reference to where the rest is", nil)
}

// expand undoes one gzip and refuses every other encoding: a chain of them is
// how a small body becomes a large one.
func expand(encodings []string, raw []byte) ([]byte, error) {
	if len(encodings) == 0 || len(encodings) == 1 && encodings[0] == "identity" {
		return raw, nil
	}
	if len(encodings) > 1 || encodings[0] != "gzip" {
		return nil, fault.New(fault.Invalid, "body.encoding", "the Content-Encoding is not one that is read here; send the body as it is, or with Content-Encoding: gzip", nil)
	}
	unpack, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.New(fault.Invalid, "body.gzip", "the body is not the gzip that Content-Encoding announces; send it as it is, or compress it", err)
	}
	plain, err := io.ReadAll(io.LimitReader(unpack, maxBody+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, "body.gzip", "the body is damaged gzip; compress it again", err)
	}
	if len(plain) > maxBody {
		return nil, fault.New(fault.Invalid, "body.expands", "the body is larger than 1 MiB after it is expanded; send less", nil)
	}
	return plain, nil
}

// params decodes the body of a press: one JSON object, or nothing at all. The
// media type decides before anything is parsed.
func params(r *http.Request) (map[string]any, error) {
	var raw []byte
	if r.Body != nil {
		var err error
		if raw, err = io.ReadAll(r.Body); err != nil {
			return nil, fault.New(fault.Bug, "bug", "the body was read by somebody else", err)
		}
	}
	media := r.Header.Values("Content-Type")
	asJSON := len(media) == 1 && isJSON(media[0])
	if len(raw) == 0 && (len(media) == 0 || asJSON) {
		return map[string]any{}, nil // many clients name the type of a body they do not send
	}
	if !asJSON {
		return nil, fault.New(fault.Invalid, "body.media_type", "the Content-Type is not one that is read here; send the parameters as JSON with Content-Type: application/json", nil)
	}
	v, err := strictjson.DecodeSome(raw, "params", maxValues)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fault.New(fault.Invalid, "json.not_an_object",
			`the body must be one JSON object with the parameters, such as {"name": "value"}`, nil)
	}
	return object, nil
}

func isJSON(contentType string) bool {
	media, args, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return false
	}
	charset, given := args["charset"]
	return !given || charset == "utf-8" || charset == "UTF-8"
}
