package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRegionsThatTheFlowsDoNotHaveAreNamedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	for given, said := range map[string]string{
		"de,,xx":   `--regions de,,xx: "" is no region of the flows in examples; give some of ch,de,fr`,
		"de,xx":    `--regions de,xx: "xx" is no region of the flows in examples; give some of ch,de,fr`,
		"":         `--regions : "" is no region of the flows in examples; give some of ch,de,fr`,
		"de,fr,de": `--regions de,fr,de names de twice`,
	} {
		dir := filepath.Join(t.TempDir(), "data")
		var out, note bytes.Buffer
		require.Equal(t, exitUsage, execute(t.Context(), []string{"patchbay", "dev", "--data", dir, "--regions", given}, &out, &note))
		require.Equal(t, "patchbay: "+said+"\n", note.String())
		require.NoDirExists(t, dir)
	}
}

func TestAPasswordOfAnotherRegionIsAReference(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fr"), []byte("s3cret\n"), 0o600))
	apply := func(args ...string) string {
		var out, note bytes.Buffer
		args = append([]string{"patchbay", "apply", "--database", "postgres://nobody@127.0.0.1:1/none"}, append(args, dir)...)
		require.Equal(t, exitUsage, execute(t.Context(), args, &out, &note))
		require.NotContains(t, note.String(), "s3cret")
		return note.String()
	}
	const takes = "--egress-password takes REGION=REFERENCE, such as fr=${file:PATH} or fr=${env:NAME}, and no password itself"
	for _, wrong := range []string{"fr=s3cret", "s3cret", "=${file:" + dir + "/fr}", "fr=s3cret${file:" + dir + "/fr}"} {
		require.Contains(t, apply("--region", "de", "--egress-password", wrong), takes)
	}
	require.Contains(t, apply("--egress-password", "fr=${file:"+dir+"/fr}"), "give --region too")
	require.Contains(t, apply("--region", "de", "--egress-password", "fr=${file:"+dir+"/none}"), "the file of ${file:"+dir+"/none} cannot be read")
}
