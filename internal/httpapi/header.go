package httpapi

import (
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// defaultUrgency is what RFC 9218 gives a request that says nothing.
const defaultUrgency = 3

// class reads the priority of a press, RFC 9218: an urgency above the default
// (u=4 to u=7) says that nobody is waiting. What cannot be read is ignored, as
// that RFC asks.
func class(h http.Header) flow.Class {
	urgency := uint64(defaultUrgency)
	for name, value := range members(h.Values("Priority")) {
		if n, err := strconv.ParseUint(value, 10, 8); name == "u" && err == nil && n <= 7 {
			urgency = n // the last one counts
		}
	}
	if urgency > defaultUrgency {
		return flow.Background
	}
	return flow.Interactive
}

// preferredWait reads RFC 7240 preferences and says which one is followed, or "".
// Those that cannot be understood are ignored: that RFC forbids a server to refuse
// them (section 2). A client sees it by the missing Preference-Applied.
func preferredWait(h http.Header) (wait time.Duration, applied string) {
	async := false
	for name, value := range members(h.Values("Prefer")) {
		switch strings.ToLower(name) {
		case "respond-async":
			async = true
		case "wait":
			n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err == nil && applied == "" { // the first one counts
				wait = min(time.Duration(n)*time.Second, maxWait)
				applied = "wait=" + strconv.Itoa(int(wait/time.Second))
			}
		}
	}
	switch {
	case applied != "":
		return wait, applied
	case async:
		return 0, "respond-async"
	}
	return defaultWait, ""
}

// members gives the members of a list header without their parameters, as name
// and value. A comma, semicolon or equals sign in quotes is text.
func members(lines []string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, line := range lines {
			for more := true; more; {
				var member, first string
				member, line, more = cutUnquoted(line, ',')
				first, _, _ = cutUnquoted(member, ';')
				name, value, _ := strings.Cut(first, "=")
				if !yield(strings.TrimSpace(name), strings.TrimSpace(value)) {
					return
				}
			}
		}
	}
}

// cutUnquoted is strings.Cut at the first separator that stands outside of quotes.
func cutUnquoted(s string, separator byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++ // whatever follows is text
		case c == separator && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
