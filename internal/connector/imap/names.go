package imap

import (
	"fmt"
	"io"
	"net/url"
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

// safeName makes the name of a file of what a stranger called it, and says what was
// wrong with that: encoding, control, direction, path, characters, dots, reserved,
// length, missing.
func safeName(given string) (name string, wrong []string) {
	note := func(what string) {
		if !slices.Contains(wrong, what) {
			wrong = append(wrong, what)
		}
	}
	if !utf8.ValidString(given) {
		note("encoding")
		given = strings.ToValidUTF8(given, "_")
	}
	if strings.Contains(given, "=?") { // an encoded word hides what it says
		if plain, err := words.DecodeHeader(given); err == nil {
			given = plain
		}
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

// distinct gives a name that none of the others has, whatever the case.
func distinct(name string, taken map[string]bool) string {
	for n := 1; ; n++ {
		candidate := name
		if n > 1 {
			ending := path.Ext(name)
			candidate = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ending), n, ending)
		}
		if key := strings.ToLower(candidate); !taken[key] {
			taken[key] = true
			return candidate
		}
	}
}

// parameter is one of a header as RFC 2231 writes it: whole, in a charset, or in parts.
func parameter(of map[string]string, name string) string {
	if v := of[name]; v != "" {
		return v
	}
	if v := of[name+"*"]; v != "" {
		return extended(v)
	}
	var all strings.Builder
	first := ""
	for n := range 100 {
		plain, isPlain := of[fmt.Sprintf("%s*%d", name, n)]
		coded, isCoded := of[fmt.Sprintf("%s*%d*", name, n)]
		switch {
		case isPlain:
			all.WriteString(plain)
		case isCoded && n == 0:
			set, rest, ok := strings.Cut(coded, "'")
			if _, text, two := strings.Cut(rest, "'"); ok && two {
				first, coded = set, text
			}
			all.WriteString(unescaped(coded))
		case isCoded:
			all.WriteString(unescaped(coded))
		default:
			return recoded(first, all.String())
		}
	}
	return recoded(first, all.String())
}

func extended(v string) string {
	set, rest, ok := strings.Cut(v, "'")
	_, text, two := strings.Cut(rest, "'")
	if !ok || !two {
		return unescaped(v)
	}
	return recoded(set, unescaped(text))
}

func unescaped(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// recoded is text of a charset as UTF-8; what cannot be read stays as it is.
func recoded(set, text string) string {
	if set == "" || strings.EqualFold(set, "utf-8") {
		return text
	}
	r, err := charset(set, strings.NewReader(text))
	if err != nil {
		return text
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return text
	}
	return string(plain)
}
