package devenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// spec is what a child is: how to start it and tell that it is ready.
type spec struct {
	name  string // in the record and of the log file
	title string // for people
	path  string
	args  []string
	env   []string            // besides what every child sees
	as    *syscall.Credential // nil: our own user
	ready func(context.Context) error
	limit time.Duration // to get ready within
}

// parameters identifies everything a child was started with, the program's own
// file included: a rebuilt one is another.
func (s spec) parameters() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00", s.path, strings.Join(s.args, "\x00"))
	for _, v := range s.env {
		fmt.Fprintf(h, "%s\x00", v)
	}
	if info, err := os.Stat(s.path); err == nil {
		fmt.Fprintf(h, "%d %d", info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// maxLog is the size above which a child's log starts anew; one older log is kept.
const maxLog = 16 << 20

func openLog(dir, name string) (*os.File, error) {
	path := logPath(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		_ = os.Rename(path, path+".old")
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func logPath(dir, name string) string { return filepath.Join(dir, "log", name+".log") }
