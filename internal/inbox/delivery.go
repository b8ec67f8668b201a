package inbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// delivery is what is committed for one caller.
	delivery struct {
		plan    *flow.Plan
		judge   Judge
		entries []*entry
		counts  map[string]int64 // by stage, of events that leave nothing else
		receipt flow.Receipt
		// swept: change tracking found them; what somebody told already leaves nothing.
		// baseline: what is not known yet is remembered, and is no event.
		swept, baseline bool
	}

	// entry is one event on its way.
	entry struct {
		flow.Occurrence
		source string
		id     hash  // of its ID
		sum    hash  // of what it says
		row    int64 // its row in table event
		// learned: it has a row already, its record had to be read first. again: it was
		// rejected or dead, and a person has it judged again. gone: its row is decided
		// meanwhile.
		learned, again, gone bool
		redriven             int32  // 1: a person has it judged again now
		by                   string // that person

		verdict  flow.Verdict
		was, now flow.Row // the record before and after, as far as they are known
		window   *window
		known    bool // a duplicate
		silent   bool // it leaves nothing but what is known of its record
	}

	hash [16]byte

	// place is what is known of one record.
	place struct{ flow, source, record string }
)

func newDelivery(plan *flow.Plan, judge Judge, events []flow.Occurrence) (*delivery, error) {
	d := &delivery{plan: plan, judge: judge, counts: map[string]int64{}, receipt: flow.Receipt{Outcomes: map[string]int{}}}
	for _, e := range events {
		d.counts[stageReceived]++
		if plan.Reaction.Counts && !e.Trimmed && e.Unreadable == nil {
			if verdict, sure := judge.Screen(e); sure && verdict.Reason != "" && verdict.Reason != flow.EventRejected {
				d.count(verdict)
				continue
			}
		}
		n, err := newEntry(plan, e)
		if err != nil {
			return nil, err
		}
		d.entries = append(d.entries, n)
	}
	return d, nil
}

// count notes an event that leaves a counter only.
func (d *delivery) count(v flow.Verdict) {
	d.counts[stageOf(v.Reason, v.Clause)]++
	d.receipt.Accepted++
	d.receipt.Outcomes[string(v.Reason)]++
}

func newEntry(plan *flow.Plan, e flow.Occurrence) (*entry, error) {
	// What it says is all of it, whatever of that the plan in force has a use for.
	after, err := encode(e.After)
	if err != nil {
		return nil, err
	}
	before, err := encode(e.Before)
	if err != nil {
		return nil, err
	}
	sum := hashOf([]byte(e.Table), []byte(e.Record), []byte(e.Change), []byte(strconv.FormatInt(e.Version, 10)), after, before)
	columns := watched(plan, e.Connection, e.Table)
	e.After, e.Before = only(e.After, columns), only(e.Before, columns)
	e.Record, e.Origin = store.Text(e.Record), store.Text(e.Origin)
	return &entry{Occurrence: e, source: e.Connection + "." + e.Table, id: hashOf([]byte(e.Connection), []byte(e.ID)), sum: sum}, nil
}

// reset forgets what a transaction found that did not come to its end.
func (d *delivery) reset() {
	for _, n := range d.entries {
		n.verdict, n.was, n.now, n.window, n.known, n.silent = flow.Verdict{}, nil, nil, nil, false, false
		if n.learned {
			n.Trimmed = false
		} else {
			n.row = 0
		}
	}
}

func (n *entry) place(flow string) place { return place{flow, n.source, n.Record} }

// watched are the columns of a table that a plan has a use for; nil for a table that
// it does not know, of which nothing is kept (promise 5).
func watched(plan *flow.Plan, connection, table string) []string {
	var columns []string
	for i := range plan.Reaction.On {
		if t := &plan.Reaction.On[i]; t.Connection == connection && t.Table == table {
			for _, c := range t.Columns {
				if !slices.Contains(columns, c) {
					columns = append(columns, c)
				}
			}
		}
	}
	return columns
}

// only is row without other columns; nil stays nil.
func only(row flow.Row, columns []string) flow.Row {
	if row == nil {
		return nil
	}
	out := make(flow.Row, min(len(row), len(columns)))
	for _, c := range columns {
		if v, ok := row[c]; ok {
			out[c] = v
		}
	}
	return out
}

func hashOf(parts ...[]byte) hash {
	h := sha256.New()
	for _, p := range parts {
		var size [8]byte
		n := strconv.AppendInt(size[:0], int64(len(p)), 10)
		h.Write(n)
		h.Write([]byte{0})
		h.Write(p)
	}
	return hash(h.Sum(nil)[:16])
}

// decode reads JSON of our own, numbers as json.Number: a decimal stays exact.
func decode(body []byte, into any) error {
	if len(body) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return d.Decode(into)
}

func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fault.New(fault.Bug, "inbox.encode", "a value of an event cannot be encoded", err)
	}
	return body, nil
}

// The stages of the funnel besides the reasons.
const (
	stageReceived  = "received"
	stageDuplicate = "duplicate"
	stageSwept     = "swept"
	stageRedriven  = "redriven"
)

// stageOf names a reason and its clause.
func stageOf(reason flow.EventReason, clause string) string {
	if clause == "" {
		return string(reason)
	}
	return string(reason) + ":" + store.Text(strings.TrimSpace(clause))
}
