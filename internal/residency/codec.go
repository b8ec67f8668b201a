package residency

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

type (
	// codec is one way to write text with other characters. A codec is found by anchors,
	// what the prefix looks like in it, and undone around the place where one is.
	codec struct {
		name string
		// anchors gives what known text looks like, whatever stands before and behind it.
		anchors func(known []byte) [][]byte
		// decode undoes the encoding to both sides of where an anchor begins, as far as it
		// goes and at most about reach bytes.
		decode func(b []byte, at int) []byte
	}

	// anchor is what a scan looks for.
	anchor struct {
		text  []byte
		codec *codec // nil: the prefix itself
	}
)

// reach is how much is decoded to the left of an anchor and to its right: enough for a
// whole token in the encoding of an encoding.
const (
	reachLeft  = 192
	reachRight = 768
)

// codecs is all of them. Base64 with the alphabet of URLs is the same where it matters;
// see prefixLetters.
func codecs() []*codec {
	out := []*codec{upper(), base64s(), twoBytes(), escapes(1), escapes(2), between("percent", "%", 16), between("hex", "", 16)}
	for name, separator := range map[string]string{"hex bytes": " ", "hex bytes with colons": ":", "go bytes": ", 0x"} {
		out = append(out, between(name, separator, 16))
	}
	for name, separator := range map[string]string{"numbers": " ", "array": ",", "array with spaces": ", "} {
		out = append(out, between(name, separator, 10))
	}
	return out
}

// anchors gives what to look for: the prefix, its encodings, and encodings of these.
func anchors(prefix string, minimum int) []anchor {
	all := codecs()
	first := []anchor{{text: []byte(prefix)}}
	for _, c := range all {
		for _, text := range c.anchors([]byte(prefix)) {
			first = append(first, anchor{text, c})
		}
	}
	second := slices.Clone(first)
	for _, inner := range first[1:] {
		for _, c := range all {
			if c.name == "upper case" {
				continue
			}
			for _, text := range c.anchors(inner.text) {
				second = append(second, anchor{text, c})
			}
		}
	}
	slices.SortFunc(second, func(a, b anchor) int { return bytes.Compare(a.text, b.text) })
	return slices.CompactFunc(slices.DeleteFunc(second, func(a anchor) bool { return len(a.text) < minimum }),
		func(a, b anchor) bool { return bytes.Equal(a.text, b.text) && a.codec == b.codec })
}

// upper is text that something has made upper case.
func upper() *codec {
	return &codec{
		name:    "upper case",
		anchors: func(known []byte) [][]byte { return [][]byte{bytes.ToUpper(known)} },
		decode: func(b []byte, at int) []byte {
			return bytes.ToLower(b[at:min(len(b), at+tokenLen)])
		},
	}
}

// base64s is base64 in its three alignments.
func base64s() *codec {
	return &codec{
		name: "base64",
		anchors: func(known []byte) (out [][]byte) {
			for skip := range 3 { // what does not fill a group of three depends on the neighbours
				if n := (len(known) - skip) / 3 * 3; n > 0 {
					out = append(out, []byte(base64.StdEncoding.EncodeToString(known[skip:skip+n])))
				}
			}
			return out
		},
		decode: func(b []byte, at int) []byte {
			from, to := at, at
			group := func(b []byte) bool {
				return base64Char(b[0]) && base64Char(b[1]) && base64Char(b[2]) && base64Char(b[3])
			}
			for from >= 4 && at-from < reachLeft && group(b[from-4:]) {
				from -= 4
			}
			for to < len(b) && to-at < reachRight && base64Char(b[to]) {
				to++
			}
			return decodeBase64(b[from:to])
		},
	}
}

