package oracle

import (
	"strings"

	"patchbay/internal/sandbox/storage"
)

// parseByExample reads q under framework version 1: conditions separated by
// semicolons, all of which must hold. A value may stand in quotes; one without
// an operator but with * or % is a pattern.
func parseByExample(res *resource, q string) (storage.Expr, error) {
	var all storage.And
	for _, part := range splitOutside(q, ';') {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		e, err := example(res, q, part)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// splitOutside cuts s at each sep that stands outside quotes.
func splitOutside(s string, sep rune) []string {
	var parts []string
	var quote rune
	start := 0
	for i, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote == 0 && r == sep:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

func example(res *resource, q, part string) (storage.Expr, error) {
	end := strings.IndexFunc(part, func(r rune) bool { return strings.ContainsRune("<>=! ", r) })
	if end <= 0 {
		return nil, badQ(q, "a condition without an operator")
	}
	resolver := &rowMatch{res: res, text: q}
	in, wrap, attr, err := resolver.resolve(part[:end])
	if err != nil {
		return nil, err
	}
	rest := strings.TrimSpace(part[end:])
	op, value := "", ""
	for _, candidate := range []string{"<=", ">=", "!=", "<>", "=", "<", ">"} {
		if v, ok := strings.CutPrefix(rest, candidate); ok {
			op, value = candidate, v
			break
		}
	}
	like := op == "=" && attr.Kind == storage.Text
	if op == "" {
		word, v, _ := strings.Cut(rest, " ")
		switch {
		case strings.EqualFold(word, "like"):
			like, value = true, v
		case strings.EqualFold(rest, "is null"):
			return wrap(storage.Null{Column: attr.Name}), nil
		case strings.EqualFold(rest, "is not null"):
			return wrap(storage.Not{X: storage.Null{Column: attr.Name}}), nil
		default:
			return nil, badQ(q, "a condition without an operator")
		}
	}
	value = unquote(strings.TrimSpace(value))
	if like && strings.ContainsAny(value, "*%") {
		return wrap(storage.Like{Column: attr.Name, Pattern: storage.Wildcards(value, "*")}), nil
	}
	v, err := literal(in, attr, value)
	if err != nil {
		return nil, err
	}
	if op == "" {
		op = "="
	}
	return wrap(storage.Compare{Column: attr.Name, Op: operators[op], Value: v}), nil
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		q := s[:1]
		return strings.ReplaceAll(s[1:len(s)-1], q+q, q)
	}
	return s
}
