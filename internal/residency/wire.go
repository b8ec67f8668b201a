package residency

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Wire is a line to a server that keeps what goes over it, a file for each connection
// and direction.
type Wire struct {
	listener net.Listener
	server   string
	dir      string

	wait  sync.WaitGroup
	mu    sync.Mutex
	open  map[net.Conn]bool
	count int
	errs  []error
}

// Record opens a line to a server (HOST:PORT) on an address of its own; dir is there and
// empty.
func Record(ctx context.Context, server, dir string) (*Wire, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Wire{listener: listener, server: server, dir: dir, open: map[net.Conn]bool{}}
	w.wait.Go(func() { w.accept(context.WithoutCancel(ctx)) })
	return w, nil
}

// Address is where the line begins, HOST:PORT.
func (w *Wire) Address() string { return w.listener.Addr().String() }

// Close ends the line and what goes over it. It fails when something was not kept.
func (w *Wire) Close() error {
	_ = w.listener.Close()
	w.mu.Lock()
	for c := range w.open {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.wait.Wait()
	return errors.Join(w.errs...)
}

func (w *Wire) accept(ctx context.Context) {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(ctx, "tcp", w.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		w.mu.Lock()
		w.open[client], w.open[server] = true, true
		w.count++
		n := w.count
		w.mu.Unlock()
		w.wait.Go(func() { w.copy(server, client, fmt.Sprintf("%04d-to", n)) })
		w.wait.Go(func() { w.copy(client, server, fmt.Sprintf("%04d-from", n)) })
	}
}

// copy carries one direction until either end closes.
func (w *Wire) copy(to, from net.Conn, name string) {
	f, err := os.Create(filepath.Join(w.dir, name))
	if err == nil {
		kept := &keeper{file: f}
		_, _ = io.Copy(to, io.TeeReader(from, kept)) // an end that closes is how it ends
		err = errors.Join(kept.err, f.Close())
	}
	_ = from.Close()
	_ = to.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, from)
	delete(w.open, to)
	if err != nil {
		w.errs = append(w.errs, err)
	}
}

// keeper tells a file that cannot be written from a line that closes.
type keeper struct {
	file *os.File
	err  error
}

func (k *keeper) Write(b []byte) (int, error) {
	n, err := k.file.Write(b)
	k.err = errors.Join(k.err, err)
	return n, err
}

// Wire scans what went over a line until now.
func (s *Scanner) Wire(w *Wire) error { return s.Dir(w.dir) }
