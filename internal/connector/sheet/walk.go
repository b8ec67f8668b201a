package sheet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/strictjson"
)

type (
	// walker reads one answer; at is the offset of the next byte.
	walker struct {
		in    []byte
		at    int
		depth int
		plan  *Plan
		page  Page
		found bool   // the list
		row   *shape // of the rows
		made  []byte // what is left of the chunk that converted cells are written to

		objects uint64 // that were begun, so that a key given twice is seen
	}

	// shape is what the objects at one place were seen to hold. Rows of a list look
	// alike: a key that follows the one it followed before is known by one comparison.
	shape struct {
		members []member
		index   map[string]int // by name, once there are many
		root    bool           // a row of the list: its members may be columns
	}

	member struct {
		text   []byte // of the key, as it stood between the quotes
		name   []byte // what it means
		column int    // -1: not wanted
		below  *shape // of the objects in its value
		seen   uint64 // the object that had it last
	}
)

// fewKeys is how many keys of one object are compared one by one.
const fewKeys = 32

func (w *walker) document() error {
	w.space()
	err := w.envelope(0)
	if err != nil && !errors.Is(err, ErrNoList) {
		return err
	}
	w.space()
	if w.at < len(w.in) {
		return errJSON
	}
	return err
}

// envelope reads the object in which the next step to the list is, or the list.
func (w *walker) envelope(step int) error {
	if w.at == len(w.in) {
		return errJSON
	}
	switch {
	case w.in[w.at] == '[' && step > 0:
		return w.list()
	case w.in[w.at] != '{' || step == len(w.plan.List):
		if err := w.skip(&shape{}); err != nil {
			return err
		}
		return ErrNoList
	}
	if w.depth++; w.depth > strictjson.MaxDepth {
		return errJSON
	}
	last := step == len(w.plan.List)-1
	s := &shape{}
	var noList error
	err := w.object(s, func(m *member) error {
		if string(m.name) == w.plan.List[step] {
			err := w.envelope(step + 1)
			if errors.Is(err, ErrNoList) { // the rest of the answer is still checked
				noList, err = err, nil
			}
			return err
		}
		start := w.at
		if err := w.skip(m.descend()); err != nil {
			return err
		}
		if last {
			for i, name := range w.plan.Beside {
				if name == string(m.name) {
					w.page.Beside[i] = w.in[start:w.at:w.at]
				}
			}
		}
		return nil
	})
	if err == nil {
		err = noList
	}
	return err
}

// list reads the rows.
func (w *walker) list() error {
	if w.depth++; w.depth > strictjson.MaxDepth {
		return errJSON
	}
	w.found = true
	w.at++
	if w.space(); w.take(']') {
		w.depth--
		return nil
	}
	var wrong error
	for {
		w.space()
		switch {
		case w.at == len(w.in):
			return errJSON
		case w.in[w.at] == '{':
			if err := w.oneRow(); err != nil {
				return err
			}
		default:
			wrong = ErrNoList
			if err := w.skip(&shape{}); err != nil {
				return err
			}
		}
		w.space()
		switch {
		case w.take(','):
		case w.take(']'):
			w.depth--
			return wrong
		default:
			return errJSON
		}
	}
}

func (w *walker) oneRow() error {
	if w.depth++; w.depth > strictjson.MaxDepth {
		return errJSON
	}
	n, from := len(w.plan.Columns), len(w.page.Cells)
	var absent connector.Cell
	if w.plan.AbsentIsNull {
		absent = null
	}
	for range n {
		w.page.Cells = append(w.page.Cells, absent)
	}
	cells := w.page.Cells[from:]
	w.page.Rows++
	return w.object(w.row, func(m *member) error {
		if m.column < 0 {
			return w.skip(m.descend())
		}
		start := w.at
		if err := w.skip(m.descend()); err != nil {
			return err
		}
		cells[m.column] = w.shaped(w.plan.Columns[m.column].Form, w.in[start:w.at:w.at])
		return nil
	})
}

func (m *member) descend() *shape {
	if m.below == nil {
		m.below = &shape{}
	}
	return m.below
}

// object reads the members of the object under at, whose depth is counted already,
// and calls value at the beginning of each value.
func (w *walker) object(s *shape, value func(*member) error) error {
	w.at++
	if w.space(); w.take('}') {
		w.depth--
		return nil
	}
	w.objects++
	this := w.objects
	for next := 0; ; next++ {
		w.space()
		n, err := w.key(s, next)
		if err != nil {
			return err
		}
		m := &s.members[n]
		if m.seen == this {
			return errJSON // given twice
		}
		m.seen, next = this, n
		if w.space(); !w.take(':') {
			return errJSON
		}
		w.space()
		if err := value(m); err != nil {
			return err
		}
		w.space()
		switch {
		case w.take(','):
		case w.take('}'):
			w.depth--
			return nil
		default:
			return errJSON
		}
	}
}

