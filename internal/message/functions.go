package message

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// refusal is why a function takes no such value; it holds none.
type refusal string

func (r refusal) Error() string { return string(r) }

// functions are what templates may call besides the harmless ones of Go.
var functions = map[string]any{
	"date":     date,
	"number":   number,
	"was":      was,
	"changed":  changed,
	"optional": optional,
	"list":     list,
	"upper":    strings.ToUpper,
	"lower":    strings.ToLower,
	// In place of Go's own, which have no bound: a value that doubles in each turn of
	// a loop would fill the memory before it fills the message.
	"print":   func(a ...any) (string, error) { return short(fmt.Sprint(a...)) },
	"println": func(a ...any) (string, error) { return short(fmt.Sprintln(a...)) },
	"printf":  printf,
}

// harmless are the functions of Go's templates that stay.
var harmless = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice"}

// maxValue bounds what one function makes.
const maxValue = 64 << 10

func short(text string) (string, error) {
	if len(text) > maxValue {
		return "", refusal("a value is longer than 64 KiB")
	}
	return text, nil
}

// wide is a width or precision of a verb that would make much of little.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*)`)

func printf(format string, a ...any) (string, error) {
	if wide.MatchString(format) || len(format) > 4<<10 {
		return "", refusal("printf takes widths below 1000")
	}
	return short(fmt.Sprintf(format, a...))
}

func known() []string {
	return slices.Sorted(slices.Values(slices.Concat(harmless, slices.Collect(maps.Keys(functions)))))
}

// date writes a time, or a text of the form 2006-01-02 or RFC 3339, by Go's layout:
// {{date "02.01.2006 15:04" .Last}}. Of an empty value it makes nothing.
func date(layout string, value any) (string, error) {
	switch v := value.(type) {
	case time.Time:
		return v.UTC().Format(layout), nil
	case string:
		if v == "" {
			return "", nil
		}
		for _, form := range []string{time.RFC3339Nano, time.DateOnly} {
			if at, err := time.Parse(form, v); err == nil {
				return at.Format(layout), nil
			}
		}
	}
	return "", refusal("date takes a time, or a text such as 2026-01-31 or 2026-01-31T10:00:00Z")
}

// number writes a number with so many decimals, rounded half away from zero:
// {{number 2 .Row.amount}}.
func number(decimals int, value any) (string, error) {
	text := fmt.Sprint(value)
	if text == "" {
		return "", nil
	}
	// Bounded before it is parsed: an exponent is a short way to write a long number.
	if _, err := strconv.ParseFloat(text, 64); err != nil || decimals < 0 || decimals > 20 || len(text) > 64 || strings.ContainsAny(text, "xX_pPiInN") {
		return "", refusal("number takes a number of decimals from 0 to 20 and a number")
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", refusal("number takes a number")
	}
	return r.FloatString(decimals), nil
}

// was is a column as it was before the change, whether it changed or not:
// {{was . "statuscode"}}, in a range over items as well.
func was(of any, column string) (any, error) {
	row, before, err := rowsOf(of)
	if err != nil {
		return nil, err
	}
	if v, ok := before[column]; ok {
		return v, nil
	}
	if v, ok := row[column]; ok {
		return v, nil
	}
	return nil, refusal("the record has no column " + column)
}

// changed reports whether a column has another value than before.
func changed(of any, column string) (bool, error) {
	switch v := of.(type) {
	case *view:
		return slices.Contains(v.Changed, column), nil
	case Item:
		return slices.Contains(v.Changed, column), nil
	}
	return false, refusal("changed takes the dot of a message or of an item, and a column")
}

// optional is a column that may be absent; then it is empty.
func optional(of any, column string) (any, error) {
	row, _, err := rowsOf(of)
	if err != nil {
		return nil, err
	}
	if v, ok := row[column]; ok {
		return v, nil
	}
	return "", nil
}

// list makes a column with several values something to range over.
func list(value any) ([]any, error) {
	switch v := value.(type) {
	case []any:
		return v, nil
	case string:
		if v == "" {
			return nil, nil
		}
	}
	return nil, refusal("list takes a column with several values")
}

func rowsOf(of any) (row, before flow.Row, err error) {
	switch v := of.(type) {
	case *view:
		return v.Row, v.Was, nil
	case Item:
		return v.Row, v.Was, nil
	}
	return nil, nil, refusal("was and optional take the dot of a message or of an item, and a column")
}

// shown makes a row of what templates print as it is meant.
func shown(row flow.Row) flow.Row {
	out := make(flow.Row, len(row))
	for column, value := range row {
		out[column] = show(value)
	}
	return out
}

func show(value any) any {
	switch v := value.(type) {
	case nil:
		return ""
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		return v.String()
	case map[string]any:
		return shown(v)
	case []any:
		all := make([]any, len(v))
		for i, one := range v {
			all[i] = show(one)
		}
		return all
	}
	return value
}
