package app

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"patchbay/internal/telemetry"
)

// terminal is where people read along. Once its reader has gone it ends what it
// tells of, as an interrupt does.
type terminal struct {
	mu   sync.Mutex
	w    io.Writer
	gone func()
}

// attend gives a context that ends with the reader of out. Without it a broken
// pipe would end the process on the spot and leave the children behind. The
// signal is asked for and not read: it tells of sockets as much as of out, and
// the error of the write tells which.
func attend(ctx context.Context, out io.Writer) (context.Context, io.Writer, func()) {
	ctx, cancel := context.WithCancel(ctx)
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGPIPE)
	return ctx, &terminal{w: out, gone: cancel}, func() {
		signal.Stop(ignored)
		cancel()
	}
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.w.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		t.gone()
	}
	return n, err
}

// devLogger tells people of real trouble on w, and keeps everything for machines
// in file.
func devLogger(w, file io.Writer, verbose bool) *zap.Logger {
	kept := telemetry.NewLogger(file, true, zapcore.InfoLevel)
	return Logger(w, false, verbose).WithOptions(zap.WrapCore(func(shown zapcore.Core) zapcore.Core {
		return zapcore.NewTee(shown, kept.Core())
	}))
}
