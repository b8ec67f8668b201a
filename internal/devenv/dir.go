package devenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"patchbay/internal/fault"
)

// makeDir makes the directory and tells whether it is the environment's own:
// new, empty, or used by one before.
func makeDir(dir string) (ours bool, err error) {
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // the database's user may have to pass; see restrict
		return false, fault.New(fault.Invalid, "devenv.dir", fmt.Sprintf("the data directory %s cannot be made", dir), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, fault.New(fault.Invalid, "devenv.dir", fmt.Sprintf("the data directory %s cannot be read", dir), err)
	}
	return len(entries) == 0 || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == RecordFile || e.Name() == lockFile }), nil
}

// restrict keeps other users of the machine out of what the directory holds.
// Only the database's own user has to pass, and only when the cluster is here or
// would be.
func (e *Env) restrict() error {
	files, err := filepath.Glob(filepath.Join(e.dir, temporalFiles)) // of a build that left them readable
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Chmod(file, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("making %s private: %w", file, err)
		}
	}
	if !e.ours {
		return nil
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 && filepath.Dir(e.cluster) == e.dir {
		mode = 0o711
	}
	if err := os.Chmod(e.dir, mode); err != nil {
		return fmt.Errorf("making %s private: %w", e.dir, err)
	}
	return nil
}

// unmake removes the cluster that a failed first start made: its password would
// be lost with the directory, and the cluster itself may lie elsewhere.
func (e *Env) unmake() error {
	if !e.made {
		return nil
	}
	err := errors.Join(os.RemoveAll(filepath.Join(e.cluster, "data")), os.RemoveAll(filepath.Join(e.cluster, "data.new")), os.RemoveAll(e.passfile()))
	_ = os.Remove(e.cluster) // stays when it holds anything else
	return errors.Join(err, e.update(func(r *record) { r.Cluster = "" }))
}
