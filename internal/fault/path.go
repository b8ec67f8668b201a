package fault

import (
	"strconv"
	"strings"
)

// How long a path and one key of it may get, in bytes; a key is the caller's text.
const (
	mostPath = 200
	mostKey  = 60
)

// At is the path of the key of the object at parent, as Field has it:
// params.lines, or params["unit price"] where the key is no plain word.
func At(parent, key string) string {
	if len(key) > mostKey {
		key = strings.ToValidUTF8(key[:mostKey], "") + "…"
	}
	switch {
	case !word(strings.TrimSuffix(key, "…")):
		return cut(parent + "[" + strconv.Quote(printable(key)) + "]")
	case parent == "":
		return cut(key)
	}
	return cut(parent + "." + key)
}

// AtIndex is the path of an item of the list at parent: params.lines[0].
func AtIndex(parent string, i int) string { return cut(parent + "[" + strconv.Itoa(i) + "]") }

func cut(path string) string {
	if len(path) <= mostPath || strings.HasSuffix(path, "…") && len(path) <= mostPath+len("…") {
		return path
	}
	return strings.ToValidUTF8(path[:mostPath], "") + "…"
}

// word reports whether a key needs no quotes in a path.
func word(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || c == '-' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}

// printable replaces what could disturb a log line or a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '�'
		}
		return r
	}, s)
}
