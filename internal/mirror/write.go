package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// writer writes what is pending of one table to our system, under one lease.
	writer struct {
		*sight
		system  connector.Versioned
		writing *replica.Writing
		done    *tally
		ids     map[string]string // of the columns that were allowed, by name
		lease   time.Time         // when another may take over
	}

	// plan is one order beside what the system has of its record.
	plan struct {
		order   replica.Order
		row     connector.Row // to write: key and values
		base    connector.Row // what it had, as our system takes it
		key     connector.Row // the record's key in the system now
		version string
		remove  bool
		tried   bool             // it was sent, and the record is not as it was thought to be
		settled *replica.Settled // nil: it is to be sent
	}
)

const (
	leaseFor = 30 * time.Second
	// sends is how many records go in one request of a connector, and sendsInOrder to a
	// system that we follow by its log: a database, which takes them in one transaction.
	sends        = 500
	sendsInOrder = 5000
	// soonAgain is how long an order waits whose record was edited or deleted, which nobody
	// observed yet, and unseen how often: after that it is nothing that the source tells of.
	// untold is how often it waits for a value of which nothing was ever known.
	soonAgain = time.Second
	unseen    = 120
	untold    = 3

	codeVersion   = "connector.version"
	codeReference = "connector.reference"
	codeTruncated = "connector.truncated"
)

// write writes what came and then what else is pending of a table; false: another does.
func (s *Side) write(ctx context.Context, t *flow.SyncTable, b *backlog, done *tally) (ours bool, err error) {
	system, ok := s.System.(connector.Versioned)
	if !ok {
		return false, s.lacks("write only what nobody else has written meanwhile")
	}
	writing, err := s.Replica.Write(ctx, s.Place, t.Name, leaseFor)
	b.begin(writing)
	if err != nil || writing == nil {
		return false, err
	}
	w := &writer{system: system, writing: writing, done: done, lease: time.Now().Add(leaseFor * 4 / 5)}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.Replica.Release(ctx, s.Place, writing)
	}()
	portion := sends
	if s.ordered() {
		portion = sendsInOrder
	}
	for ctx.Err() == nil && !b.paused.Load() {
		orders, err := b.next(func() ([]replica.Order, error) { return s.Replica.Pending(ctx, s.Place, writing, portion) })
		if err != nil || len(orders) == 0 {
			return true, err
		}
		if w.sight == nil { // what is read here may be told to others: only columns that are what was allowed
			d, err := s.bound(ctx, t)
			if err != nil {
				return true, err
			}
			w.sight, w.ids = s.look(t, d.stray), d.ids
		}
		settled, err := w.carry(ctx, orders)
		if err != nil {
			return true, err
		}
		counts, err := s.Replica.Settle(ctx, s.Place, writing, settled)
		if err != nil {
			return true, fmt.Errorf("noting what became of records of %s: %w", t.Name, err)
		}
		w.lease = time.Now().Add(leaseFor * 4 / 5)
		counts.Changes = 0 // counted as they came
		done.add(0, counts)
		b.written(len(orders))
		if counts.Outcomes[flow.SyncApplied] > 0 {
			for _, child := range s.children(t.Name) {
				if _, err := s.Replica.Wake(ctx, s.Place, child); err != nil {
					return true, err
				}
			}
		}
	}
	return true, nil
}

// held is why nothing may be sent any more.
func (w *writer) held() error {
	if time.Now().After(w.lease) {
		return fault.New(fault.Unavailable, "sync.lease", "another attempt may have taken over", nil)
	}
	if w.Held != nil {
		return w.Held()
	}
	return nil
}

// carry compares orders with what the system has, and sends what it lacks.
func (w *writer) carry(ctx context.Context, orders []replica.Order) ([]replica.Settled, error) {
	plans := make([]*plan, len(orders))
	for i, o := range orders {
		plans[i] = &plan{order: o}
	}
	if err := w.refer(ctx, plans); err != nil {
		return nil, err
	}
	if err := w.over(ctx, plans); err != nil {
		return nil, err
	}
	if err := w.read(ctx, plans); err != nil {
		return nil, err
	}
	if err := w.remove(ctx, plans); err != nil {
		return nil, err
	}
	if err := w.upsert(ctx, plans); err != nil {
		return nil, err
	}
	settled := make([]replica.Settled, 0, len(plans))
	for _, p := range plans {
		if p.settled != nil {
			p.settled.Order = p.order
			settled = append(settled, *p.settled)
		}
	}
	return settled, nil
}

