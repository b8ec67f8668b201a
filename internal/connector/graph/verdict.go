package graph

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
	"itemnotfound":                   {Reason: "not_found", Class: fault.NotFound, Text: "has no such file or folder"},
	"uploadsessionnotfound":          {Reason: "session_gone", Class: fault.NotFound, Text: "no longer knows the upload"},
	"namealreadyexists":              {Reason: "name_exists", Class: fault.Conflict, Text: "has a file or folder of this name there already"},
	"resourcemodified":               {Reason: "changed", Class: fault.Conflict, Text: "holds the file in another version"},
	"entitytagdoesnotmatch":          {Reason: "changed", Class: fault.Conflict, Text: "holds the file in another version"},
	"resyncrequired":                 {Reason: "resync", Class: fault.Conflict, Text: "no longer knows where its changes were read to"},
	"resyncapplydifferences":         {Reason: "resync", Class: fault.Conflict, Text: "no longer knows where its changes were read to"},
	"resyncuploaddifferences":        {Reason: "resync", Class: fault.Conflict, Text: "no longer knows where its changes were read to"},
	"resyncchangesapplydifferences":  {Reason: "resync", Class: fault.Conflict, Text: "no longer knows where its changes were read to"},
	"resyncchangesuploaddifferences": {Reason: "resync", Class: fault.Conflict, Text: "no longer knows where its changes were read to"},
	"syncstatenotfound":              {Reason: "resync", Class: fault.Conflict, Text: "no longer knows where its changes were read to"},
	"fragmentoverlap":                {Reason: "overlap", Class: fault.Conflict, Text: "has this part of the upload already"},
	"fragmentoutoforder":             {Reason: "overlap", Class: fault.Conflict, Text: "expects another part of the upload"},
	"invalidrange":                   {Reason: "range", Class: fault.Conflict, Text: "expects another part of the file"},
	"locked":                         {Reason: "locked", Class: fault.Conflict, Text: "has the file locked: it is checked out or open"},
	"lockmismatch":                   {Reason: "locked", Class: fault.Conflict, Text: "has the file locked: it is checked out or open"},
	"accessdenied":                   {Reason: "forbidden", Class: fault.Unauthorized, Text: "does not allow this to the application; its permissions need the consent of an administrator"},
	"unauthenticated":                {Reason: "unauthorized", Class: fault.Unauthorized, Text: "did not accept the credentials"},
	"invalidauthenticationtoken":     {Reason: "unauthorized", Class: fault.Unauthorized, Text: "did not accept the credentials"},
	"quotalimitreached":              {Reason: "full", Class: fault.Rejected, Text: "has no room left in the library"},
	"malwaredetected":                {Reason: "malware", Class: fault.Rejected, Text: "found malware in the file"},
	"invalidpath":                    {Reason: "bad_name", Class: fault.Rejected, Text: "refused the name or the path of the file"},
	"malformedentitytag":             {Reason: "bad_request", Class: fault.Rejected, Text: "did not understand the version that the request names"},
	"activitylimitreached":           {Reason: "throttled", Class: fault.Throttled, Text: "asks to slow down"},
	"throttledrequest":               {Reason: "throttled", Class: fault.Throttled, Text: "asks to slow down"},
	"servicenotavailable":            {Reason: "unavailable", Class: fault.Unavailable, Text: "is not available"},
}

var codeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]{0,60}$`)

// verdict reads the codes of an error, of which the innermost known one says most. The
// message stays out: it quotes names.
func verdict(status int, _ http.Header, body []byte) connector.Verdict {
	var v connector.Verdict
	if status == 509 { // an older spelling of 429
		v = verdicts["activitylimitreached"]
	}
	var said struct {
		Error map[string]any `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil {
		return v
	}
	detail := ""
	for at, depth := said.Error, 0; at != nil && depth < 8; depth++ {
		code := text(at["code"])
		if codeForm.MatchString(code) {
			if known, ok := verdicts[strings.ToLower(code)]; ok {
				v, detail = known, code
			} else if detail == "" {
				detail = code
			}
		}
		inner, ok := at["innerError"].(map[string]any)
		if !ok {
			inner, _ = at["innererror"].(map[string]any)
		}
		at = inner
	}
	switch {
	case status == http.StatusTooManyRequests && v.Class != fault.Throttled,
		status == http.StatusUnauthorized && v.Class != fault.Unauthorized,
		status >= 500 && status != 507 && status != 509 && v.Class != fault.Throttled && v.Class != fault.Unavailable:
		v = connector.Verdict{} // the status says more than the code
	case status == http.StatusServiceUnavailable && v.Class == fault.Throttled:
	case status == http.StatusGone && v.Class == "":
		v = verdicts["resyncrequired"]
	case status == 507 && v.Class == "":
		v = verdicts["quotalimitreached"]
	}
	v.Detail = detail
	return v
}
