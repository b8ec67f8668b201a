package connector

import (
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestName is the most characters of a file's name; its ending is kept.
const longestName = 100

// devices are names that are no files on some systems.
var devices = []string{"con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9"}

// SafeName makes the name of a file of what a stranger called it, and says what was
// wrong with that: encoding, control, direction, path, characters, dots, reserved,
// length, missing.
func SafeName(given string) (name string, wrong []string) {
	note := func(what string) {
		if !slices.Contains(wrong, what) {
			wrong = append(wrong, what)
		}
	}
	if !utf8.ValidString(given) {
		note("encoding")
		given = strings.ToValidUTF8(given, "_")
	}
	given = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r), unicode.In(r, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs):
			note("direction") // invisible, or turns what follows around
			return -1
		case unicode.IsControl(r):
			note("control")
			return -1
		}
		return r
	}, given)
	if flat := strings.ReplaceAll(given, `\`, "/"); strings.Contains(flat, "/") {
		note("path")
		given = path.Base(path.Clean("/" + flat))
		if given == "/" {
			given = ""
		}
	}
	given = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>:"|?*`, r) {
			note("characters")
			return '_'
		}
		return r
	}, given)
	if trimmed := strings.TrimRight(strings.TrimLeft(given, ". \t"), ". \t"); trimmed != given {
		note("dots")
		given = trimmed
	}
	stem, _, _ := strings.Cut(strings.ToLower(given), ".")
	if slices.Contains(devices, strings.TrimSpace(stem)) {
		note("reserved")
		given = "_" + given
	}
	if utf8.RuneCountInString(given) > longestName {
		note("length")
		given = shorten(given)
	}
	if given == "" {
		note("missing")
	}
	return given, wrong
}

// shorten cuts a name in front of its ending.
func shorten(name string) string {
	ending := []rune(path.Ext(name))
	if len(ending) > 16 {
		ending = nil
	}
	all := []rune(name)
	return strings.TrimRight(string(all[:longestName-len(ending)]), ". ") + string(ending)
}
