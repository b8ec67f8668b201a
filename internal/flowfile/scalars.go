package flowfile

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	sexagesimal = regexp.MustCompile(`^[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?$`)
	legacyInt   = regexp.MustCompile(`^[-+]?(0[0-9]+|0[xob][0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*)$`)
	plainInt    = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// trap says how YAML readers take a bare scalar that looks like text, or "".
func trap(n *yaml.Node) string {
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return ""
	}
	switch strings.ToLower(n.Value) {
	case "y", "n", "yes", "no", "on", "off", "true", "false":
		return "a boolean"
	case "null", "~":
		return "null"
	case "":
		return "nothing"
	case ".inf", "-.inf", "+.inf", ".nan":
		return "a number"
	}
	switch {
	case sexagesimal.MatchString(n.Value):
		return "a number to the base of 60"
	case legacyInt.MatchString(n.Value):
		return "a number in another base"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!timestamp":
		return "a date"
	}
	return ""
}

// text gives the text of a scalar; false after a diagnostic when it is none.
func (r *reader) text(n *yaml.Node, f field) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where text is due", f.name(), what(n)), "")
		return "", false
	}
	if as := trap(n); as != "" {
		fix := fmt.Sprintf("quote it: %q", clip(n.Value))
		if n.Value == "" {
			fix = "write " + hint(f)
		}
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is read as %s, not as the text %q", f.name(), as, clip(n.Value)), fix)
		return "", false
	}
	return n.Value, true
}
