package storage

import (
	"slices"
	"strings"
	"unicode/utf8"
)

type (
	// Pattern is a text pattern: literal runes, any rune, any run of runes, one
	// rune out of a set.
	Pattern []element

	element struct {
		kind   elementKind
		r      rune
		set    []span
		except bool // matches what the set has not
	}

	span struct{ from, to rune }

	elementKind uint8
)

const (
	literal elementKind = iota
	anyOne
	anyRun
	oneOf
)

// Literal is a pattern that matches s alone.
func Literal(s string) Pattern {
	p := make(Pattern, 0, utf8.RuneCountInString(s))
	for _, r := range s {
		p = append(p, element{kind: literal, r: r})
	}
	return p
}

// Wildcards reads s with % for any run and _ for any rune; each rune of also is
// one more name for %.
func Wildcards(s, also string) Pattern {
	var p Pattern
	for _, r := range s {
		switch {
		case r == '%' || strings.ContainsRune(also, r):
			p = append(p, element{kind: anyRun})
		case r == '_':
			p = append(p, element{kind: anyOne})
		default:
			p = append(p, element{kind: literal, r: r})
		}
	}
	return p
}

// SetWildcards is Wildcards with SQL Server's [a-z] and [^a-z] besides. A
// bracket that is never closed stands for itself.
func SetWildcards(s string) Pattern {
	var p Pattern
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		if runes[i] == '[' {
			if end := slices.Index(runes[i+1:], ']'); end > 0 {
				p = append(p, setOf(runes[i+1:i+1+end]))
				i += end + 1
				continue
			}
		}
		p = append(p, Wildcards(string(runes[i]), "")...)
	}
	return p
}

func setOf(runes []rune) element {
	e := element{kind: oneOf}
	if runes[0] == '^' && len(runes) > 1 {
		e.except, runes = true, runes[1:]
	}
	for i := 0; i < len(runes); i++ {
		s := span{from: runes[i], to: runes[i]}
		if i+2 < len(runes) && runes[i+1] == '-' {
			s.to, i = runes[i+2], i+2
		}
		e.set = append(e.set, s)
	}
	return e
}

// Prefixed matches any text that begins so.
func (p Pattern) Prefixed() Pattern { return append(slices.Clone(p), element{kind: anyRun}) }

// Suffixed matches any text that ends so.
func (p Pattern) Suffixed() Pattern { return append(Pattern{{kind: anyRun}}, p...) }

// Within matches any text that has the pattern in it.
func (p Pattern) Within() Pattern { return p.Prefixed().Suffixed() }

func (e element) accepts(r rune, folded bool) bool {
	switch e.kind {
	case literal:
		return e.r == r || folded && fold(string(e.r)) == fold(string(r))
	case anyOne:
		return true
	default:
		in := slices.ContainsFunc(e.set, func(s span) bool {
			if folded {
				r, s = []rune(fold(string(r)))[0], span{[]rune(fold(string(s.from)))[0], []rune(fold(string(s.to)))[0]}
			}
			return s.from <= r && r <= s.to
		})
		return in != e.except
	}
}

// match is the usual greedy match with one point to come back to, linear in
// practice and never exponential.
func (p Pattern) match(s string, folded bool) bool {
	text := []rune(s)
	i, j, star, from := 0, 0, -1, 0
	for i < len(text) {
		switch {
		case j < len(p) && p[j].kind == anyRun:
			star, from = j, i
			j++
		case j < len(p) && p[j].accepts(text[i], folded):
			i, j = i+1, j+1
		case star >= 0:
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j].kind == anyRun {
		j++
	}
	return j == len(p)
}

// sql is the pattern as PostgreSQL knows it: an operator and its right side. A
// pattern with a set is a regular expression, any other a LIKE.
func (p Pattern) sql(folded bool) (operator, text string) {
	lower := func(r rune) string {
		if folded {
			return fold(string(r))
		}
		return string(r)
	}
	var b strings.Builder
	if !slices.ContainsFunc(p, func(e element) bool { return e.kind == oneOf }) {
		for _, e := range p {
			switch e.kind {
			case anyRun:
				b.WriteByte('%')
			case anyOne:
				b.WriteByte('_')
			default:
				if strings.ContainsRune(`%_\`, e.r) {
					b.WriteByte('\\')
				}
				b.WriteString(lower(e.r))
			}
		}
		return "LIKE", b.String()
	}
	quote := func(s string) {
		for _, r := range s {
			if strings.ContainsRune(`\.+*?()|[]{}^$-`, r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
	}
	b.WriteString("^")
	for _, e := range p {
		switch e.kind {
		case anyRun:
			b.WriteString("(.|\n)*")
		case anyOne:
			b.WriteString("(.|\n)")
		case literal:
			quote(lower(e.r))
		default:
			b.WriteByte('[')
			if e.except {
				b.WriteByte('^')
			}
			for _, s := range e.set {
				quote(lower(s.from))
				if s.to != s.from {
					b.WriteByte('-')
					quote(lower(s.to))
				}
			}
			b.WriteByte(']')
		}
	}
	b.WriteString("$")
	return "~", b.String()
}
