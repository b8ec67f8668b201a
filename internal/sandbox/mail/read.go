package mail

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"unicode/utf8"
)

// read makes of a mail's source what people look at. What cannot be read is shown as
// it came: a mail server judges no content.
func read(source []byte) Mail {
	m := Mail{source: source}
	parsed, err := netmail.ReadMessage(bytes.NewReader(source))
	if err != nil {
		m.Text = clean(string(source))
		return m
	}
	m.ID = clean(parsed.Header.Get("Message-Id"))
	m.Subject = parsed.Header.Get("Subject")
	if decoded, err := new(mime.WordDecoder).DecodeHeader(m.Subject); err == nil {
		m.Subject = decoded
	}
	m.Subject = clean(m.Subject)
	m.part(parsed.Header.Get("Content-Type"), parsed.Header.Get("Content-Transfer-Encoding"), parsed.Body, 0)
	return m
}

// part reads a body or a part of one, and those within it.
func (m *Mail) part(kind, encoding string, body io.Reader, depth int) {
	media, params, err := mime.ParseMediaType(kind)
	if err != nil {
		media = "text/plain"
	}
	if strings.HasPrefix(media, "multipart/") && depth < 8 {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if err != nil {
				return
			}
			m.part(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p, depth+1)
		}
	}
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, _ := io.ReadAll(body) // what came before an error is shown
	text := strings.TrimSuffix(strings.ReplaceAll(clean(string(content)), "\r\n", "\n"), "\n")
	switch {
	case media == "text/html" && m.HTML == "":
		m.HTML = text
	case strings.HasPrefix(media, "text/") && media != "text/html" && m.Text == "":
		m.Text = text
	}
}

// clean is text that a database takes.
func clean(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.ReplaceAll(text, "\x00", "\uFFFD")
}

// No address has a line break.
func joined(addresses []string) string { return strings.Join(addresses, "\n") }

func split(text string) []string { return strings.Split(text, "\n") }