// key reads a key and gives its place in the shape; next is where it is if this
// object is like those before.
func (w *walker) key(s *shape, next int) (int, error) {
	if w.at == len(w.in) || w.in[w.at] != '"' {
		return 0, errJSON
	}
	if next < len(s.members) {
		text := s.members[next].text
		if end := w.at + 1 + len(text); end < len(w.in) && w.in[end] == '"' && string(w.in[w.at+1:end]) == string(text) {
			w.at = end + 1
			return next, nil
		}
	}
	start := w.at
	if err := w.text(); err != nil {
		return 0, err
	}
	m := member{text: w.in[start+1 : w.at-1], column: -1}
	m.name = m.text
	if bytes.IndexByte(m.text, '\\') >= 0 {
		said, err := strictjson.Decode(w.in[start:w.at], "")
		if err != nil {
			return 0, errJSON
		}
		m.name = []byte(said.(string))
	}
	if n := s.find(m.name); n >= 0 {
		return n, nil
	}
	if s.root {
		m.column = w.plan.column(m.name)
	}
	s.members = append(s.members, m)
	if s.index != nil {
		s.index[string(m.name)] = len(s.members) - 1
	}
	return len(s.members) - 1, nil
}

func (s *shape) find(name []byte) int {
	if len(s.members) <= fewKeys {
		for i := range s.members {
			if string(s.members[i].name) == string(name) {
				return i
			}
		}
		return -1
	}
	if s.index == nil {
		s.index = make(map[string]int, 2*fewKeys)
		for i := range s.members {
			s.index[string(s.members[i].name)] = i
		}
	}
	if n, ok := s.index[string(name)]; ok {
		return n
	}
	return -1
}

// skip passes over the value under at.
func (w *walker) skip(s *shape) error {
	if w.at == len(w.in) {
		return errJSON
	}
	switch c := w.in[w.at]; {
	case c == '"':
		return w.text()
	case c == '-' || c >= '0' && c <= '9':
		n := numberLength(w.in[w.at:])
		if n == 0 {
			return errJSON
		}
		w.at += n
		return nil
	case c == '{':
		if w.depth++; w.depth > strictjson.MaxDepth {
			return errJSON
		}
		return w.object(s, func(m *member) error { return w.skip(m.descend()) })
	case c == '[':
		return w.skipList(s)
	case c == 't':
		return w.word("true")
	case c == 'f':
		return w.word("false")
	case c == 'n':
		return w.word("null")
	}
	return errJSON
}

func (w *walker) skipList(s *shape) error {
	if w.depth++; w.depth > strictjson.MaxDepth {
		return errJSON
	}
	w.at++
	if w.space(); w.take(']') {
		w.depth--
		return nil
	}
	for {
		w.space()
		if err := w.skip(s); err != nil {
			return err
		}
		w.space()
		switch {
		case w.take(','):
		case w.take(']'):
			w.depth--
			return nil
		default:
			return errJSON
		}
	}
}

// plain are the bytes of a string that need no second look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// allPlain reports whether none of eight bytes needs a second look: each is tested in
// its own eighth of the word, whose top bit says that it does.
func allPlain(word uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, backslash := word^(ones*'"'), word^(ones*'\\')
	return (word|(word-ones*0x20)|(quote-ones)&^quote|(backslash-ones)&^backslash)&tops == 0
}

// text passes over the string that begins at the quote under at.
func (w *walker) text() error {
	in, at := w.in, w.at+1
	for {
		for at+8 <= len(in) && allPlain(binary.LittleEndian.Uint64(in[at:])) {
			at += 8
		}
		for at < len(in) && plain[in[at]] {
			at++
		}
		if at == len(in) {
			return errJSON
		}
		switch c := in[at]; {
		case c == '"':
			w.at = at + 1
			return nil
		case c == '\\':
			n := escapeLength(in[at:])
			if n == 0 {
				return errJSON
			}
			at += n
		case c < 0x20:
			return errJSON
		default:
			r, size := utf8.DecodeRune(in[at:])
			if r == utf8.RuneError && size == 1 {
				return errJSON
			}
			at += size
		}
	}
}

func (w *walker) word(word string) error {
	if !bytes.HasPrefix(w.in[w.at:], []byte(word)) {
		return errJSON
	}
	w.at += len(word)
	return nil
}

func (w *walker) space() {
	for w.at < len(w.in) {
		switch w.in[w.at] {
		case ' ', '\t', '\n', '\r':
			w.at++
		default:
			return
		}
	}
}

func (w *walker) take(c byte) bool {
	if w.at < len(w.in) && w.in[w.at] == c {
		w.at++
		return true
	}
	return false
}