// refer makes rows of orders: of what a value refers to, our system's own ID.
func (w *writer) refer(ctx context.Context, plans []*plan) error {
	ids := map[string]map[string]string{} // by table, by reference
	for i, c := range w.table.Columns {
		if c.Refers == "" {
			continue
		}
		var refs []string
		for _, p := range plans {
			for _, values := range [][][]byte{p.order.Set, p.order.Base} {
				if values != nil && values[i] != nil && string(values[i]) != "null" {
					refs = append(refs, string(values[i]))
				}
			}
		}
		if len(refs) == 0 {
			continue
		}
		slices.Sort(refs)
		known, err := w.Replica.IDs(ctx, w.Place, c.Refers, slices.Compact(refs))
		if err != nil {
			return err
		}
		if ids[c.Refers] == nil {
			ids[c.Refers] = map[string]string{}
		}
		for ref, id := range known {
			ids[c.Refers][ref] = id
		}
	}
	for _, p := range plans {
		if err := w.row(p, ids); err != nil {
			return err
		}
	}
	return nil
}

// row makes the row of one order.
func (w *writer) row(p *plan, ids map[string]map[string]string) error {
	was := p.order.Key
	if p.order.Was != nil {
		was = p.order.Was
	}
	var err error
	if p.key, err = keyRow(w.table, was); err != nil {
		return err
	}
	if p.row, err = keyRow(w.table, p.order.Key); err != nil || p.order.Delete {
		return err
	}
	p.base = connector.Row{}
	for i, c := range w.table.Columns {
		if !w.told[i] {
			if p.order.Set != nil && p.order.Set[i] != nil {
				p.settled = waits("sync.column_changed", "column "+c.Name+" is another one than the one that was allowed", soonAgain)
				return nil
			}
			continue
		}
		for _, part := range []struct {
			values [][]byte
			into   connector.Row
		}{{p.order.Set, p.row}, {p.order.Base, p.base}} {
			if part.values == nil || part.values[i] == nil {
				continue
			}
			x, known, err := w.taken(c, part.values[i], ids)
			switch {
			case err != nil:
				return err
			case known:
				part.into[c.Name] = x
			case part.values[i] != nil && p.order.Set != nil && p.order.Set[i] != nil:
				p.settled = waits(replica.CodeParent, "the record of "+c.Refers+" that it refers to is not there yet", 0)
				return nil
			}
		}
	}
	return nil
}

// taken is a value as our system takes it; false: it refers to a record that is not there.
func (w *writer) taken(c flow.SyncColumn, text []byte, ids map[string]map[string]string) (x any, known bool, err error) {
	if c.Refers == "" || string(text) == "null" {
		x, err = value(text, c.Name)
		return x, true, err
	}
	id, known := ids[c.Refers][string(text)]
	if known {
		x, err = w.lookup(c.Refers, id)
	}
	return x, known, err
}

// lookup is the value by which our system refers to a record: its ID, or the one part of
// its key.
func (w *writer) lookup(table, id string) (any, error) {
	if w.idOf(table) != "" {
		return id, nil
	}
	return strict([]byte(id))
}

func waits(code, text string, retry time.Duration) *replica.Settled {
	return &replica.Settled{Outcome: flow.SyncWaiting, Code: code, Text: text, Retry: retry}
}

