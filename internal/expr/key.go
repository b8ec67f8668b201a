package expr

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"

	"patchbay/internal/fault"
)

// maxKey is how long a key, a recipient and what is throttled by may be, in bytes: they
// are indexed.
const maxKey = 512

// KeyText gives a business key as text: a text as it is, a number in plain digits, so
// that 4712 and 4712.0 are one key. what names it in the fault that anything else is:
// null, an empty text, one of more than 512 bytes.
func KeyText(v any, what string) (string, error) {
	switch v := v.(type) {
	case string:
		switch {
		case v == "":
			return "", fault.New(fault.Rejected, CodeType, what+" is empty", nil)
		case len(v) > maxKey:
			return "", fault.New(fault.Rejected, CodeValue, fmt.Sprintf("%s is longer than %d bytes", what, maxKey), nil)
		case strings.ContainsRune(v, 0) || !utf8.ValidString(v):
			return "", fault.New(fault.Rejected, CodeValue, what+" holds what is no text", nil)
		}
		return v, nil
	case json.Number:
		switch n := number(string(v)).(type) {
		case decimal:
			if text := n.text(); len(text) <= maxKey {
				return text, nil
			}
		case types.Int:
			return string(n.ConvertToType(types.StringType).(types.String)), nil
		}
		return "", fault.New(fault.Rejected, CodeValue, what+" is a number out of range", nil)
	case nil, absent:
		return "", fault.New(fault.Rejected, CodeType, what+" is null", nil)
	}
	return "", fault.New(fault.Rejected, CodeType, what+" is neither text nor a number", nil)
}
