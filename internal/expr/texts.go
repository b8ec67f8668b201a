package expr

import (
	"errors"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

var (
	errDate = errors.New("no date")
	errPad  = errors.New("no width")
)

// maxPad is the widest text that pad makes.
const maxPad = 100

// texts are the functions on the texts that business systems put numbers and dates into:
// unpad and pad for numbers with zeros in front, date and days for days of the calendar.
func texts() []cel.EnvOption {
	text, moment := cel.StringType, cel.TimestampType
	return []cel.EnvOption{
		cel.Function("unpad", singleUnary(unpad, overload("unpad_text", text, text))...),
		cel.Function("pad", singleBinary(pad, overload("pad_text_int", text, text, cel.IntType))...),
		cel.Function("date", singleUnary(dateOf, overload("date_text", text, text), overload("date_time", text, moment))...),
		cel.Function("days",
			overload("days_text_text", cel.IntType, text, text), overload("days_text_time", cel.IntType, text, moment),
			overload("days_time_text", cel.IntType, moment, text), overload("days_time_time", cel.IntType, moment, moment),
			decls.SingletonBinaryBinding(days)),
	}
}

// unpad is unpad("0000004712"), "4712": a text of digits without the zeros in front of
// it. A text with anything but digits stays as it is, as in SAP's conversion ALPHA.
func unpad(v ref.Val) ref.Val {
	s, ok := v.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(v)
	}
	if !digits(string(s)) {
		return s
	}
	short := strings.TrimLeft(string(s), "0")
	if short == "" && s != "" {
		short = "0"
	}
	return types.String(short)
}

// pad is pad("4712", 10), "0000004712": the way back. A text that is longer stays as it is.
func pad(v, width ref.Val) ref.Val {
	s, ok := v.(types.String)
	n, isInt := width.(types.Int)
	if !ok || !isInt {
		return types.MaybeNoSuchOverloadErr(v)
	}
	if n < 0 || n > maxPad {
		return types.WrapErr(errPad)
	}
	if s == "" || !digits(string(s)) || len(s) >= int(n) {
		return s
	}
	return types.String(strings.Repeat("0", int(n)-len(s))) + s
}

func digits(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' }) < 0
}

// dateOf is date(x), "2006-01-02": the day of a date or of a timestamp, in UTC.
func dateOf(v ref.Val) ref.Val {
	t, err := day(v)
	if err != nil {
		return err
	}
	return types.String(t.Format(time.DateOnly))
}

// days is days(from, to): how many days of the calendar, in UTC, lie between two dates
// or timestamps; below zero where to is the earlier one.
func days(from, to ref.Val) ref.Val {
	a, err := day(from)
	if err != nil {
		return err
	}
	b, err := day(to)
	if err != nil {
		return err
	}
	return types.Int((b.Unix() - a.Unix()) / int64(24*time.Hour/time.Second)) // UTC has no other days
}

func day(v ref.Val) (time.Time, ref.Val) {
	switch v := v.(type) {
	case types.Timestamp:
		return v.UTC().Truncate(24 * time.Hour), nil
	case types.String:
		if t, err := time.Parse(time.DateOnly, string(v)); err == nil {
			return t, nil
		}
		t, err := time.Parse(time.RFC3339Nano, string(v))
		if err != nil {
			return time.Time{}, types.WrapErr(errDate) // without the value
		}
		return t.UTC().Truncate(24 * time.Hour), nil
	}
	return time.Time{}, types.MaybeNoSuchOverloadErr(v)
}
