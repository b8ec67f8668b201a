package sap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

// errUndo rolls a change set back.
var errUndo = errors.New("undo")

// batch runs the parts of a $batch in order. Reads stand alone; the changes of a
// change set are done together or not at all, and then one answer stands for all.
func (s *System) batch(ctx context.Context, tx storage.Tx, c *exchange.Call, sv *service) (exchange.Answer, error) {
	_, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" || !bytes.Contains(c.Body, []byte("--"+params["boundary"]+"--")) {
		return exchange.Answer{}, &problem{status: http.StatusBadRequest, code: "/IWBEP/CM_MGW_RT/096", text: "The batch request has no boundary, or ends in the middle"}
	}
	var out bytes.Buffer
	writer := multipart.NewWriter(&out)
	parts := multipart.NewReader(bytes.NewReader(c.Body), params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return exchange.Answer{}, &problem{status: http.StatusBadRequest, code: "/IWBEP/CM_MGW_RT/096", text: "The batch request ends in the middle"}
		}
		if err := s.part(ctx, tx, c, sv, p, writer); err != nil {
			return exchange.Answer{}, err
		}
	}
	if err := writer.Close(); err != nil {
		return exchange.Answer{}, fmt.Errorf("writing a batch: %w", err)
	}
	answer := exchange.Answer{Status: http.StatusAccepted, Body: out.Bytes(), Header: http.Header{"Content-Type": {"multipart/mixed; boundary=" + writer.Boundary()}, "Dataserviceversion": {"2.0"}}}
	if sv.V4 {
		answer.Status = http.StatusOK
		answer.Header = http.Header{"Content-Type": {"multipart/mixed; boundary=" + writer.Boundary()}, "Odata-Version": {"4.0"}}
	}
	return answer, nil
}

func (s *System) part(ctx context.Context, tx storage.Tx, c *exchange.Call, sv *service, p *multipart.Part, writer *multipart.Writer) error {
	kind, params, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
	if kind != "multipart/mixed" {
		sub, err := subCall(c, sv, p)
		if err != nil {
			return err
		}
		if sub.Method != http.MethodGet {
			return put(writer, "", (&problem{status: http.StatusBadRequest, code: "/IWBEP/CM_MGW_RT/096", text: "A change stands outside of a change set"}).answer(sub, sv))
		}
		answer, err := s.inner(ctx, tx, sub, sv)
		if err != nil {
			return err
		}
		return put(writer, "", answer)
	}
	var set bytes.Buffer
	inner := multipart.NewWriter(&set)
	var refused *exchange.Answer
	err := tx.Nested(ctx, func(tx storage.Tx) error {
		changes := multipart.NewReader(p, params["boundary"])
		for {
			one, err := changes.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return &problem{status: http.StatusBadRequest, code: "/IWBEP/CM_MGW_RT/096", text: "The change set ends in the middle"}
			}
			sub, err := subCall(c, sv, one)
			if err != nil {
				return err
			}
			answer, err := s.inner(ctx, tx, sub, sv)
			if err != nil {
				return err
			}
			if answer.Status >= http.StatusBadRequest {
				refused = &answer
				return errUndo
			}
			if err := put(inner, one.Header.Get("Content-Id"), answer); err != nil {
				return err
			}
		}
	})
	switch {
	case errors.Is(err, errUndo):
		return put(writer, "", *refused)
	case err != nil:
		return err
	}
	if err := inner.Close(); err != nil {
		return fmt.Errorf("writing a change set: %w", err)
	}
	w, err := writer.CreatePart(textproto.MIMEHeader{"Content-Type": {"multipart/mixed; boundary=" + inner.Boundary()}, "Content-Length": {strconv.Itoa(set.Len())}})
	if err == nil {
		_, err = w.Write(set.Bytes())
	}
	if err != nil {
		return fmt.Errorf("writing a change set: %w", err)
	}
	return nil
}

// inner serves one part; its refusal is an answer.
func (s *System) inner(ctx context.Context, tx storage.Tx, sub *exchange.Call, sv *service) (exchange.Answer, error) {
	answer, err := s.dispatch(ctx, tx, sub, sv, strings.TrimPrefix(sub.Path, sv.Root))
	if err != nil {
		return told(sub, sv, err)
	}
	return answer, nil
}

// subCall reads the request inside a part; its address is below the service, or whole.
func subCall(c *exchange.Call, sv *service, p *multipart.Part) (*exchange.Call, error) {
	malformed := &problem{status: http.StatusBadRequest, code: "/IWBEP/CM_MGW_RT/096", text: "A part of the batch request is no request"}
	content, err := io.ReadAll(p)
	if err != nil {
		return nil, malformed
	}
	line, rest, _ := bytes.Cut(bytes.TrimLeft(content, "\r\n"), []byte("\n"))
	method, address, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	address = strings.TrimSuffix(address, " HTTP/1.1")
	reader := bufio.NewReader(bytes.NewReader(rest))
	header, err := textproto.NewReader(reader).ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, malformed
	}
	body, err := io.ReadAll(reader)
	u, bad := url.Parse(address)
	if err != nil || bad != nil || method == "" {
		return nil, malformed
	}
	sub := *c
	sub.Method, sub.RawQuery, sub.Header, sub.Body = method, u.RawQuery, http.Header(header), bytes.TrimRight(body, "\r\n")
	sub.Path, sub.RawPath = u.Path, u.EscapedPath()
	if i := strings.Index(sub.Path, sv.Root+"/"); i >= 0 {
		sub.Path = sub.Path[i:]
		sub.RawPath = sub.RawPath[strings.Index(sub.RawPath, sv.Root+"/"):]
	} else {
		sub.Path, sub.RawPath = sv.Root+"/"+strings.TrimPrefix(sub.Path, "/"), sv.Root+"/"+strings.TrimPrefix(sub.RawPath, "/")
	}
	return &sub, nil
}

// put writes one answer as a part.
func put(writer *multipart.Writer, id string, a exchange.Answer) error {
	header := textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Transfer-Encoding": {"binary"}}
	if id != "" {
		header.Set("Content-Id", id)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.Status, http.StatusText(a.Status))
	a.Header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	if err := a.Header.Write(&b); err != nil {
		return fmt.Errorf("writing a part: %w", err)
	}
	b.WriteString("\r\n")
	b.Write(a.Body)
	b.WriteString("\r\n")
	header.Set("Content-Length", strconv.Itoa(b.Len()))
	w, err := writer.CreatePart(header)
	if err == nil {
		_, err = w.Write(b.Bytes())
	}
	if err != nil {
		return fmt.Errorf("writing a part: %w", err)
	}
	return nil
}
