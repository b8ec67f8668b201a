// Package fault is the vocabulary of failure: one error type, nine classes and
// the rule which of them may be tried again.
//
// A failure is classified once, where it is first understood (a connector, the
// store, the validator), by one of the constructors here. After that it is only
// wrapped with %w and handled once, by whoever can act on it: the retry policy,
// the run row, the HTTP answer.
//
// A Fault is safe to show: its Error text, code and fields never hold URLs,
// rows, secrets or personal data. What caused it stays reachable by errors.Is
// and errors.As inside the process and is never printed or serialised (promise
// 5, promise 9). Errors that carry no Fault are treated as bugs by Of and show
// nothing but that.
//
// The package is pure: it imports the standard library only.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Class says what kind of failure a Fault is and so what may be done about it.
type Class string

// The classes. Only Throttled and Unavailable are worth another try as they are.
const (
	Invalid      Class = "invalid"      // the request is wrong; change it
	Rejected     Class = "rejected"     // the other system understood and refused
	NotFound     Class = "not-found"    // the thing asked for does not exist
	Conflict     Class = "conflict"     // it exists in another state than assumed
	Unauthorized Class = "unauthorized" // credentials are missing, wrong or too weak
	Throttled    Class = "throttled"    // a limit was reached; After says how long to wait
	Unavailable  Class = "unavailable"  // nobody answered, or answered 5xx
	InDoubt      Class = "in-doubt"     // a write was sent and its outcome is unknown
	Bug          Class = "bug"          // our own mistake, or an answer nobody should give
)

// Fault is a classified failure. Build it with the constructors; the zero value
// is not a valid Fault.
type Fault struct {
	Code   string        `json:"code"`             // stable, dotted, for example "oracle.page_loop"
	Class  Class         `json:"class"`            //
	Text   string        `json:"text"`             // one sentence that is safe to show to anyone
	Fields []Field       `json:"fields,omitempty"` // what is wrong with the input, one entry a place
	After  time.Duration `json:"after,omitempty"`  // nanoseconds to wait before another try; 0 when unknown

	cause error
}

// Field names one wrong place of an input.
type Field struct {
	Path   string `json:"path"`          // as At and AtIndex make it: "params.lines[3].unit", "query.wait"
	Code   string `json:"code"`          // for example "field.required"
	Detail string `json:"detail"`        // what is wrong, without the value
	Fix    string `json:"fix,omitempty"` // what to write instead
}

// Error returns code and text; never the cause.
func (f *Fault) Error() string { return f.Code + ": " + f.Text }

// Unwrap gives the cause to errors.Is and errors.As.
func (f *Fault) Unwrap() error { return f.cause }

// Retryable reports whether the same request may succeed later unchanged.
func (f *Fault) Retryable() bool { return f.Class == Throttled || f.Class == Unavailable }

// With returns a copy of f that also names fields.
func (f *Fault) With(fields ...Field) *Fault {
	c := *f
	c.Fields = append(append([]Field(nil), f.Fields...), fields...)
	return &c
}

// New builds a Fault of any class. Text must be safe to show; cause may be nil.
func New(class Class, code, text string, cause error) *Fault {
	return &Fault{Code: code, Class: class, Text: text, cause: cause}
}

// Invalidf builds an Invalid fault with a formatted, safe text.
func Invalidf(code, format string, args ...any) *Fault {
	return New(Invalid, code, fmt.Sprintf(format, args...), nil)
}

// NotFoundf builds a NotFound fault with a formatted, safe text.
func NotFoundf(code, format string, args ...any) *Fault {
	return New(NotFound, code, fmt.Sprintf(format, args...), nil)
}

// ThrottledFor builds a Throttled fault that may be tried again after d.
func ThrottledFor(d time.Duration, code, text string, cause error) *Fault {
	return &Fault{Code: code, Class: Throttled, Text: text, After: d, cause: cause}
}

// Of returns the Fault in err's chain. An error without one is a Bug with a
// text that reveals nothing but its Go type; nil gives nil. Context errors are
// not faults: ask errors.Is before.
func Of(err error) *Fault {
	if err == nil {
		return nil
	}
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return New(Unavailable, "timeout", "no answer in time", err)
	}
	return New(Bug, "bug", fmt.Sprintf("unexpected %T; the log of the process has more", err), err)
}

// Is reports whether err carries a Fault of the class.
func Is(err error, class Class) bool {
	var f *Fault
	return errors.As(err, &f) && f.Class == class
}
