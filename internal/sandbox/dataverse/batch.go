package dataverse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

const maxOperations = 1000

// errChangeSet undoes a change set whose answer is already made.
var errChangeSet = errors.New("change set refused")

// batch answers $batch: parts in order, each change set whole or not at all.
// Without continue-on-error the first failure ends it, and the outer status is
// that failure's; what came before stays done.
func (s *System) batch(ctx context.Context, tx storage.Tx, r *request) (exchange.Answer, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return exchange.Answer{}, refuse(http.StatusBadRequest, "0x80048d19", "The batch request must be a POST with Content-Type multipart/mixed and a boundary.")
	}
	if !bytes.HasSuffix(r.Body, []byte("\r\n")) || bytes.Count(r.Body, []byte("\n")) != bytes.Count(r.Body, []byte("\r\n"))+loneFeeds(r.Body) {
		return exchange.Answer{}, unreadable()
	}
	r.Parts = nil // of an attempt that lost a race
	b := &batcher{System: s, tx: tx, r: r, out: multipart.NewWriter(&bytes.Buffer{})}
	var body bytes.Buffer
	b.out = multipart.NewWriter(&body)
	_ = b.out.SetBoundary("batchresponse_" + newGUID()) // a fixed form, always valid
	status := http.StatusOK
	parts := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return exchange.Answer{}, unreadable()
		}
		failed, err := b.part(ctx, part)
		if err != nil {
			return exchange.Answer{}, err
		}
		if failed != 0 && !r.prefer.continueOnError {
			status = failed
			break
		}
	}
	_ = b.out.Close() // writes to a Buffer
	return exchange.Answer{Status: status, Keep: true, Body: body.Bytes(),
		Header: http.Header{"Content-Type": {"multipart/mixed; boundary=" + b.out.Boundary()}}}, nil
}

// loneFeeds counts line feeds without a carriage return that stand inside JSON
// bodies, where they do no harm.
func loneFeeds(body []byte) int {
	n, inBody := 0, false
	for _, line := range bytes.SplitAfter(body, []byte("\n")) {
		switch {
		case bytes.HasPrefix(line, []byte("--")):
			inBody = false
		case len(bytes.TrimSpace(line)) > 0 && (line[0] == '{' || line[0] == '['):
			inBody = true
		}
		if inBody && bytes.HasSuffix(line, []byte("\n")) && !bytes.HasSuffix(line, []byte("\r\n")) {
			n++
		}
	}
	return n
}

func unreadable() *problem {
	return refuse(http.StatusBadRequest, "0x80048d19", "Error identified in Payload provided by the user for Entity :'', ---->  InnerException : System.ArgumentException: Stream was not readable.")
}

type batcher struct {
	*System
	tx         storage.Tx
	r          *request
	out        *multipart.Writer
	operations int
}

func (b *batcher) part(ctx context.Context, part *multipart.Part) (failed int, err error) {
	kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if err != nil {
		return 0, unreadable()
	}
	content, err := io.ReadAll(part)
	if err != nil {
		return 0, unreadable()
	}
	if kind == "multipart/mixed" {
		return b.changeSet(ctx, content, params["boundary"])
	}
	answer, err := b.operation(ctx, b.tx, content, nil, true)
	if err != nil {
		return 0, err
	}
	b.write(b.out, "", answer)
	return failure(answer), nil
}

func failure(a exchange.Answer) int {
	if a.Status >= http.StatusBadRequest {
		return a.Status
	}
	return 0
}

func (b *batcher) changeSet(ctx context.Context, content []byte, boundary string) (failed int, err error) {
	var body bytes.Buffer
	inner := multipart.NewWriter(&body)
	_ = inner.SetBoundary("changesetresponse_" + newGUID())
	references := map[string]string{}
	err = b.tx.Nested(ctx, func(tx storage.Tx) error {
		parts := multipart.NewReader(bytes.NewReader(content), boundary)
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return unreadable()
			}
			text, err := io.ReadAll(part)
			if err != nil {
				return unreadable()
			}
			answer, err := b.operation(ctx, tx, text, references, false)
			if err != nil {
				return err
			}
			id := part.Header.Get("Content-ID")
			if answer.Status >= http.StatusBadRequest {
				body.Reset()
				inner = multipart.NewWriter(&body)
				_ = inner.SetBoundary("changesetresponse_" + newGUID())
				b.write(inner, id, answer)
				failed = answer.Status
				return errChangeSet
			}
			if at := answer.Header.Get("OData-EntityId"); id != "" && at != "" {
				references[id] = at
			}
			b.write(inner, id, answer)
		}
	})
	if err != nil && !errors.Is(err, errChangeSet) {
		return 0, err
	}
	_ = inner.Close()
	w, _ := b.out.CreatePart(textproto.MIMEHeader{"Content-Type": {"multipart/mixed; boundary=" + inner.Boundary()}}) // to a Buffer
	_, _ = w.Write(body.Bytes())
	return failed, nil
}

