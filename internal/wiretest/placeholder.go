package wiretest

import (
	"regexp"
	"strings"
)

// part is a piece of a noted text: literal, or a placeholder.
type part struct {
	literal string
	hole    bool   // an any or a let
	name    string // of a let; empty for any
	example string
}

// parts splits a noted text; variables are filled in.
func (v Vars) parts(text string) []part {
	var out []part
	lit := func(s string) {
		if s == "" {
			return
		}
		if n := len(out); n > 0 && !out[n-1].hole {
			out[n-1].literal += s
			return
		}
		out = append(out, part{literal: s})
	}
	for text != "" {
		open := strings.IndexByte(text, '<')
		if open < 0 {
			break
		}
		shut := closing(text[open:])
		if shut < 0 {
			break
		}
		inner := text[open+1 : open+shut]
		word, rest, _ := strings.Cut(inner, " ")
		value, isVar := v[inner]
		switch {
		case word == "any":
			lit(text[:open])
			out = append(out, part{hole: true, example: v.fill(rest)})
		case word == "let" && rest != "":
			name, example, _ := strings.Cut(rest, " ")
			lit(text[:open])
			out = append(out, part{hole: true, name: name, example: v.fill(example)})
		case isVar:
			lit(text[:open] + value)
		default:
			lit(text[:open+1])
			text = text[open+1:]
			continue
		}
		text = text[open+shut+1:]
	}
	lit(text)
	return out
}

// closing finds the '>' that ends the '<' at text[0], or -1.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '<':
			depth++
		case '>':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// fill writes the text out: variables by value, placeholders by example. The
// examples of lets become variables.
func (v Vars) fill(text string) string {
	var b strings.Builder
	for _, p := range v.parts(text) {
		if !p.hole {
			b.WriteString(p.literal)
			continue
		}
		if p.name != "" {
			v[p.name] = p.example
		}
		b.WriteString(p.example)
	}
	return b.String()
}

// match compares a text with its note and keeps what the lets matched.
func (v Vars) match(noted, got string) bool {
	var pattern strings.Builder
	var names []string
	pattern.WriteString(`(?s)\A`)
	for _, p := range v.parts(noted) {
		if !p.hole {
			pattern.WriteString(regexp.QuoteMeta(p.literal))
			continue
		}
		pattern.WriteString("(.*)")
		names = append(names, p.name)
	}
	pattern.WriteString(`\z`)
	found := regexp.MustCompile(pattern.String()).FindStringSubmatch(got)
	if found == nil {
		return false
	}
	for i, name := range names {
		if name != "" {
			v[name] = found[i+1]
		}
	}
	return true
}

// whole returns the example when the note is one any and nothing else.
func (v Vars) whole(noted string) (example string, ok bool) {
	p := v.parts(noted)
	if len(p) != 1 || !p[0].hole || p[0].name != "" {
		return "", false
	}
	return p[0].example, true
}
