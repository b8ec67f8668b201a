package paid

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("PAID_TEST_CHILD"); url != "" {
		child(url)
		return
	}
	goleak.VerifyTestMain(m)
}
