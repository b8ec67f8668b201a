package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The bounds of one message.
const (
	maxBytes   = 256 << 10 // of text and HTML together
	maxSubject = 400       // bytes
)

type (
	// Template is a compiled flow.Send; safe for concurrent use.
	Template struct {
		subject, text *texttemplate.Template // nil: none
		html          *htmltemplate.Template // nil: none
		uses          []Use
		whole         bool
	}

	// Data is what one message is made of. Window and Recipient give it its id; Row
	// and what follows are those of the first item, so that one template serves a
	// single change and a digest.
	Data struct {
		Key       string // business key
		Window    string
		Recipient string // an address of a mailbox, or a telephone number as +49…
		Items     []Item // one for each net change, at least one
	}

	// Item is one net change as templates see it: null columns are empty, whole
	// numbers are numbers, other numbers are their exact text.
	Item struct {
		Key         string
		Row, Was    flow.Row // Was has the columns that changed, as they were before
		Changed     []string
		Events      int
		First, Last time.Time
		Change      string // "create", "update" or "delete"
		Source      string // connection.table
	}

	// view is what a template's dot is.
	view struct {
		Key, Window, Recipient string
		Items                  []Item
		Row, Was               flow.Row
		Changed                []string
		Events                 int
		First, Last            time.Time
		Change, Source         string
	}

	// Use is one column that a template asks for by name.
	Use struct {
		Part      string
		Line, Col int
		Column    string
		Optional  bool // it may be absent
	}
)

// Columns are the columns that the templates ask for, each as often as it stands there.
func (t *Template) Columns() []Use { return slices.Clone(t.uses) }

// Whole reports whether the templates take a record as one value, so that any of its
// columns may be shown.
func (t *Template) Whole() bool { return t.whole }

// Changes gives the net changes of a run as a template's items.
func Changes(list []flow.NetChange) []Item {
	items := make([]Item, len(list))
	for i, n := range list {
		items[i] = Item{Key: n.Key, Row: n.Row, Was: n.Was, Changed: n.Changed, Events: n.Events, First: n.First, Last: n.Last,
			Change: string(n.Change), Source: n.Source}
	}
	return items
}

// Render makes the row of one message. Every error is a Rejected fault: with the
// same data it fails again.
func (t *Template) Render(d Data) (flow.Row, error) {
	recipient, err := Address(d.Recipient)
	if err != nil {
		return nil, err
	}
	if len(d.Items) == 0 {
		return nil, fault.New(fault.Bug, "send.empty", "a message of no change was asked for", nil)
	}
	d.Recipient = recipient
	v := viewOf(d)
	subject, err := t.line(v)
	if err != nil {
		return nil, err
	}
	room := maxBytes
	var html, text string
	if t.html != nil {
		if html, err = run(PartHTML, t.html, v, &room); err != nil {
			return nil, err
		}
	}
	if t.text != nil {
		text, err = run(PartText, t.text, v, &room)
	} else {
		text = plain(html)
	}
	if err != nil {
		return nil, err
	}
	return flow.Row{"id": ID(d.Window, recipient), "recipient": recipient, "subject": subject, "text": text, "html": html}, nil
}

// ID is the name of the one message of a window to a recipient.
func ID(window, recipient string) string {
	sum := sha256.Sum256([]byte(window + "\n" + recipient)) // neither has a line break
	return hex.EncodeToString(sum[:])
}

// line renders the subject. Nothing in it can end the header that it becomes.
func (t *Template) line(v *view) (string, error) {
	if t.subject == nil {
		return "", nil
	}
	room := maxBytes
	subject, err := run(PartSubject, t.subject, v, &room)
	if err != nil {
		return "", err
	}
	subject = strings.TrimSpace(subject)
	switch {
	case strings.ContainsFunc(subject, breaksLine):
		return "", fault.New(fault.Rejected, "email.header", "the subject would have a line break or a control character: a column of the record has one", nil)
	case len(subject) > maxSubject:
		return "", fault.New(fault.Rejected, "email.header", fmt.Sprintf("the subject would be longer than %d bytes; shorten what stands in it with printf \"%%.80s\"", maxSubject), nil)
	}
	return subject, nil
}

// breaksLine: what ends a line somewhere, or turns the writing of one around.
func breaksLine(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

func viewOf(d Data) *view {
	items := make([]Item, len(d.Items))
	for i, item := range d.Items {
		item.Row, item.Was = shown(item.Row), shown(item.Was)
		items[i] = item
	}
	first := items[0]
	return &view{Key: first.Key, Window: d.Window, Recipient: d.Recipient, Items: items, Row: first.Row, Was: first.Was, Changed: first.Changed,
		Events: first.Events, First: first.First, Last: first.Last, Change: first.Change, Source: first.Source}
}

// executor is a template of either kind.
type executor interface {
	Execute(w io.Writer, data any) error
}

var errFull = errors.New("the message is full")

// bounded takes no more than room.
type bounded struct {
	bytes.Buffer
	room *int
}

func (b *bounded) Write(p []byte) (int, error) {
	if *b.room -= len(p); *b.room < 0 {
		return 0, errFull
	}
	return b.Buffer.Write(p)
}

func run(part string, t executor, v *view, room *int) (string, error) {
	out := bounded{room: room}
	err := t.Execute(&out, v)
	switch {
	case errors.Is(err, errFull):
		return "", fault.New(fault.Rejected, "send.too_large", fmt.Sprintf("the message would be larger than %d KiB", maxBytes>>10), nil)
	case err != nil:
		return "", failed(part, err)
	case !utf8.Valid(out.Bytes()):
		return "", fault.New(fault.Rejected, "send.template", "the "+part+" would not be UTF-8", nil)
	}
	return out.String(), nil
}

var (
	failedAt = regexp.MustCompile(`^(?:html/)?template: [a-z]+:(\d+):(\d+): `)
	noEntry  = regexp.MustCompile(`map has no entry for key "([A-Za-z_][A-Za-z0-9_]*)"`)
)

// failed says where a template failed, and of the reason only what holds no value.
func failed(part string, err error) error {
	text := "the " + part
	if m := failedAt.FindStringSubmatch(err.Error()); m != nil {
		text += " template fails at line " + m[1]
	} else {
		text += " template fails"
	}
	var ours refusal
	switch m := noEntry.FindStringSubmatch(err.Error()); {
	case m != nil:
		text += ": the record has no column " + m[1]
	case errors.As(err, &ours):
		text += ": " + string(ours)
	default:
		text += ": a value is not of the kind that is asked for there"
	}
	return fault.New(fault.Rejected, "send.template", text, nil)
}
