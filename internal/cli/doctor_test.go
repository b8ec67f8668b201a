package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheStatusOfTheDoctorFollowsFromTheWorstCheck(t *testing.T) {
	t.Parallel()
	for checks, want := range map[string]int{
		`{"name":"store","status":"ok","detail":"1ms"}`:                                                                                     0,
		`{"name":"store","status":"ok","detail":"1ms"},{"name":"clock","status":"warn","detail":"2s apart"}`:                                1,
		`{"name":"clock","status":"warn","detail":"2s apart"},{"name":"temporal","status":"fail","detail":"no"},{"name":"x","status":"ok"}`: 2,
	} {
		stdout, stderr, status := patchbay(t.Context(), t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"version":"1.2","checks":[%s]}`, checks)
		}, "doctor")
		require.Equal(t, want, status, stdout+stderr)
		require.Regexp(t, `(?m)^ok +server +1\.2 at http://`, stdout)
	}
}

func TestTheDoctorPrintsNothingButItsChecksAsJSON(t *testing.T) {
	t.Parallel()
	stdout, stderr, status := patchbay(t.Context(), t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"code":"auth.forbidden","detail":"the doctor needs a key of role operate"}`)
	}, "doctor", "--json")
	require.Equal(t, exitFailures, status)
	require.Empty(t, stderr)
	require.Regexp(t, `^\{\s*"checks": \[\s*\{\s*"name": "server",\s*"status": "fail",\s*"detail": "http://\S+ does not say how it is: auth.forbidden: the doctor needs a key of role operate"\s*\}\s*\]\s*\}\s*$`, stdout)
}

func TestWithoutAServerTheDoctorSaysSo(t *testing.T) {
	t.Parallel()
	var out, note bytes.Buffer
	require.Equal(t, exitFailures, execute(t.Context(), []string{"patchbay", "doctor", "--server", "http://127.0.0.1:1"}, &out, &note))
	require.Regexp(t, `^fail +server +no Patchbay answers at http://127\.0\.0\.1:1; start one with .*; the other checks are a running server's\n$`, out.String())
	require.Equal(t, "0 ok, 0 to be looked at, 1 failed\n", note.String())
}
