package flowfile

import (
	"cmp"
	"fmt"
	"slices"
)

type (
	// File is one file as it was found. Name is how diagnostics call it.
	File struct {
		Name string
		Data []byte
	}

	// Diagnostic is one thing that is wrong in a file. Its JSON fields are an
	// interface. Line and Col count from 1, Col in characters.
	Diagnostic struct {
		File     string   `json:"file"`
		Line     int      `json:"line"`
		Col      int      `json:"col"`
		Code     string   `json:"code"`
		Severity Severity `json:"severity"`
		Message  string   `json:"message"`
		Fix      string   `json:"fix"`
	}

	// Severity says whether a Diagnostic stops a flow from being applied.
	Severity string
)

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info" // worth knowing, and nothing to put right
)

// The codes of diagnostics. They are stable: a code is never renamed or reused.
const (
	CodeAlias             = "flow.alias"
	CodeCalculator        = "flow.calculator"
	CodeCatchAll          = "flow.catch_all"
	CodeCEL               = "flow.cel"
	CodeCELCost           = "flow.cel_cost"
	CodeContested         = "flow.contested"
	CodeContract          = "flow.contract"
	CodeDocuments         = "flow.documents"
	CodeDuplicateKey      = "flow.duplicate_key"
	CodeEncoding          = "flow.encoding"
	CodeFreeText          = "flow.free_text"
	CodeID                = "flow.id"
	CodeIdentity          = "flow.identity"
	CodeInlineSecret      = "flow.inline_secret"
	CodeLoop              = "flow.loop"
	CodeOnMissing         = "flow.on_missing"
	CodeOverlap           = "flow.overlap"
	CodePattern           = "flow.pattern"
	CodePersonal          = "flow.personal"
	CodeQuota             = "flow.quota"
	CodeRange             = "flow.range"
	CodeRecipient         = "flow.recipient"
	CodeRegex             = "flow.regex"
	CodeRegion            = "flow.region"
	CodeRequired          = "flow.required"
	CodeRestricted        = "flow.restricted"
	CodeRetryUnsafe       = "flow.retry_unsafe"
	CodeSchedule          = "flow.schedule"
	CodeSyncKey           = "flow.sync_key"
	CodeSyncOrder         = "flow.sync_order"
	CodeSyncType          = "flow.sync_type"
	CodeSyntax            = "flow.syntax"
	CodeTag               = "flow.tag"
	CodeTemplate          = "flow.template"
	CodeTestFailed        = "flow.test_failed"
	CodeTimeout           = "flow.timeout"
	CodeTooDeep           = "flow.too_deep"
	CodeTooLarge          = "flow.too_large"
	CodeType              = "flow.type"
	CodeUnknownColumn     = "flow.unknown_column"
	CodeUnknownConnection = "flow.unknown_connection"
	CodeUnknownField      = "flow.unknown_field"
	CodeUnknownRef        = "flow.unknown_ref"
	CodeUnknownTable      = "flow.unknown_table"
	CodeUnused            = "flow.unused"
	CodeURL               = "flow.url"
	CodeWildcard          = "flow.wildcard"
)

// String is the diagnostic on one line, as compilers print theirs.
func (d Diagnostic) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Col, d.Message)
	if d.Fix != "" {
		s += "; " + d.Fix
	}
	if d.Severity != Error {
		s += " (" + string(d.Severity) + ")"
	}
	return s + " (" + d.Code + ")"
}

// Sort puts diagnostics in the order of files, lines and columns.
func Sort(list []Diagnostic) {
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Code, b.Code))
	})
}

// Failed reports whether any of the diagnostics is an error.
func Failed(list []Diagnostic) bool {
	return slices.ContainsFunc(list, func(d Diagnostic) bool { return d.Severity == Error })
}
