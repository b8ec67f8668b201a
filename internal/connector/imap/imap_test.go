package imap_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/imap"
	"patchbay/internal/fault"
)

func plain(id, subject, text string) string {
	return "From: Ann <ann@contoso.example>\nTo: box@contoso.example, Bob <bob@contoso.example>\nSubject: " + subject + "\nMessage-ID: <" + id + "@contoso.example>\nDate: Sun, 01 Mar 2026 12:00:00 +0100\n\n" + text + "\n"
}

var columns = []string{"id", "message_id", "from", "from_name", "to", "subject", "date", "text", "attachments", "attachment_count", "renamed", "oversized", "text_truncated"}

func feed() connector.Feed {
	return connector.Feed{Name: "f", Tables: []connector.FeedTable{{Table: "inbox", Key: []string{"id"}, Columns: columns}}}
}

func follow(t *testing.T, m *imap.IMAP, after string) connector.Stream {
	t.Helper()
	s, err := m.Tail(t.Context(), feed(), after)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func read(t *testing.T, m *imap.IMAP, limit int) []connector.Row {
	t.Helper()
	var rows []connector.Row
	for token := ""; ; {
		page, err := m.ReadPage(t.Context(), connector.Query{Table: "inbox", Select: columns, Limit: limit}, token)
		require.NoError(t, err)
		rows = append(rows, page.Rows...)
		if token = page.Next; token == "" {
			return rows
		}
	}
}

func TestAMessageIsTheRowThatItsHeadersAndItsTextSay(t *testing.T) {
	t.Parallel()
	d := newDovecot(t)
	m := d.connection()
	require.NoError(t, m.Probe(t.Context()))
	d.Arrives(plain("1", "=?utf-8?q?Caf=C3=A9?= order", "Dear all"))
	d.Arrives("From: <x@y.example>\nSubject: =?windows-1252?q?10_=80?=\nMessage-ID: <2@y>\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n<style>p{}</style><p>Gr=FC=DFe</p><script>alert(1)</script>\n--b--\n")
	d.Arrives(plain("3", "third", strings.Repeat("long ", 20_000)))
	rows := read(t, m, 2)
	require.Len(t, rows, 3)
	require.Equal(t, "1@contoso.example", rows[0]["message_id"])
	require.Equal(t, []any{"ann@contoso.example", "Ann", "box@contoso.example, bob@contoso.example", "Café order", "2026-03-01T11:00:00Z", "Dear all\n"},
		[]any{rows[0]["from"], rows[0]["from_name"], rows[0]["to"], rows[0]["subject"], rows[0]["date"], rows[0]["text"]})
	require.Equal(t, []any{"10 €", "Grüße"}, []any{rows[1]["subject"], rows[1]["text"]})
	require.Equal(t, true, rows[2]["text_truncated"])
	require.Len(t, rows[2]["text"], 32<<10)
	page, err := m.ReadPage(t.Context(), connector.Query{Table: "inbox", Select: []string{"subject"}, Where: []connector.Match{{Column: "message_id", Value: "3@contoso.example"}}}, "")
	require.NoError(t, err)
	require.Equal(t, []connector.Row{{"subject": "third"}}, page.Rows)
	require.Equal(t, true, read(t, d.connection("max_message", "1000"), 10)[2]["oversized"], "it is told of, and not read")
}

// A message that comes while nobody asks wakes the stream long before it would look by
// itself, and is told once.
func TestWhatArrivesIsToldAtOnceAndOnceOverRestarts(t *testing.T) {
	t.Parallel()
	d := newDovecot(t)
	m := d.connection()
	d.Arrives(plain("old", "old", "x"))
	s := follow(t, m, "")
	got, err := s.Next(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Empty(t, got.Changes, "what was there is for the range")
	chunk, err := m.ReadChunk(t.Context(), feed().Tables[0], nil, 10)
	require.NoError(t, err)
	require.Len(t, chunk.Rows, 1)
	require.Nil(t, chunk.Last)
	require.True(t, m.Reached(got.Position, chunk.High))
	d.Arrives(plain("new", "new", "x"))
	begun := time.Now()
	for len(got.Changes) == 0 {
		got, err = s.Next(t.Context(), 10, time.Minute)
		require.NoError(t, err)
	}
	require.Less(t, time.Since(begun), 30*time.Second)
	require.Equal(t, "new", got.Changes[0].Row["subject"])
	require.Equal(t, "create", got.Changes[0].Op)
	require.NoError(t, s.Close(t.Context()))

	d.Arrives(plain("away", "away", "x"))
	again := follow(t, m, got.Position)
	later, err := again.Next(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, later.Changes, 1, "what was told before is not told again")
	require.Equal(t, "away", later.Changes[0].Row["subject"])
	require.False(t, m.Reached(got.Position, later.Position))
}

// More than one look takes is there when a stream begins again: each look goes on where the
// one before ended, without waiting to be told or for its time.
func TestABacklogIsReadWithoutAPause(t *testing.T) {
	t.Parallel()
	d := newDovecot(t)
	m := d.connection()
	s := follow(t, m, "")
	at, err := s.Next(t.Context(), 1000, 0)
	require.NoError(t, err)
	require.NoError(t, s.Close(t.Context()))
	const there = 450
	for i := range there {
		d.Arrives(plain(fmt.Sprint(i), fmt.Sprint(i), "x"))
	}
	again := follow(t, m, at.Position)
	told := map[string]bool{}
	for len(told) < there {
		got, err := again.Next(t.Context(), 1000, 0)
		require.NoError(t, err)
		require.NotEmpty(t, got.Changes, "%d of %d are told", len(told), there)
		for _, c := range got.Changes {
			told[c.Row["subject"].(string)] = true
		}
	}
	got, err := again.Next(t.Context(), 1000, 0)
	require.NoError(t, err)
	require.Empty(t, got.Changes)
}

func TestAMailboxThatIsNumberedAnewIsReadAnewAndItsMessagesAreTheSame(t *testing.T) {
	t.Parallel()
	d := newDovecot(t)
	m := d.connection()
	d.Arrives(plain("1", "one", "x"))
	d.Arrives(plain("1", "the same id", "another text"))
	before := read(t, m, 10)
	require.NotEqual(t, before[0]["id"], before[1]["id"], "an id of a stranger hides no message")
	s := follow(t, m, "")
	at, err := s.Next(t.Context(), 10, 0)
	require.NoError(t, err)
	require.NoError(t, s.Close(t.Context()))
	d.Renumbers()
	_, err = m.Tail(t.Context(), feed(), at.Position)
	require.Equal(t, "connector.cursor_expired", fault.Of(err).Code)
	after := read(t, m, 10)
	require.Len(t, after, 2)
	require.ElementsMatch(t, []any{before[0]["id"], before[1]["id"]}, []any{after[0]["id"], after[1]["id"]})
}

func TestAnAttachmentComesWholeUnderASafeName(t *testing.T) {
	t.Parallel()
	d := newDovecot(t)
	m := d.connection()
	content := strings.Repeat("0123456789abcdef", 20_000) // of several parts
	names := []string{`filename="../../etc/passwd"`, `filename="C:\\Windows\\invoice.pdf"`, "filename=\"gnp.exe\u202egpj.pdf\"", `filename*=utf-8''%2e%2e%2fup%0d%0aload.csv`,
		`filename="=?utf-8?B?Li4vLi4vZXZpbC5zaA==?="`, `filename="` + strings.Repeat("a", 300) + `.pdf"`, `filename="invoice.pdf"`, `filename*0="long"; filename*1="-name.txt"`, `filename="NUL.txt"`, ``}
	mail := "From: a@b.example\nMessage-ID: <h@b>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee below\n"
	for _, n := range names {
		mail += "--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; " + n + "\n\n" + wrapped(content) + "\n"
	}
	d.Arrives(mail + "--b--\n")
	row := read(t, m, 1)[0]
	require.Equal(t, "see below", row["text"])
	list := row["attachments"].([]any)
	require.Len(t, list, len(names))
	var got, wrong []string
	for _, a := range list {
		o := a.(map[string]any)
		got, wrong = append(got, o["name"].(string)), append(wrong, o["renamed"].(string))
	}
	require.Equal(t, []string{"passwd", "invoice.pdf", "gnp.exegpj.pdf", "upload.csv", "evil.sh", strings.Repeat("a", 96) + ".pdf", "invoice-2.pdf", "long-name.txt", "_NUL.txt", "attachment-10"}, got)
	require.Equal(t, []string{"path", "path", "direction", "control path", "path", "length", "", "", "reserved", ""}, wrong)
	require.Equal(t, json.Number("7"), row["renamed"])

	attached := func(id string) []connector.Row {
		page, err := m.ReadPage(t.Context(), connector.Query{Table: "inbox", Select: []string{"id", "message_id"}, Where: []connector.Match{{Column: "id", Value: id}}}, "")
		require.NoError(t, err)
		return page.Rows
	}
	first := list[1].(map[string]any)["id"].(string)
	require.Equal(t, []connector.Row{{"id": first, "message_id": "h@b"}}, attached(first))
	require.Empty(t, attached(first+".9"))
	require.Empty(t, attached("1."+strings.SplitN(first, ".", 2)[1]), "of another numbering")
	ref := connector.DocumentRef{Table: "inbox", ID: list[1].(map[string]any)["id"].(string)}
	doc, err := m.Stat(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, []any{"invoice.pdf", "application/octet-stream", row["id"]}, []any{doc.Name, doc.Type, doc.Version})
	for _, from := range []int64{0, 100_001} {
		open, err := m.Open(t.Context(), ref, from)
		require.NoError(t, err)
		body, err := io.ReadAll(open.Body)
		require.NoError(t, err)
		require.NoError(t, open.Body.Close())
		require.Equal(t, content[from:], string(body))
	}
	ref.Version = "another"
	_, err = m.Open(t.Context(), ref, 0)
	require.Equal(t, "connector.changed", fault.Of(err).Code)
	for _, id := range []string{"1.2", "x", "", strings.Replace(ref.ID, ".", ".99", 1), "1.1.1"} {
		_, err := m.Stat(t.Context(), connector.DocumentRef{Table: "inbox", ID: id})
		require.Error(t, err, id)
		require.Contains(t, []fault.Class{fault.Invalid, fault.NotFound}, fault.Of(err).Class, id)
	}
	_, err = d.connection("max_message", "1000").Open(t.Context(), connector.DocumentRef{Table: "inbox", ID: ref.ID}, 0)
	require.Equal(t, "vendor.too_large", fault.Of(err).Code)
}

// What was read of an attachment whose message is deleted meanwhile is not the whole of it.
func TestAnAttachmentThatIsDeletedWhileItIsReadIsNotWhole(t *testing.T) {
	t.Parallel()
	d := newDovecot(t)
	m := d.connection()
	d.Arrives("From: a@b.example\nMessage-ID: <h@b>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee below\n" +
		"--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=a.bin\n\n" + strings.Repeat(strings.Repeat("x", 69)+"\n", 10_000) + "--b--\n")
	a := read(t, m, 1)[0]["attachments"].([]any)[0].(map[string]any)
	open, err := m.Open(t.Context(), connector.DocumentRef{Table: "inbox", ID: a["id"].(string)}, 0)
	require.NoError(t, err)
	defer open.Body.Close()
	_, err = io.ReadFull(open.Body, make([]byte, 100_000))
	require.NoError(t, err)
	d.Deletes()
	_, err = io.Copy(io.Discard, open.Body)
	require.Error(t, err)
	require.Equal(t, "imap.no_attachment", fault.Of(err).Code, "%v", err)
}

func wrapped(content string) string {
	text := base64.StdEncoding.EncodeToString([]byte(content))
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	return b.String() + text
}

func TestWhatKeepsAMailboxClosedIsNamed(t *testing.T) {
	t.Parallel()
	d := newDovecot(t)
	for want, m := range map[string]*imap.IMAP{
		"imap.sign_in_refused": d.connection("password", "secret-of-another"),
		"vendor.unreachable":   d.connection("url", "imap://127.0.0.1:1"),
		"imap.tls":             d.connection("tls", "required"),
	} {
		err := m.Probe(t.Context())
		require.Equal(t, want, fault.Of(err).Code, "%v", err)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := d.connection().ReadPage(t.Context(), connector.Query{Table: "nowhere", Select: []string{"subject"}}, "")
	require.Equal(t, "imap.unknown_mailbox", fault.Of(err).Code)
	_, err = d.connection().ReadPage(t.Context(), connector.Query{Table: "inbox", Select: []string{"subject"}}, "no token")
	require.Equal(t, fault.Invalid, fault.Of(err).Class)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, d.connection().Probe(ctx), context.Canceled)
	for name, c := range map[string]connector.Config{
		"no auth":     {URL: "imaps://h", Auth: connector.Auth{Kind: "none"}},
		"option":      {URL: "imaps://h", Auth: connector.Auth{Kind: "basic"}, Options: map[string]string{"folder": "x"}},
		"size":        {URL: "imaps://h", Auth: connector.Auth{Kind: "basic"}, Options: map[string]string{"max_text": "-1"}},
		"no url":      {Auth: connector.Auth{Kind: "basic"}},
		"plain, host": {URL: "imaps://h", Auth: connector.Auth{Kind: "basic"}, Options: map[string]string{"plain_host": "h"}},
	} {
		c.Name = "m"
		_, err := imap.New(c, connector.Deps{})
		require.Equal(t, fault.Invalid, fault.Of(err).Class, name)
	}
	far := d.connection("url", "imap://mail.example")
	require.Equal(t, "connector.option", fault.Of(far.Probe(t.Context())).Code, "a password is not sent in the clear to another machine")
}

// A server that vanishes ends the stream with a fault that may be tried again.
func TestAStreamWhoseServerGoesAwayEnds(t *testing.T) {
	t.Parallel()
	d := newDovecot(t)
	s := follow(t, d.connection(), "")
	_, err := s.Next(t.Context(), 10, 0)
	require.NoError(t, err)
	require.NoError(t, s.Close(t.Context()))
	_, err = s.Next(t.Context(), 10, time.Second)
	require.True(t, fault.Of(err).Retryable(), fmt.Sprint(err))
}

// What a server says of a message can be more than the library understands: a stranger's
// one line is enough, and breaks the session each time. Such a message is named, and those
// before and behind it are told of.
func TestAMessageThatCannotBeUnderstoodHidesNoOther(t *testing.T) {
	t.Parallel()
	const nameless = "From: x@y.example\nMessage-ID: <bad@y>\nSubject: bad\nMIME-Version: 1.0\nContent-Type: text/plain; =x; name=y\n\nx\n"
	global := strings.Replace(nameless, "text/plain; =x; name=y", "message/global", 1)
	d := newDovecot(t)
	m := d.connection()
	d.Arrives(plain("before", "before", "x"))
	d.Arrives(global)
	s := follow(t, m, "")
	got, err := s.Next(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Empty(t, got.Changes)
	chunk, err := m.ReadChunk(t.Context(), feed().Tables[0], nil, 10)
	require.NoError(t, err)
	require.Len(t, chunk.Rows, 2)
	require.Equal(t, "before", chunk.Rows[0]["subject"])
	require.Equal(t, "imap.unreadable_message", fault.Of(chunk.Unreadable[1]).Code)
	require.NotEmpty(t, chunk.Rows[1]["id"])

	for i := range 5 {
		d.Arrives(plain(fmt.Sprint(i), fmt.Sprint("good ", i), "x"))
		if i == 2 {
			d.Arrives(nameless)
		}
	}
	var said []string
	for len(said) < 6 {
		got, err = s.Next(t.Context(), 10, time.Minute)
		require.NoError(t, err)
		for _, c := range got.Changes {
			if c.Unreadable == nil {
				said = append(said, c.Row["subject"].(string))
				continue
			}
			f := fault.Of(c.Unreadable)
			require.Equal(t, "imap.unreadable_message", f.Code)
			require.Contains(t, f.Text, "message 6 of INBOX")
			require.False(t, f.Retryable())
			said = append(said, "unreadable")
		}
	}
	require.Equal(t, []string{"good 0", "good 1", "good 2", "unreadable", "good 3", "good 4"}, said)
	d.Arrives(plain("after", "after", "x"))
	for got.Changes = nil; len(got.Changes) == 0; {
		got, err = s.Next(t.Context(), 10, time.Minute)
		require.NoError(t, err, "the stream goes on by itself")
	}
	require.Equal(t, "after", got.Changes[0].Row["subject"])
}
