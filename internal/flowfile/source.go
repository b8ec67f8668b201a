package flowfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The limits of a file.
const (
	maxBytes = 256 << 10
	maxDepth = 32
)

// at is where something stands; the zero value means that it does not.
type at struct{ line, col int }

func (a *at) place() *at { return a }

func (a *at) given() bool { return a.line > 0 }

func placeOf(n *yaml.Node) at { return at{n.Line, n.Column} }

// reader collects what is wrong with one file.
type reader struct {
	file  string
	lines []string
	diags []Diagnostic
}

func (r *reader) add(p at, code, message, fix string) {
	r.diags = append(r.diags, Diagnostic{
		File: r.file, Line: max(p.line, 1), Col: max(p.col, 1), Code: code, Severity: Error, Message: message, Fix: fix,
	})
}

// warn is add for what may be meant.
func (r *reader) warn(p at, code, message, fix string) {
	r.add(p, code, message, fix)
	r.diags[len(r.diags)-1].Severity = Warning
}

// open parses a file up to its tree and refuses what no kind of file may hold.
// The tree is nil when it cannot be read at all.
func open(f File) (*reader, *yaml.Node) {
	r := &reader{file: f.Name}
	data := bytes.TrimPrefix(f.Data, []byte("\xef\xbb\xbf"))
	if len(data) > maxBytes {
		r.add(at{1, 1}, CodeTooLarge, fmt.Sprintf("the file has %d KiB, at most %d are read", len(data)>>10, maxBytes>>10), "split it into several flows")
		return r, nil
	}
	if !r.encoding(data) {
		return r, nil
	}
	r.lines = strings.Split(string(data), "\n")
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			r.add(at{1, 1}, CodeSyntax, "the file is empty", "begin with flow: NAME")
		} else {
			r.syntax(err)
		}
		return r, nil
	}
	var next yaml.Node
	switch err := dec.Decode(&next); {
	case err == nil:
		r.add(placeOf(&next), CodeDocuments, "a second document begins here", "put each flow into a file of its own")
	case !errors.Is(err, io.EOF):
		r.syntax(err)
	}
	root := doc.Content[0]
	if !r.structure(root, 1) {
		return r, nil
	}
	return r, root
}

// encoding refuses bytes that are no UTF-8 and characters that make a text read
// differently from what it is.
func (r *reader) encoding(data []byte) bool {
	line, col := 1, 0
	ok := true
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		col++
		switch {
		case c == utf8.RuneError && size == 1:
			r.add(at{line, col}, CodeEncoding, "the file is not UTF-8", "save it as UTF-8")
			return false
		case c == '\n':
			line, col = line+1, 0
		case c == '\r' && !bytes.HasPrefix(data[i+1:], []byte("\n")), c == 0x85, c == 0x2028, c == 0x2029:
			r.add(at{line, col}, CodeEncoding, fmt.Sprintf("the character U+%04X begins a line for some readers and none for others", c), "end lines with a line feed")
			ok = false
		case c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069, c == 0x200e, c == 0x200f, c == 0x061c:
			r.add(at{line, col}, CodeEncoding, fmt.Sprintf("the invisible character U+%04X changes how the text reads", c), "remove it")
			ok = false
		}
		i += size
	}
	return ok
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (r *reader) syntax(err error) {
	text, line := err.Error(), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = min(max(n, 1), len(r.lines))
		}
	}
	if strings.HasPrefix(text, "did not find expected") {
		line = min(line+1, len(r.lines)) // the library counts lines from 0 here
	}
	for _, i := range []int{line - 1, line, line - 2} { // and reports where the block began there
		if i < 0 || i >= len(r.lines) {
			continue
		}
		indent := r.lines[i][:len(r.lines[i])-len(strings.TrimLeft(r.lines[i], " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
			r.add(at{i + 1, tab + 1}, CodeSyntax, "a tab indents this line", "indent with spaces")
			return
		}
	}
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		r.alias(m[1])
		return
	}
	col := 1 + len(r.lines[line-1]) - len(strings.TrimLeft(r.lines[line-1], " "))
	fix := ""
	if strings.Contains(text, "expected ','") {
		fix = "close the brace or bracket; quote an expression that holds commas, braces or quotes"
	}
	r.add(at{line, col}, CodeSyntax, "this is no YAML: "+text, fix)
}

var unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)

// alias reports an alias without an anchor, of which the library gives no line.
func (r *reader) alias(name string) {
	for i, line := range r.lines {
		if before, _, found := strings.Cut(line, "*"+name); found {
			r.add(at{i + 1, utf8.RuneCountInString(before) + 1}, CodeAlias, fmt.Sprintf("the alias *%s stands here", clip(name)), "write the value out")
			return
		}
	}
}

