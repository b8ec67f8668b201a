package join

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The codes of keys that make no target row.
const (
	CodeTaken = "map.key_taken" // another key makes the same target key
	CodeMany  = "map.too_many"  // too many rows of one key for a memory of constant size
)

// mostOfKey bounds the bytes of all rows of one key.
const mostOfKey = 32 << 20

// checkEvery is how many keys pass between two looks at the context.
const checkEvery = 4096

type (
	// Stream gives the rows of one source sorted by key, identity and N. A negative N is
	// a row that a later one of another key has replaced.
	Stream interface {
		// Next gives the next row, which stays as it is until the one after; io.EOF after
		// the last.
		Next() (Row, error)
	}

	// Input is what a join works on, and where its output goes.
	Input struct {
		Streams []Stream    // in the order of the plan's sources; nil: the source is missing
		AsOf    []time.Time // when reading each of them began
		Levels  []Level     // what the target holds, the newest first
		// Fold says which target keys are one to the target; nil: only equal ones.
		Fold   func(key [][]byte) string
		Rows   int // of a chunk
		Chunk  func(rows int, body []byte) error
		Reject func(flow.RejectedRow) error
		// Merged, where it is not nil, gets the blocks of all levels as one.
		Merged func(rows int, block []byte) error
	}

	// Counts is what became of all rows. Read and Staged of the sources are those of
	// their streams.
	Counts struct {
		Sources   []flow.SourceCount
		Keys      int64
		Changed   int64
		Unchanged int64
		Rejected  int64
		Gone      int64
	}

	// work is one run of a join.
	work struct {
		*Plan
		in      Input
		heads   []head
		levels  *levels
		scope   *expr.Scope
		counts  Counts
		key     []byte
		cells   []byte // of the target row
		at      []int  // where each of its cells begins
		target  []byte
		digests []byte
		hashed  [][]byte // by part
		taken   map[uint64]struct{}
		chunk   []byte
		rows    int
		merged  []byte
		entries int
		missing []bool
		absent  []bool // parts that depend on what is missing
		keyBuf  [][]byte
	}

	// head is one source at the row that comes next, and its rows of the key at hand.
	head struct {
		stream Stream
		shape  *expr.Shape
		one    bool
		named  bool // an expression beyond a bare path looks at it
		row    Row
		over   bool
		arena  []byte
		ends   []int
		ident  []byte
		newest int64
		cells  [][]byte // of all rows
		record *expr.Record
		list   []*expr.Record
	}
)

// Run joins the streams. A failure says nothing about what it has given out before.
func (p *Plan) Run(ctx context.Context, in Input) (Counts, error) {
	w := &work{Plan: p, in: in, hashed: make([][]byte, len(p.parts)), digests: make([]byte, len(p.parts)*digestSize), absent: make([]bool, len(p.parts))}
	if err := w.open(); err != nil {
		return Counts{}, err
	}
	for n := 0; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return Counts{}, ctx.Err()
		}
		more, err := w.next()
		if err != nil {
			return Counts{}, err
		}
		if !more {
			break
		}
	}
	for {
		e, ok := w.levels.peek()
		if !ok {
			break
		}
		if err := w.pass(e); err != nil {
			return Counts{}, err
		}
		w.counts.Gone++
	}
	if err := w.flush(); err != nil {
		return Counts{}, err
	}
	return w.counts, w.flushMerged()
}

func (w *work) open() (err error) {
	sources := w.plan.Gather.Sources
	w.counts.Sources = make([]flow.SourceCount, len(sources))
	names := []string{expr.VarKey, expr.VarAsOf}
	asOf := map[string]any{}
	w.missing = make([]bool, len(sources))
	for i, s := range sources {
		h := head{stream: w.in.Streams[i], shape: expr.NewShape(s.Select), one: s.One}
		h.record = h.shape.Record(nil)
		names = append(names, s.Name)
		if w.missing[i] = h.stream == nil; w.missing[i] {
			h.over = true
		} else {
			asOf[s.Name] = w.in.AsOf[i].UTC().Format(time.RFC3339Nano)
		}
		for _, c := range w.columns {
			for _, u := range c.uses {
				h.named = h.named || u == i && c.Path == nil
			}
		}
		if err := h.next(); err != nil {
			return err
		}
		w.heads = append(w.heads, h)
	}
	for i, p := range w.parts {
		for _, u := range p.uses {
			w.absent[i] = w.absent[i] || w.missing[u]
		}
	}
	w.scope = expr.NewScope(names...)
	w.scope.Set(1, asOf)
	if w.in.Fold != nil || !w.unique {
		w.taken = map[uint64]struct{}{} // eight bytes a key: of all that grows it grows least
	}
	w.levels, err = openLevels(w.in.Levels, w.layout)
	return err
}

