package store

import "strings"

// Text makes s fit for a column of type text, which holds neither NUL nor
// invalid UTF-8; both become U+FFFD.
func Text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
