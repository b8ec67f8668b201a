package store

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// Waits of Listen: for a sign of life on a silent connection, and before another
// connect, doubling.
const (
	listenProbe   = 30 * time.Second
	listenFirst   = 100 * time.Millisecond
	listenLongest = 5 * time.Second
)

// Listen calls heard with the payload of every notification on channel, from one
// goroutine, until ctx ends. It reconnects for ever, on a connection of its own.
// What is sent while it is not connected is lost, so a notification is a hint and
// never the only way to learn of something; after each connect heard gets "",
// which means that anything may have happened.
func (s *Store) Listen(ctx context.Context, channel string, heard func(payload string)) {
	wait := listenFirst
	for ctx.Err() == nil {
		if s.listen(ctx, channel, heard) {
			wait = listenFirst
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		wait = min(2*wait, listenLongest)
	}
}

// listen reports whether it was connected before the connection broke.
func (s *Store) listen(ctx context.Context, channel string, heard func(string)) bool {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	soon, cancel := context.WithTimeout(ctx, connectTimeout)
	_, err = conn.Exec(soon, `listen `+pgx.Identifier{channel}.Sanitize())
	cancel()
	if err != nil {
		return false
	}
	heard("")
	for ctx.Err() == nil {
		quiet, cancel := context.WithTimeout(ctx, listenProbe)
		n, err := conn.WaitForNotification(quiet)
		cancel()
		switch {
		case err == nil:
			heard(n.Payload)
		case quiet.Err() == nil || ctx.Err() != nil || conn.IsClosed():
			return true
		default: // silence: a peer that vanished sends nothing either
			probe, cancel := context.WithTimeout(ctx, pingTimeout)
			err := conn.Ping(probe)
			cancel()
			if err != nil {
				return true
			}
		}
	}
	return true
}
