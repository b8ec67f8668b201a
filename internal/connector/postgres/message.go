package postgres

import (
	"context"
	order "encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strconv"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// originPrefix marks the message by which a writer says where a transaction comes from.
const originPrefix = "patchbay"

// errMessage is of a message that is not as PostgreSQL documents it.
var errMessage = errors.New("a message of another form")

type (
	// relation is a table as the log describes it, before the first of its changes and
	// whenever it is another: with the columns that are told, by the names of that time.
	relation struct {
		table *bound // nil: none of the feed
		cells []cell
	}

	// cell is one column of a relation. One without a name is read over: its column is
	// not the one that the feed has under the name.
	cell struct {
		name   string
		key    bool
		format format
	}
)

// message takes one message of pgoutput, version 1. at is where in the log it comes from.
func (s *stream) message(ctx context.Context, at pglogrepl.LSN, data []byte) error {
	if len(data) == 0 {
		return errMessage
	}
	body := data[1:]
	switch pglogrepl.MessageType(data[0]) {
	case pglogrepl.MessageTypeBegin:
		var m pglogrepl.BeginMessage
		if m.Decode(body) != nil {
			return errMessage
		}
		s.inside, s.commit, s.at, s.xid, s.index, s.origin = true, m.FinalLSN, m.CommitTime.UTC(), m.Xid, 0, ""
		s.held, s.holding = s.held[:0], false
	case pglogrepl.MessageTypeCommit:
		var m pglogrepl.CommitMessage
		if m.Decode(body) != nil {
			return errMessage
		}
		if err := s.judge(ctx); err != nil {
			return err
		}
		s.committed(m.TransactionEndLSN)
	case pglogrepl.MessageTypeMessage:
		var m pglogrepl.LogicalDecodingMessage
		if m.Decode(body) != nil {
			return errMessage
		}
		if m.Transactional && m.Prefix == originPrefix {
			s.origin = string(m.Content)
			s.holding = s.feed.in.Known != nil && s.index == 0
		}
	case pglogrepl.MessageTypeRelation:
		var m pglogrepl.RelationMessage
		if m.Decode(body) != nil {
			return errMessage
		}
		if len(s.held) > 0 { // it is of the relation that was
			if err := s.release(); err != nil {
				return err
			}
		}
		return s.relation(ctx, &m)
	case pglogrepl.MessageTypeTruncate:
		if err := s.release(); err != nil {
			return err
		}
		return s.truncate(at, body)
	case pglogrepl.MessageTypeInsert, pglogrepl.MessageTypeUpdate, pglogrepl.MessageTypeDelete:
		if s.holding {
			return s.hold(at, data)
		}
		return s.change(at, data)
	}
	return nil
}

// mostHeld bounds the bytes that are held of one transaction.
const mostHeld = 16 << 20

// message is a change as it came.
type message struct {
	at   pglogrepl.LSN
	data []byte
}

// hold keeps a change unread.
func (s *stream) hold(at pglogrepl.LSN, data []byte) error {
	if len(s.held) == 0 {
		s.arena = s.arena[:0]
	}
	if len(s.arena)+len(data) > mostHeld {
		if err := s.release(); err != nil {
			return err
		}
		return s.change(at, data)
	}
	from := len(s.arena)
	s.arena = append(s.arena, data...) // where it moves, what was held keeps what it had
	s.held = append(s.held, message{at, s.arena[from:len(s.arena):len(s.arena)]})
	return nil
}

// release reads what is held; nothing more is held of this transaction.
func (s *stream) release() error {
	held := s.held
	s.held, s.holding = s.held[:0], false
	for _, m := range held {
		if err := s.change(m.at, m.data); err != nil {
			return err
		}
	}
	return nil
}

// judge leaves out what is held of a transaction that ends, if it is known.
func (s *stream) judge(ctx context.Context) error {
	n := len(s.held)
	if n > 0 && s.feed.in.Known(ctx, s.origin, int64(s.held[n-1].at), int64(s.commit), n) {
		s.held, s.holding = s.held[:0], false
		return nil
	}
	return s.release()
}

func (s *stream) committed(end pglogrepl.LSN) {
	s.inside, s.whole = false, len(s.changes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reached = end
	if len(s.told) < remember {
		s.told = append(s.told, s.xid)
		return
	}
	s.told[s.next] = s.xid
	s.next = (s.next + 1) % remember
}

// relation binds the columns that are told to those of the feed. Only allowed columns are
// told at all, whatever they are called; one that has the name of another is known by its
// place, for they come in the order of their numbers. What was committed before the
// publication became what it is goes by names alone.
func (s *stream) relation(ctx context.Context, m *pglogrepl.RelationMessage) error {
	r := &relation{table: s.tables[m.RelationID], cells: make([]cell, len(m.Columns))}
	s.relations[m.RelationID] = r
	if r.table == nil {
		return nil
	}
	var types []uint32
	told := make([]string, len(m.Columns))
	for i, c := range m.Columns {
		told[i], types = c.Name, append(types, c.DataType)
	}
	var bound []string
	for _, a := range r.table.published() {
		bound = append(bound, a.name)
	}
	placed := len(told) == len(bound) && s.commit > s.feed.since
	formats, err := s.formats(ctx, types)
	if err != nil {
		return err
	}
	all := r.table.all()
	for i, name := range told {
		if placed && bound[i] != name {
			continue
		}
		key := slices.Contains(r.table.Key, name)
		if key || slices.ContainsFunc(all, func(a attribute) bool { return a.name == name }) {
			r.cells[i] = cell{name, key, formats[types[i]]}
		}
	}
	return nil
}

// formats asks by another connection: this one only tells.
func (s *stream) formats(ctx context.Context, types []uint32) (found map[uint32]format, err error) {
	found = map[uint32]format{}
	for _, oid := range types {
		if f, ok := formats[oid]; ok {
			found[oid] = f
			continue
		}
		err = s.p.with(ctx, "types", func(inner context.Context, c *pgx.Conn) error {
			found, err = s.p.formatsOf(inner, c, types)
			return s.p.fault(ctx, inner, false, err)
		})
		return found, err
	}
	return found, nil
}

var ops = map[pglogrepl.MessageType]string{pglogrepl.MessageTypeInsert: "create", pglogrepl.MessageTypeUpdate: "update", pglogrepl.MessageTypeDelete: "delete"}

// change takes an insert, an update or a delete.
func (s *stream) change(at pglogrepl.LSN, data []byte) error {
	id, op, body := s.id(), ops[pglogrepl.MessageType(data[0])], data[1:]
	if len(body) < 5 {
		return errMessage
	}
	r := s.relations[order.BigEndian.Uint32(body)]
	if r == nil {
		return errMessage
	}
	if r.table == nil {
		return nil
	}
	t := connector.Tail{Table: r.table.Table, Op: op, At: s.at, ID: id, Version: int64(at), Origin: s.origin}
	part, body := body[4], body[5:]
	var old connector.Row
	var err error
	if part == 'K' || part == 'O' {
		var was []string
		if old, was, body, err = s.tuple(r, body, true); err != nil {
			return err
		}
		if len(was) > 0 {
			return s.keyless(r)
		}
		if op == "delete" {
			t.Row = old
			return s.add(t, r)
		}
		if len(body) < 1 {
			return errMessage
		}
		part, body = body[0], body[1:]
	}
	if part != 'N' {
		return errMessage
	}
	if t.Row, t.Missing, _, err = s.tuple(r, body, false); err != nil {
		return err
	}
	for _, k := range r.table.Key {
		value, there := old[k]
		if !there {
			continue
		}
		if n := slices.Index(t.Missing, k); n >= 0 { // it did not change, and is long
			t.Row[k], t.Missing = value, slices.Delete(t.Missing, n, n+1)
		}
		if !reflect.DeepEqual(t.Row[k], value) {
			t.Was = old
		}
	}
	return s.add(t, r)
}

func (s *stream) add(t connector.Tail, r *relation) error {
	for _, k := range r.table.Key {
		if _, there := t.Row[k]; !there {
			return s.keyless(r)
		}
	}
	s.changes = append(s.changes, t)
	return nil
}

// keyless is the fault of a change of which nobody can say what it was of: the table was
// altered so that its log does not tell, or a column of the key has another name.
func (s *stream) keyless(r *relation) error {
	return fault.New(fault.Rejected, "connector.replica_identity", "table "+r.table.Table+" of "+s.p.config.Name+
		" does not tell by its key any more what was changed: its replica identity is another, or a column of the key was renamed", nil)
}

// tuple reads the values of a row, of the key alone where that is asked. missing are
// columns that it has and does not tell: they did not change.
func (s *stream) tuple(r *relation, body []byte, key bool) (row connector.Row, missing []string, rest []byte, err error) {
	if len(body) < 2 || int(order.BigEndian.Uint16(body)) != len(r.cells) {
		return nil, nil, nil, errMessage
	}
	body = body[2:]
	row = make(connector.Row, len(r.cells))
	for _, c := range r.cells {
		if len(body) == 0 {
			return nil, nil, nil, errMessage
		}
		kind := body[0]
		body = body[1:]
		wanted := c.name != "" && (c.key || !key)
		switch kind {
		case 'n':
			if wanted {
				row[c.name] = nil
			}
		case 'u':
			if wanted {
				missing = append(missing, c.name)
			}
		case 't':
			if len(body) < 4 {
				return nil, nil, nil, errMessage
			}
			n := uint64(order.BigEndian.Uint32(body))
			if body = body[4:]; uint64(len(body)) < n {
				return nil, nil, nil, errMessage
			}
			if wanted {
				s.size += int(n)
				value, err := c.format.value(body[:n])
				if err != nil || c.format.form == opaque { // whoever reads it by key gets it as all readers do
					missing = append(missing, c.name)
				} else {
					row[c.name] = value
				}
			}
			body = body[n:]
		default:
			return nil, nil, nil, errMessage
		}
	}
	return row, missing, body, nil
}

func (s *stream) truncate(at pglogrepl.LSN, body []byte) error {
	if len(body) < 5 {
		return errMessage
	}
	n := int(order.BigEndian.Uint32(body))
	if body = body[5:]; len(body) < 4*n {
		return errMessage
	}
	for i := range n {
		id := s.id()
		if r := s.relations[order.BigEndian.Uint32(body[4*i:])]; r != nil && r.table != nil {
			s.changes = append(s.changes, connector.Tail{Table: r.table.Table, Op: "truncate", At: s.at, ID: id, Version: int64(at), Origin: s.origin})
		}
	}
	return nil
}

// id is where in the log a change is, and when that was committed: after a restore the
// log may say something else in the same place. What is not of the feed counts too, so
// that a feed with other tables gives the same.
func (s *stream) id() string {
	s.index++
	b := strconv.AppendUint(make([]byte, 0, 40), uint64(s.commit), 16)
	b = strconv.AppendInt(append(b, '.'), s.at.UnixMicro(), 36)
	b = strconv.AppendUint(append(b, '.'), s.index, 10)
	return string(b)
}
