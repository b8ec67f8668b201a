package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// FuzzIdempotencyKey: a key is taken as it was sent or refused without being shown.
func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"k1", "", " ", "~", strings.Repeat("k", 255), strings.Repeat("k", 256), "a\x7fb", "a\tb", "schlüssel", "a, b", `"quoted"`} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, value string, twice bool) {
		values := []string{value}
		if twice {
			values = append(values, value)
		}
		key, err := idempotencyKey(http.Header{"Idempotency-Key": values})
		fit := value != "" && len(value) <= maxKey && strings.Trim(value, printableASCII) == ""
		if fit && !twice {
			require.NoError(t, err)
			require.Equal(t, value, key, "two keys are never one")
			return
		}
		require.Empty(t, key)
		require.Equal(t, "idem.malformed", fault.Of(err).Code)
		require.Equal(t, http.StatusBadRequest, statusOf(fault.Of(err)))
		if len(value) > 8 {
			require.NotContains(t, err.Error(), value)
		}
	})
}

var printableASCII = func() string {
	var b strings.Builder
	for c := ' '; c <= '~'; c++ {
		b.WriteRune(c)
	}
	return b.String()
}()

// FuzzPrefer: nobody waits longer than a minute, whatever the header says; words
// that are not ours, and what stands in quotes, ask for nothing; and of two waits
// the first counts, as RFC 7240 has it.
func FuzzPrefer(f *testing.F) {
	for _, seed := range []string{"wait=5", "respond-async", "wait=0", "WAIT = \"7\"", "respond-async, wait=3", "wait=abc", "wait=-1", "wait=99999999999999999999", `x="wait=0, respond-async"`, "wait=1;p=2", ",,;=", `a="\"", wait=2`, "wait", `wait="`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		wait, applied := preferredWait(http.Header{"Prefer": {value}})
		require.True(t, wait >= 0 && wait <= maxWait)
		lower := strings.ToLower(value)
		switch {
		case applied == "":
			require.Equal(t, defaultWait, wait)
		case applied == "respond-async":
			require.Contains(t, lower, applied)
			require.Zero(t, wait)
		default:
			require.Contains(t, lower, "wait")
			require.Equal(t, fmt.Sprintf("wait=%d", int(wait.Seconds())), applied)
		}
		quoted := `x="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
		wait, applied = preferredWait(http.Header{"Prefer": {quoted}})
		require.Empty(t, applied, "text in quotes is text: %s", quoted)
		require.Equal(t, defaultWait, wait)
		wait, _ = preferredWait(http.Header{"Prefer": {"wait=7", value}})
		require.Equal(t, 7*time.Second, wait, "the first counts: %s", value)
		wait, _ = preferredWait(http.Header{"Prefer": {quoted + ", wait=9"}})
		require.Equal(t, 9*time.Second, wait, "what follows text in quotes is read: %s", quoted)
	})
}

// FuzzPriority: a press is interactive unless it says in so many words that nobody
// waits; of two urgencies the last counts, as RFC 9218 has it.
func FuzzPriority(f *testing.F) {
	for _, seed := range []string{"u=5", "u=3, i", "u=7;x=1", "u=8", "u=-1", "u", "i, u=4", `x="u=7"`, "U=7", "u=07", "u=5.0", `a=("u=7" u=7)`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := class(http.Header{"Priority": {value}})
		require.True(t, got == flow.Interactive || got == flow.Background)
		if !strings.Contains(value, "u=") && !strings.Contains(value, "u =") {
			require.Equal(t, flow.Interactive, got)
		}
		quoted := `x="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
		require.Equal(t, flow.Interactive, class(http.Header{"Priority": {quoted}}), "text in quotes is text: %s", quoted)
		require.Equal(t, flow.Background, class(http.Header{"Priority": {value, "u=6"}}), "the last counts")
		require.Equal(t, flow.Interactive, class(http.Header{"Priority": {value, "u=1"}}), "the last counts")
	})
}
