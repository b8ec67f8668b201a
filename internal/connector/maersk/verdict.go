package maersk

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// What may be shown of an error: codes, words of the vendor's own lists, and paths.
var (
	safeWord = regexp.MustCompile(`^[A-Za-z0-9_]{1,60}$`)
	safePath = regexp.MustCompile(`^\$?[A-Za-z0-9_.\[\]]{1,120}$`)
)

// verdicts refine what the status says.
var verdicts = map[int]connector.Verdict{
	http.StatusBadRequest: {Reason: "bad_request", Class: fault.Rejected, Text: "refused the request as wrong"},
	http.StatusForbidden:  {Reason: "forbidden", Class: fault.Unauthorized, Text: "does not allow this to the client of the connection; the product may not be subscribed"},
	http.StatusNotFound:   {Reason: "not_found", Class: fault.NotFound, Text: "has no such thing, or the customer is no party to it"},
	http.StatusConflict:   {Reason: "state", Class: fault.Conflict, Text: "has the booking in another state than assumed"},
}

// verdict reads an error answer. Its texts stay out: they quote values.
func verdict(status int, h http.Header, body []byte) connector.Verdict {
	v := verdicts[status]
	var said struct {
		Errors []struct {
			Reason   string      `json:"reason"`
			Code     json.Number `json:"errorCode"`
			CodeText string      `json:"errorCodeText"`
			Property string      `json:"property"`
			Path     string      `json:"jsonPath"`
			Field    string      `json:"field"`
		} `json:"errors"`
	}
	if status >= 500 || !strings.Contains(h.Get("Content-Type"), "json") || json.Unmarshal(body, &said) != nil {
		return v
	}
	var details []string
	for i, e := range said.Errors {
		if i == 5 {
			details = append(details, strconv.Itoa(len(said.Errors)-i)+" more")
			break
		}
		detail := ""
		for _, word := range []string{e.Reason, e.Code.String(), e.CodeText} {
			if safeWord.MatchString(word) {
				detail = strings.TrimSpace(detail + " " + word)
			}
		}
		for _, path := range []string{e.Path, e.Property, e.Field} {
			if safePath.MatchString(path) {
				detail += " at " + path
				break
			}
		}
		if detail != "" {
			details = append(details, detail)
		}
	}
	v.Detail = strings.Join(details, "; ")
	return v
}
