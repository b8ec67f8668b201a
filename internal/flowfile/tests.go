package flowfile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// testsDoc declares NAME_test.yaml, the tests of the flow in NAME.yaml.
	testsDoc struct {
		at
		tests list[testDoc, *testDoc]
	}

	testDoc struct {
		at
		name        text
		params      row
		events      list[eventDoc, *eventDoc]
		rows        list[row, *row]
		sources     dict[rowsDoc, *rowsDoc]
		stale       dict[span, *span]
		missing     list[text, *text]
		now         text
		expect      expectDoc
		expectFault text
	}

	expectDoc struct {
		at
		where    row
		rows     list[row, *row]
		messages list[messageDoc, *messageDoc]
		rejects  list[rejectDoc, *rejectDoc]
		counts   countsDoc
		plans    list[row, *row]
	}

	rowsDoc = list[row, *row]

	// Tests are the tests of one file.
	Tests struct {
		file  string
		cases []*testDoc
	}

	// Result is the outcome of one flow test. Diff is empty when it passed; else
	// it says line by line what differs, - expected and + given.
	Result struct {
		Name string
		File string
		Line int
		Col  int
		Diff string
	}
)

func (d *testsDoc) fields() []field {
	return []field{{key: "tests", into: &d.tests, required: true, doc: "The tests, each run by itself."}}
}

func (d *testDoc) fields() []field {
	return []field{
		{key: "name", into: &d.name, required: true, advice: "one sentence that says what is tested", example: "each specification becomes one row", doc: "What is tested, as a sentence."},
		{key: "params", into: &d.params, example: object{"product_id": "AS54888"}, doc: "What the caller gives."},
		{key: "events", into: &d.events, doc: "Of an event flow: what happens, in order. Events of one key that are taken are one window where the flow has collapse."},
		{key: "given", into: &d.rows, doc: "The rows of the source as the connector gives them: selected columns and expanded child rows. For an event flow: what read finds, chosen by its conditions."},
		{key: "sources", into: &d.sources, keys: &identifiers, example: object{"orders": []object{{"SalesOrder": "1"}}}, doc: "Of a consolidation: source: its rows, as the connector gives them."},
		{key: "stale", into: &d.stale, keys: &identifiers, example: object{"orders": "2h"}, doc: "Of a consolidation: sources that cannot be read, and how long ago the given rows were."},
		{key: "missing", into: &d.missing, example: []string{"documents"}, doc: "Of a consolidation: sources that cannot be read and never were."},
		{key: "at", into: &d.now, example: "'2026-01-31T06:00:00Z'", doc: "Of a consolidation: when the sources are read; default 2026-01-01T00:00:00Z."},
		{key: "expect", into: &d.expect, doc: "What must come out."},
		{key: "expect_fault", into: &d.expectFault, example: "params.invalid", doc: "The code of the fault that must come instead."},
	}
}

func (d *expectDoc) fields() []field {
	return []field{
		{key: "where", into: &d.where, example: object{"ItemNumber": "AS54888"}, doc: "What the source must be asked for; left out, it is not compared."},
		{key: "rows", into: &d.rows, doc: "The target rows, complete and in order."},
		{key: "messages", into: &d.messages, doc: "The messages that an event flow sends, all of them and in order."},
		{key: "rejects", into: &d.rejects, doc: "The rows that a consolidation rejects, all of them. Without it there must be none."},
		{key: "counts", into: &d.counts, doc: "What becomes of how many rows of a consolidation."},
		{key: "plans", into: &d.plans, doc: "The plans of the rules of advise, one for each target row and in their order, also those that wait for a person. Columns that are left out are not compared."},
	}
}

// ParseTests reads a file of flow tests.
func ParseTests(f File) (*Tests, []Diagnostic) {
	r, root := open(f)
	if root == nil {
		return nil, r.diags
	}
	var doc testsDoc
	r.read(root, field{into: &doc})
	for _, t := range doc.tests.items {
		if t.expect.given() == t.expectFault.given() && (t.expect.given() || !t.events.given()) {
			r.add(t.at, CodeRequired, "the test has neither or both of expect and expect_fault", "write one of the two")
		}
		if t.expect.given() && !t.expect.says() {
			r.add(t.expect.at, CodeRequired, "tests.expect.rows is missing", "add rows: …, or messages for a flow that sends; of a consolidation rejects, counts or plans will do")
		}
	}
	Sort(r.diags)
	if Failed(r.diags) {
		return nil, r.diags
	}
	return &Tests{file: f.Name, cases: doc.tests.items}, r.diags
}

// RunTests reads a file of tests and runs them against a plan. There are results
// only where the file has no errors.
func RunTests(plan *flow.Plan, f File) ([]Result, []Diagnostic) {
	tests, diags := ParseTests(f)
	if tests == nil {
		return nil, diags
	}
	results, err := tests.Run(plan)
	if err != nil {
		diags = append(diags, Diagnostic{File: f.Name, Line: 1, Col: 1, Code: CodeCEL, Severity: Error, Message: fault.Of(err).Text})
	}
	return results, diags
}

