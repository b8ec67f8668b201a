package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/check"
	"patchbay/internal/flowfile"
)

func TestCheckPrintsWhatCrossesWhichBorder(t *testing.T) {
	t.Parallel()
	var out, note bytes.Buffer
	require.Equal(t, exitOK, execute(t.Context(), []string{"patchbay", "check", "--examples", "--residency"}, &out, &note), note.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Contains(t, lines[0], "a column that is not named crosses nowhere")
	require.Equal(t, "account-sync: ch → de", lines[1])
	require.Equal(t, "  dataverse-ch.account → dataverse-de.account: accountnumber, emailaddress1, name, telephone1", lines[2])
	require.Equal(t, "restricted, and carried out of its region by none of these flows: account.msx_diagnosis, contact.msx_patientid", lines[len(lines)-1])
	require.Len(t, lines, 1+6*(1+4)+1)

	out.Reset()
	require.Equal(t, exitOK, execute(t.Context(), []string{"patchbay", "check", "--examples", "--residency", "--json"}, &out, &note))
	var report struct {
		Problems  []flowfile.Diagnostic
		Crossings []check.Crossing
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &report))
	require.NotNil(t, report.Problems)
	require.Len(t, report.Crossings, 6*4)

	out.Reset()
	require.Equal(t, exitOK, execute(t.Context(), []string{"patchbay", "check", "--residency", directory(t, goodFlow, goodConnections)}, &out, &note))
	require.Contains(t, out.String(), "no flow carries anything over a border\n")
}

func TestCheckRefusesALeakWithItsPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"connections.yaml", "account-sync.yaml"} {
		text, err := flows.Files.ReadFile(name)
		require.NoError(t, err)
		leaking := strings.Replace(string(text), "allow: [name, telephone1", "allow: [name, msx_diagnosis, telephone1", 1)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(leaking), 0o600))
	}
	problems, lines := checked(t, dir, exitUsage)
	require.Equal(t, flowfile.CodeRestricted, problems[0].Code)
	require.Contains(t, lines, "account-sync.yaml:21:50: a restricted column would leave its region: account.msx_diagnosis → allow of account-sync.yaml:21 → dataverse-ch.account")
	require.Contains(t, lines, "→ dataverse-ch.account, dataverse-de.account, dataverse-fr.account; leave it out; it is named under restricted (flow.restricted)")
}
