package postgres

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	// beatEvery is how often the server is told that we are there; it ends a reader that
	// it does not hear of for a minute. A caller that has not come for abandoned is taken
	// for dead, so that the server can end it, and itself.
	beatEvery = 10 * time.Second
	abandoned = 5 * time.Minute
	// linger is how long more changes are waited for when some are there.
	linger = time.Millisecond
	// watchEvery is how often the publication is compared with what it should be.
	watchEvery = 10 * time.Second
	// reachWait bounds the question how far the server is.
	reachWait = 500 * time.Millisecond
	writeWait = 5 * time.Second
	// remember is how many transactions a stream remembers; see ReadChunk.
	remember = 1 << 16
)

// stream is an open feed. What it reads it decodes at once: the server holds back what
// nobody takes, and keeps large transactions on its own disk.
type stream struct {
	p         *Postgres
	feed      *feed
	conn      *pgconn.PgConn
	tables    map[uint32]*bound
	relations map[uint32]*relation
	watched   time.Time
	stop      func() // ends the beat
	beat      sync.WaitGroup

	// The transaction under way.
	inside  bool
	commit  pglogrepl.LSN
	at      time.Time
	xid     uint32
	index   uint64
	origin  string
	holding bool

	held    []message        // changes that are not read before it is asked whether they are known
	arena   []byte           // of held
	changes []connector.Tail // read and not given yet
	whole   int              // of them, of transactions that ended
	size    int              // bytes of their values

	mu        sync.Mutex // of writes, and of what follows
	reached   pglogrepl.LSN
	given     pglogrepl.LSN // what Next said last
	confirmed pglogrepl.LSN
	used      time.Time // when the caller came last
	told      []uint32  // transactions that were read, as a ring
	next      int
}