// Run runs the tests against a plan. It does what a run does, with the same
// Mapper: check the parameters, make the conditions, map the rows.
func (t *Tests) Run(plan *flow.Plan) ([]Result, error) {
	run, err := t.runner(plan)
	if err != nil {
		return nil, fmt.Errorf("compiling the plan for its tests: %w", err)
	}
	out := make([]Result, len(t.cases))
	for i, c := range t.cases {
		out[i] = Result{Name: c.name.value, File: t.file, Line: c.line, Col: c.col, Diff: run(c)}
	}
	return out, nil
}

// runner is how a test of the plan is run.
func (t *Tests) runner(plan *flow.Plan) (func(*testDoc) string, error) {
	if plan.Gather != nil {
		g, err := newGatherer(plan)
		if err != nil {
			return nil, err
		}
		return g.run, nil
	}
	mapper, err := expr.NewMapper(plan)
	if err != nil {
		return nil, err
	}
	if plan.Reaction == nil {
		return func(c *testDoc) string { return cmp.Or(c.foreign(), c.run(plan, mapper)) }, nil
	}
	r, err := newReactor(plan, mapper)
	if err != nil {
		return nil, err
	}
	return func(c *testDoc) string {
		if diff := cmp.Or(c.foreign(), c.unread(plan)); diff != "" {
			return diff
		}
		return r.run(c)
	}, nil
}

// foreign refuses what only a consolidation has.
func (d *testDoc) foreign() string {
	if d.sources.given() || d.stale.given() || d.missing.given() || d.now.given() {
		return "the test gives sources, and the flow gathers none"
	}
	return ""
}

// says reports whether anything is expected.
func (d *expectDoc) says() bool {
	return d.rows.given() || d.messages.given() || d.rejects.given() || d.counts.given() || d.plans.given()
}

func (d *testDoc) run(plan *flow.Plan, mapper *expr.Mapper) string {
	if d.events.given() {
		return "the test gives events, and the flow reacts to none"
	}
	if diff := d.unread(plan); diff != "" {
		return diff
	}
	where, rows, err := d.do(plan, mapper)
	want := d.expectFault.value
	switch {
	case err != nil && want == "":
		return fmt.Sprintf("- rows\n+ fault %s", fault.Of(err).Error())
	case err != nil && fault.Of(err).Code != want:
		return fmt.Sprintf("- fault %s\n+ fault %s", want, fault.Of(err).Error())
	case err != nil:
		return ""
	case want != "":
		return fmt.Sprintf("- fault %s\n+ %d rows", want, len(rows))
	}
	expected := make([]flow.Row, len(d.expect.rows.items))
	for i, r := range d.expect.rows.items {
		expected[i] = r.value
	}
	var diff []string
	if d.expect.where.given() {
		diff = rowDiff("where ", d.expect.where.value, where)
	}
	return strings.Join(append(diff, rowsDiff(expected, rows)...), "\n")
}

func (d *testDoc) do(plan *flow.Plan, mapper *expr.Mapper) (where flow.Row, rows []flow.Row, err error) {
	params, err := plan.Validate(d.params.value)
	if err != nil {
		return nil, nil, err
	}
	matches, err := mapper.Where(params)
	if err != nil {
		return nil, nil, err
	}
	where = flow.Row{}
	for _, m := range matches {
		where[m.Column] = m.Value
	}
	given := make([]flow.Row, len(d.rows.items))
	for i, g := range d.rows.items {
		given[i] = g.value
	}
	rows, err = mapper.Map(params, given)
	return where, rows, err
}

// unread refuses a given column that no connector would send, because the flow
// does not read it: such a test proves nothing.
func (d *testDoc) unread(plan *flow.Plan) string {
	if plan.Read == nil {
		return ""
	}
	for i, g := range d.rows.items {
		for _, column := range slices.Sorted(maps.Keys(g.value)) {
			_, expanded := plan.Read.Expand[column]
			chosen := plan.Reaction != nil && slices.ContainsFunc(plan.Read.Where, func(m flow.Match) bool { return m.Column == column })
			if !expanded && !chosen && !slices.Contains(plan.Read.Select, column) {
				return fmt.Sprintf("given row %d: the flow does not read %q; %s", i, column, suggest(column, plan.Read.Select, "select it or remove it"))
			}
		}
	}
	return ""
}

// rowsDiff compares rows in order, line by line.
func rowsDiff(want, got []flow.Row) []string {
	var out []string
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			out = append(out, fmt.Sprintf("- row %d %s", i, show(want[i])))
		case i >= len(want):
			out = append(out, fmt.Sprintf("+ row %d %s", i, show(got[i])))
		default:
			out = append(out, rowDiff(fmt.Sprintf("row %d ", i), want[i], got[i])...)
		}
	}
	return out
}

func rowDiff(prefix string, want, got flow.Row) []string {
	var out []string
	all := maps.Clone(want)
	if all == nil {
		all = flow.Row{}
	}
	maps.Copy(all, got)
	for _, column := range slices.Sorted(maps.Keys(all)) {
		w, wanted := want[column]
		g, there := got[column]
		if wanted && there && flow.Same(w, g) {
			continue
		}
		if wanted {
			out = append(out, "- "+prefix+column+": "+show(w))
		}
		if there {
			out = append(out, "+ "+prefix+column+": "+show(g))
		}
		if wanted != there {
			out = append(out, "  (absent, which is not null)")
		}
	}
	return out
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	return string(b)
}
