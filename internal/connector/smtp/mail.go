package smtp

import (
	"bytes"
	"cmp"
	stdmail "net/mail"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// maxBytes bounds text and HTML of one mail.
const maxBytes = 1 << 20

type (
	// sender is what all mails of a connection have in common.
	sender struct {
		from, name, replyTo, domain string
	}

	// mail is one message as it goes over the wire.
	mail struct {
		id, to string
		body   []byte
	}
)

var (
	plainAddress = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")
	identifier   = regexp.MustCompile(`^[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*$`)
	hostname     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
)

func newSender(c connector.Config) (sender, error) {
	s := sender{from: c.Options["from"], name: c.Options["from_name"], replyTo: c.Options["reply_to"]}
	if !isAddress(s.from) || s.replyTo != "" && !isAddress(s.replyTo) {
		return s, fault.Invalidf("connector.option", "connection %s: option from (and reply_to, if any) is one address such as service@example.com", c.Name)
	}
	if strings.ContainsFunc(s.name, unicode.IsControl) {
		return s, fault.Invalidf("connector.option", "connection %s: option from_name has a line break or a control character", c.Name)
	}
	s.domain = cmp.Or(c.Options["domain"], s.from[strings.LastIndexByte(s.from, '@')+1:])
	if !hostname.MatchString(s.domain) || len(s.domain) > 200 {
		return s, fault.Invalidf("connector.option", "connection %s: option domain is the name of a host, such as mail.example.com", c.Name)
	}
	return s, nil
}

// isAddress reports whether text is one mailbox and nothing else, to every reader.
func isAddress(text string) bool {
	parsed, err := stdmail.ParseAddress(text)
	return err == nil && parsed.Name == "" && parsed.Address == text && len(text) <= 254 && plainAddress.MatchString(text)
}

// mail makes the mail of a row. Nothing is left to the server to find wrong that
// could end a header or be read as two recipients.
func (s sender) mail(row connector.Row, now time.Time) (mail, error) {
	value := map[string]string{}
	size := 0
	for column, given := range row {
		text, ok := given.(string)
		switch {
		case given == nil:
		case column != "id" && column != "recipient" && column != "subject" && column != "text" && column != "html":
			return mail{}, rejected(System+".column", "a mail has no column besides id, recipient, subject, text and html")
		case !ok || !utf8.ValidString(text):
			return mail{}, rejected(System+".value", "the column "+column+" of a mail is no text")
		}
		value[column] = text
		size += len(text)
	}
	switch {
	case !identifier.MatchString(value["id"]) || len(value["id"]) > 128:
		return mail{}, rejected("email.header", "the id of a mail is not made of letters, digits, dots and hyphens, or is longer than 128")
	case !isAddress(value["recipient"]):
		return mail{}, rejected("email.address", "the recipient is no plain address of one mailbox, such as name@example.com")
	case strings.ContainsFunc(value["subject"], breaksLine) || len(value["subject"]) > 900:
		return mail{}, rejected("email.header", "the subject has a line break or a control character, or is longer than 900 bytes")
	case value["text"] == "" && value["html"] == "":
		return mail{}, rejected(System+".empty", "the mail has neither text nor html")
	case size > maxBytes:
		return mail{}, rejected("email.too_large", "the mail is larger than 1 MiB")
	}
	return s.write(value, now)
}

func breaksLine(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

func rejected(code, text string) *fault.Fault { return fault.New(fault.Rejected, code, text, nil) }

// write gives the MIME form. Auto-Submitted keeps vacation answers away (RFC 3834).
func (s sender) write(value map[string]string, now time.Time) (mail, error) {
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP), gomail.WithCharset(gomail.CharsetUTF8))
	m.FromMailAddress(&stdmail.Address{Name: s.name, Address: s.from})
	m.ToMailAddress(&stdmail.Address{Address: value["recipient"]})
	if s.replyTo != "" {
		m.ReplyToMailAddress(&stdmail.Address{Address: s.replyTo})
	}
	m.Subject(value["subject"])
	m.SetDateWithValue(now)
	m.SetMessageIDWithValue(value["id"] + "@" + s.domain)
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	switch {
	case value["html"] == "":
		m.SetBodyString(gomail.TypeTextPlain, value["text"])
	case value["text"] == "":
		m.SetBodyString(gomail.TypeTextHTML, value["html"])
	default:
		m.SetBodyString(gomail.TypeTextPlain, value["text"])
		m.AddAlternativeString(gomail.TypeTextHTML, value["html"])
	}
	var body bytes.Buffer
	if _, err := m.WriteTo(&body); err != nil {
		return mail{}, fault.New(fault.Bug, System+".encoding", "a mail cannot be written", err)
	}
	return mail{id: value["id"], to: value["recipient"], body: body.Bytes()}, nil
}
