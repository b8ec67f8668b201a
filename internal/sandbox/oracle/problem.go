package oracle

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
)

// problem is a refusal that the caller is told about. code is the number of the
// JBO message; path points into the payload.
type problem struct {
	status             int
	code, detail, path string
}

func (p *problem) Error() string { return p.detail }

func invalid(code, path, format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, code: code, path: path, detail: fmt.Sprintf(format, args...)}
}

func notFound() *problem {
	return &problem{status: http.StatusNotFound, code: "25020", detail: "The requested resource was not found."}
}

// answer words a failure for the framework version of the call: a text line up
// to version 3, JSON from 4 on for who accepts it.
func (p *problem) answer(c *exchange.Call) exchange.Answer {
	header := http.Header{}
	if frameworkVersion(c.Header) < 4 || !acceptsJSON(c.Header) {
		header.Set("Content-Type", "text/plain;charset=UTF-8")
		return exchange.Answer{Status: p.status, Header: header, Body: []byte(p.detail)}
	}
	detail := ordered.New("detail", p.detail)
	if p.code != "" {
		detail.Set("o:errorCode", p.code)
	}
	if p.path != "" {
		detail.Set("o:errorPath", p.path)
	}
	body := ordered.New("title", http.StatusText(p.status), "status", strconv.Itoa(p.status), "o:errorDetails", []*ordered.Object{detail})
	header.Set("Content-Type", "application/vnd.oracle.adf.error+json")
	return exchange.Answer{Status: p.status, Header: header, Body: body.Bytes()}
}

func acceptsJSON(h http.Header) bool {
	accept := strings.Join(h.Values("Accept"), ",")
	return accept == "" || strings.Contains(accept, "*/*") || strings.Contains(accept, "application/*") ||
		strings.Contains(accept, "application/json") || strings.Contains(accept, "application/vnd.oracle.adf")
}

// Refuse words a failure that no resource raised. A 500 comes without a body,
// as it does at Oracle; 401 and 503 come from the servers in front.
func (s *System) Refuse(c *exchange.Call, status int) exchange.Answer {
	switch status {
	case http.StatusInternalServerError:
		return exchange.Answer{Status: status, Header: http.Header{}}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		title := strconv.Itoa(status) + " " + http.StatusText(status)
		header := http.Header{"Content-Type": {"text/html; charset=UTF-8"}}
		if status == http.StatusUnauthorized {
			header.Set("WWW-Authenticate", `Basic realm="Oracle Fusion Applications"`)
		}
		return exchange.Answer{Status: status, Header: header,
			Body: []byte("<html><head><title>" + title + "</title></head><body><h1>" + title + "</h1></body></html>")}
	default:
		return (&problem{status: status, detail: http.StatusText(status)}).answer(c)
	}
}

// told turns an error into the answer it stands for; any other error goes up.
func told(c *exchange.Call, err error) (exchange.Answer, error) {
	var p *problem
	if errors.As(err, &p) {
		return p.answer(c), nil
	}
	return exchange.Answer{}, err
}
