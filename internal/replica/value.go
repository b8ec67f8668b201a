package replica

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// Same reports whether two JSON texts are one value of a type. Systems write numbers
// and times in their own ways (1.5 and 1.50): taken for an edit, that would travel between
// two regions for ever. nil is nothing said, and equals only itself.
func Same(t flow.Type, a, b []byte) bool {
	switch {
	case a == nil || b == nil:
		return a == nil && b == nil
	case bytes.Equal(a, b):
		return true
	case isNull(a) || isNull(b):
		return false
	}
	switch t {
	case flow.Decimal, flow.Int:
		x, y := strings.Trim(string(a), `"`), strings.Trim(string(b), `"`)
		return flow.Same(json.Number(x), json.Number(y))
	case flow.Timestamp:
		x, okX := instant(a)
		y, okY := instant(b)
		return okX && okY && x.Equal(y)
	}
	if plainText(a) && plainText(b) {
		return false // a text without escapes is written in one way
	}
	x, okX := decoded(a)
	y, okY := decoded(b)
	return okX && okY && flow.Same(x, y)
}

func isNull(v []byte) bool { return string(v) == "null" }

func plainText(v []byte) bool {
	return len(v) > 1 && v[0] == '"' && bytes.IndexByte(v, '\\') < 0
}

func instant(v []byte) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, strings.Trim(string(v), `"`))
	return t, err == nil
}

func decoded(v []byte) (out any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	return out, d.Decode(&out) == nil
}
