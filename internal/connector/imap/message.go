package imap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"mime/quotedprintable"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	idColumn  = "id"
	uidColumn = "uid"

	mostAttachments = 100 // of one message that are listed
	deepest         = 20  // parts within parts
	longestHeader   = 1000
)

// part is one attachment.
type part struct {
	path     []int
	name     string
	wrong    []string // with the name that it came with
	kind     string
	encoding string
	size     int64 // encoded
}

// some gives at least limit UIDs above one, in order, of those that there were when the
// session was opened; fewer are all. It asks for ranges, so that a large mailbox is not
// listed whole for each of its pages.
func (s *session) some(after goimap.UID, limit int) ([]goimap.UID, error) {
	if s.next == 0 { // the server does not say
		return s.find(after, 0)
	}
	var list []goimap.UID
	for size := goimap.UID(4 * limit); after+1 < s.next && len(list) < limit; size *= 4 {
		last := min(after+size, s.next-1)
		if size == 0 || last < after { // as far as numbers go
			last = s.next - 1
		}
		found, err := s.find(after, last)
		if err != nil {
			return nil, err
		}
		list, after = append(list, found...), last
	}
	return list, nil
}

// find gives the UIDs above one and up to another, 0 is the last, in order.
func (s *session) find(after, last goimap.UID) ([]goimap.UID, error) {
	above := goimap.UIDSet{}
	above.AddRange(after+1, last)
	got, err := s.client.UIDSearch(&goimap.SearchCriteria{UID: []goimap.UIDSet{above}}, nil).Wait()
	if err != nil {
		return nil, &failure{"read", err}
	}
	list := slices.DeleteFunc(got.AllUIDs(), func(u goimap.UID) bool { return u <= after }) // N:* is the last one at least
	slices.Sort(list)
	return list, nil
}

// messages gives the messages with these UIDs as rows, in order, as read does. One whose
// description by the server cannot be understood breaks the session that asks for it, and
// would hide whatever lies behind it: so they are asked for in ever fewer on sessions of
// their own, and that one is unreadable. Of it the server is asked only when it came and how
// large it is.
func (m *IMAP) messages(ctx context.Context, s *session, mailbox string, uids []goimap.UID) (rows []connector.Row, unreadable map[int]error, err error) {
	if rows, err = m.read(s, uids); !misread(ctx, err) {
		return rows, nil, err
	}
	s.broken = true
	s.close()
	unreadable = map[int]error{}
	var apart func(uids []goimap.UID) error
	apart = func(uids []goimap.UID) error {
		some, err := m.again(ctx, mailbox, s.validity, func(fresh *session) ([]connector.Row, error) { return m.read(fresh, uids) })
		switch {
		case err == nil:
			rows = append(rows, some...)
			return nil
		case !misread(ctx, err):
			return err
		case len(uids) > 1:
			if err := apart(uids[:len(uids)/2]); err != nil {
				return err
			}
			return apart(uids[len(uids)/2:])
		}
		bare, err := m.again(ctx, mailbox, s.validity, func(fresh *session) ([]connector.Row, error) { return m.bare(fresh, uids[0]) })
		for range bare {
			unreadable[len(rows)] = fault.New(fault.Rejected, "imap.unreadable_message", fmt.Sprintf("what %s says of message %d of %s cannot be understood, so it is not told of; open it in the mailbox itself", m.config.Name, uids[0], mailbox), nil)
		}
		rows = append(rows, bare...)
		return err
	}
	return rows, unreadable, apart(uids)
}

// misread reports whether a session broke by itself while messages were read: the server
// gave an answer, which it did not refuse, or nothing keeps it from giving one.
func misread(ctx context.Context, err error) bool {
	var f *failure
	return errors.As(err, &f) && f.at == "read" && ctx.Err() == nil && !errors.As(err, new(*goimap.Error))
}

// again asks on a session of its own.
func (m *IMAP) again(ctx context.Context, mailbox string, validity uint32, ask func(*session) ([]connector.Row, error)) ([]connector.Row, error) {
	s, err := m.dial(ctx, mailbox, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	defer s.during(ctx)()
	if s.validity != validity {
		return nil, m.renumbered()
	}
	return ask(s)
}

// bare gives of a message what is not its sender's.
func (m *IMAP) bare(s *session, uid goimap.UID) ([]connector.Row, error) {
	got, err := s.client.Fetch(goimap.UIDSetNum(uid), &goimap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true}).Collect()
	if err != nil {
		return nil, &failure{"read", err}
	}
	var rows []connector.Row
	for _, b := range got {
		rows = append(rows, connector.Row{idColumn: identity("", b.InternalDate, b.RFC822Size), uidColumn: number(int64(b.UID)), "uidvalidity": number(int64(s.validity)),
			"received": b.InternalDate.UTC().Format(time.RFC3339), "size": number(b.RFC822Size)})
	}
	return rows, nil
}

