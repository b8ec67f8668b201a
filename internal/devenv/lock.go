package devenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"patchbay/internal/fault"
)

const lockFile = "dev.lock"

// lock keeps a second Patchbay out of dir until release, which the kernel does for a
// process that was killed.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := make([]byte, 16)
		n, _ := f.ReadAt(holder, 0)
		_ = f.Close()
		text := fmt.Sprintf("another patchbay dev (process %s) runs on %s", strings.TrimSpace(string(holder[:n])), dir)
		if info, err := ReadInfo(dir); err == nil && info.HTTP != "" { // not while it starts
			text += "; its console is " + info.HTTP
		}
		return nil, fault.New(fault.Conflict, "devenv.locked", text+"; stop it, or choose another directory with --data", err)
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return f, nil
}

// release lets go of a lock. A child that was forked at this moment has the file, too,
// until it executes its program: to close ours alone would leave the lock with it.
func release(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}
