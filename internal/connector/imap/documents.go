package imap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	goimap "github.com/emersion/go-imap/v2"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	partSize = 64 << 10 // of an attachment that is asked for at once, encoded
	resumes  = 3        // sessions that may break while one attachment is read
)

// documentID names an attachment: the numbering of the mailbox, the message, the part.
func documentID(validity uint32, uid goimap.UID, path []int) string {
	text := fmt.Sprintf("%d.%d", validity, uid)
	for _, n := range path {
		text += "." + strconv.Itoa(n)
	}
	return text
}

func parseID(id string) (validity uint32, uid goimap.UID, path []int, ok bool) {
	for i, text := range strings.Split(id, ".") {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n == 0 {
			return 0, 0, nil, false
		}
		switch i {
		case 0:
			validity = uint32(n)
		case 1:
			uid = goimap.UID(n)
		default:
			path = append(path, int(n))
		}
	}
	return validity, uid, path, len(path) > 0 && len(path) <= deepest
}

// attachment is one that is read, on the session that it was found with.
type attachment struct {
	m       *IMAP
	ctx     context.Context //nolint:containedctx // it bounds the whole reading, as DocumentReader says
	ref     connector.DocumentRef
	part    part
	uid     goimap.UID
	session *session
	at      int64 // of the encoded bytes
	chunk   bytes.Reader
	end     bool
	broken  int
	out     io.Reader
}

// Stat tells of an attachment. Its version is the message.
func (m *IMAP) Stat(ctx context.Context, ref connector.DocumentRef) (connector.Document, error) {
	a, d, err := m.find(ctx, ref)
	if err != nil {
		return d, err
	}
	a.session.close()
	return d, nil
}

// Open reads an attachment from an offset on. It comes in parts, so it may have any size
// up to max_message.
func (m *IMAP) Open(ctx context.Context, ref connector.DocumentRef, from int64) (connector.OpenDocument, error) {
	a, d, err := m.find(ctx, ref)
	if err != nil {
		return connector.OpenDocument{}, err
	}
	a.out = decoded(a.part.encoding, (*encoded)(a))
	if _, err := io.CopyN(io.Discard, a, from); err != nil { // an encoding has no offsets
		a.session.close()
		if errors.Is(err, io.EOF) {
			return connector.OpenDocument{}, fault.Invalidf("connector.offset", "the attachment is shorter than the offset asked for")
		}
		return connector.OpenDocument{}, err
	}
	return connector.OpenDocument{Document: d, Body: a}, nil
}

func (m *IMAP) find(ctx context.Context, ref connector.DocumentRef) (*attachment, connector.Document, error) {
	validity, uid, path, ok := parseID(ref.ID)
	if !ok {
		return nil, connector.Document{}, fault.Invalidf("connector.document", "an attachment is named by its id in the row of its message")
	}
	mailbox, err := m.mailbox(ref.Table)
	if err != nil {
		return nil, connector.Document{}, err
	}
	a := &attachment{m: m, ctx: ctx, ref: ref, uid: uid}
	var d connector.Document
	err = m.gate.Pass(ctx, "document "+ref.ID, func(inner context.Context) error {
		s, err := m.dial(inner, mailbox, nil)
		if err == nil {
			defer s.during(inner)()
			if a.part, d, err = m.stat(s, validity, uid, path); err == nil {
				a.session = s
			} else {
				s.close()
			}
		}
		return m.fault(ctx, inner, err)
	})
	if err == nil && ref.Version != "" && ref.Version != d.Version {
		a.session.close()
		err = fault.New(fault.Conflict, "connector.changed", "the message of the attachment is another one than assumed", nil)
	}
	d.ID = ref.ID
	return a, d, err
}