// structure walks the tree; false when it is too deep to be read further.
func (r *reader) structure(n *yaml.Node, depth int) bool {
	if depth > maxDepth {
		r.add(placeOf(n), CodeTooDeep, fmt.Sprintf("the file is nested deeper than %d", maxDepth), "")
		return false
	}
	switch {
	case n.Kind == yaml.AliasNode:
		r.add(placeOf(n), CodeAlias, fmt.Sprintf("the alias *%s stands here", clip(n.Value)), "write the value out")
		return true
	case n.Anchor != "":
		r.add(placeOf(n), CodeAlias, fmt.Sprintf("the anchor &%s stands here", clip(n.Anchor)), "remove it and write the value out where it is used")
	}
	if n.Style&yaml.TaggedStyle != 0 {
		r.add(placeOf(n), CodeTag, fmt.Sprintf("the tag %s stands here", clip(n.Tag)), "remove it; quote text, and leave numbers bare")
		n.Style, n.Tag = n.Style&^yaml.TaggedStyle, "" // read on as if it were not there
	}
	if n.Kind == yaml.ScalarNode && looksSecret.MatchString(n.Value) {
		r.add(placeOf(n), CodeInlineSecret, "this looks like a credential (not shown)", "put it into the environment or a file and write ${env:NAME} or ${file:PATH}; then replace the credential, for it has been written down")
	}
	if n.Kind == yaml.MappingNode {
		seen := map[string]at{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if first, twice := seen[key.Value]; twice && key.Kind == yaml.ScalarNode {
				r.add(placeOf(key), CodeDuplicateKey, fmt.Sprintf("the key %q stands twice, first in line %d", clip(key.Value), first.line), "remove one of the two")
			} else {
				seen[key.Value] = placeOf(key)
			}
		}
	}
	for _, c := range n.Content {
		if !r.structure(c, depth+1) {
			return false
		}
	}
	return true
}

// looksSecret knows credentials by their shape: private keys, signed tokens,
// cloud access keys.
var looksSecret = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.|\bAKIA[0-9A-Z]{16}\b|(?i:\bbearer\s+[a-z0-9._~+/-]{20,})`)

// inside is the place of a character within a scalar, both counted from 1.
// Where quoting or folding moves characters it is the scalar's own place.
func (r *reader) inside(n *yaml.Node, line, col int) at {
	start := placeOf(n)
	if start.line > len(r.lines) {
		return start
	}
	switch {
	case n.Style&yaml.LiteralStyle != 0:
		// The text begins on the next line that is not empty, at its indent.
		for i := start.line; i < len(r.lines); i++ {
			if text := strings.TrimLeft(r.lines[i], " "); text != "" {
				return at{start.line + line, len(r.lines[i]) - len(text) + col}
			}
		}
	case line == 1:
		skip := 0
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			skip = 1
		}
		if source := []rune(r.lines[start.line-1]); start.col-1+skip <= len(source) &&
			strings.HasPrefix(string(source[start.col-1+skip:]), n.Value) {
			return at{start.line, start.col + skip + col - 1}
		}
	}
	return start
}

// Places finds where things stand in one file.
type Places struct{ root *yaml.Node }

// Open reads a file, so that its places can be asked for.
func Open(f File) Places {
	_, root := open(f)
	return Places{root}
}

// Find gives the place of the value under a path of keys, for a diagnostic that
// is found after the file was compiled; 1, 1 when it is not there. The last name may
// be an item of a list.
func Find(f File, path ...string) (line, col int) { return Open(f).Find(path...) }

// Find is Find of one file.
func (p Places) Find(path ...string) (line, col int) {
	n := p.root
	for _, name := range path {
		n = under(n, name)
	}
	if n == nil {
		return 1, 1
	}
	return n.Line, n.Column
}

// Key gives the place of a key itself; 1, 1 when it is not there.
func (p Places) Key(path ...string) (line, col int) {
	n, last := p.root, len(path)-1
	for _, name := range path[:last] {
		n = under(n, name)
	}
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i].Value == path[last] {
				return n.Content[i].Line, n.Content[i].Column
			}
		}
	}
	return 1, 1
}

// under is the value of a key, or the item of a list; nil when it is not there.
func under(n *yaml.Node, name string) *yaml.Node {
	if n == nil {
		return nil
	}
	var found *yaml.Node
	for i, c := range n.Content {
		switch {
		case c.Value != name:
		case n.Kind == yaml.MappingNode && i%2 == 0:
			found = n.Content[i+1]
		case n.Kind == yaml.SequenceNode:
			found = c
		}
	}
	if n.Kind == yaml.SequenceNode && found == nil {
		return entryOf(n, name)
	}
	return found
}

// entryOf finds what is no text in a list: "[2]" is its third entry, and a name the
// entry that says something of it: - name: { … }.
func entryOf(list *yaml.Node, name string) *yaml.Node {
	if digits, ok := strings.CutPrefix(name, "["); ok {
		i, err := strconv.Atoi(strings.TrimSuffix(digits, "]"))
		if err != nil || i < 0 || i >= len(list.Content) {
			return nil
		}
		return list.Content[i]
	}
	for _, c := range list.Content {
		if c.Kind == yaml.MappingNode && len(c.Content) == 2 && c.Content[0].Value == name {
			return c.Content[0]
		}
	}
	return nil
}

// clip cuts text to what is fit to show.
func clip(s string) string {
	const most = 60
	s = strings.Map(func(c rune) rune {
		if !strconv.IsPrint(c) {
			return '�'
		}
		return c
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
