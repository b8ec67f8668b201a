package sap

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

var (
	numberForm = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,15})?[mMdDfFlL]?$`)
	guidForm   = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	dateForm   = regexp.MustCompile(`^\\?/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)\\?/$`)
	clockForm  = regexp.MustCompile(`^PT(?:([0-9]{1,2})H)?(?:([0-9]{1,2})M)?(?:([0-9]{1,2})(?:\.[0-9]+)?S)?$`)
)

// literal reads a value of an address or a filter, in the form of its property's type
// and the service's version; nil is null.
func (s *service) literal(p property, literal string) (any, error) {
	if literal == "null" {
		return nil, nil
	}
	prefix, inner := "", literal
	if i := strings.IndexByte(literal, '\''); i >= 0 {
		if len(literal) < i+2 || literal[len(literal)-1] != '\'' {
			return nil, badQuery("Malformed URI literal syntax in '%s'.", literal)
		}
		prefix, inner = literal[:i], strings.ReplaceAll(literal[i+1:len(literal)-1], "''", "'")
	}
	quoted := inner != literal
	want := map[kind]string{date: "datetime", moment: "datetimeoffset", clock: "time", guid: "guid"}[p.Kind]
	switch {
	case p.Kind == text && quoted && prefix == "", p.Kind == decimal && !quoted, p.Kind == boolean && !quoted:
	case p.Kind != text && p.Kind != decimal && p.Kind != boolean && s.V4 && !quoted:
	case p.Kind != text && !s.V4 && quoted && prefix == want && want != "":
	default:
		return nil, badQuery("Invalid type used in the value '%s' for property '%s'.", literal, p.Name)
	}
	if v, ok := read(p.Kind, inner); ok {
		return v, nil
	}
	return nil, badQuery("Invalid value '%s' for property '%s'.", literal, p.Name)
}

// read reads the text of a value without quotes.
func read(k kind, text string) (any, bool) {
	switch k.kept {
	case storage.Decimal:
		if !numberForm.MatchString(text) {
			return nil, false
		}
		return json.Number(strings.TrimRight(text, "mMdDfFlL")), true
	case storage.Bool:
		b, err := strconv.ParseBool(text)
		return b, err == nil && (text == "true" || text == "false")
	case storage.GUID:
		return strings.ToLower(text), guidForm.MatchString(text)
	case storage.Date:
		at, ok := instant(text)
		return at.Format(time.DateOnly), ok
	case storage.Time:
		return instant(text)
	default:
		if k != clock {
			return text, true
		}
		if m := clockForm.FindStringSubmatch(text); m != nil && text != "PT" {
			n := func(i int) string { return ("00" + m[i])[len(m[i]):] }
			return n(1) + ":" + n(2) + ":" + n(3), true
		}
		_, err := time.Parse(time.TimeOnly, text)
		return text, err == nil
	}
}

func instant(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC().Truncate(time.Microsecond), true
		}
	}
	return time.Time{}, false
}

// given reads a value of a JSON body.
func (s *service) given(p property, v any) (any, error) {
	wrong := func() error {
		return &problem{status: http.StatusBadRequest, code: codeProperty, text: "Property '" + p.Name + "' has an invalid value.", field: p.Name}
	}
	if v == nil {
		return nil, nil
	}
	switch p.Kind.kept {
	case storage.Bool:
		b, ok := v.(bool)
		if !ok {
			return nil, wrong()
		}
		return b, nil
	case storage.Decimal:
		text, isText := v.(string)
		if n, ok := v.(json.Number); ok && s.V4 {
			text, isText = n.String(), true
		}
		out, ok := read(p.Kind, text)
		if !isText || !ok {
			return nil, wrong()
		}
		whole, places, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
		if len(strings.TrimRight(places, "0")) > p.Scale || len(strings.TrimLeft(whole, "0")) > p.Precision-p.Scale {
			return nil, wrong()
		}
		return out, nil
	}
	text, ok := v.(string)
	if !ok {
		return nil, wrong()
	}
	if m := dateForm.FindStringSubmatch(text); m != nil && !s.V4 && (p.Kind == date || p.Kind == moment) {
		ms, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return nil, wrong()
		}
		text = time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
	} else if !s.V4 && (p.Kind == date || p.Kind == moment) {
		return nil, wrong()
	}
	out, ok := read(p.Kind, text)
	if !ok || p.Length > 0 && len([]rune(text)) > p.Length {
		return nil, wrong()
	}
	return out, nil
}

// shown is a value as the service's version writes it. V2 has the initial values of
// ABAP where a column is empty, and null for dates alone.
func (s *service) shown(p property, v any, asText bool) any {
	switch v := v.(type) {
	case time.Time:
		if s.V4 {
			return v.UTC().Format("2006-01-02T15:04:05.0000000Z")
		}
		return "/Date(" + strconv.FormatInt(v.UnixMilli(), 10) + "+0000)/"
	case json.Number:
		if !s.V4 || asText {
			return scaled(v, p.Scale)
		}
		return json.Number(scaled(v, p.Scale))
	case string:
		switch {
		case p.Kind == date && !s.V4:
			at, _ := instant(v)
			return "/Date(" + strconv.FormatInt(at.UnixMilli(), 10) + ")/"
		case p.Kind == clock && !s.V4:
			at, _ := time.Parse(time.TimeOnly, v)
			return at.Format("PT15H04M05S")
		}
		return v
	case bool:
		return v
	}
	switch {
	case p.Kind == text:
		return ""
	case p.Kind == boolean:
		return false
	case p.Kind == decimal && !s.V4:
		return scaled("0", p.Scale)
	}
	return nil
}

// scaled writes a decimal with at least two places, as amounts have them, and no
// zeros beyond.
func scaled(n json.Number, scale int) string {
	whole, places, _ := strings.Cut(string(n), ".")
	places = strings.TrimRight(places, "0")
	for len(places) < min(2, scale) {
		places += "0"
	}
	if places == "" {
		return whole
	}
	return whole + "." + places
}
