package sap

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
)

// problem is a refusal with SAP's code and words. Field is the property it is about.
type problem struct {
	status            int
	code, text, field string
}

// Error is the text that the caller gets, too.
func (p *problem) Error() string { return p.text }

// The codes, as systems give them.
const (
	codeSegment  = "/IWBEP/CM_MGW_RT/020"
	codeBusiness = "/IWBEP/CX_MGW_BUSI_EXCEPTION"
	codeSyntax   = "/IWCOR/CX_DS_EXPR_SYNTAX_ERROR/005056A509B11EE1B9A8FEC11C22578E"
	codeProperty = "/IWCOR/CX_DS_EDM_ERROR/005056A509B11EE1B9A8FEC11C21B78E"
	codeOption   = "/IWCOR/CX_DS_URI_QUERY_PARAM_ERROR/005056A509B11EE1B9A8FEC11C22178E"
	codeVersion  = "/IWBEP/CM_V4_APPS/017"
)

func notFound(segment string) *problem {
	return &problem{status: http.StatusNotFound, code: codeSegment, text: "Resource not found for segment '" + segment + "'."}
}

func badQuery(format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, code: codeSyntax, text: fmt.Sprintf(format, args...)}
}

func badProperty(name, entity string) *problem {
	return &problem{status: http.StatusBadRequest, code: codeProperty, text: "Property '" + name + "' is not defined in type '" + entity + "'.", field: name}
}

func business(code, field, format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, code: code, text: fmt.Sprintf(format, args...), field: field}
}

// answer words a problem: JSON for who takes it, else XML; V4 has a form of its own.
func (p *problem) answer(c *exchange.Call, s *service) exchange.Answer {
	header := http.Header{"Dataserviceversion": {"1.0"}, "Cache-Control": {"no-store, no-cache"}}
	code := p.code
	if code == "" {
		code = "/IWBEP/CM_MGW_RT/" + strconv.Itoa(p.status)
	}
	switch {
	case s != nil && s.V4:
		header.Del("Dataserviceversion")
		header.Set("Content-Type", "application/json;odata.metadata=minimal;charset=utf-8")
		detail := ordered.New("code", code, "message", p.text, "@SAP__common.longtextUrl", "", "@SAP__common.numericSeverity", 4)
		if p.field != "" {
			detail.Set("target", p.field)
		}
		return exchange.Answer{Status: p.status, Header: header, Body: ordered.New("error", ordered.New("code", code, "message", p.text, "@SAP__common.ExceptionCategory", "Client_Error",
			"details", []*ordered.Object{detail})).Bytes()}
	case wantsJSON(c):
		header.Set("Content-Type", "application/json;charset=utf-8")
		details := []*ordered.Object{
			ordered.New("ContentID", "", "code", code, "message", p.text, "longtext_url", "", "propertyref", p.field, "severity", "error", "transition", false, "target", p.field),
			ordered.New("ContentID", "", "code", codeBusiness, "message", "An exception was raised", "propertyref", "", "severity", "error", "transition", false, "target", ""),
		}
		name := ""
		if s != nil {
			name = s.Name
		}
		inner := ordered.New("application", ordered.New("component_id", "", "service_namespace", "/SAP/", "service_id", name, "service_version", "0001"),
			"transactionid", transaction(c), "timestamp", c.At.Format("20060102150405.0000000"),
			"Error_Resolution", ordered.New("SAP_Transaction", "Run transaction /IWFND/ERROR_LOG on SAP Gateway hub system.", "SAP_Note", "See SAP Note 1797736 for error analysis"),
			"errordetails", details)
		return exchange.Answer{Status: p.status, Header: header, Body: ordered.New("error", ordered.New("code", code, "message", ordered.New("lang", "en", "value", p.text), "innererror", inner)).Bytes()}
	}
	header.Set("Content-Type", "application/xml;charset=utf-8")
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(p.text)) // a strings.Builder takes everything
	body := `<?xml version="1.0" encoding="utf-8"?><error xmlns="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><code>` + code +
		`</code><message xml:lang="en">` + escaped.String() + `</message><innererror><transactionid>` + transaction(c) + `</transactionid></innererror></error>`
	return exchange.Answer{Status: p.status, Header: header, Body: []byte(body)}
}

// transaction is the number under which a system keeps what happened.
func transaction(c *exchange.Call) string { return fmt.Sprintf("%032X", c.At.UnixNano()) }

func wantsJSON(c *exchange.Call) bool {
	accept := strings.Join(c.Header.Values("Accept"), ",")
	return strings.Contains(accept, "json") || strings.Contains(c.RawQuery, "format=json")
}

// Refuse words a failure that no service raised. Logon and overload are answered by
// what stands before the services, with a page.
func (s *System) Refuse(c *exchange.Call, status int) exchange.Answer {
	switch status {
	case http.StatusUnauthorized, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusInternalServerError:
		header := http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Sap-System": {"S4H"}}
		if status == http.StatusUnauthorized {
			header.Set("WWW-Authenticate", `Basic realm="SAP NetWeaver Application Server [S4H/100]"`)
		}
		title := strconv.Itoa(status) + " " + http.StatusText(status)
		return exchange.Answer{Status: status, Header: header, Body: []byte("<html><head><title>" + title + "</title></head><body><h1>" + title + "</h1><p>Server time: " + c.At.Format(http.TimeFormat) + "</p></body></html>")}
	}
	sv, _ := find(c.Path)
	if status == http.StatusLocked {
		return (&problem{status: status, code: "V1/042", text: "The document is currently being processed by user SALES01"}).answer(c, sv)
	}
	return (&problem{status: status, text: http.StatusText(status)}).answer(c, sv)
}

// told turns an error into the answer it stands for; any other error goes up.
func told(c *exchange.Call, s *service, err error) (exchange.Answer, error) {
	var p *problem
	if errors.As(err, &p) {
		return p.answer(c, s), nil
	}
	return exchange.Answer{}, err
}
