package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nothing listens at port 1, and the password of plm is nowhere: both are said, each at
// its connection, and the exit code is that of an error.
func TestCheckOnlineNamesEverySystemThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	dir := directory(t, goodFlow, strings.Replace(goodConnections, "https://crm.example.com", "https://127.0.0.1:1", 1))
	var out, note bytes.Buffer
	require.Equal(t, exitUsage, execute(t.Context(), []string{"patchbay", "check", "--online", "--data", t.TempDir(), dir}, &out, &note))
	require.Contains(t, out.String(), "connections.yaml:3:5: plm could not be asked: connection plm: the environment variable of ${env:PLM_PASSWORD} is not set")
	require.Contains(t, out.String(), "crm could not be asked: nobody answers")
	require.Equal(t, 2, strings.Count(out.String(), "(online.connection)"), out.String())
}