func (h *head) next() error {
	if h.over {
		return nil
	}
	row, err := h.stream.Next()
	if errors.Is(err, io.EOF) {
		h.over = true
		return nil
	}
	h.row = row
	return err
}

// next joins the rows of the least key; more is false when there are none.
func (w *work) next() (more bool, err error) {
	var least []byte
	for i := range w.heads {
		if h := &w.heads[i]; !h.over && (!more || bytes.Compare(h.row.Key, least) < 0) {
			least, more = h.row.Key, true
		}
	}
	if !more {
		return false, nil
	}
	w.key = append(w.key[:0], least...)
	based := w.base < 0
	size := 0
	for i := range w.heads {
		used, err := w.heads[i].gather(w.key, &w.counts.Sources[i])
		if err != nil {
			return false, err
		}
		if i == w.base {
			based = used > 0
		}
		size += len(w.heads[i].arena)
	}
	live := false
	for i := range w.heads {
		n := int64(len(w.heads[i].ends))
		live = live || n > 0
		if based {
			w.counts.Sources[i].Used += n
		} else {
			w.counts.Sources[i].Unmatched += n
		}
	}
	if !based || !live { // a key of replaced rows alone is none
		return true, nil
	}
	return true, w.make(size > mostOfKey)
}

// gather takes the rows of key and gives how many of them there are; of the same
// identity, and of a source with one row a key, the latest counts and the others are
// duplicates.
func (h *head) gather(key []byte, count *flow.SourceCount) (int, error) {
	h.arena, h.ends, h.newest = h.arena[:0], h.ends[:0], -1
	for !h.over && bytes.Equal(h.row.Key, key) {
		count.Staged++
		again := len(h.ends) > 0 && (h.one || bytes.Equal(h.ident, h.row.Ident))
		switch {
		case h.row.N < 0, again && h.row.N < h.newest:
			count.Duplicate++
		case again:
			count.Duplicate++
			start := 0
			if n := len(h.ends); n > 1 {
				start = h.ends[n-2]
			}
			h.arena = append(h.arena[:start], h.row.Cells...)
			h.ends[len(h.ends)-1] = len(h.arena)
			h.newest = h.row.N
			h.ident = append(h.ident[:0], h.row.Ident...)
		case len(h.arena) > mostOfKey: // counted, and not kept: the key is refused
			h.ends = append(h.ends, len(h.arena))
			h.ident = append(h.ident[:0], h.row.Ident...)
			h.newest = h.row.N
		default:
			h.arena = append(h.arena, h.row.Cells...)
			h.ends = append(h.ends, len(h.arena))
			h.newest = h.row.N
			h.ident = append(h.ident[:0], h.row.Ident...)
		}
		if err := h.next(); err != nil {
			return 0, err
		}
	}
	return len(h.ends), nil
}

// split makes the cells of the rows at hand, and the variable that they are.
func (h *head) split() any {
	h.cells = h.cells[:0]
	start := 0
	for _, end := range h.ends {
		h.cells = Cells(h.cells, h.arena[start:end])
		start = end
	}
	if !h.named {
		return nil
	}
	columns := 0
	if len(h.ends) > 0 {
		columns = len(h.cells) / len(h.ends)
	}
	if h.one {
		if len(h.ends) == 0 {
			return nil
		}
		h.record.Set(h.cells)
		return h.record
	}
	for len(h.list) < len(h.ends) {
		h.list = append(h.list, h.shape.Record(nil))
	}
	for i := range h.ends {
		h.list[i].Set(h.cells[i*columns : (i+1)*columns])
	}
	return h.list[:len(h.ends)]
}

// make maps the key at hand and compares the row with what the target holds.
func (w *work) make(many bool) error {
	w.counts.Keys++
	known, held, err := w.known()
	if err != nil {
		return err
	}
	err = w.row(many)
	if f := (*fault.Fault)(nil); errors.As(err, &f) && f.Class != fault.Bug {
		w.counts.Rejected++
		return w.in.Reject(flow.RejectedRow{Key: string(w.key), Code: f.Code, Reason: f.Text})
	}
	if err != nil {
		return err
	}
	w.digest(known)
	if held && bytes.Equal(known, w.digests) {
		w.counts.Unchanged++
		return nil
	}
	w.counts.Changed++
	w.chunk = appendOut(w.chunk, len(w.parts), w.key, w.target, w.digests, w.cells)
	if w.rows++; w.rows >= w.in.Rows || len(w.chunk) >= mostOfChunk {
		return w.flush()
	}
	return nil
}

// mostOfChunk bounds the bytes of a chunk.
const mostOfChunk = 8 << 20

