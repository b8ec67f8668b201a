package httpapi

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"patchbay/internal/fault"
)

// bounded accepts no more connections than it has places for; the rest wait in
// the kernel's queue.
type bounded struct {
	net.Listener
	log  *zap.Logger
	free chan struct{}
	once sync.Once
	done chan struct{}
	init sync.Once
}

func (b *bounded) closed() chan struct{} {
	b.init.Do(func() { b.done = make(chan struct{}) })
	return b.done
}

// Accept waits for a place, then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.closed():
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.free
		return nil, err
	}
	return &placed{Conn: c, log: b.log, leave: sync.OnceFunc(func() { <-b.free })}, nil
}

// Close ends Accept, waiting or not.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed()) })
	err := b.Listener.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// placed is a connection that has a place. While no route has it, what net/http
// writes to it is its own refusal of a request that it could not read: placed
// says the same as a problem.
type placed struct {
	net.Conn
	log       *zap.Logger
	leave     func()
	answering atomic.Bool // from the gate's first step until the answer is out
}

// Close gives the place back.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}

// CloseWrite lets a refused client read why before the connection is reset.
func (p *placed) CloseWrite() error {
	if tcp, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// Write passes an answer on and puts a refusal into our words.
func (p *placed) Write(b []byte) (int, error) {
	status, refused := refusal(b)
	if p.answering.Load() || !refused {
		return p.Conn.Write(b)
	}
	err := fault.New(fault.Invalid, "request.malformed", "the request is not the HTTP/1.1 that this server reads; send one length, one host and plain headers, as HTTP libraries do", nil)
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		err = fault.New(fault.Invalid, "headers.too_large", "the headers are larger than 32 KiB; send fewer or shorter ones", nil)
	case http.StatusNotImplemented:
		err = fault.New(fault.Invalid, "request.transfer_encoding", "the body comes in a transfer encoding that is not read here; send it with its Content-Length, or chunked", nil)
	}
	problem := problemOf(err, newID())
	problem.Status, problem.Title = status, http.StatusText(status)
	p.log.Info("refused a request that cannot be read", zap.Int("status", status), zap.String("request_id", problem.RequestID))
	if _, err := p.Conn.Write(problem.wire()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// refusal reads the status of an error out of the first line of an answer.
func refusal(b []byte) (status int, ok bool) {
	line, ok := bytes.CutPrefix(b[:min(len(b), 12)], []byte("HTTP/1.1 "))
	if !ok {
		return 0, false
	}
	status, err := strconv.Atoi(string(line))
	return status, err == nil && status >= http.StatusBadRequest
}

type connKey struct{}

// connected gives the requests of a connection the connection.
func connected(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// begun notes that a route has the connection of a request.
func begun(ctx context.Context) {
	if p, ok := ctx.Value(connKey{}).(*placed); ok {
		p.answering.Store(true)
	}
}

// rested notes that an answer is out and the connection waits for a request.
func rested(c net.Conn, state http.ConnState) {
	if p, ok := c.(*placed); ok && state == http.StateIdle {
		p.answering.Store(false)
	}
}
