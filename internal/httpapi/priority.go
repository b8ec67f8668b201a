package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"patchbay/internal/flow"
)

// defaultUrgency is what RFC 9218 gives a request that says nothing.
const defaultUrgency = 3

// class reads the priority of a press, RFC 9218: an urgency above the default
// (u=4 to u=7) says that nobody is waiting. What cannot be read is ignored, as
// that RFC asks.
func class(h http.Header) flow.Class {
	urgency := defaultUrgency
	for _, line := range h.Values("Priority") {
		for _, member := range strings.Split(line, ",") {
			member, _, _ = strings.Cut(member, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
			if n, err := strconv.Atoi(value); name == "u" && err == nil && n >= 0 && n <= 7 {
				urgency = n // the last one counts
			}
		}
	}
	if urgency > defaultUrgency {
		return flow.Background
	}
	return flow.Interactive
}
