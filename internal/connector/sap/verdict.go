package sap

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"regexp"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

type (
	// said is what an error answer says, in any of its forms.
	said struct {
		code, detail, message, transaction string
	}

	inner struct {
		Transaction string `json:"transactionid"`
		Details     []struct {
			Code     string `json:"code"`
			Severity string `json:"severity"`
		} `json:"errordetails"`
	}
)

const (
	csrfHeader   = "X-Csrf-Token"
	csrfRequired = "required"
)

var (
	safeCode        = regexp.MustCompile(`^[A-Za-z0-9_/.:-]{1,40}$`)
	safeTransaction = regexp.MustCompile(`^[0-9A-Fa-f]{32}$`)
	lockedText      = regexp.MustCompile(`(?i)currently (being )?(processed|edited|locked)|is locked by|locked by user`)
)

// verdict reads an error answer: JSON of V2 or V4, XML, or nothing of use. The text
// of a message stays out: it quotes values and names people.
func verdict(status int, h http.Header, body []byte) connector.Verdict {
	if status == http.StatusForbidden && strings.EqualFold(h.Get(csrfHeader), csrfRequired) {
		return connector.Verdict{Reason: "csrf", Class: fault.Conflict, Text: "did not accept the CSRF token"}
	}
	e := readError(h, body)
	var v connector.Verdict
	switch {
	case status == http.StatusPreconditionRequired:
		v = connector.Verdict{Reason: "version_missing", Class: fault.Rejected, Text: "changes the row only for who names its version"}
	case status == http.StatusLocked, status < http.StatusInternalServerError && lockedText.MatchString(e.message):
		v = connector.Verdict{Reason: "locked", Class: fault.Conflict, Text: "has the thing locked by somebody else"}
	}
	for _, text := range []string{e.code, e.detail} {
		if safeCode.MatchString(text) && text != "" && !strings.Contains(v.Detail, text) {
			v.Detail = strings.TrimSpace(v.Detail + " " + text)
		}
	}
	if safeTransaction.MatchString(e.transaction) {
		v.Detail = strings.TrimSpace(v.Detail + " transaction " + e.transaction)
	}
	return v
}

func readError(h http.Header, body []byte) said {
	if strings.Contains(h.Get("Content-Type"), "xml") {
		return readXML(body)
	}
	var answer struct {
		Error *struct {
			Code    string          `json:"code"`
			Message json.RawMessage `json:"message"` // an object in V2, a text in V4
			Inner   inner           `json:"innererror"`
			Details []struct {
				Code string `json:"code"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Error == nil {
		return said{}
	}
	e := answer.Error
	out := said{code: e.Code, message: string(e.Message), transaction: e.Inner.Transaction}
	for _, d := range e.Inner.Details {
		if d.Severity == "error" && d.Code != "" {
			out.detail = d.Code
			break
		}
	}
	if out.detail == "" && len(e.Details) > 0 {
		out.detail = e.Details[0].Code
	}
	return out
}

func readXML(body []byte) said {
	var answer struct {
		XMLName     xml.Name `xml:"error"`
		Code        string   `xml:"code"`
		Message     string   `xml:"message"`
		Transaction string   `xml:"innererror>transactionid"`
		Details     []struct {
			Code     string `xml:"code"`
			Severity string `xml:"severity"`
		} `xml:"innererror>errordetails>errordetail"`
	}
	if xml.Unmarshal(body, &answer) != nil {
		return said{}
	}
	out := said{code: answer.Code, message: answer.Message, transaction: answer.Transaction}
	for _, d := range answer.Details {
		if d.Severity == "error" && d.Code != "" {
			out.detail = d.Code
			break
		}
	}
	return out
}
