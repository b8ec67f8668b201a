package connector

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// EscapeQuery escapes a value of a query. A space becomes %20, which every
// server reads as a space; "+" is one only in forms.
func EscapeQuery(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// Literal writes a value as OData and Oracle's rowmatch both do: text between
// single quotes with quotes doubled, numbers and truth values bare, null. It
// reports false for what is no single value.
func Literal(value any) (string, bool) {
	switch v := value.(type) {
	case nil:
		return "null", true
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'", true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), true
	}
	return "", false
}