// read looks at what the system has, and settles what needs no write or must wait.
func (w *writer) read(ctx context.Context, plans []*plan) error {
	var asked []*plan
	var keys []connector.Row
	for _, p := range plans {
		switch o := &p.order; {
		case p.settled != nil:
		case w.ordered() && o.Create && !o.Check && o.Attempts == 0 && !p.tried:
			// Whether it is there, the write tells, which makes what is not there alone; one that
			// is there has an edit that nobody has observed yet, and is looked at the next time.
			p.complete()
		default:
			asked, keys = append(asked, p), append(keys, p.key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	rows, err := w.now(ctx, keys)
	if err != nil {
		return err
	}
	var found []seen
	for _, r := range rows {
		if r.Row != nil {
			found = append(found, seen{row: r.Row, at: r.At})
		}
	}
	now, err := w.observed(ctx, found, 0)
	if err != nil {
		return err
	}
	var edits []replica.Observed
	for i, p := range asked {
		var has *replica.Observed
		if rows[i].Row != nil {
			has, now = &now[0], now[1:]
		}
		switch edit := w.compare(p, rows[i].Version, has); {
		case edit == 0:
			continue
		case edit == unknown && p.order.Attempts >= untold:
			// It may be of any age: the reader tells of it only if it was or is read for what is there.
		case (w.ordered() || has.At.IsZero()) && p.order.Attempts < unseen:
			continue // the reader, who knows the order of edits and their times, is waited for
		case has.At.IsZero():
			has.At = time.Now()
		}
		edits = append(edits, *has)
	}
	if len(edits) == 0 {
		return nil
	}
	counts, err := w.Replica.ObserveNow(ctx, w.Place, w.table.Name, edits)
	w.done.add(1, counts)
	return err
}

// ordered reports whether the source tells each edit in its order. What it tells late must
// be known as older than our own writes, so that each is made for its place in that order,
// even of values that are there.
func (s *Side) ordered() bool {
	_, ok := s.System.(connector.Tailer)
	return ok
}

// now reads records with their versions and, where the system has that, when they were
// changed.
func (w *writer) now(ctx context.Context, keys []connector.Row) ([]connector.VersionedRow, error) {
	if reader, ok := w.System.(connector.FeedReader); ok {
		return reader.ReadFeed(ctx, connector.FeedTable{Table: w.table.Name, Key: w.table.Key, Columns: w.asked, IDs: w.ids}, keys)
	}
	return w.system.ReadVersions(ctx, w.table.Name, w.table.Key, keys, w.asked)
}

// What a record has that nobody has observed yet.
const (
	changed = iota + 1 // another value than it had
	unknown            // a value in a column of which it was not known what it had
)

// compare decides what becomes of an order by what the system has of its record; not 0: it
// has something there that nobody has observed yet, which comes first.
func (w *writer) compare(p *plan, version string, has *replica.Observed) (edit int) {
	o := &p.order
	p.version = version
	switch {
	case has == nil && o.Delete, has == nil && o.Check:
		p.settled = &replica.Settled{Outcome: flow.SyncApplied}
	case has == nil && !o.Create && o.Attempts < unseen:
		p.settled = waits(replica.CodeUnobserved, "the system has no such record any more, and its deletion is not observed yet", soonAgain)
	case has == nil: // to be made
		p.complete()
	case o.Create, w.edited(o, has) == changed:
		p.settled = waits(replica.CodeUnobserved, "the record has an edit that was not observed yet", soonAgain)
		edit = changed
	case w.edited(o, has) == unknown:
		p.settled = waits(replica.CodeUnobserved, "the record has a value that was not observed yet", soonAgain)
		edit = unknown
	case o.Check:
		p.settled = &replica.Settled{Outcome: flow.SyncApplied}
	case o.Delete:
		p.remove = true
	case o.Was == nil && !w.ordered() && w.holds(o.Set, has.Values):
		p.settled = &replica.Settled{Outcome: flow.SyncApplied, ID: has.ID}
	}
	if has != nil && o.ID == "" {
		o.ID = has.ID
	}
	return edit
}

// edited tells whether a record has other values than we believe it has, and than we
// would write. What we would write over without knowing of it is unknown. One that names a
// record which is not known yet is waited for a while.
func (w *writer) edited(o *replica.Order, row *replica.Observed) (edit int) {
	has := row.Values
	for i, c := range w.table.Columns {
		known, set := o.Base != nil && o.Base[i] != nil, o.Set != nil && o.Set[i] != nil
		switch {
		case set && row.Awaits != nil && row.Awaits[i] != "" && o.Attempts < unseen:
			return changed
		case has[i] == nil, known && replica.Same(c.Type, has[i], o.Base[i]), set && replica.Same(c.Type, has[i], o.Set[i]):
		case known:
			return changed
		case set && string(has[i]) != "null":
			edit = unknown
		}
	}
	return edit
}

// holds reports whether a record has all values that are to be written.
func (w *writer) holds(set, has [][]byte) bool {
	for i, c := range w.table.Columns {
		if set != nil && set[i] != nil && (has[i] == nil || !replica.Same(c.Type, set[i], has[i])) {
			return false
		}
	}
	return true
}

// complete adds to the row of a record that is to be made what it had before.
func (p *plan) complete() {
	for name, x := range p.base {
		if _, set := p.row[name]; !set {
			p.row[name] = x
		}
	}
}

// remove deletes records.
func (w *writer) remove(ctx context.Context, plans []*plan) error {
	var due []*plan
	d := connector.Delete{Table: w.table.Name, Key: w.table.Key, Held: w.held, Origin: w.origin()}
	var versions []string
	for _, p := range plans {
		if p.settled == nil && p.remove {
			due, versions, d.Keys = append(due, p), append(versions, p.version), append(d.Keys, p.key)
		}
	}
	if len(due) == 0 {
		return nil
	}
	results, err := w.system.DeleteAt(ctx, d, versions)
	return w.results(ctx, due, results, err)
}

// upsert writes records, those with the same columns together. A record whose key changes
// is found by the system's own ID.
func (w *writer) upsert(ctx context.Context, plans []*plan) error {
	groups := map[string][]*plan{}
	for _, p := range plans {
		if p.settled != nil || p.remove {
			continue
		}
		group := ""
		if p.order.Was != nil && p.version != "" {
			if w.id == "" {
				if err := w.rekey(ctx, p); err != nil {
					return err
				}
				continue
			}
			group, p.row[w.id] = w.id, p.order.ID
		}
		b := append(make([]byte, 0, len(group)+1+len(w.table.Columns)), group...)
		b = append(b, 0)
		for _, c := range w.table.Columns { // of the key all are there
			if _, there := p.row[c.Name]; there {
				b = append(b, '1')
			} else {
				b = append(b, '0')
			}
		}
		group = string(b)
		groups[group] = append(groups[group], p)
	}
	for group, due := range groups {
		u := connector.Upsert{Table: w.table.Name, Key: w.table.Key, Held: w.held, Origin: w.origin()}
		if by, _, _ := strings.Cut(group, "\x00"); by != "" {
			u.Key = []string{by}
		}
		var versions []string
		for _, p := range due {
			u.Rows, versions = append(u.Rows, p.row), append(versions, p.version)
		}
		results, err := w.system.UpsertAt(ctx, u, versions)
		if err := w.results(ctx, due, results, err); err != nil {
			return err
		}
		if err := w.named(ctx, due); err != nil {
			return err
		}
	}
	return nil
}

// rekey changes the key of a record in a system that knows it by nothing else: it is made
// anew, and what it was goes.
func (w *writer) rekey(ctx context.Context, p *plan) error {
	p.complete()
	u := connector.Upsert{Table: w.table.Name, Key: w.table.Key, Rows: []connector.Row{p.row}, Held: w.held, Origin: w.origin()}
	results, err := w.system.UpsertAt(ctx, u, []string{""})
	if err := w.results(ctx, []*plan{p}, results, err); err != nil || p.settled.Outcome != flow.SyncApplied {
		return err
	}
	d := connector.Delete{Table: w.table.Name, Key: w.table.Key, Keys: []connector.Row{p.key}, Held: w.held, Origin: w.origin()}
	results, err = w.system.DeleteAt(ctx, d, []string{p.version})
	return w.results(ctx, []*plan{p}, results, err)
}
