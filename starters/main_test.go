package starters_test

import (
	"os"
	"testing"

	"patchbay/internal/devenv/testenv"
)

// Slots of schedules, leases and canaries have to come in their time: few are waited for at once.
func TestMain(m *testing.M) {
	testenv.AtATime(2)
	os.Exit(m.Run())
}
