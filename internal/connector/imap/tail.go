package imap

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	rangeSize = 200
	// lookAgain is how often a mailbox is looked at that said nothing, askEvery where the
	// server cannot say anything by itself.
	lookAgain = 5 * time.Minute
	askEvery  = 15 * time.Second
)

type (
	// place is how far a mailbox was read: the UID of the last message, while the server
	// numbers them so.
	place struct {
		Validity uint32     `json:"v"`
		UID      goimap.UID `json:"u"`

		more bool
	}

	// stream follows the mailboxes of a feed, each by a session of its own.
	stream struct {
		m     *IMAP
		feed  connector.Feed
		at    map[string]place // by table
		boxes map[string]*box
		stir  chan struct{} // some server said something
	}

	box struct {
		session *session
		said    chan struct{} // there are messages
		looked  time.Time
	}
)

func (p place) text() string {
	b, _ := json.Marshal(p) // numbers only
	return string(b)
}

// positionOf is a position of a stream: places by table.
func positionOf(at map[string]place) string {
	b, _ := json.Marshal(at) // numbers only
	return string(b)
}

// renumbered is the fault of a mailbox whose UIDs mean other messages by now.
func (m *IMAP) renumbered() error {
	return fault.New(fault.Conflict, "connector.cursor_expired", m.config.Name+" has numbered its messages anew; the mailbox is read from the beginning, and what is known is no event again", nil)
}

// Tail follows what arrives. A mailbox keeps nothing for a stream.
func (m *IMAP) Tail(ctx context.Context, feed connector.Feed, after string) (connector.Stream, error) {
	s := &stream{m: m, feed: feed, at: map[string]place{}, boxes: map[string]*box{}, stir: make(chan struct{}, 1)}
	if after != "" {
		if err := json.Unmarshal([]byte(after), &s.at); err != nil {
			return nil, connector.BadToken()
		}
	}
	for _, t := range feed.Tables {
		if err := s.open(ctx, t.Table); err != nil {
			_ = s.Close(ctx)
			return nil, err
		}
	}
	return s, nil
}

// DropFeed implements connector.Tailer: there is nothing to drop.
func (m *IMAP) DropFeed(context.Context, string) error { return nil }

func (s *stream) open(ctx context.Context, table string) error {
	mailbox, err := s.m.mailbox(table)
	if err != nil {
		return err
	}
	b := &box{said: make(chan struct{}, 1)}
	err = s.m.gate.Pass(ctx, "open "+table, func(inner context.Context) (err error) {
		b.session, err = s.m.dial(inner, mailbox, func() {
			for _, c := range []chan struct{}{b.said, s.stir} {
				select {
				case c <- struct{}{}:
				default: // it is known
				}
			}
		})
		return s.m.fault(ctx, inner, err)
	})
	if err != nil {
		return err
	}
	s.boxes[table] = b
	now := place{Validity: b.session.validity, UID: b.session.next - 1}
	switch known, there := s.at[table]; {
	case !there:
		s.at[table] = now
	case known.Validity != now.Validity:
		return s.m.renumbered()
	}
	return nil
}

// Next implements connector.Stream.
func (s *stream) Next(ctx context.Context, most int, wait time.Duration) (connector.Tailed, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		var out connector.Tailed
		for _, t := range s.feed.Tables {
			if len(out.Changes) >= most {
				break
			}
			changes, err := s.look(ctx, t, most-len(out.Changes))
			if err != nil {
				return connector.Tailed{}, err
			}
			out.Changes = append(out.Changes, changes...)
		}
		out.Position = positionOf(s.at)
		if len(out.Changes) > 0 {
			return out, nil
		}
		select {
		case <-s.stir:
		case <-timer.C:
			return out, nil
		case <-ctx.Done():
			return connector.Tailed{}, ctx.Err()
		}
	}
}

// look asks a mailbox for what arrived, when it said so or has been silent for long, and
// has it say by itself what comes after.
func (s *stream) look(ctx context.Context, t connector.FeedTable, most int) (changes []connector.Tail, err error) {
	if s.boxes[t.Table].session.broken {
		if err := s.open(ctx, t.Table); err != nil {
			return nil, err
		}
	}
	b := s.boxes[t.Table]
	select {
	case <-b.session.client.Closed():
		return nil, fault.New(fault.Unavailable, "vendor.unreachable", s.m.config.Name+" closed the connection", nil)
	case <-b.said:
	default:
		every := lookAgain
		if b.session.idle == nil {
			every = askEvery
		}
		if time.Since(b.looked) < every {
			return nil, nil
		}
	}
	more := false
	err = s.m.gate.Pass(ctx, "look "+t.Table, func(inner context.Context) error {
		defer b.session.during(inner)()
		changes, more, err = s.arrived(inner, b, t, min(most, rangeSize))
		if err == nil && !more && !b.session.broken {
			err = b.session.attend()
		}
		return s.m.fault(ctx, inner, err)
	})
	if b.looked = time.Now(); more {
		b.looked = time.Time{} // the next look goes on at once
	}
	return changes, err
}