func (m *IMAP) stat(s *session, validity uint32, uid goimap.UID, path []int) (part, connector.Document, error) {
	gone := fault.NotFoundf("imap.no_attachment", "the mailbox has no such attachment any more")
	if s.validity != validity {
		return part{}, connector.Document{}, gone
	}
	got, err := s.client.Fetch(goimap.UIDSetNum(uid), &goimap.FetchOptions{UID: true, Envelope: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &goimap.FetchItemBodyStructure{Extended: true}}).Collect()
	if err != nil {
		return part{}, connector.Document{}, &failure{"read", err}
	}
	for _, b := range got {
		if b.RFC822Size > m.maxMessage {
			return part{}, connector.Document{}, fault.New(fault.Rejected, "vendor.too_large", "the message of the attachment is larger than option max_message of "+m.config.Name, nil)
		}
		_, all := parts(b.BodyStructure)
		if i := slices.IndexFunc(all, func(p part) bool { return slices.Equal(p.path, path) }); i >= 0 {
			id := ""
			if b.Envelope != nil {
				id = b.Envelope.MessageID
			}
			return all[i], connector.Document{Name: all[i].name, Type: all[i].kind, Size: -1, Version: identity(id, b.InternalDate, b.RFC822Size), At: b.InternalDate.UTC(), Wrong: strings.Join(all[i].wrong, ", ")}, nil
		}
	}
	return part{}, connector.Document{}, gone
}

// Read gives the decoded bytes.
func (a *attachment) Read(p []byte) (int, error) {
	n, err := a.out.Read(p)
	var known *fault.Fault
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &known) || a.ctx.Err() != nil && errors.Is(err, a.ctx.Err()) {
		return n, err //nolint:wrapcheck // io.EOF has to stay what it is
	}
	return n, fault.New(fault.Rejected, "imap.encoding", "the attachment is not encoded as its message says", err)
}

// Close ends the session.
func (a *attachment) Close() error {
	a.session.close()
	return nil
}

// encoded reads an attachment as it is at the server, part by part. A session that
// breaks is replaced, and the part asked for again. Of a message that was deleted meanwhile
// a server says nothing, or too little, without a failure: an end that is not where the
// message says counts only if the message is still there. Servers state sizes wrongly.
type encoded attachment

func (e *encoded) Read(p []byte) (int, error) {
	for e.chunk.Len() == 0 {
		if e.end {
			return 0, io.EOF
		}
		if err := e.fetch(); err != nil {
			return 0, err
		}
	}
	return e.chunk.Read(p) //nolint:wrapcheck // bytes in memory
}

func (e *encoded) fetch() error {
	for {
		var got []byte
		err := e.m.gate.Pass(e.ctx, "document "+e.ref.ID+" "+strconv.FormatInt(e.at, 10), func(inner context.Context) (err error) {
			defer e.session.during(inner)()
			got, err = e.session.section(e.uid, e.part.path, e.at, partSize)
			return e.m.fault(e.ctx, inner, err)
		})
		if err == nil {
			e.at += int64(len(got))
			e.end = int64(len(got)) < partSize
			e.chunk.Reset(got)
			if e.end && e.at != e.part.size {
				return e.again()
			}
			return nil
		}
		if e.ctx.Err() != nil || !fault.Is(err, fault.Unavailable) || e.broken >= resumes {
			return err
		}
		e.broken++
		if err := e.again(); err != nil {
			return err
		}
	}
}

// again finds the attachment on another session.
func (e *encoded) again() error {
	e.session.close()
	again, _, err := e.m.find(e.ctx, e.ref)
	if err == nil {
		e.session = again.session
	}
	return err
}

// readAttached gives the row of an attachment: its message's, under the id of the attachment.
// One that is not there any more has none.
func (m *IMAP) readAttached(ctx context.Context, mailbox, id string, q connector.Query) (connector.Page, error) {
	validity, uid, path, _ := parseID(id)
	var rows []connector.Row
	err := m.gate.Pass(ctx, "read "+id, func(inner context.Context) error {
		s, err := m.dial(inner, mailbox, nil)
		if err != nil {
			return m.fault(ctx, inner, err)
		}
		defer s.close()
		defer s.during(inner)()
		if s.validity != validity {
			return nil
		}
		rows, err = m.read(s, []goimap.UID{uid})
		return m.fault(ctx, inner, err)
	})
	page := connector.Page{Rows: []connector.Row{}}
	for _, row := range rows {
		list, _ := row["attachments"].([]any)
		here := slices.ContainsFunc(list, func(v any) bool {
			a, _ := v.(map[string]any)
			return a["id"] == documentID(validity, uid, path)
		})
		row[idColumn] = id
		if here && matches(row, q.Where) {
			page.Rows = append(page.Rows, pick(row, q.Select))
		}
	}
	return page, err
}
