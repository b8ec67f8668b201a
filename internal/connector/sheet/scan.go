package sheet

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// As package strictjson has them.
const (
	maxDigits   = 1_000
	maxExponent = 308
)

// IsNumber reports whether a text is one JSON number.
func IsNumber(text string) bool {
	return text != "" && numberLength([]byte(text)) == len(text)
}

// numberLength is how many bytes of in are a number; 0: none begins there.
func numberLength(in []byte) int {
	at := 0
	run := func() int {
		start := at
		for at < len(in) && in[at] >= '0' && in[at] <= '9' {
			at++
		}
		return at - start
	}
	if at < len(in) && in[at] == '-' {
		at++
	}
	first := at
	n := run()
	if n == 0 || n > 1 && in[first] == '0' {
		return 0
	}
	if at < len(in) && in[at] == '.' {
		at++
		places := run()
		if places == 0 {
			return 0
		}
		n += places
	}
	if n > maxDigits {
		return 0
	}
	if at < len(in) && in[at]|0x20 == 'e' {
		at++
		if at < len(in) && (in[at] == '+' || in[at] == '-') {
			at++
		}
		start := at
		if run() == 0 {
			return 0
		}
		if e, err := strconv.Atoi(string(in[start:at])); err != nil || e > maxExponent {
			return 0
		}
	}
	return at
}

// escapeLength is how many bytes the escape at the beginning of in takes; 0: it is
// none.
func escapeLength(in []byte) int {
	if len(in) < 2 {
		return 0
	}
	if bytes.IndexByte([]byte(`"\/bfnrt`), in[1]) >= 0 {
		return 2
	}
	r, ok := hex(in)
	switch {
	case !ok:
		return 0
	case !utf16.IsSurrogate(r):
		return 6
	}
	low, ok := hex(in[6:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return 0 // a surrogate stands alone
	}
	return 12
}

// hex reads \uXXXX.
func hex(in []byte) (rune, bool) {
	if len(in) < 6 || in[0] != '\\' || in[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range in[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
