package batch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/strictjson"
)

// boundary parts the operations. It stands at the beginning of a line, where JSON
// without line breaks cannot have it.
const boundary = "batch_patchbay"

// ContentType is that of a body of Compose.
const ContentType = "multipart/mixed; boundary=" + boundary

type (
	// Operation is one request within a $batch. Address is as the vendor wants it:
	// below the service, a path, or absolute. Alone says that it begins a change set,
	// which is done whole or not at all; With, that it belongs to the set of the one before.
	Operation struct {
		Method, Address string
		Header          http.Header
		Body            []byte
		Alone, With     bool
	}

	// Reply is the answer to one operation.
	Reply struct {
		Status int
		Header http.Header
		Body   []byte
	}
)

// Compose writes the body of a $batch.
func Compose(operations []Operation) []byte {
	var b bytes.Buffer
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteString("\r\n")
	}
	set := ""
	for n, o := range operations {
		number := strconv.Itoa(n + 1)
		within := o.Alone || o.With
		if !o.With {
			line("--", boundary)
		}
		if o.Alone {
			set = "changeset_" + number
			line("Content-Type: multipart/mixed; boundary=", set)
			line()
		}
		if within {
			line("--", set)
		}
		line("Content-Type: application/http")
		line("Content-Transfer-Encoding: binary")
		if within {
			line("Content-ID: ", number)
		}
		line()
		line(o.Method, " ", o.Address, " HTTP/1.1")
		for _, name := range slices.Sorted(maps.Keys(o.Header)) {
			line(name, ": ", o.Header.Get(name))
		}
		if len(o.Body) > 0 {
			line("Content-Length: ", strconv.Itoa(len(o.Body)))
		}
		line()
		b.Write(o.Body)
		line()
		if within && (n+1 == len(operations) || !operations[n+1].With) {
			line("--", set, "--")
		}
	}
	line("--", boundary, "--")
	return b.Bytes()
}

// Parse reads the answer to a $batch in the order of its operations. A change set
// that was done answers as parts inside its part; one that was refused as one answer,
// inside or in its place. An error that a strictjson.PlaceError is in says that the
// answer was cut off.
func Parse(kind string, body []byte) ([]Reply, error) {
	media, params, err := mime.ParseMediaType(kind)
	if err != nil || !strings.HasPrefix(media, "multipart/") || params["boundary"] == "" {
		return nil, errors.New("a $batch is answered with something that is no multipart/mixed")
	}
	var replies []Reply
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) && bytes.Contains(body, []byte("--"+params["boundary"]+"--")) {
			return replies, nil
		}
		if err != nil {
			return nil, cutOff(body, err)
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return nil, cutOff(body, err)
		}
		kind := p.Header.Get("Content-Type")
		if strings.HasPrefix(strings.ToLower(kind), "multipart/") {
			inner, err := Parse(kind, content)
			if err != nil {
				return nil, err
			}
			replies = append(replies, inner...)
			continue
		}
		r, err := reply(content)
		if err != nil {
			return nil, err
		}
		replies = append(replies, r)
	}
}

// cutOff is the error of parts that end where more is due.
func cutOff(body []byte, err error) error {
	return fmt.Errorf("a part of a $batch ends in the middle (%w): %w", err, strictjson.PlaceError{Offset: len(body)})
}

func reply(content []byte) (Reply, error) {
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(bytes.TrimLeft(content, "\r\n"))), nil)
	if err != nil {
		return Reply{}, errors.New("a part of a $batch is no answer")
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Reply{}, errors.New("a part of a $batch is no answer")
	}
	return Reply{answer.StatusCode, answer.Header, body}, nil
}
