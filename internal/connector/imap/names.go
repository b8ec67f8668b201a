package imap

import (
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
)

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
