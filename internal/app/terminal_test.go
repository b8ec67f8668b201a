package app

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"patchbay/internal/config"
	"patchbay/internal/durable"
	"patchbay/internal/flow"
)

func TestAReaderThatLeavesEndsWhatItReadsAndNotTheProcess(t *testing.T) {
	t.Parallel()
	in, out, err := os.Pipe()
	require.NoError(t, err)
	ctx, told, restore := attend(t.Context(), out)
	defer restore()
	_, err = fmt.Fprintln(told, "heard")
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.NoError(t, ctx.Err())
	_, err = fmt.Fprintln(told, "unheard")
	require.Error(t, err)
	<-ctx.Done()
}

func TestRetriesStayOutOfTheTerminalAndInTheLog(t *testing.T) {
	t.Parallel()
	var terminal strings.Builder
	path := filepath.Join(t.TempDir(), "patchbay.log")
	file, err := os.Create(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	log := devLogger(&terminal, file, false)
	durable.NewLogger(log).Error("Activity error.", "Attempt", 3, "Error", io.EOF)
	require.Empty(t, terminal.String())
	log.Error("activity panicked", zap.String("activity", "read"))
	require.Contains(t, terminal.String(), "activity panicked")
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(kept), "Activity error.")
	require.Contains(t, string(kept), "activity panicked")
}

func TestAReferenceWithoutAValueNamesItsConnection(t *testing.T) {
	t.Parallel()
	c := flow.Connection{Name: "crm", URL: "https://x"}
	c.Auth.ClientID, c.Auth.ClientSecret = "${env:PATCHBAY_TEST_NONE}", "${env:PATCHBAY_TEST_NONE}"
	require.Equal(t, []string{"connection crm: the environment variable of ${env:PATCHBAY_TEST_NONE} is not set"},
		unresolved([]flow.Connection{c}, "", config.Resolve))
	c.Auth, c.Options = flow.Auth{}, map[string]string{"api_key": "${env:PATCHBAY_TEST_KEY}"}
	require.Equal(t, []string{"connection crm: the environment variable of ${env:PATCHBAY_TEST_KEY} is not set"},
		unresolved([]flow.Connection{c}, "", config.Resolve))
	c.URL = "${env:PATCHBAY_TEST_URL}"
	_, err := Identity(config.Resolve)(c)
	require.ErrorContains(t, err, "connection crm: the environment variable of ${env:PATCHBAY_TEST_URL} is not set")
}
