package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommandFindsItsEnvironmentAndItsStatusIsPassedOn(t *testing.T) {
	t.Parallel()
	status, err := run([]string{"/bin/sh", "-c", `[ -n "$PATCHBAY_TEST_DATABASE" ] && [ -n "$PATCHBAY_TEST_TEMPORAL" ] && exit 7`})
	require.NoError(t, err)
	require.Equal(t, 7, status)
}

func TestCommandThatDoesNotExistIsAnError(t *testing.T) {
	t.Parallel()
	_, err := run([]string{"/no/such/command"})
	require.ErrorContains(t, err, "/no/such/command")
}