// twoBytes is UTF-16: two bytes a character, in either order: between two characters is a zero.
func twoBytes() *codec {
	return &codec{
		name: "UTF-16",
		anchors: func(known []byte) [][]byte {
			var out []byte
			for _, c := range known {
				out = append(out, c, 0)
			}
			return [][]byte{out[:len(out)-1]}
		},
		decode: func(b []byte, at int) (plain []byte) {
			from := at
			for from >= 2 && at-from < reachLeft && b[from-1] == 0 && b[from-2] != 0 {
				from -= 2
			}
			for i := from; i < len(b) && i-at < reachRight; i += 2 {
				plain = append(plain, b[i])
				if i+1 < len(b) && b[i+1] != 0 {
					break
				}
			}
			return plain
		},
	}
}

// escapes is JSON's \uXXXX, in JSON that was put into JSON so many times less one.
func escapes(backslashes int) *codec {
	lead := strings.Repeat(`\`, backslashes) + "u"
	unit := len(lead) + 4
	return &codec{
		name: fmt.Sprintf("JSON escapes (%d)", backslashes),
		anchors: func(known []byte) (out [][]byte) {
			for _, format := range []string{"%04x", "%04X"} {
				var text []byte
				for _, c := range known {
					text = fmt.Appendf(append(text, lead...), format, c)
				}
				out = append(out, text[backslashes:]) // where more backslashes are
			}
			return out
		},
		decode: func(b []byte, at int) []byte {
			if at -= backslashes; at < 0 {
				return nil
			}
			return units(b, at, unit, func(text []byte) (byte, bool) {
				if !bytes.HasPrefix(text, []byte(lead)) {
					return 0, false
				}
				n, err := strconv.ParseUint(string(text[len(lead):]), 16, 16)
				return byte(n), err == nil && n < 256
			})
		},
	}
}

// units decodes what has so many bytes for each of the plain text.
func units(b []byte, at, unit int, decode func([]byte) (byte, bool)) (plain []byte) {
	from := at
	for from >= unit && at-from < reachLeft*unit/2 {
		if _, ok := decode(b[from-unit : from]); !ok {
			break
		}
		from -= unit
	}
	for ; from+unit <= len(b) && from-at < reachRight*unit/2; from += unit {
		c, ok := decode(b[from : from+unit])
		if !ok {
			break
		}
		plain = append(plain, c)
	}
	return plain
}

// between is a number for each byte, with something between two of them.
func between(name, separator string, base int) *codec {
	formats := []string{"%02x", "%02X"}
	if base == 10 {
		formats = []string{"%d"}
	}
	return &codec{
		name: name,
		anchors: func(known []byte) (out [][]byte) {
			for _, format := range formats {
				var text []byte
				for i, c := range known {
					if i > 0 || separator == "%" { // which stands before each, the others between two
						text = append(text, separator...)
					}
					text = fmt.Appendf(text, format, c)
				}
				out = append(out, text)
			}
			return out
		},
		decode: func(b []byte, at int) []byte {
			if separator == "" || separator == "%" {
				return units(b, at, len(separator)+2, func(text []byte) (byte, bool) {
					n, err := strconv.ParseUint(string(text[len(separator):]), 16, 8)
					return byte(n), err == nil && bytes.HasPrefix(text, []byte(separator))
				})
			}
			return numbers(b, at, separator, base)
		},
	}
}

// numbers decodes numbers with something between them.
func numbers(b []byte, at int, separator string, base int) (plain []byte) {
	width := 3
	if base == 16 {
		width = 2
	}
	digit := func(c byte) bool {
		return c >= '0' && c <= '9' || base == 16 && (c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F')
	}
	from := at
	for at-from < 4*reachLeft && bytes.HasSuffix(b[:from], []byte(separator)) {
		end := from - len(separator)
		start := end
		for start > 0 && end-start < width && digit(b[start-1]) {
			start--
		}
		if start == end {
			break
		}
		from = start
	}
	for from < len(b) && from-at < 4*reachRight {
		end := from
		for end < len(b) && end-from < width && digit(b[end]) {
			end++
		}
		n, err := strconv.ParseUint(string(b[from:end]), base, 8)
		if err != nil {
			break
		}
		plain = append(plain, byte(n))
		if !bytes.HasPrefix(b[end:], []byte(separator)) {
			break
		}
		from = end + len(separator)
	}
	return plain
}