func (p *Postgres) streaming(f *feed, conn *pgconn.PgConn) *stream {
	s := &stream{p: p, feed: f, conn: conn, tables: map[uint32]*bound{}, relations: map[uint32]*relation{}, watched: time.Now(),
		reached: f.from, given: f.from, confirmed: f.confirmed, used: time.Now()}
	for _, b := range f.tables {
		s.tables[b.oid] = b
	}
	beating, stop := context.WithCancel(context.Background()) // it ends with Close
	s.stop = stop
	s.beat.Go(func() { s.beats(beating) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams = append(p.streams, s)
	return s
}

// Close ends the stream. What was not confirmed is told again to whoever follows.
func (s *stream) Close(ctx context.Context) error {
	s.p.mu.Lock()
	s.p.streams = slices.DeleteFunc(s.p.streams, func(o *stream) bool { return o == s })
	s.p.mu.Unlock()
	s.stop()
	s.beat.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // whether it was said goodbye to or not
	return nil
}

func (s *stream) beats(ctx context.Context) {
	for pause(ctx, beatEvery) == nil {
		s.mu.Lock()
		if time.Since(s.used) < abandoned {
			_ = s.status(false) //nolint:contextcheck // it has a deadline of its own; whoever reads finds out what is wrong
		}
		s.mu.Unlock()
	}
}

// status says how far we are. Only what was confirmed may be forgotten. The caller holds
// the lock.
func (s *stream) status(answer bool) error {
	if err := s.conn.Conn().SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	return pglogrepl.SendStandbyStatusUpdate(context.Background(), s.conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: max(s.reached, s.confirmed), WALFlushPosition: s.confirmed, WALApplyPosition: s.confirmed, ReplyRequested: answer,
	})
}

// Confirm lets the server forget what is before a position.
func (s *stream) Confirm(ctx context.Context, position string) error {
	to, ok := parsePosition(position)
	if !ok {
		return fault.Invalidf("connector.position", "the position of a feed is not one that this connector gave")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	if to > s.given {
		return fault.New(fault.Bug, "connector.position", "what was not given yet is confirmed", nil)
	}
	if to <= s.confirmed {
		return nil
	}
	s.confirmed = to
	return s.p.fault(ctx, ctx, false, s.status(false)) //nolint:contextcheck // it has a deadline of its own
}

// Next gives what was committed next.
func (s *stream) Next(ctx context.Context, most int, wait time.Duration) (connector.Tailed, error) {
	s.mu.Lock()
	s.used = time.Now()
	s.mu.Unlock()
	if err := s.watch(ctx); err != nil {
		return connector.Tailed{}, err
	}
	defer context.AfterFunc(ctx, func() { _ = s.conn.Conn().SetReadDeadline(time.Unix(1, 0)) })()
	until, asked := time.Now().Add(wait), false
	for !s.enough(most) {
		deadline := until
		if s.whole > 0 && s.conn.Frontend().ReadBufferLen() == 0 {
			deadline = time.Now().Add(linger)
		}
		kept, err := s.receive(ctx, deadline)
		switch {
		case err == nil:
			if asked && kept {
				return s.give(most), nil
			}
		case !isTimeout(err):
			return connector.Tailed{}, s.broken(ctx, err)
		case ctx.Err() != nil:
			return connector.Tailed{}, ctx.Err()
		case len(s.changes) > 0 || asked:
			return s.give(most), nil
		default: // nothing came: how far is the server?
			asked, until = true, time.Now().Add(reachWait)
			s.mu.Lock()
			err := s.status(true) //nolint:contextcheck // it has a deadline of its own
			s.mu.Unlock()
			if err != nil {
				return connector.Tailed{}, s.broken(ctx, err)
			}
		}
	}
	return s.give(most), nil
}

func (s *stream) enough(most int) bool {
	return s.whole >= most || len(s.changes) >= most || int64(s.size) >= s.p.bytes
}

// give hands over whole transactions, or a part of one that is too large.
func (s *stream) give(most int) connector.Tailed {
	n := s.whole
	if n == 0 && (s.enough(most) || s.inside) {
		n = len(s.changes)
	}
	out := connector.Tailed{Changes: s.changes[:n:n]}
	s.changes = slices.Clone(s.changes[n:])
	s.whole = 0
	if len(s.changes) == 0 {
		s.size = 0
	}
	s.mu.Lock()
	s.given = s.reached
	out.Position = s.given.String()
	s.mu.Unlock()
	if n > 0 {
		out.Behind = max(time.Since(out.Changes[n-1].At)+s.feed.offset, time.Microsecond)
	}
	return out
}

// receive takes one message. kept says that it was one of those that the server sends
// when it has told everything.
func (s *stream) receive(ctx context.Context, deadline time.Time) (kept bool, err error) {
	conn := s.conn.Conn()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
	// Without a context of its own: one for each message costs more than the message.
	got, err := s.conn.ReceiveMessage(context.Background()) //nolint:contextcheck // the deadline ends it
	if err != nil {
		return false, err
	}
	switch got := got.(type) {
	case *pgproto3.CopyData:
		switch {
		case len(got.Data) == 0:
			return false, errMessage
		case got.Data[0] == pglogrepl.XLogDataByteID:
			data, err := pglogrepl.ParseXLogData(got.Data[1:])
			if err != nil {
				return false, errMessage
			}
			return false, s.message(ctx, data.WALStart, data.WALData)
		case got.Data[0] == pglogrepl.PrimaryKeepaliveMessageByteID:
			return true, s.kept(got.Data[1:]) //nolint:contextcheck // it has a deadline of its own
		}
	case *pgproto3.ErrorResponse:
		return false, pgconn.ErrorResponseToPgError(got)
	case *pgproto3.CopyDone, *pgproto3.CommandComplete:
		return false, errEnded
	}
	return false, nil
}

// errEnded says that the server ends the stream, because it ends itself.
var errEnded = errors.New("the server ended the stream")

// kept notes how far the server is, and answers.
func (s *stream) kept(body []byte) error {
	beat, err := pglogrepl.ParsePrimaryKeepaliveMessage(body)
	if err != nil {
		return errMessage
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inside && beat.ServerWALEnd > s.reached {
		s.reached = beat.ServerWALEnd
	}
	if beat.ReplyRequested {
		return s.status(false)
	}
	return nil
}

func isTimeout(err error) bool {
	var broken net.Error
	return errors.As(err, &broken) && broken.Timeout()
}

func (s *stream) broken(ctx context.Context, err error) error {
	if errors.Is(err, errMessage) {
		return fault.New(fault.Bug, System+".message", "the log of "+s.p.config.Name+" holds a message that is not as documented", nil)
	}
	return s.p.fault(ctx, ctx, false, err)
}

// watch makes sure, now and then, that the publication still tells of what it should: a
// table that was dropped, or a column with cascade, is taken out of it, and what changes
// there is told to nobody.
func (s *stream) watch(ctx context.Context) error {
	if time.Since(s.watched) < time.Duration(float64(watchEvery)/max(s.p.config.Speed, 1)) {
		return nil
	}
	want := columnsOf{}
	for _, b := range s.feed.tables {
		want[b.oid] = b.numbers()
	}
	err := s.p.with(ctx, "watch "+s.feed.slot, func(inner context.Context, c *pgx.Conn) error {
		var have columnsOf
		err := pgx.BeginTxFunc(inner, c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
			var err error
			have, _, _, err = published(inner, tx, s.feed.publication)
			return err
		})
		if err == nil && want.lacks(have) {
			err = s.feed.expired("somebody took tables or columns out of its publication, and what changes there is not told")
		}
		return s.p.fault(ctx, inner, false, err)
	})
	if err == nil || fault.Of(err).Code == codeExpired {
		s.watched = time.Now()
		return err
	}
	return ctx.Err() // the stream itself is as good as it was
}

// unseen reports whether a snapshot, written as pg_current_snapshot does, does not show a
// transaction that the stream told of already: it becomes visible a moment after it is in
// the log, with a synchronous standby perhaps much later.
func (s *stream) unseen(high uint32, running map[uint32]bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.told, func(xid uint32) bool { return running[xid] || int32(xid-high) >= 0 })
}
