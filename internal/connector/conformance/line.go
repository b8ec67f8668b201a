package conformance

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// line is the wire between a connector and a system that speaks no HTTP. It carries
// everything until it is told otherwise.
type line struct {
	address string
	server  string

	mu      sync.Mutex
	conns   []net.Conn
	absent  bool   // nobody answers
	silent  bool   // what the system says does not arrive
	left    int    // bytes of the system that still arrive before the line is cut; negative: all
	lost    []byte // an answer that holds this is lost, and the line with it
	losses  int    // such answers
	silence chan struct{}
}

func newLine(t *testing.T, server string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{address: listener.Addr().String(), server: server, left: -1, silence: make(chan struct{}, 1)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			absent := l.absent
			l.mu.Unlock()
			system, err := net.Dial("tcp", server)
			if err != nil || absent {
				_ = client.Close()
				if err == nil {
					_ = system.Close()
				}
				continue
			}
			l.mu.Lock()
			l.conns = append(l.conns, client, system)
			l.mu.Unlock()
			all.Go(func() { l.asks(system, client) })
			all.Go(func() { l.says(client, system) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.hangUp()
		all.Wait()
	})
	return l
}

// set changes how the line behaves.
func (l *line) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// hangUp ends every connection.
func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
}

// asks carries what the connector sends.
func (l *line) asks(system, client net.Conn) {
	defer func() { _, _ = system.Close(), client.Close() }()
	_, _ = io.Copy(system, client)
}

// says carries what the system answers.
func (l *line) says(client, system net.Conn) {
	defer func() { _, _ = system.Close(), client.Close() }()
	buffer := make([]byte, 4<<10)
	for {
		n, err := system.Read(buffer)
		l.mu.Lock()
		if l.silent {
			n = 0
			select {
			case l.silence <- struct{}{}:
			default:
			}
		}
		cut := l.left >= 0 && n > l.left
		if cut {
			n = l.left
		}
		if l.lost != nil && bytes.Contains(buffer[:n], l.lost) {
			l.losses++
			n, cut = 0, true
		}
		if l.left >= 0 {
			l.left -= n
		}
		l.mu.Unlock()
		if _, failed := client.Write(buffer[:n]); failed != nil || err != nil || cut {
			return
		}
	}
}
