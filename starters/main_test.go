package starters_test

import (
	"os"
	"testing"

	"patchbay/internal/devenv/testenv"
)

// Slots of schedules, leases and canaries come in their time, however many are waited for.
func TestMain(m *testing.M) {
	testenv.AtATime(3)
	os.Exit(m.Run())
}
