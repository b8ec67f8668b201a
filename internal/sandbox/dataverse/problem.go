package dataverse

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
)

// problem is a refusal with its documented code.
type problem struct {
	status        int
	code, message string
}

func (p *problem) Error() string { return p.message }

func refuse(status int, code, format string, args ...any) *problem {
	return &problem{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// badQuery is a query option that cannot be understood.
func badQuery(format string, args ...any) *problem {
	return refuse(http.StatusBadRequest, "0x80060888", format, args...)
}

func unknownProperty(t *Table, name string) *problem {
	return refuse(http.StatusBadRequest, "0x0", "Could not find a property named '%s' on type 'Microsoft.Dynamics.CRM.%s'.", name, t.Logical)
}

// badPayload is a body that does not fit the table.
func badPayload(t *Table, format string, args ...any) *problem {
	return refuse(http.StatusBadRequest, "0x80048d19",
		"Error identified in Payload provided by the user for Entity :'%s', For more information on this error please follow this help link https://go.microsoft.com/fwlink/?linkid=2195293  ---->  InnerException : Microsoft.OData.ODataException: %s",
		t.Set, fmt.Sprintf(format, args...))
}

func noRow(t *Table, id any) *problem {
	return refuse(http.StatusNotFound, "0x80040217", "%s With Id = %v Does Not Exist", t.Logical, id)
}

func noKey(t *Table) *problem {
	return refuse(http.StatusNotFound, "0x80060891", "A record with the specified key values does not exist in %s entity", t.Logical)
}

func noSegment(name string) *problem {
	return refuse(http.StatusNotFound, "0x8006088a", "Resource not found for the segment '%s'.", name)
}

func stale() *problem {
	return refuse(http.StatusPreconditionFailed, "0x80060882", "The version of the existing record doesn't match the RowVersion property provided.")
}

func exists() *problem {
	return refuse(http.StatusPreconditionFailed, "0x80040237", "A record with matching key values already exists.")
}

const jsonType = "application/json; odata.metadata=minimal"

func (p *problem) answer(c *exchange.Call) exchange.Answer {
	detail := ordered.New("code", p.code, "message", p.message)
	if strings.Contains(strings.Join(c.Header.Values("Prefer"), ","), "odata.include-annotations") {
		detail.Set("@Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus", "0").
			Set("@Microsoft.PowerApps.CDS.ErrorDetails.SubErrorCode", "2147746359").
			Set("@Microsoft.PowerApps.CDS.HelpLink", "http://go.microsoft.com/fwlink/?LinkID=398563&error=Microsoft.Crm.CrmException%3a"+strings.TrimPrefix(p.code, "0x")).
			Set("@Microsoft.PowerApps.CDS.InnerError.Message", p.message)
	}
	return exchange.Answer{Status: p.status, Header: http.Header{"Content-Type": {jsonType}, "Odata-Version": {"4.0"}},
		Body: ordered.New("error", detail).Bytes()}
}

// Refuse words a failure that no table raised.
func (s *System) Refuse(c *exchange.Call, status int) exchange.Answer {
	switch status {
	case http.StatusUnauthorized:
		return exchange.Answer{Status: status, Header: http.Header{"Content-Type": {"text/plain"}, "Odata-Version": {"4.0"},
			"Www-Authenticate": {"Bearer authorization_uri=" + strings.TrimSuffix(c.Base, "/"+s.env.Name) + "/login/common/oauth2/authorize, resource_id=" + c.Base + "/"}},
			Body: []byte("HTTP Error 401 - Unauthorized: Access is denied")}
	case http.StatusForbidden:
		return refuse(status, "0x80072560", "The user is not a member of the organization.").answer(c)
	case http.StatusTooManyRequests:
		return tooMany(requestsExceeded).answer(c)
	case http.StatusInternalServerError:
		return refuse(status, "0x80044150", "Generic SQL error.").answer(c)
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		title := fmt.Sprintf("%d %s", status, http.StatusText(status))
		return exchange.Answer{Status: status, Header: http.Header{"Content-Type": {"text/html"}},
			Body: []byte("<html><head><title>" + title + "</title></head><body><center><h1>" + title + "</h1></center></body></html>")}
	case http.StatusPreconditionFailed:
		return stale().answer(c)
	default:
		return refuse(status, "0x80040216", "An unexpected error occurred.").answer(c)
	}
}

func told(c *exchange.Call, err error) (exchange.Answer, error) {
	var p *problem
	if errors.As(err, &p) {
		return p.answer(c), nil
	}
	return exchange.Answer{}, err
}
