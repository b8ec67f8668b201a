package httpapi_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Every server a test ran, and all that it started, must have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
