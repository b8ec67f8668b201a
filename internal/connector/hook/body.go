package hook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// MaxEvents is how many events one delivery may hold.
const MaxEvents = 1_000

// CheckCount refuses a batch that is too large.
func CheckCount(n int) error {
	if n > MaxEvents {
		return fault.Invalidf("hook.batch_too_large", "the delivery holds %d events; send at most %d at once", n, MaxEvents)
	}
	return nil
}

// Media is the media type of a delivery, in lower case and without parameters.
func Media(d connector.Delivery) string {
	kind := http.Header(d.Header).Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); err == nil {
		return media
	}
	media, _, _ := strings.Cut(kind, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// IsJSON reports whether a media type is one of JSON.
func IsJSON(media string) bool {
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// JSON reads the body of a delivery. What is missing in its Content-Type is
// forgiven, what stands there is believed.
func JSON(d connector.Delivery, body []byte) (any, error) {
	if text := bytes.TrimLeft(body, " \t\r\n"); bytes.HasPrefix(text, []byte("<")) {
		if upper := bytes.ToUpper(text); bytes.Contains(upper, []byte("<!DOCTYPE")) || bytes.Contains(upper, []byte("<!ENTITY")) {
			return nil, fault.Invalidf("xml.doctype", "the body is XML with a document type, which is not read; send JSON")
		}
		return nil, fault.Invalidf("hook.media", "the body is XML or HTML; send JSON")
	}
	if media := Media(d); media != "" && !IsJSON(media) {
		return nil, fault.Invalidf("hook.media", "the Content-Type of the delivery is none of JSON; send application/json")
	}
	v, err := strictjson.Decode(body, "")
	if err != nil {
		return nil, Unreadable(err)
	}
	return v, nil
}

// Unreadable is the fault of a body that is no JSON; it keeps the code and the
// place that the reader names.
func Unreadable(err error) error {
	f := fault.Of(err)
	return fault.New(fault.Invalid, f.Code, "the body of the delivery cannot be read: "+f.Text, err)
}

// Malformed is the fault of a body that is JSON and not what the sender's schema
// says; what says so in a clause without any value of it.
func Malformed(format string, args ...any) error {
	return fault.Invalidf("hook.body", "the body of the delivery is not what is agreed: "+format, args...)
}

// Pointer is a JSON pointer (RFC 6901), ready to follow.
type Pointer []string

// ParsePointer reads a pointer; an empty text is a nil one, which finds nothing.
func ParsePointer(text string) (Pointer, bool) {
	if text == "" {
		return nil, true
	}
	if text == "/" {
		return Pointer{}, true // the whole value; a key that is empty cannot be named
	}
	if !strings.HasPrefix(text, "/") {
		return nil, false
	}
	parts := strings.Split(text[1:], "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
	}
	return parts, true
}

// In follows the pointer; ok is false where it leads nowhere.
func (p Pointer) In(v any) (found any, ok bool) {
	if p == nil {
		return nil, false
	}
	for _, key := range p {
		switch at := v.(type) {
		case map[string]any:
			if v, ok = at[key]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// Text is what the pointer leads to, where that is a text, a number or a yes or
// no; else it is empty.
func (p Pointer) Text(v any) string {
	found, _ := p.In(v)
	switch found := found.(type) {
	case string:
		return found
	case json.Number:
		return found.String()
	case bool:
		return strconv.FormatBool(found)
	}
	return ""
}

// changes is what senders call the types of change.
var changes = map[string][]string{
	"create": {"create", "created", "insert", "inserted", "add", "added", "new", "c"},
	"update": {"update", "updated", "change", "changed", "modify", "modified", "u"},
	"delete": {"delete", "deleted", "remove", "removed", "d"},
}

// Change is the type of change that a sender's word means; empty when none does.
func Change(word string) string {
	word = strings.ToLower(word)
	for change, words := range changes {
		if slices.Contains(words, word) {
			return change
		}
	}
	return ""
}

// Time reads a time as senders write it: RFC 3339, or seconds or milliseconds
// since 1970.
func Time(text string) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at.UTC(), true
	}
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || n <= 0 || n > latestTime*1000:
		return time.Time{}, false
	case n > latestTime/25: // no second of this era has so many
		return time.UnixMilli(int64(n)).UTC(), true
	}
	return time.UnixMilli(int64(n * 1000)).UTC(), true
}

// maxEventID is how long an id may be that is kept as it is: it becomes a key.
const maxEventID = 512

// ID is the id of an event made of what its sender says: as it is, or its digest
// where it is long.
func ID(text string) string {
	if len(text) <= maxEventID {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
