package ibm

import (
	"fmt"
	"net/http"
)

// problem is an error of the content engine, which an answer lists beside its data.
type problem struct {
	status     int
	code, text string
}

func (p *problem) Error() string { return p.code + ": " + p.text }

// Extensions stand in the error as the API writes it.
func (p *problem) Extensions() map[string]any { return map[string]any{"statusCode": p.status} }

func refused(format string, args ...any) *problem {
	return &problem{http.StatusBadRequest, "FNRCE0007E", fmt.Sprintf(format, args...)}
}

func missing(what string) *problem {
	return &problem{http.StatusNotFound, "FNRCE0051E", "The requested item was not found. Item: " + what + "."}
}

func conflicting(format string, args ...any) *problem {
	return &problem{http.StatusConflict, "FNRCE0009E", fmt.Sprintf(format, args...)}
}
