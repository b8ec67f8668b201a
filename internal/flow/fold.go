package flow

import (
	"maps"
	"slices"
)

// MostOthers bounds the other records that a net change tells of. Who folds more into
// one that is Full loses the oldest.
const MostOthers = 50

// Fold adds the next event of a window to what the window comes to so far; the zero
// NetChange is the empty window. key is the business key; was and row are the record
// before and after the event as far as they are known, and the rows that a fold gives
// share nothing with them but values.
//
// For each record it gives what applying its events one by one would: the columns
// whose value differs between the state before the first and the state after the last.
// A column of which nothing was known before counts as changed for good.
func (r *Reaction) Fold(net NetChange, key string, e Occurrence, was, row Row) NetChange {
	source := e.Connection + "." + e.Table
	events, first := net.Events, net.First
	others := net.Others
	net.Others = nil
	so := net
	if net.Events > 0 && (net.Source != source || net.Record != e.Record) {
		at := slices.IndexFunc(others, func(o NetChange) bool { return o.Source == source && o.Record == e.Record })
		so = NetChange{}
		rest := slices.Clone(others)
		if at >= 0 {
			so = others[at]
			rest = slices.Delete(rest, at, at+1)
		}
		if others = rest; !net.Void {
			others = append(others, net)
		}
		others = others[max(0, len(others)-MostOthers):]
	}
	made := so.Change == Created || so.Change == Deleted && so.Void
	so = so.next(e, was, row)
	so.Key, so.Source, so.Record = key, source, e.Record
	so.Void = r.void(so, e, made)
	if so.Void && len(others) > 0 {
		// What came to nothing does not speak for the window.
		so, others = others[len(others)-1], others[:len(others)-1]
	}
	so.Others = others
	so.Events = events + 1
	if so.First, so.Last = first, e.At; events == 0 {
		so.First = e.At
	}
	return so
}

// Full reports whether no further record has a place in n: its window ends.
func (n NetChange) Full() bool { return len(n.Others) >= MostOthers }

// next applies one event of the same record.
func (n NetChange) next(e Occurrence, was, row Row) NetChange {
	after := maps.Clone(row)
	if !e.Whole && n.Events > 0 { // what the event does not tell of is as it was
		after = maps.Clone(n.Row)
		if after == nil {
			after = Row{}
		}
		maps.Copy(after, row)
	}
	if after == nil {
		after = Row{}
	}
	out := NetChange{Row: after, Was: Row{}, Change: n.kind(e.Change), Events: n.Events + 1, First: n.First, Last: e.At}
	if n.Events == 0 {
		out.First = e.At
	}
	before := func(column string) (any, bool) {
		if slices.Contains(n.Changed, column) {
			v, ok := n.Was[column]
			return v, ok
		}
		if v, ok := n.Row[column]; ok {
			return v, true
		}
		v, ok := was[column]
		return v, ok
	}
	columns := make(map[string]bool, len(after))
	for _, r := range []Row{after, n.Row, n.Was} {
		for c := range r {
			columns[c] = true
		}
	}
	if n.Events == 0 && e.Whole {
		for c := range was {
			columns[c] = true
		}
	}
	for _, c := range slices.Sorted(maps.Keys(columns)) {
		old, known := before(c)
		now, there := after[c]
		if known == there && (!known || Same(old, now)) {
			continue
		}
		out.Changed = append(out.Changed, c)
		if known {
			out.Was[c] = old
		}
	}
	return out
}

// kind is the change that n and one more come to.
func (n NetChange) kind(c ChangeType) ChangeType {
	switch {
	case n.Events == 0 || c == Deleted:
		return c
	case n.Change == Deleted && n.Void, n.Change == Created:
		return Created
	}
	return Updated
}

// void reports whether a record's net change comes to nothing that matters; made: the
// window has made the record.
func (r *Reaction) void(so NetChange, e Occurrence, made bool) bool {
	switch so.Change {
	case Created:
		return false
	case Deleted:
		return made
	case Updated:
	}
	matter, all := r.Matters(e.Connection, e.Table)
	if all {
		return len(so.Changed) == 0
	}
	return !slices.ContainsFunc(so.Changed, func(c string) bool { return slices.Contains(matter, c) })
}

// Matters gives the columns of a table that some trigger selects; all says that one
// reacts to any column.
func (r *Reaction) Matters(connection, table string) (columns []string, all bool) {
	for i := range r.On {
		t := &r.On[i]
		if t.Connection != connection || t.Table != table || !slices.Contains(t.Change, Updated) {
			continue
		}
		if len(t.Select) == 0 {
			return nil, true
		}
		columns = append(columns, t.Select...)
	}
	return columns, len(columns) == 0
}
