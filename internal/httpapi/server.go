package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/fault"
)

// What one client, and all of them, may take. A header is below 32 KiB with the
// 4 KiB that net/http adds to what it is told.
const (
	headerTime  = 5 * time.Second
	idleTime    = 60 * time.Second
	answerTime  = maxWait + 15*time.Second // for a whole answer; streams extend theirs
	headerBytes = 28 << 10
	connections = 4000
	streams     = 250
)

// Server serves the API and the console on one listener. Build it with
// NewServer; Run it once.
type Server struct {
	o        Options
	log      *zap.Logger
	routes   http.Handler
	open     map[string]bool // paths that need no principal
	stopping chan struct{}   // closed when Run begins to end: waiters answer now
}

// NewServer assembles the routes. It binds nothing and starts nothing.
func NewServer(o Options) *Server {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Drain <= 0 {
		o.Drain = 10 * time.Second
	}
	s := &Server{o: o, log: o.Log, stopping: make(chan struct{})}
	s.routes, s.open = s.register()
	return s
}

// Run serves ln until ctx ends, then answers what waits and closes. It owns ln.
// An orderly end is nil.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	if s.o.Dev && !loopback(ln.Addr()) {
		_ = ln.Close() // the refusal below is what matters
		return fault.Invalidf("http.not_loopback",
			"the development server needs no key and listens on loopback only; use 127.0.0.1, or patchbay serve with --keys")
	}
	server := &http.Server{
		Handler:           &gate{Server: s, auth: newAuth(s.o, ln.Addr())},
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		WriteTimeout:      answerTime,
		MaxHeaderBytes:    headerBytes,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnContext:       connected,
		ConnState:         rested,
		ErrorLog:          zap.NewStdLog(s.log.Named("http")),
	}
	ended := make(chan error, 1)
	go func() {
		ended <- server.Serve(&bounded{Listener: ln, free: make(chan struct{}, connections), log: s.log})
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	close(s.stopping)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Drain)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		s.log.Warn("some requests did not end in time", zap.Duration("drain", s.o.Drain))
		_ = server.Close() // cuts what is left; Serve has already returned
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	return nil
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func portOf(a *net.TCPAddr) string { return strconv.Itoa(a.Port) }