// read gives the messages with these UIDs as rows, in order. One that is gone has none.
func (m *IMAP) read(s *session, uids []goimap.UID) ([]connector.Row, error) {
	got, err := s.client.Fetch(goimap.UIDSetNum(uids...), &goimap.FetchOptions{UID: true, Envelope: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &goimap.FetchItemBodyStructure{Extended: true}}).Collect()
	if err != nil {
		return nil, &failure{"read", err}
	}
	slices.SortFunc(got, func(a, b *imapclient.FetchMessageBuffer) int { return int(int64(a.UID) - int64(b.UID)) })
	rows := make([]connector.Row, 0, len(got))
	for _, b := range got {
		row, text := m.row(s.validity, b)
		if text != nil && row["oversized"] == false {
			if err := m.text(s, b.UID, text, row); err != nil {
				return nil, err
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// row is a message without its text, and the part that holds that.
func (m *IMAP) row(validity uint32, b *imapclient.FetchMessageBuffer) (connector.Row, *part) {
	e := b.Envelope
	if e == nil {
		e = &goimap.Envelope{}
	}
	id := identity(e.MessageID, b.InternalDate, b.RFC822Size)
	row := connector.Row{
		idColumn: id, uidColumn: number(int64(b.UID)), "uidvalidity": number(int64(validity)), "message_id": header(e.MessageID), "subject": header(e.Subject),
		"from": addresses(e.From), "from_name": "", "to": addresses(e.To), "cc": addresses(e.Cc), "reply_to": addresses(e.ReplyTo), "in_reply_to": header(strings.Join(e.InReplyTo, " ")),
		"date": nil, "received": b.InternalDate.UTC().Format(time.RFC3339), "size": number(b.RFC822Size), "oversized": b.RFC822Size > m.maxMessage,
		"text": "", "text_truncated": false,
	}
	if len(e.From) > 0 {
		row["from_name"] = header(e.From[0].Name)
	}
	if !e.Date.IsZero() {
		row["date"] = e.Date.UTC().Format(time.RFC3339)
	}
	text, attachments := parts(b.BodyStructure)
	list, renamed := make([]any, len(attachments)), 0
	for i, p := range attachments {
		list[i] = map[string]any{"id": documentID(validity, b.UID, p.path), "name": p.name, "type": p.kind, "size": number(p.size), "renamed": strings.Join(p.wrong, " ")}
		if len(p.wrong) > 0 {
			renamed++
		}
	}
	row["attachments"], row["attachment_count"], row["renamed"] = list, number(int64(len(list))), number(int64(renamed))
	return row, text
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

// identity knows a message whatever UID the server gives it.
func identity(messageID string, arrived time.Time, size int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", messageID, arrived.Unix(), size))
	return hex.EncodeToString(sum[:16])
}

// header is a text of a header without what could break a line or turn it around.
func header(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	if all := []rune(s); len(all) > longestHeader {
		return string(all[:longestHeader])
	}
	return s
}

func addresses(list []goimap.Address) string {
	var out []string
	for _, a := range list[:min(len(list), 100)] {
		if at := a.Addr(); at != "" {
			out = append(out, header(at))
		}
	}
	return strings.Join(out, ", ")
}

// parts finds what is to be read as the message's text, and what is attached.
func parts(b goimap.BodyStructure) (text *part, attachments []part) {
	taken := map[string]bool{}
	var walk func(path []int, b goimap.BodyStructure)
	walk = func(path []int, b goimap.BodyStructure) {
		if len(path) > deepest || len(attachments) >= mostAttachments {
			return
		}
		switch b := b.(type) {
		case *goimap.BodyStructureMultiPart:
			for i, inner := range b.Children {
				walk(append(slices.Clone(path), i+1), inner)
			}
		case *goimap.BodyStructureSinglePart:
			if len(path) == 0 {
				path = []int{1}
			}
			p := single(path, b)
			attached := p.name != "" || len(p.wrong) > 1 || b.Disposition() != nil && strings.EqualFold(b.Disposition().Value, "attachment")
			switch {
			case !attached && (p.kind == "text/plain" && (text == nil || text.kind != "text/plain") || p.kind == "text/html" && text == nil):
				text = &p
				text.name = b.Params["charset"]
				return
			case !attached && strings.HasPrefix(p.kind, "text/"):
				return // another form of the text
			}
			if p.name == "" {
				p.name = fmt.Sprintf("attachment-%d", len(attachments)+1)
			}
			p.name = distinct(p.name, taken)
			attachments = append(attachments, p)
		}
	}
	walk(nil, b)
	return text, attachments
}

func single(path []int, b *goimap.BodyStructureSinglePart) part {
	p := part{path: path, kind: header(b.MediaType()), encoding: strings.ToLower(b.Encoding), size: int64(b.Size)}
	given := ""
	if d := b.Disposition(); d != nil {
		given = parameter(d.Params, "filename")
	}
	if given == "" {
		given = parameter(b.Params, "name")
	}
	if plain, err := words.DecodeHeader(given); err == nil { // an encoded word hides what it says
		given = plain
	}
	if p.name, p.wrong = connector.SafeName(given); given == "" {
		p.wrong = nil // nobody named it
	}
	return p
}

// text reads the beginning of a message's text.
func (m *IMAP) text(s *session, uid goimap.UID, p *part, row connector.Row) error {
	raw, err := s.section(uid, p.path, 0, 2*m.maxText)
	if err != nil {
		return err
	}
	plain, _ := io.ReadAll(io.LimitReader(decoded(p.encoding, bytes.NewReader(raw)), m.maxText+1)) // what is spoiled ends it
	cut := int64(len(plain)) > m.maxText || p.size > 2*m.maxText
	plain = plain[:min(int64(len(plain)), m.maxText)]
	said := string(plain)
	if set := p.name; set != "" && !strings.EqualFold(set, "utf-8") && !strings.EqualFold(set, "us-ascii") {
		said = recoded(set, said)
	}
	if p.kind == "text/html" {
		said = readable(said)
	}
	row["text"], row["text_truncated"] = body(said), cut
	return nil
}

// body is text with line breaks, and nothing else that cannot be seen.
func body(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) && !unicode.In(r, unicode.Cf) {
			return r
		}
		return -1
	}, s)
}

var (
	unseen = regexp.MustCompile(`(?is)<(script|style|head)\b.*?(</(script|style|head)\s*>|$)|<!--.*?(-->|$)`)
	breaks = regexp.MustCompile(`(?i)<(br|/p|/div|/tr|/li|/h[1-6])\b[^>]*>`)
	tags   = regexp.MustCompile(`<[^>]*>`)
)

// readable is what a reader sees of HTML, roughly.
func readable(s string) string {
	s = breaks.ReplaceAllString(unseen.ReplaceAllString(s, ""), "\n")
	return strings.TrimSpace(html.UnescapeString(tags.ReplaceAllString(s, "")))
}

// section reads bytes of a part as they are encoded.
func (s *session) section(uid goimap.UID, path []int, from, size int64) ([]byte, error) {
	want := &goimap.FetchItemBodySection{Part: path, Peek: true, Partial: &goimap.SectionPartial{Offset: from, Size: size}}
	got, err := s.client.Fetch(goimap.UIDSetNum(uid), &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{want}}).Collect()
	if err != nil {
		return nil, &failure{"read", err}
	}
	for _, b := range got {
		for _, x := range b.BodySection {
			return x.Bytes, nil
		}
	}
	return nil, nil
}

// decoded undoes the transfer encoding of a part.
func decoded(encoding string, from io.Reader) io.Reader {
	switch encoding {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, from) // which passes over line breaks
	case "quoted-printable":
		return quotedprintable.NewReader(from)
	}
	return from
}

// ReadPage reads messages by their UIDs, oldest first. Where is by equality of columns; by
// the id of an attachment it gives the message that it came with, under that id.
func (m *IMAP) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	t, err := m.config.Table(q.Table)
	if err != nil {
		return connector.Page{}, err
	}
	if err := checkQuery(t, q); err != nil {
		return connector.Page{}, err
	}
	var at place
	if token != "" {
		if err := json.Unmarshal([]byte(token), &at); err != nil {
			return connector.Page{}, connector.BadToken()
		}
	}
	for _, w := range q.Where {
		if id, _ := w.Value.(string); w.Column == idColumn {
			if _, _, _, is := parseID(id); is {
				return m.readAttached(ctx, t.Path, id, q)
			}
		}
	}
	limit := q.Limit
	if limit <= 0 || limit > rangeSize {
		limit = rangeSize
	}
	rows, _, next, err := m.chunk(ctx, t.Path, at, limit)
	if err != nil {
		return connector.Page{}, err
	}
	page := connector.Page{Rows: []connector.Row{}}
	for _, row := range rows {
		if matches(row, q.Where) {
			page.Rows = append(page.Rows, pick(row, q.Select))
		}
	}
	if next.more {
		page.Next = next.text()
	}
	return page, nil
}
