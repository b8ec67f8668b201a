package expr

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"cel.dev/cel-go/interpreter"

	"patchbay/internal/fault"
)

// The codes of the faults of an evaluation. All but the budget say that the data
// is not what the flow was written for, and are Rejected.
const (
	CodeBudget  = "cel.budget"
	CodeMissing = "cel.missing"
	CodeType    = "cel.type"
	CodeValue   = "cel.value"
)

// Eval evaluates the expression. The result is a plain JSON value, or Absent. An
// error is a *fault.Fault that names columns and never holds a value.
func (p *Program) Eval(vars map[string]any) (any, error) {
	if p.path != nil {
		return p.selectBare(vars)
	}
	out, _, err := p.prog.Eval(vars)
	if err != nil {
		return nil, p.failure(err)
	}
	v, err := plain(out)
	if err != nil {
		return nil, rejectedType(err)
	}
	return v, nil
}

// selectBare walks a path without CEL, so that a value passes unchanged.
func (p *Program) selectBare(vars map[string]any) (any, error) {
	var v any = vars
	for i, name := range p.path {
		row, ok := v.(map[string]any)
		if !ok {
			return nil, fault.New(fault.Rejected, CodeType, strings.Join(p.path[:i], ".")+" holds no columns", nil)
		}
		if v, ok = row[name]; !ok {
			return nil, missingFault(strings.Join(p.path[:i+1], "."))
		}
	}
	switch n := v.(type) {
	case int64:
		return json.Number(strconv.FormatInt(n, 10)), nil
	case float64, float32:
		return nil, fault.New(fault.Bug, "bug.float", strings.Join(p.path, ".")+" was decoded as a floating-point number", nil)
	}
	return v, nil
}

// failure classifies what CEL says, without the values CEL puts into its texts.
func (p *Program) failure(err error) error {
	var gone *missing
	var cancelled interpreter.EvalCancelledError
	switch text := err.Error(); {
	case errors.As(err, &gone):
		return missingFault(gone.path)
	case errors.As(err, &cancelled):
		return fault.New(fault.Invalid, CodeBudget, "the expression cost more than "+strconv.Itoa(Budget)+" and was stopped", err)
	case errors.Is(err, errNumber):
		return fault.New(fault.Rejected, CodeValue, "a number is out of range", err)
	case strings.HasPrefix(text, "no such key: "):
		// The key is shown only where the author wrote it; else it is data.
		if key := strings.TrimPrefix(text, "no such key: "); strings.Contains(p.source, key) {
			return missingFault(key)
		}
		return fault.New(fault.Rejected, CodeMissing, "a column that the expression computes is not there", err)
	case strings.HasPrefix(text, "no such attribute"):
		return fault.New(fault.Rejected, CodeMissing, "a variable of the expression is not there", err)
	case strings.Contains(text, "no such overload"):
		return fault.New(fault.Rejected, CodeType, "a value has another type than the expression needs", err)
	case strings.HasPrefix(text, "index out of bounds"):
		return fault.New(fault.Rejected, CodeValue, "a list is shorter than the expression needs", err)
	case strings.HasPrefix(text, "division by zero"), strings.HasPrefix(text, "modulus by zero"):
		return fault.New(fault.Rejected, CodeValue, "a division by zero", err)
	case strings.Contains(text, "hash of unhashable type"):
		return fault.New(fault.Rejected, CodeType, "a key of an object that the expression makes is no text", err)
	case strings.HasPrefix(text, "internal error"), strings.HasPrefix(text, "a floating-point number"):
		return fault.New(fault.Bug, "bug.cel", "the expression failed inside", err)
	}
	return fault.New(fault.Rejected, CodeValue, "a value does not fit the expression", err)
}

func rejectedType(err error) error {
	return fault.New(fault.Rejected, CodeType, err.Error(), err)
}

func missingFault(path string) error {
	return fault.New(fault.Rejected, CodeMissing, "there is no "+path, nil).
		With(fault.Field{Path: path, Code: "field.required", Detail: "the source did not send it", Fix: "write .?name.orValue(null) where it may be missing"})
}
