package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// maxSessions bounds what one drop serves at a time.
const maxSessions = 200

// Serve takes mail on the listener until ctx ends; sessions end with it.
func (d *Drop) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	places := make(chan struct{}, maxSessions)
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("taking mail: %w", err)
		}
		select {
		case places <- struct{}{}:
		default:
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write([]byte("421 4.3.2 too many sessions\r\n"))
			conn.Close()
			continue
		}
		running.Go(func() {
			defer func() { <-places }()
			end := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer end()
			newSession(d, conn).run(ctx)
		})
	}
}
