package message

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"regexp"
	"strconv"
	"strings"
	texttemplate "text/template"
	"text/template/parse"

	"patchbay/internal/flow"
)

// The parts of a message.
const (
	PartSubject = "subject"
	PartText    = "text"
	PartHTML    = "html"
)

// maxSource bounds one template.
const maxSource = 64 << 10

// Problem is one thing that is wrong with a Send (F28). Part is empty for what
// concerns all of it; Line and Col are from 1 on, in the source of the part.
type Problem struct {
	Part         string
	Line, Col    int
	Message, Fix string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s; %s", p.Part, p.Line, p.Col, p.Message, p.Fix)
}

// Compile reads the templates. It reports every problem it finds; the template is
// nil when there is any.
func Compile(send flow.Send) (*Template, []Problem) {
	c := &compiler{}
	t := &Template{}
	if strings.TrimSpace(send.HTML) == "" && strings.TrimSpace(send.Text) == "" {
		c.problems = append(c.problems, Problem{"", 1, 1, "the message has neither text nor html", "write one of the two"})
	}
	subject := strings.TrimRight(send.Subject, "\r\n") // of a block of YAML
	if i := strings.IndexAny(subject, "\r\n"); i >= 0 {
		c.part, c.source = PartSubject, subject
		c.add(parse.Pos(i), "the subject has a line break", "write it on one line")
	}
	if c.walk(PartSubject, subject) && subject != "" {
		t.subject = c.text(PartSubject, subject)
	}
	if c.walk(PartText, send.Text) && strings.TrimSpace(send.Text) != "" {
		t.text = c.text(PartText, send.Text)
	}
	if c.walk(PartHTML, send.HTML) && strings.TrimSpace(send.HTML) != "" {
		t.html = c.html(send.HTML)
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	t.uses, t.whole = c.uses, c.whole
	return t, nil
}

// compiler collects what is found in one Send.
type compiler struct {
	part, source string
	problems     []Problem
	uses         []Use
	ranges       int // that the walk is inside of
	whole        bool
}

func (c *compiler) add(at parse.Pos, message, fix string) {
	line, col := c.place(at)
	c.problems = append(c.problems, Problem{c.part, line, col, message, fix})
}

func (c *compiler) place(at parse.Pos) (line, col int) {
	before := c.source[:min(int(at), len(c.source))]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, len([]rune(before[start:])) + 1
}

// walk parses a part and checks all that stands in it; true: nothing is wrong.
func (c *compiler) walk(part, source string) bool {
	c.part, c.source = part, source
	before := len(c.problems)
	if len(source) > maxSource {
		c.add(0, fmt.Sprintf("the template is larger than %d KiB", maxSource>>10), "make it smaller")
		return false
	}
	tree := parse.New(part)
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(source, "", "", trees); err != nil {
		c.unparsed(err)
		return false
	}
	for name, other := range trees {
		if name != part {
			c.add(other.Root.Position(), "a template has no definitions of its own", "write its content where it is used")
		}
	}
	if tree.Root != nil {
		c.nodes(tree.Root, messageKind, scope{"$": messageKind})
	}
	return len(c.problems) == before
}

var parseError = regexp.MustCompile(`^(?:html/)?template: [a-z]*:(\d+)(?::\d+)?: (?s)(.*)$`)

func (c *compiler) unparsed(err error) {
	line, text := 1, err.Error()
	if m := parseError.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	c.problems = append(c.problems, Problem{c.part, line, 1, text, "see the template language of Go: {{.Row.column}}, {{if …}} … {{end}}, {{range .Items}} … {{end}}"})
}

func (c *compiler) text(part, source string) *texttemplate.Template {
	t, err := texttemplate.New(part).Option("missingkey=error").Funcs(functions).Parse(source)
	if err != nil {
		c.unparsed(err)
	}
	return t
}

// html has the template escaped as well, which finds tags and quotes left open.
func (c *compiler) html(source string) *htmltemplate.Template {
	t, err := htmltemplate.New(PartHTML).Option("missingkey=error").Funcs(functions).Parse(source)
	if err != nil {
		c.unparsed(err)
		return nil
	}
	var escape *htmltemplate.Error
	if errors.As(t.Execute(io.Discard, &view{}), &escape) {
		c.problems = append(c.problems, Problem{PartHTML, max(escape.Line, 1), 1, escape.Description, "close the tag, the quote or the comment, and give both branches of an if the same end"})
	}
	return t
}
