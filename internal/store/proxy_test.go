package store_test

import (
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a store and PostgreSQL and fails as networks do.
type proxy struct {
	url      string
	listener net.Listener
	server   string

	mu    sync.Mutex
	conns []net.Conn
	mode  mode
	done  sync.WaitGroup
}

type mode int

const (
	forward mode = iota
	silent       // nothing passes any more, nothing is closed
	lossy        // what the client sends arrives, then the connection is closed instead of answered
)

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, server: u.Host, url: withHost(t, target, l.Addr().String())}
	p.done.Go(p.accept)
	t.Cleanup(func() { p.close(); p.done.Wait() })
	return p
}

func (p *proxy) freeze()      { p.set(silent) }
func (p *proxy) loseAnswers() { p.set(lossy) }

func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
}

func (p *proxy) is(m mode) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode == m
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.done.Go(func() { p.pipe(server, client, false) })
		p.done.Go(func() { p.pipe(client, server, true) })
	}
}

// pipe copies one direction; answers is true for what the server sends.
func (p *proxy) pipe(to, from net.Conn, answers bool) {
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		switch {
		case p.is(silent):
			// Swallowed: TCP acknowledges, nobody answers.
			if err != nil {
				return
			}
			continue
		case answers && p.is(lossy):
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