// known finds what the target holds of the key; what it holds of lesser ones is gone.
func (w *work) known() (digests []byte, held bool, err error) {
	for {
		e, ok := w.levels.peek()
		if !ok {
			return nil, false, nil
		}
		switch bytes.Compare(e.key, w.key) {
		case 1:
			return nil, false, nil
		case 0:
			digests = bytes.Clone(e.digests)
			return digests, digests != nil, w.pass(e)
		}
		w.counts.Gone++
		if err := w.pass(e); err != nil {
			return nil, false, err
		}
	}
}

// pass leaves an entry behind.
func (w *work) pass(e entry) error {
	if w.in.Merged != nil && e.digests != nil {
		w.merged = appendEntry(w.merged, len(w.parts), e.key, e.digests)
		if w.entries++; w.entries >= w.in.Rows {
			if err := w.flushMerged(); err != nil {
				return err
			}
		}
	}
	return w.levels.skip()
}

// row makes the target row in w.cells and w.target.
func (w *work) row(many bool) error {
	if many {
		return fault.New(fault.Rejected, CodeMany, fmt.Sprintf("the rows of this key have more than %d MiB", mostOfKey>>20), nil)
	}
	for i := range w.heads {
		v := w.heads[i].split()
		if w.heads[i].named {
			w.scope.Set(2+i, v)
		}
	}
	w.scope.Set(0, string(w.key))
	w.cells, w.at = w.cells[:0], w.at[:0]
	for i := range w.columns {
		c := &w.columns[i]
		if i > 0 {
			w.cells = append(w.cells, separator)
		}
		w.at = append(w.at, len(w.cells))
		if w.absent[c.part] {
			continue
		}
		switch {
		case c.Path == nil:
			var err error
			if w.cells, _, err = c.Prog.Append(w.cells, w.scope); err != nil {
				f := fault.Of(err)
				return fault.New(f.Class, f.Code, "mapping "+c.Name+": "+f.Text, err).With(f.Fields...)
			}
		case c.source < 0:
			w.cells = expr.AppendText(w.cells, string(w.key))
		case len(w.heads[c.source].ends) == 0:
			w.cells = append(w.cells, "null"...)
		default:
			w.cells = append(w.cells, w.heads[c.source].cells[c.cell]...)
		}
	}
	return w.targetKey()
}

// value is the cell of a column of the target row.
func (w *work) value(i int) []byte {
	end := len(w.cells)
	if i+1 < len(w.at) {
		end = w.at[i+1] - 1
	}
	return w.cells[w.at[i]:end]
}

func (w *work) targetKey() error {
	w.target, w.keyBuf = append(w.target[:0], '['), w.keyBuf[:0]
	for n, i := range w.keyed {
		v := w.value(i)
		if len(v) == 0 || v[0] == 'n' {
			return fault.New(fault.Rejected, expr.CodeKeyMissing, "the key column "+w.names[i]+" is empty", nil)
		}
		if n > 0 {
			w.target = append(w.target, ',')
		}
		w.target = append(w.target, v...)
		w.keyBuf = append(w.keyBuf, v)
	}
	w.target = append(w.target, ']')
	return w.claim()
}

// claim refuses a target key that another key has made: which of the two is right
// nobody knows, and the lesser one was first.
func (w *work) claim() error {
	if w.taken == nil {
		return nil
	}
	text := w.target
	if w.in.Fold != nil {
		text = []byte(w.in.Fold(w.keyBuf))
	}
	sum := sha256.Sum256(text)
	h := binary.BigEndian.Uint64(sum[:])
	_, taken := w.taken[h]
	w.taken[h] = struct{}{}
	if taken {
		return fault.New(fault.Rejected, CodeTaken, "another key makes the same key of the target", nil)
	}
	return nil
}

// digest digests the parts of the row. A part that cannot be made now is as it was.
func (w *work) digest(known []byte) {
	for i := range w.hashed {
		w.hashed[i] = w.hashed[i][:0]
	}
	for i := range w.columns {
		part := w.columns[i].part
		w.hashed[part] = append(append(w.hashed[part], w.value(i)...), separator)
	}
	for i, text := range w.hashed {
		to := w.digests[i*digestSize : (i+1)*digestSize]
		if w.absent[i] && known != nil {
			copy(to, known[i*digestSize:])
			continue
		}
		sum := sha256.Sum256(text) // of a row that is new, a part that cannot be made is absent cells
		copy(to, sum[:])
	}
}

func (w *work) flush() error {
	if w.rows == 0 {
		return nil
	}
	err := w.in.Chunk(w.rows, w.chunk)
	w.chunk, w.rows = w.chunk[:0], 0
	return err
}

func (w *work) flushMerged() error {
	if w.entries == 0 {
		return nil
	}
	err := w.in.Merged(w.entries, w.merged)
	w.merged, w.entries = w.merged[:0], 0
	return err
}
