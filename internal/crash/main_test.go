package crash

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"patchbay/internal/devenv/testenv"
)

var only = flag.String("point", "", "walk the points that begin so only, as run.insert/before or inbox.")

// armed builds, once for all tests of the package, a patchbay with failpoints.
var armed = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "patchbay-crash-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "patchbay")
	build := exec.Command("go", "build", "-tags", "failpoints", "-buildvcs=false", "-o", path, "patchbay")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building patchbay: %w\n%s", err, out)
	}
	return path, nil
})

// Worlds wait for leases and for what was started anew much of their time.
func TestMain(m *testing.M) {
	testenv.AtATime(2)
	status := m.Run()
	if path, err := armed(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}