// operation serves one HTTP request inside a batch.
func (b *batcher) operation(ctx context.Context, tx storage.Tx, content []byte, references map[string]string, reads bool) (exchange.Answer, error) {
	if b.operations++; b.operations > maxOperations {
		return refuse(http.StatusBadRequest, "0x80060888", "The batch request has more than 1000 operations.").answer(b.r.Call), nil
	}
	line, rest, _ := strings.Cut(string(content), "\n")
	words := strings.Fields(line)
	if len(words) < 2 {
		return exchange.Answer{}, unreadable()
	}
	header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(strings.TrimLeft(headOf(rest), "\r\n") + "\r\n\r\n"))).ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return exchange.Answer{}, unreadable()
	}
	sub := *b.r.Call
	sub.Method, sub.Header, sub.Body = words[0], http.Header(header), []byte(bodyOf(rest))
	if !reads && sub.Method == http.MethodGet {
		return refuse(http.StatusBadRequest, "0x80060888", "A change set must not contain GET requests.").answer(&sub), nil
	}
	if sub.Header.Get("Prefer") == "" {
		annotations := slices.DeleteFunc(slices.Clone(b.r.Header.Values("Prefer")), func(p string) bool { return !strings.Contains(p, "include-annotations") })
		if len(annotations) > 0 {
			sub.Header["Prefer"] = annotations
		}
	}
	if p := b.aim(&sub, words[1], references); p != nil {
		return p.answer(&sub), nil
	}
	if strings.HasSuffix(sub.Path, "/$batch") {
		return refuse(http.StatusBadRequest, "0x80060888", "A batch must not contain a batch.").answer(&sub), nil
	}
	return b.attempt(ctx, tx, &sub, references)
}

// attempt serves an operation so that its failure leaves no effect, and later
// operations still find a transaction that works.
func (b *batcher) attempt(ctx context.Context, tx storage.Tx, sub *exchange.Call, references map[string]string) (answer exchange.Answer, err error) {
	if sub.Method == http.MethodGet {
		return b.serve(ctx, tx, sub, references)
	}
	err = tx.Nested(ctx, func(tx storage.Tx) (err error) {
		if answer, err = b.serve(ctx, tx, sub, references); err == nil && answer.Status >= http.StatusBadRequest {
			return errChangeSet
		}
		return err
	})
	if errors.Is(err, errChangeSet) {
		err = nil
	}
	return answer, err
}

// aim sets the path and query of an operation from its target: absolute, from
// the root, relative to the service, or "$1…" for a row made before.
func (b *batcher) aim(sub *exchange.Call, target string, references map[string]string) *problem {
	if strings.HasPrefix(target, "$") && !strings.HasPrefix(target, "$batch") && !strings.HasPrefix(target, "$metadata") {
		id, rest := target[1:], ""
		if i := strings.IndexAny(id, "/?"); i >= 0 {
			id, rest = id[:i], id[i:]
		}
		to, ok := references[id]
		if !ok {
			return refuse(http.StatusBadRequest, "0x80060888", "Content-ID Reference: '$%s' does not exist in the batch context.", id)
		}
		target = to + rest
	}
	path, query, _ := strings.Cut(target, "?")
	if at := strings.Index(path, "/api/data/v"); at >= 0 {
		path = path[at:]
	} else {
		path = servicePath.FindString(b.r.Path) + "/" + strings.TrimPrefix(path, "/")
	}
	decoded, err := unescapePath(path)
	if err != nil {
		return unreadable()
	}
	sub.Path, sub.RawPath, sub.RawQuery = decoded, path, query
	if text := sub.Method + " " + withoutValues(path, query); !slices.Contains(b.r.Parts, text) && len(b.r.Parts) < maxParts {
		b.r.Parts = append(b.r.Parts, text)
	}
	return nil
}

// maxParts bounds the kinds of operations of one batch that the record holds.
const maxParts = 50

var (
	inBrackets = regexp.MustCompile(`\([^)]*\)`)
	inQuotes   = regexp.MustCompile(`'[^']*'`)
)

// withoutValues is an address that names tables and columns and no row.
func withoutValues(path, query string) string {
	decoded, err := url.QueryUnescape(query)
	if err != nil {
		decoded = query
	}
	return inBrackets.ReplaceAllString(path, "()") + "?" + inQuotes.ReplaceAllString(strings.ReplaceAll(decoded, "''", ""), "''")
}

func headOf(s string) string {
	if i := strings.Index(s, "\r\n\r\n"); i >= 0 {
		return s[:i]
	}
	if i := strings.Index(s, "\n\n"); i >= 0 {
		return s[:i]
	}
	return s
}

func bodyOf(s string) string {
	if strings.HasPrefix(s, "\r\n") {
		return s[2:]
	}
	if _, body, ok := strings.Cut(s, "\r\n\r\n"); ok {
		return body
	}
	_, body, _ := strings.Cut(s, "\n\n")
	return body
}

// write adds an answer as one part; every part goes to a Buffer.
func (b *batcher) write(to *multipart.Writer, id string, a exchange.Answer) {
	head := textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Transfer-Encoding": {"binary"}}
	if id != "" {
		head["Content-ID"] = []string{id} // as it is written, not as Go writes it
	}
	w, _ := to.CreatePart(head)
	_, _ = fmt.Fprintf(w, "HTTP/1.1 %d %s\r\n", a.Status, http.StatusText(a.Status))
	for _, name := range slices.Sorted(maps.Keys(a.Header)) {
		for _, v := range a.Header[name] {
			_, _ = fmt.Fprintf(w, "%s: %s\r\n", wireName(name), v)
		}
	}
	_, _ = fmt.Fprintf(w, "\r\n%s\r\n", a.Body)
}

// wireName is a header as Dataverse spells it; some clients compare by letter.
func wireName(name string) string {
	switch name {
	case "Odata-Version":
		return "OData-Version"
	case "Odata-Entityid":
		return "OData-EntityId"
	case "Etag":
		return "ETag"
	default:
		return name
	}
}
