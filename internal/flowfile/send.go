package flowfile

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
	"patchbay/internal/message"
)

// messageTable is the table of a system that sends; mailSystem has no other.
const (
	messageTable = "message"
	mailSystem   = "smtp"
)

// messages is the table of a mail server, which nobody has to declare.
func messages() flow.Table {
	t := flow.Table{Name: messageTable, Path: messageTable, Keys: [][]string{{"id"}}, Columns: map[string]flow.Type{}}
	for _, c := range flow.MessageColumns {
		t.Columns[c] = flow.String
	}
	return t
}

// sends compiles send: the write of one message, and the templates that make it.
func (c *compiler) sends(row expr.Type) {
	d := &c.doc.send
	c.sender(&d.to)
	c.out.Write = &flow.Write{Connection: d.to.value, Table: messageTable, Key: []string{"id"}, Repeat: d.repeat.value == "resend"}
	send := &flow.Send{Recipient: d.recipient.source, Template: d.template.value, Subject: d.subject.value}
	c.out.Send = send
	env := c.env(d.at, expr.Var{Name: "row", Type: row}, expr.Var{Name: "key", Type: expr.Scalar(flow.String)})
	p := c.compile(env, &d.recipient, expr.Scalar(flow.String), c.readIt)
	c.fixedRecipient(&d.recipient)
	if c.out.Read == nil {
		c.uses(p)
	}
	if c.connections[d.to.value].System == mailSystem && !d.subject.given() {
		c.add(d.at, CodeRequired, "send.subject is missing", `add subject: "Your case {{.Row.ticketnumber}}"`)
	}
	body, text := c.file(&d.template, "send.template"), c.file(&d.text, "send.text")
	switch {
	case path.Ext(d.template.value) == ".html":
		send.HTML, send.Text = body, text
		if d.text.value != "" && path.Ext(d.text.value) != ".txt" {
			c.add(d.text.at, CodeTemplate, "send.text is no .txt", "write NAME.txt")
		}
	case d.text.given():
		c.add(d.text.at, CodeTemplate, "send.template is text already", "remove text, or name an .html as the template")
	default:
		send.Text = body
	}
	if body == "" {
		return
	}
	t, problems := message.Compile(*send)
	for _, p := range problems {
		c.inPart(p.Part, p.Line, p.Col, CodeTemplate, p.Message, p.Fix)
	}
	if t != nil {
		c.templateColumns(t.Columns(), row)
	}
}

// sender finds the connection that sends.
func (c *compiler) sender(to *text) {
	if to.value == "" {
		return
	}
	connection, ok := c.connections[to.value]
	if !ok {
		c.add(to.at, CodeUnknownConnection, fmt.Sprintf("send.to: there is no connection %q", clip(to.value)),
			suggest(to.value, slices.Sorted(maps.Keys(c.connections)), "declare it in connections.yaml"))
		return
	}
	if _, ok := connection.Tables[messageTable]; !ok {
		c.add(to.at, CodeUnknownTable, fmt.Sprintf("send.to: the connection %s sends no messages", to.value),
			"name one of the system smtp, or one of the system rest with a table message")
		return
	}
	c.table(tableRef{at: to.at, connection: to.value, table: messageTable, tableAt: to.at}, "send.to")
}

// fixedRecipient checks an address that is written out.
func (c *compiler) fixedRecipient(e *cel) {
	text := strings.TrimSpace(e.source)
	if len(text) < 2 || text[0] != '"' && text[0] != '\'' || text[len(text)-1] != text[0] || strings.ContainsAny(text[1:len(text)-1], `"'\+`) {
		return
	}
	if _, err := message.Address(text[1 : len(text)-1]); err != nil {
		c.add(c.inside(e.node, 1, 1), CodeRecipient, "send.recipient is no address", "write name@example.com, or the column that holds it: row.COLUMN")
	}
}

// file reads a template; empty after a diagnostic.
func (c *compiler) file(name *fileName, section string) string {
	if name.value == "" {
		return ""
	}
	if c.options.File == nil {
		c.add(name.at, CodeTemplate, fmt.Sprintf("%s: templates cannot be read here", section), "check the directory that holds the flow")
		return ""
	}
	data, err := c.options.File(name.value)
	switch {
	case err != nil:
		c.add(name.at, CodeTemplate, fmt.Sprintf("%s: there is no file %s beside the flow that can be read", section, name.value), "write the template, or name another")
		return ""
	case strings.TrimSpace(string(data)) == "":
		c.add(name.at, CodeTemplate, fmt.Sprintf("%s: the file %s is empty", section, name.value), "write the message")
		return ""
	case len(data) > maxBytes:
		c.add(name.at, CodeTooLarge, fmt.Sprintf("%s: the file %s has %d KiB, at most %d are read", section, name.value, len(data)>>10, maxBytes>>10), "make it smaller")
		return ""
	}
	return string(data)
}

// inPart reports what is wrong in a part of the message, at its place there.
func (c *compiler) inPart(part string, line, col int, code, text, fix string) {
	d := &c.doc.send
	var file string
	switch {
	case part == message.PartHTML:
		file = d.template.value
	case part == message.PartText && d.text.value != "":
		file = d.text.value
	case part == message.PartText:
		file = d.template.value
	default:
		p := d.at
		if d.subject.given() {
			p = d.subject.at
		}
		c.add(p, code, "send.subject: "+text, fix)
		return
	}
	c.diags = append(c.diags, Diagnostic{
		File: path.Join(path.Dir(c.reader.file), file), Line: max(line, 1), Col: max(col, 1), Code: code, Severity: Error, Message: text, Fix: fix,
	})
}

// templateColumns checks the columns that the templates ask for, and has the source
// asked for them.
func (c *compiler) templateColumns(uses []message.Use, row expr.Type) {
	for _, u := range uses {
		if _, ok := row.Column(u.Column); !ok && !u.Optional {
			fix := c.readIt("row", u.Column)
			switch {
			case fix != "":
			case c.out.Read != nil:
				fix = suggest(u.Column, c.out.Read.Select, "add it to read.select")
			default:
				fix = suggest(u.Column, c.sourceColumns(), "")
			}
			c.inPart(u.Part, u.Line, u.Col, CodeUnknownColumn, fmt.Sprintf("the record has no column %q", clip(u.Column)), fix)
			continue
		}
		if c.out.Read != nil {
			continue
		}
		for i := range c.out.Reaction.On {
			t := &c.out.Reaction.On[i]
			table := c.connections[t.Connection].Tables[t.Table]
			if _, known := table.Columns[u.Column]; known || len(table.Columns) == 0 {
				c.wants(t, u.Column)
			}
		}
	}
}

// sourceColumns are the columns of the tables that the flow reacts to.
func (c *compiler) sourceColumns() []string {
	all := map[string]bool{}
	for _, t := range c.out.Reaction.On {
		for name := range c.connections[t.Connection].Tables[t.Table].Columns {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
