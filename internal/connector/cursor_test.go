package connector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
)

func TestAnyCircleOfPagesIsFoundAndNoStraightWayIs(t *testing.T) {
	t.Parallel()
	transport := newTestTransport(t, Vendor{})
	rapid.Check(t, func(t *rapid.T) {
		tail := rapid.IntRange(0, 40).Draw(t, "pages before the circle")
		circle := rapid.IntRange(0, 40).Draw(t, "pages of the circle")
		token, found := "", false
		read := 0
		for ; read < 6*(tail+circle+1); read++ {
			page := read
			if circle > 0 && page > tail {
				page = tail + (page-tail)%circle
			} else if circle == 0 && page >= tail {
				break
			}
			next, err := transport.Advance(token, fmt.Sprintf("http://system.example/%d.%d", page, page))
			if err != nil {
				require.Equal(t, "vendor.page_loop", fault.Of(err).Code)
				found = true
				break
			}
			at, err := Continuation(next)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("http://system.example/%d.%d", page, page), at)
			token = next
		}
		require.Equal(t, circle > 0, found)
		require.LessOrEqual(t, read, 3*(tail+circle)+2, "a circle is found soon")
	})
}

func TestAForeignPageTokenIsRefused(t *testing.T) {
	t.Parallel()
	transport := newTestTransport(t, Vendor{})
	for _, token := range []string{"x", "1.2", "1.2.", "-1.0.x", "1.z.x", strings.Repeat("9", 30) + ".0.x"} {
		_, err := transport.Advance(token, "http://system.example/2")
		require.Equal(t, fault.Invalid, fault.Of(err).Class, token)
		_, err = Continuation(token)
		require.Equal(t, "connector.page_token", fault.Of(err).Code, token)
	}
	last, err := transport.Advance("", "")
	require.NoError(t, err)
	require.Empty(t, last)
}
