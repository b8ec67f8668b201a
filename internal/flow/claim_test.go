package flow_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestAClaimIsFoundWhereverItStandsAndNothingElseIsTakenForOne(t *testing.T) {
	t.Parallel()
	one := flow.Claim{Name: "a.pdf", Type: "application/pdf", Size: 7, SHA256: strings.Repeat("a1", 32)}
	two := flow.Claim{Name: "b.pdf", Size: 0, SHA256: strings.Repeat("b2", 32)}
	got, is := flow.ClaimOf(one.Row())
	require.True(t, is)
	require.Equal(t, one, got)
	var decoded map[string]any
	body, err := json.Marshal(one.Row())
	require.NoError(t, err)
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	require.NoError(t, d.Decode(&decoded))
	got, is = flow.ClaimOf(decoded)
	require.True(t, is, "as it comes out of the database")
	require.Equal(t, one, got)
	require.Equal(t, []string{one.SHA256, two.SHA256}, flow.Claims(flow.Row{"x": []any{one.Row(), "text", flow.Row{"deep": one.Row()}}}, two.Row(), nil))
	for _, wrong := range []flow.Row{
		{"name": "a", "size": int64(1)},
		{"name": "a", "size": int64(-1), "sha256": one.SHA256},
		{"name": "a", "size": 1.5, "sha256": one.SHA256},
		{"name": "a", "size": int64(1), "sha256": strings.ToUpper(one.SHA256)},
		{"name": "a", "size": int64(1), "sha256": one.SHA256, "type": "t", "more": true},
	} {
		_, is := flow.ClaimOf(wrong)
		require.False(t, is, "%v", wrong)
	}
}

func TestANameThatHidesSomethingIsNoneOfAFile(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a.pdf", "Vertrag Nr. 7 – Müller & Söhne.pdf", "合同.pdf", ".gitignore", strings.Repeat("é", 255)} {
		require.True(t, flow.SafeName(good), good)
	}
	for _, bad := range []string{"", ".", "..", "../a", `..\a`, "/etc/passwd", "a\x00b", "a\nb", "a\tb", "invoice\u202efdp.exe", "a\u200bb", "a\u2028b", "\xff.pdf", strings.Repeat("é", 256)} {
		require.False(t, flow.SafeName(bad), "%q", bad)
	}
}
