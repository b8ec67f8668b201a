package dataverse

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// verdicts is what the error codes mean that decide more than their status.
var verdicts = map[string]connector.Verdict{
	"0x80040217": {Reason: "not_found", Class: fault.NotFound, Text: "has no row with this id"},
	"0x80060891": {Reason: "not_found", Class: fault.NotFound, Text: "has no row with this key"},
	"0x8006088a": {Reason: "unknown_resource", Class: fault.Rejected, Text: "has no such table; names are case-sensitive"},
	"0x80040237": {Reason: "duplicate_key", Class: fault.Conflict, Text: "has a row with this key already"},
	"0x80060892": {Reason: "duplicate_key", Class: fault.Conflict, Text: "has another row with this key already"},
	"0x80060882": {Reason: "version_differs", Class: fault.Conflict, Text: "holds the row in another version"},
	"0x80040227": {Reason: "has_children", Class: fault.Rejected, Text: "has other rows that refer to the row"},
	"0x80044352": {Reason: "cursor_expired", Class: fault.Conflict, Text: "no longer knows the state of change tracking"},
	"0x80040333": {Reason: "duplicate_detected", Class: fault.Conflict, Text: "found a duplicate by one of its own rules"},
	"0x0":        {Reason: "bad_request", Class: fault.Rejected, Text: "refused the request as wrong; a column may not exist"},
	"0x80048d19": {Reason: "bad_payload", Class: fault.Rejected, Text: "refused the row; a column may not exist or have another type"},
	"0x80044331": {Reason: "too_long", Class: fault.Rejected, Text: "refused a value that is longer than its column"},
	"0x80040265": {Reason: "plugin_refused", Class: fault.Rejected, Text: "ran a plug-in that refused the row"},
	"0x80040220": {Reason: "no_privilege", Class: fault.Unauthorized, Text: "does not give the user of the connection the privilege"},
	"0x80048306": {Reason: "no_privilege", Class: fault.Unauthorized, Text: "does not give the user of the connection access to the row"},
	"0x80040299": {Reason: "no_privilege", Class: fault.Unauthorized, Text: "does not give the user of the connection the privilege"},
	"0x80072560": {Reason: "not_a_member", Class: fault.Unauthorized, Text: "does not know the user of the connection as a member"},
	"0x80072322": {Reason: "request_limit", Class: fault.Throttled, Text: "has answered as many requests as it allows in five minutes"},
	"0x80072321": {Reason: "time_limit", Class: fault.Throttled, Text: "has spent the execution time that it allows in five minutes"},
	"0x80072326": {Reason: "concurrency_limit", Class: fault.Throttled, Text: "answers as many requests at once as it allows"},
	"0x80044150": {Reason: "sql_error", Class: fault.Unavailable, Text: "had an error in its database"},
	"0x80044151": {Reason: "sql_timeout", Class: fault.Unavailable, Text: "had no answer from its database in time"},
}

// unknownOperation is a 404 without a code: a function or action that is not
// there, or not under this verb.
var unknownOperation = connector.Verdict{Reason: "unknown_operation", Class: fault.Rejected, Text: "does not offer the operation"}

var codeForm = regexp.MustCompile(`^0x[0-9a-f]{1,8}$`)

// verdict reads the error code. The message stays out: it quotes ids and values.
func verdict(status int, h http.Header, body []byte) connector.Verdict {
	var said struct {
		Error *struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if !strings.Contains(h.Get("Content-Type"), "json") || json.Unmarshal(body, &said) != nil || said.Error == nil {
		return connector.Verdict{}
	}
	code := strings.ToLower(said.Error.Code)
	v := verdicts[code]
	switch {
	case status == http.StatusTooManyRequests && v.Class != fault.Throttled, status == http.StatusUnauthorized:
		v = connector.Verdict{} // the status says more than the code
	case status >= 500 && v.Class == fault.Rejected:
		v = connector.Verdict{} // nothing was understood that could be refused
	case status == http.StatusNotFound && code == "":
		v = unknownOperation
	}
	if codeForm.MatchString(code) {
		v.Detail = code
	}
	return v
}
