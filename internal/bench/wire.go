package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// wire is one connection to an HTTP server that is kept and spoken to in bytes: on two
// cores, what a client costs is taken from the server that it measures.
type wire struct {
	host string
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func dialWire(address string) (*wire, error) {
	host := strings.TrimPrefix(address, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	return &wire{host: host, conn: conn, in: bufio.NewReader(conn)}, nil
}

// errLater is the answer of a server whose database took too long: send it again.
var errLater = errors.New("refused for now")

// post sends one delivery, and fails unless it was accepted.
func (w *wire) post(path, media string, body []byte) error {
	w.out = fmt.Appendf(w.out[:0], "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nX-Key: %s\r\nContent-Length: %d\r\n\r\n", path, w.host, media, benchKey, len(body))
	w.out = append(w.out, body...)
	if _, err := w.conn.Write(w.out); err != nil {
		return err
	}
	status, err := w.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	accepted := len(status) > 12 && string(status[9:12]) == "202"
	said := string(status[:min(len(status), 12)])
	length := -1
	for {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := strings.Cut(string(line), ":"); strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without a length")
	}
	if accepted {
		_, err = w.in.Discard(length)
		return err
	}
	if strings.HasSuffix(said, "503") {
		_, err = w.in.Discard(length)
		return errors.Join(errLater, err)
	}
	text := make([]byte, min(length, 300))
	_, err = io.ReadFull(w.in, text)
	return errors.Join(fmt.Errorf("refused: %s %s", said, text), err)
}

// senders post what next gives over so many connections until the time is over, and
// return how many deliveries were accepted, and in what time. What is refused for now
// is sent again, as a sender does, and counted.
func senders(ctx context.Context, address string, connections int, lasting time.Duration, path, media string, next func(buf []byte) []byte) (posts, again int, took time.Duration, err error) {
	wires := make([]*wire, connections)
	for i := range wires {
		if wires[i], err = dialWire(address); err != nil {
			return 0, 0, 0, err
		}
		defer wires[i].conn.Close()
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for _, w := range wires {
		all.Go(func() {
			n, later := 0, 0
			var buf []byte
			var failed error
			for time.Since(began) < lasting && ctx.Err() == nil && failed == nil {
				buf = next(buf[:0])
				for failed = w.post(path, media, buf); errors.Is(failed, errLater); failed = w.post(path, media, buf) {
					later++
				}
				if failed == nil {
					n++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			posts, again = posts+n, again+later
			if err == nil {
				err = failed
			}
		})
	}
	all.Wait()
	return posts, again, time.Since(began), errors.Join(err, ctx.Err())
}
