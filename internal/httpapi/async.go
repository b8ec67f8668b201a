package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"patchbay/internal/flow"
)

// What a caller may wait for, as the query parameter wait. A 202 carries one of
// the first two in its Location: whoever polls that address is told 202 until
// there is what was asked for, then 200, as Power Automate and Logic Apps expect.
const (
	waitAnswer = "answer" // the result of a press
	waitFinal  = "final"  // the end of the run, every effect settled or in doubt
	waitNone   = "none"   // of a press: nothing, not even by polling
)

// reached tells whether run has come as far as wait asks; ok is false where wait
// is none of our words.
func reached(wait string) (enough func(flow.Run) bool, ok bool) {
	switch wait {
	case waitAnswer:
		return answered, true
	case waitFinal:
		return func(run flow.Run) bool { return run.Status.Final() }, true
	}
	return nil, false
}

func location(id string) string { return "/v1/runs/" + url.PathEscape(id) }

// polling is the address for a client that follows a 202 by itself.
//
// A connector of the Power Platform calls through Microsoft's gateway, which adds
// the key of the connection; the poll that follows a 202 is sent to Location as it
// stands, and past the gateway it would come without a key. The gateway names its
// own address in a header for this purpose. It is the caller's word: only an
// address of that gateway is believed, and nobody else gets this answer.
func polling(r *http.Request, id, wait string) string {
	return referrer(r.Header) + location(id) + "?wait=" + wait
}

// gateways are the domains of Microsoft's connector gateway.
var gateways = []string{".azure-apihub.net", ".azure-apim.net"}

// referrer is the address under which the gateway serves this very connection, or
// "" for a caller that came directly.
func referrer(h http.Header) string {
	values := h.Values("X-Ms-Apim-Referrer-Prefix")
	if len(values) != 1 || len(values[0]) > 1<<10 {
		return ""
	}
	u, err := url.Parse(values[0])
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Port() != "" {
		return ""
	}
	for _, domain := range gateways {
		if strings.HasSuffix(strings.ToLower(u.Hostname()), domain) && strings.HasPrefix(u.Path, "/apim/") {
			return strings.TrimSuffix(u.String(), "/")
		}
	}
	return ""
}
