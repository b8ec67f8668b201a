package flowfile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"patchbay/internal/advice"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
)

type (
	// rejectDoc is a row that must be rejected.
	rejectDoc struct {
		at
		source   text
		key      text
		identity text
		code     text
	}

	// countsDoc is what must become of how many rows; what is left out is not compared.
	countsDoc struct {
		at
		sources dict[sourceCountDoc, *sourceCountDoc]
		target  targetCountDoc
	}

	sourceCountDoc struct {
		at
		read, staged, used, unmatched, duplicate, rejected whole
	}

	targetCountDoc struct {
		at
		keys, written, rejected whole
	}

	// gatherer does for a test what a run does with what it has read: it packs, joins and
	// maps by package join, and lets the rules of advise make the plans.
	gatherer struct {
		plan *flow.Plan
		join *join.Plan
		spec *advice.Spec // nil: the flow advises nothing
	}

	// gathered is one source of a test.
	gathered struct {
		source  *flow.Source
		missing bool
		stale   bool
		asOf    time.Time
		rows    []packedRow // as a stage would give them
		next    int
		given   []flow.Row
		count   flow.SourceCount
	}

	// packedRow keeps what a join.Row points into.
	packedRow struct {
		join.Row
		given int
	}

	// picture is what came out of a test.
	picture struct {
		keys    []string
		rows    []flow.Row
		rejects []flow.RejectedRow
		counts  flow.Completeness
		plans   []flow.Row
	}
)

// The faults of a run that is held because of a source.
const (
	codeMissing = "source.missing"
	codeTooOld  = "source.too_old"
)

func (d *rejectDoc) fields() []field {
	return []field{
		{key: "source", into: &d.source, example: "orders", doc: "Of which source; left out: a row of the target."},
		{key: "key", into: &d.key, doc: "Its key; left out, it is not compared."},
		{key: "identity", into: &d.identity, doc: "The columns of its identity, with a comma between them; left out, they are not compared."},
		{key: "code", into: &d.code, required: true, advice: "map.key_missing", example: "stage.key_missing", doc: "Why."},
	}
}

func (d *countsDoc) fields() []field {
	return []field{
		{key: "sources", into: &d.sources, example: object{"orders": object{"used": 2, "unmatched": 1}}, doc: "Source: how many of its rows."},
		{key: "target", into: &d.target, doc: "Rows of the target, which is empty before."},
	}
}

func (d *sourceCountDoc) fields() []field {
	const most = 1 << 40
	return []field{
		{key: "read", into: &d.read, max: most, doc: "Rows that were given: staged + rejected."},
		{key: "staged", into: &d.staged, max: most, doc: "Rows that are good: used + unmatched + duplicate."},
		{key: "used", into: &d.used, max: most, doc: "Rows of a key that became a row of the target."},
		{key: "unmatched", into: &d.unmatched, max: most, doc: "Rows of keys that the base does not have."},
		{key: "duplicate", into: &d.duplicate, max: most, doc: "Rows that a later one of the same identity replaces."},
		{key: "rejected", into: &d.rejected, max: most, doc: "Rows that do not fit."},
	}
}

func (d *targetCountDoc) fields() []field {
	const most = 1 << 40
	return []field{
		{key: "keys", into: &d.keys, max: most, doc: "Keys: written + rejected."},
		{key: "written", into: &d.written, max: most, doc: "Rows that are written."},
		{key: "rejected", into: &d.rejected, max: most, doc: "Keys that became no row."},
	}
}

