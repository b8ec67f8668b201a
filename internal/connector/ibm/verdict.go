package ibm

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// refusal finds the errors of an answer, which comes with status 200: in part it may
// hold data, of which nobody can tell what is missing. The status is what the worst
// of them stands for.
func refusal(answer map[string]any) int {
	list, ok := answer["errors"].([]any)
	if !ok {
		if answer["errors"] == nil {
			return 0
		}
		return http.StatusInternalServerError
	}
	worst := 0
	for _, one := range list {
		worst = max(worst, standsFor(one))
	}
	return worst
}

// standsFor is the status of one error. One that says nothing of itself is taken for
// a failure of the server's, which may pass.
func standsFor(one any) int {
	said, _ := one.(map[string]any)
	extensions, _ := said["extensions"].(map[string]any)
	if n, ok := extensions["statusCode"].(json.Number); ok {
		if status, err := n.Int64(); err == nil && status >= 400 && status < 600 {
			return int(status)
		}
	}
	message, _ := said["message"].(string)
	kind, _ := extensions["classification"].(string)
	switch {
	case slices.Contains(ofTheQuery, kind), slices.ContainsFunc(ofTheQuery, func(k string) bool { return strings.Contains(strings.ReplaceAll(message, " ", ""), k) }),
		strings.HasPrefix(message, "Cannot query field"):
		return http.StatusBadRequest
	case code.FindString(message) == notFound:
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// ofTheQuery are the kinds of error that a query has before anything of it is done.
var ofTheQuery = []string{"ValidationError", "Validationerror", "InvalidSyntax", "OperationNotSupported"}

// code is what the content engine's messages begin with; notFound says that an
// object, a class or an object store does not exist.
var code = regexp.MustCompile(`\bFNRC[A-Z][0-9]{4}[EWI]\b`)

const notFound = "FNRCE0051E"

// verdict adds the engine's own code. The message stays out: it quotes values.
func verdict(status int, _ http.Header, body []byte) connector.Verdict {
	var said struct {
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &said) != nil || len(said.Errors) == 0 {
		return connector.Verdict{}
	}
	var v connector.Verdict
	for _, e := range said.Errors {
		if v.Detail == "" {
			v.Detail = code.FindString(e.Message)
		}
	}
	if status == http.StatusBadRequest || v.Detail == notFound {
		v.Reason, v.Class = "query_refused", fault.Rejected
		v.Text = "refused the query: the object store, the class, a property or a field is not what the connection says"
	}
	return v
}
