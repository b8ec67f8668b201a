package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Describe tells of an error what a log may hold: the code and text of a Fault,
// and the Go types of everything else in the chain, with the SQLSTATE where
// there is one. It leaves out messages: they hold URLs, rows and secrets.
func Describe(err error) string {
	if err == nil {
		return ""
	}
	var parts []string
	for err != nil {
		part := fmt.Sprintf("%T", err)
		switch e := err.(type) { //nolint:errorlint // each link of the chain is looked at by itself
		case *Fault:
			part = e.Error()
		case interface{ SQLState() string }:
			part += " " + e.SQLState()
		case interface{ Unwrap() []error }:
			inner := e.Unwrap()
			many := make([]string, len(inner))
			for i := range inner {
				many[i] = Describe(inner[i])
			}
			return strings.Join(append(parts, "["+strings.Join(many, "; ")+"]"), " ← ")
		}
		parts = append(parts, part)
		err = errors.Unwrap(err)
	}
	return strings.Join(parts, " ← ")
}