// arrived gives the changes of what arrived, at most so many messages, and whether there
// are more.
func (s *stream) arrived(ctx context.Context, b *box, t connector.FeedTable, most int) (changes []connector.Tail, more bool, err error) {
	if err := b.session.ask(); err != nil {
		return nil, false, err
	}
	at := s.at[t.Table]
	uids, err := b.session.find(at.UID, 0)
	if err != nil || len(uids) == 0 {
		return nil, false, err
	}
	more = len(uids) > most
	uids = uids[:min(len(uids), most)]
	mailbox, err := s.m.mailbox(t.Table)
	if err != nil {
		return nil, false, err
	}
	rows, unreadable, err := s.m.messages(ctx, b.session, mailbox, uids)
	if err != nil {
		return nil, false, err
	}
	changes = make([]connector.Tail, len(rows))
	for i, row := range rows {
		arrived, _ := time.Parse(time.RFC3339, fmt.Sprint(row["received"]))
		changes[i] = connector.Tail{Table: t.Table, Op: "create", Row: pick(row, append(slices.Clone(t.Columns), t.Key...)), At: arrived,
			ID: fmt.Sprintf("%s %d/%v %v", t.Table, b.session.validity, row[uidColumn], row[idColumn]), Unreadable: unreadable[i]}
	}
	at.UID = uids[len(uids)-1]
	s.at[t.Table] = at
	return changes, more, nil
}

// Confirm implements connector.Stream: a mailbox forgets nothing.
func (s *stream) Confirm(context.Context, string) error { return nil }

// Close implements connector.Stream.
func (s *stream) Close(context.Context) error {
	for _, b := range s.boxes {
		b.session.close()
	}
	return nil
}

// ReadChunk implements connector.Chunker: the messages in the order of their UIDs.
func (m *IMAP) ReadChunk(ctx context.Context, t connector.FeedTable, after connector.Row, limit int) (connector.Chunk, error) {
	mailbox, err := m.mailbox(t.Table)
	if err != nil {
		return connector.Chunk{}, err
	}
	var at place
	if after != nil {
		if err := json.Unmarshal(fmt.Appendf(nil, `{"v":%v,"u":%v}`, after["v"], after["u"]), &at); err != nil {
			return connector.Chunk{}, connector.BadToken()
		}
	}
	rows, unreadable, next, err := m.chunk(ctx, mailbox, at, min(limit, rangeSize))
	if err != nil {
		return connector.Chunk{}, err
	}
	high := positionOf(map[string]place{t.Table: next})
	c := connector.Chunk{Low: high, High: high, Unreadable: unreadable}
	for _, row := range rows {
		arrived, _ := time.Parse(time.RFC3339, fmt.Sprint(row["received"]))
		c.Rows, c.At = append(c.Rows, pick(row, append(slices.Clone(t.Columns), t.Key...))), append(c.At, arrived)
	}
	if next.more {
		c.Last = connector.Row{"v": number(int64(next.Validity)), "u": number(int64(next.UID))}
	}
	return c, nil
}

// Reached implements connector.Chunker.
func (m *IMAP) Reached(position, mark string) bool {
	var now, then map[string]place
	if json.Unmarshal([]byte(position), &now) != nil || json.Unmarshal([]byte(mark), &then) != nil {
		return false
	}
	for table, p := range then {
		if at, there := now[table]; !there || at.Validity != p.Validity || at.UID < p.UID {
			return false
		}
	}
	return true
}

// chunk reads the messages after a place, and where to go on.
func (m *IMAP) chunk(ctx context.Context, mailbox string, at place, limit int) (rows []connector.Row, unreadable map[int]error, next place, err error) {
	err = m.gate.Longer(4).Pass(ctx, fmt.Sprintf("read %s %d", mailbox, at.UID), func(inner context.Context) error {
		s, err := m.dial(inner, mailbox, nil)
		if err != nil {
			return m.fault(ctx, inner, err)
		}
		defer s.close()
		defer s.during(inner)()
		if at.Validity != 0 && at.Validity != s.validity {
			return m.renumbered()
		}
		uids, err := s.some(at.UID, limit+1)
		if err != nil {
			return m.fault(ctx, inner, err)
		}
		next = place{Validity: s.validity, UID: at.UID, more: len(uids) > limit}
		if len(uids) == 0 {
			return nil
		}
		uids = uids[:min(len(uids), limit)]
		next.UID = uids[len(uids)-1]
		rows, unreadable, err = m.messages(inner, s, mailbox, uids)
		return m.fault(ctx, inner, err)
	})
	return rows, unreadable, next, err
}

func checkQuery(t connector.Table, q connector.Query) error {
	columns := slices.Clone(q.Select)
	for _, w := range q.Where {
		columns = append(columns, w.Column)
		if _, ok := connector.Literal(w.Value); !ok {
			return fault.Invalidf("connector.value", "table %s: %s is compared with what is no single value", t.Name, w.Column)
		}
	}
	switch {
	case len(q.Select) == 0:
		return fault.Invalidf("connector.columns", "a read of table %s names its columns", t.Name)
	case q.Since != nil:
		return fault.Invalidf("connector.no_since", "table %s is not read since a time", t.Name)
	}
	return t.Check(columns...)
}

func matches(row connector.Row, where []connector.Match) bool {
	for _, w := range where {
		if got := row[w.Column]; (got == nil) != (w.Value == nil) || got != nil && fmt.Sprint(got) != fmt.Sprint(w.Value) {
			return false
		}
	}
	return true
}

// pick is a row with the columns asked for and no other; one that a message never has is
// absent.
func pick(row connector.Row, columns []string) connector.Row {
	out := make(connector.Row, len(columns))
	for _, c := range columns {
		if v, ok := row[c]; ok {
			out[c] = v
		}
	}
	return out
}