func newGatherer(plan *flow.Plan) (*gatherer, error) {
	j, err := join.NewPlan(plan)
	if err != nil {
		return nil, err
	}
	g := &gatherer{plan: plan, join: j}
	if plan.Advise != nil {
		byRules := *plan.Advise
		byRules.Attempts = 0 // nothing is called
		if g.spec, err = advice.New(byRules); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// run gives what differs from what a test expects.
func (g *gatherer) run(d *testDoc) string {
	if !d.sources.given() && !d.missing.given() {
		return "a consolidation is tested by sources, and the test gives none"
	}
	if d.params.given() || d.events.given() || d.rows.given() {
		return "a consolidation is tested by sources, and the test gives params, events or given"
	}
	if diff := g.unread(d); diff != "" {
		return diff
	}
	out, err := g.carry(d)
	want := d.expectFault.value
	switch {
	case err != nil && want == "":
		return "- rows\n+ fault " + fault.Of(err).Error()
	case err != nil && fault.Of(err).Code != want:
		return fmt.Sprintf("- fault %s\n+ fault %s", want, fault.Of(err).Error())
	case err != nil:
		return ""
	case want != "":
		return fmt.Sprintf("- fault %s\n+ %d rows", want, len(out.rows))
	}
	return strings.Join(d.expect.pictures(out), "\n")
}

// unread refuses what no connector would give.
func (g *gatherer) unread(d *testDoc) string {
	names := sourceNames(g.plan.Gather)
	unknown := func(section, name string) string {
		return fmt.Sprintf("%s: the flow has no source %q; %s", section, name, suggest(name, names, ""))
	}
	for _, e := range d.sources.entries {
		i := slices.Index(names, e.key)
		if i < 0 {
			return unknown("sources", e.key)
		}
		for n, row := range e.value.items {
			for _, column := range slices.Sorted(maps.Keys(row.value)) {
				if known := g.plan.Gather.Sources[i].Select; !slices.Contains(known, column) {
					return fmt.Sprintf("sources.%s, row %d: the flow does not read %q; %s", e.key, n, column, suggest(column, known, "select it or remove it"))
				}
			}
		}
	}
	for _, e := range d.stale.entries {
		if !slices.Contains(names, e.key) {
			return unknown("stale", e.key)
		}
	}
	for _, m := range d.missing.items {
		if !slices.Contains(names, m.value) {
			return unknown("missing", m.value)
		}
	}
	return ""
}

// carry takes the given rows as far as a run would write them.
func (g *gatherer) carry(d *testDoc) (*picture, error) {
	sources, err := g.read(d)
	if err != nil {
		return nil, err
	}
	out := &picture{counts: flow.Completeness{Sources: map[string]flow.SourceCount{}}}
	in := join.Input{
		Streams: make([]join.Stream, len(sources)), AsOf: make([]time.Time, len(sources)), Rows: 1 << 20,
		Chunk: out.chunk(g.join.Columns()),
		Reject: func(r flow.RejectedRow) error {
			out.rejects = append(out.rejects, r)
			return nil
		},
	}
	for i, s := range sources {
		if s.missing {
			continue
		}
		if err := s.pack(g.plan.Flow, out); err != nil {
			return nil, err
		}
		in.Streams[i], in.AsOf[i] = s, s.asOf
	}
	counts, err := g.join.Run(context.Background(), in)
	if err != nil {
		return nil, err
	}
	for i, s := range sources {
		c := counts.Sources[i]
		c.Rejected = s.count.Rejected
		c.Read = c.Staged + c.Rejected
		out.counts.Sources[s.source.Name] = c
	}
	out.counts.Target = flow.TargetCount{Keys: counts.Keys, Written: counts.Changed, Rejected: counts.Rejected}
	return out, g.advise(sources, out)
}

// read says of each source which rows are used, and holds the run where its policy does.
func (g *gatherer) read(d *testDoc) ([]*gathered, error) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if d.now.value != "" {
		given, err := time.Parse(time.RFC3339, d.now.value)
		if err != nil {
			return nil, fault.Invalidf("test.at", "at is no time such as 2026-01-31T06:00:00Z")
		}
		at = given
	}
	out := make([]*gathered, len(g.plan.Gather.Sources))
	for i := range out {
		s := &gathered{source: &g.plan.Gather.Sources[i], asOf: at}
		out[i] = s
		name := s.source.Name
		for _, e := range d.sources.entries {
			for _, row := range e.value.items {
				if e.key == name {
					s.given = append(s.given, row.value)
				}
			}
		}
		for _, m := range d.missing.items {
			s.missing = s.missing || m.value == name
		}
		age := time.Duration(0)
		for _, e := range d.stale.entries {
			if e.key == name {
				s.stale, age = true, e.value.value
			}
		}
		s.asOf = at.Add(-age)
		if !s.stale && !s.missing {
			continue
		}
		policy := s.source.OnMissing
		switch {
		case policy == flow.Partial:
			s.missing = true // what was read before is not used
		case policy == flow.LastGood && s.stale && !s.missing && s.source.Stale > 0 && age > s.source.Stale:
			return nil, fault.New(fault.Rejected, codeTooOld, fmt.Sprintf("what was read last of %s is older than %s", name, s.source.Stale), nil)
		case policy != flow.LastGood || s.missing:
			return nil, fault.New(fault.Rejected, codeMissing, fmt.Sprintf("nothing is written without %s", name), nil)
		}
	}
	return out, nil
}

// pack does what a stage does: it checks each row and sorts those that fit by key,
// identity and the order they came in.
func (s *gathered) pack(flowName string, out *picture) error {
	packer, err := join.NewPacker(flowName, *s.source)
	if err != nil {
		return err
	}
	sheet := flow.Sheet{Columns: s.source.Select}
	for _, row := range s.given {
		for _, column := range s.source.Select {
			v, there := row[column]
			if !there {
				sheet.Cells = append(sheet.Cells, nil)
				continue
			}
			cell, err := json.Marshal(v)
			if err != nil {
				return err
			}
			sheet.Cells = append(sheet.Cells, cell)
		}
	}
	latest := map[string]int{} // identity → place in s.rows
	_, err = packer.Pack(sheet, 0, "given", func(r join.Row) {
		row := packedRow{Row: join.Row{Key: bytes.Clone(r.Key), Ident: bytes.Clone(r.Ident), Hash: r.Hash, N: r.N, Cells: bytes.Clone(r.Cells)}, given: int(r.N)}
		if before, twice := latest[string(row.Ident)]; twice && !bytes.Equal(s.rows[before].Key, row.Key) {
			s.rows[before].N = -1 - s.rows[before].N // a later row has moved it to another key
		}
		latest[string(row.Ident)] = len(s.rows)
		s.rows = append(s.rows, row)
	}, func(r flow.RejectedRow, _ []byte) {
		s.count.Rejected++
		out.rejects = append(out.rejects, r)
	})
	slices.SortFunc(s.rows, func(a, b packedRow) int {
		return cmp.Or(bytes.Compare(a.Key, b.Key), bytes.Compare(a.Ident, b.Ident), cmp.Compare(a.N, b.N))
	})
	return err
}

// Next implements join.Stream.
func (s *gathered) Next() (join.Row, error) {
	if s.next >= len(s.rows) {
		return join.Row{}, io.EOF
	}
	s.next++
	return s.rows[s.next-1].Row, nil
}

// of are the given rows of a key, of each identity the latest.
func (s *gathered) of(key string) []flow.Row {
	var out []flow.Row
	for i, r := range s.rows {
		last := i+1 == len(s.rows) || !bytes.Equal(s.rows[i+1].Key, r.Key) || !s.source.One && !bytes.Equal(s.rows[i+1].Ident, r.Ident)
		if string(r.Key) == key && r.N >= 0 && last {
			out = append(out, s.given[r.given])
		}
	}
	return out
}

// chunk decodes target rows.
func (out *picture) chunk(columns []string) func(int, []byte) error {
	return func(rows int, body []byte) error {
		c, err := join.ReadChunk(columns, bytes.Clone(body), rows)
		if err != nil {
			return err
		}
		for i, key := range c.Keys {
			row := flow.Row{}
			for j, cell := range c.Sheet.Row(i) {
				if cell == nil {
					continue
				}
				var v any
				dec := json.NewDecoder(bytes.NewReader(cell))
				dec.UseNumber()
				if err := dec.Decode(&v); err != nil {
					return err
				}
				row[columns[j]] = v
			}
			out.keys, out.rows = append(out.keys, key), append(out.rows, row)
		}
		return nil
	}
}

// advise lets the rules make a plan for each row of the target.
func (g *gatherer) advise(sources []*gathered, out *picture) error {
	if g.spec == nil {
		return nil
	}
	for _, key := range out.keys {
		in := advice.Input{Key: key, Sources: map[string]advice.Source{}}
		for _, s := range sources {
			if !s.missing {
				in.Sources[s.source.Name] = advice.Source{Rows: s.of(key), AsOf: s.asOf, Stale: s.stale}
			}
		}
		plan, err := g.spec.Ask(context.Background(), nil, in)
		if err != nil {
			return err
		}
		row, err := g.spec.Row(plan)
		if err != nil {
			return err
		}
		out.plans = append(out.plans, row)
	}
	return nil
}

// pictures compares what came out of a consolidation with what a test expects.
func (d *expectDoc) pictures(out *picture) []string {
	var diff []string
	if d.rows.given() {
		diff = rowsDiff(valuesOf(d.rows), out.rows)
	}
	if d.plans.given() {
		want := valuesOf(d.plans)
		for _, line := range rowsDiff(want, only(want, out.plans)) {
			diff = append(diff, strings.Replace(line, " row ", " plan ", 1))
		}
	}
	if d.rejects.given() {
		diff = append(diff, d.rejected(out.rejects)...)
	} else if len(out.rejects) > 0 {
		for _, r := range out.rejects {
			diff = append(diff, "+ reject "+rejectWords(r)+": "+r.Reason)
		}
	}
	return append(diff, d.counts.differ(out.counts)...)
}

// only leaves of each row the columns that a test names: a digest, say, nobody foretells.
func only(want, got []flow.Row) []flow.Row {
	out := make([]flow.Row, len(got))
	for i, row := range got {
		out[i] = row
		if i < len(want) {
			out[i] = maps.Clone(row)
			maps.DeleteFunc(out[i], func(column string, _ any) bool { _, named := want[i][column]; return !named })
		}
	}
	return out
}

func valuesOf(rows list[row, *row]) []flow.Row {
	out := make([]flow.Row, len(rows.items))
	for i, r := range rows.items {
		out[i] = r.value
	}
	return out
}

// rejected compares rejects, whatever their order.
func (d *expectDoc) rejected(got []flow.RejectedRow) []string {
	rest := slices.Clone(got)
	var diff []string
	for _, want := range d.rejects.items {
		i := slices.IndexFunc(rest, func(r flow.RejectedRow) bool {
			return r.Source == want.source.value && r.Code == want.code.value && (!want.key.given() || r.Key == want.key.value) &&
				(!want.identity.given() || r.Identity == want.identity.value)
		})
		if i < 0 {
			diff = append(diff, "- reject "+rejectWords(flow.RejectedRow{Source: want.source.value, Key: want.key.value, Identity: want.identity.value, Code: want.code.value}))
			continue
		}
		rest = slices.Delete(rest, i, i+1)
	}
	for _, r := range rest {
		diff = append(diff, "+ reject "+rejectWords(r)+": "+r.Reason)
	}
	return diff
}

func rejectWords(r flow.RejectedRow) string {
	words := []string{cmp.Or(r.Source, "target")}
	if r.Key != "" {
		words = append(words, "key "+r.Key)
	}
	if r.Identity != "" {
		words = append(words, "row "+r.Identity)
	}
	return strings.Join(append(words, r.Code), ", ")
}

func (d *countsDoc) differ(got flow.Completeness) []string {
	var diff []string
	compare := func(what string, want whole, got int64) {
		if want.given() && want.value != got {
			diff = append(diff, fmt.Sprintf("- %s: %d", what, want.value), fmt.Sprintf("+ %s: %d", what, got))
		}
	}
	for _, e := range d.sources.entries {
		c, known := got.Sources[e.key]
		if !known {
			diff = append(diff, "- counts of the source "+e.key+", which the flow does not have")
		}
		compare(e.key+".read", e.value.read, c.Read)
		compare(e.key+".staged", e.value.staged, c.Staged)
		compare(e.key+".used", e.value.used, c.Used)
		compare(e.key+".unmatched", e.value.unmatched, c.Unmatched)
		compare(e.key+".duplicate", e.value.duplicate, c.Duplicate)
		compare(e.key+".rejected", e.value.rejected, c.Rejected)
	}
	compare("target.keys", d.target.keys, got.Target.Keys)
	compare("target.written", d.target.written, got.Target.Written)
	compare("target.rejected", d.target.rejected, got.Target.Rejected)
	return diff
}
