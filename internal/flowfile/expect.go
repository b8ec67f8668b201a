package flowfile

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// beforeExpect are the sections of an event flow that stand before expect.
var beforeExpect = []string{"flow", "pattern", "summary", "why", "explain", "loop", "on", "sweep", "collapse", "throttle"}

// SetExpect gives the text of an event flow with what it expects put in: the numbers are
// changed where they stand, and nothing else is, comments included. A flow that says
// nothing of it gets a line.
func SetExpect(data []byte, e flow.Expect) ([]byte, error) {
	root, err := mappingOf(data)
	if err != nil {
		return nil, err
	}
	lines := strings.SplitAfter(string(data), "\n")
	section := "expect: { per_day: " + strconv.FormatInt(e.PerDay, 10) + ", per_month: " + strconv.FormatInt(e.PerMonth, 10) + " }\n"
	if at := child(root, "expect"); at == nil {
		lines = slices.Insert(lines, gap(root, lines), section)
	} else if !setNumbers(lines, at, e) {
		first, last := keyOf(root, "expect").Line, lastLine(at)
		if front, comment, found := strings.Cut(lines[first-1], "#"); found && first == last {
			section = strings.TrimSuffix(section, "\n") + front[len(strings.TrimRight(front, " \t")):] + "#" + comment
		}
		lines = slices.Replace(lines, first-1, last, section)
	}
	out := []byte(strings.Join(lines, ""))
	if got, err := expected(out); err != nil || got != e {
		return nil, fault.New(fault.Bug, "bug.expect", "the section expect of this file is written in a way that is not changed by a program; put the numbers in by hand", err)
	}
	return out, nil
}

func mappingOf(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fault.New(fault.Invalid, "flow.syntax", "the file is no flow", err)
	}
	return doc.Content[0], nil
}

// expected reads what a file expects.
func expected(data []byte) (flow.Expect, error) {
	var file struct {
		Expect struct {
			PerDay   int64 `yaml:"per_day"`
			PerMonth int64 `yaml:"per_month"`
		} `yaml:"expect"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		return flow.Expect{}, fmt.Errorf("reading the changed file: %w", err)
	}
	return flow.Expect{PerDay: file.Expect.PerDay, PerMonth: file.Expect.PerMonth}, nil
}

func child(node *yaml.Node, name string) *yaml.Node {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}

func keyOf(node *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i]
		}
	}
	return nil
}

// setNumbers puts the numbers where numbers stand; false, and nothing is changed, when
// one of them does not stand there as it is.
func setNumbers(lines []string, section *yaml.Node, e flow.Expect) bool {
	day, month := child(section, "per_day"), child(section, "per_month")
	if day == nil || month == nil {
		return false
	}
	type place struct {
		*yaml.Node
		n int64
	}
	places := []place{{day, e.PerDay}, {month, e.PerMonth}}
	if day.Line == month.Line && day.Column < month.Column { // from the right: what is left of it stays where it is
		slices.Reverse(places)
	}
	for _, at := range places {
		if at.Line < 1 || at.Line > len(lines) || at.Column < 1 || at.Column > len(lines[at.Line-1]) ||
			at.Value == "" || !strings.HasPrefix(lines[at.Line-1][at.Column-1:], at.Value) {
			return false
		}
	}
	for _, at := range places {
		line := lines[at.Line-1]
		lines[at.Line-1] = line[:at.Column-1] + strconv.FormatInt(at.n, 10) + line[at.Column-1+len(at.Value):]
	}
	return true
}

func lastLine(node *yaml.Node) int {
	last := node.Line
	for _, c := range node.Content {
		last = max(last, lastLine(c))
	}
	return last
}

// gap is the index of the line before which the section goes: the first of a section
// that stands behind it, or of the comments above that.
func gap(root *yaml.Node, lines []string) int {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if slices.Contains(beforeExpect, root.Content[i].Value) {
			continue
		}
		at := root.Content[i].Line - 1
		for at > 0 && strings.HasPrefix(lines[at-1], "#") {
			at--
		}
		return at
	}
	return len(lines)
}
