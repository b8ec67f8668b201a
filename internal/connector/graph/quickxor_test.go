package graph

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The values are those of rclone's tests, computed by Microsoft's own code.
func TestQuickXorHashIsMicrosofts(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{"AAAAAAAAAAAAAAAAAAAAAAAAAAA=": "", "SgAAAAAAAAAAAAAAAQAAAAAAAAA=": "J", "taAFAAAAAAAAAAAAAgAAAAAAAAA=": "\xb5\xb4"} {
		for cut := range len(text) + 1 {
			q := new(quickXor)
			_, _ = q.Write([]byte(text[:cut]))
			_, _ = q.Write([]byte(text[cut:]))
			require.Equal(t, want, q.text())
		}
	}
}
