package connector_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
)

func FuzzASafeNameIsOneWhateverAStrangerCalledIt(f *testing.F) {
	for _, given := range []string{"a.pdf", "../../etc/passwd", `C:\boot.ini`, "invoice\u202efdp.exe", "a\x00b", "con.txt", "..", "\xff", " .a. ", "a\u2028b.pdf"} {
		f.Add(given)
	}
	f.Fuzz(func(t *testing.T, given string) {
		name, wrong := connector.SafeName(given)
		if name == "" {
			require.NotEmpty(t, wrong)
			return
		}
		require.False(t, strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }), "%q became %q", given, name)
		again, still := connector.SafeName(name)
		require.Equal(t, name, again)
		require.Empty(t, still, "what is safe stays as it is")
		if len(wrong) == 0 {
			require.Equal(t, given, name)
		}
	})
}
