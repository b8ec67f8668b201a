package expr_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
)

func cases() *flow.Plan {
	return &flow.Plan{
		Flow: "cases", Pattern: flow.Event,
		Reaction: &flow.Reaction{
			On: []flow.Trigger{
				{
					Connection: "crm", Table: "incident", Change: []flow.ChangeType{flow.Updated}, Select: []string{"statuscode", "title"},
					Where: "row.visible", Transitions: "was.statuscode == 1 && row.statuscode == 5", Key: "row.incidentid",
				},
				{Connection: "crm", Table: "incident", Change: []flow.ChangeType{flow.Created, flow.Deleted}, Where: "row.priority > 3", Key: "row.incidentid"},
				{Connection: "crm", Table: "annotation", Change: []flow.ChangeType{flow.Created, flow.Updated}, Key: "row.number"},
			},
			Throttle: &flow.Throttle{Rate: 1, By: "row.email"},
		},
		Send: &flow.Send{Recipient: `row.?email.orValue("case-" + key + "@example.com")`},
	}
}

func matcher(t testing.TB, p *flow.Plan) *expr.Matcher {
	t.Helper()
	m, err := expr.NewMatcher(p)
	require.NoError(t, err)
	return m
}

func n(s string) json.Number { return json.Number(s) }

func event(table string, change flow.ChangeType) flow.Occurrence {
	return flow.Occurrence{Connection: "crm", Table: table, Change: change}
}

func TestATriggerNamesWhatRefusesAnEvent(t *testing.T) {
	t.Parallel()
	m := matcher(t, cases())
	was := flow.Row{"incidentid": "i", "statuscode": n("1"), "title": "a", "visible": true}
	with := func(changes flow.Row) flow.Row {
		row := flow.Row{}
		for k, v := range was {
			row[k] = v
		}
		for k, v := range changes {
			row[k] = v
		}
		return row
	}
	for name, c := range map[string]struct {
		table    string
		change   flow.ChangeType
		sent     []string
		was, row flow.Row
		want     flow.Verdict
	}{
		"taken":             {"incident", flow.Updated, []string{"statuscode"}, was, with(flow.Row{"statuscode": n("5")}), flow.Verdict{Key: "i", Changed: []string{"statuscode"}}},
		"an unknown table":  {"account", flow.Created, nil, nil, flow.Row{}, flow.Verdict{Trigger: -1, Reason: flow.EventRejected, Clause: "table", Detail: "the flow has no trigger on this table"}},
		"the same value":    {"incident", flow.Updated, []string{"statuscode"}, was, with(flow.Row{"statuscode": n("1.0")}), flow.Verdict{Key: "i", Reason: flow.EventUnchanged, Clause: "select"}},
		"another column":    {"incident", flow.Updated, []string{"description"}, was, with(flow.Row{"statuscode": n("5")}), flow.Verdict{Key: "i", Reason: flow.EventFiltered, Clause: "select"}},
		"nobody may see it": {"incident", flow.Updated, nil, was, with(flow.Row{"statuscode": n("5"), "visible": false}), flow.Verdict{Key: "i", Reason: flow.EventFiltered, Clause: "where"}},
		"null is not true":  {"incident", flow.Updated, nil, was, with(flow.Row{"statuscode": n("5"), "visible": nil}), flow.Verdict{Key: "i", Reason: flow.EventFiltered, Clause: "where"}},
		"no such transition": {"incident", flow.Updated, nil, was, with(flow.Row{"statuscode": n("4")}),
			flow.Verdict{Key: "i", Reason: flow.EventFiltered, Clause: "transitions"}},
		"a transition from nowhere": {"incident", flow.Updated, nil, nil, with(flow.Row{"statuscode": n("5")}),
			flow.Verdict{Key: "i", Reason: flow.EventFiltered, Clause: "transitions"}},
		"a transition from what is not known": {"incident", flow.Updated, nil, flow.Row{"title": "b"}, with(flow.Row{"statuscode": n("5")}),
			flow.Verdict{Key: "i", Reason: flow.EventFiltered, Clause: "transitions"}},
		"a transition to what is not there": {"incident", flow.Updated, nil, was, flow.Row{"incidentid": "i", "visible": true},
			flow.Verdict{Key: "i", Reason: flow.EventRejected, Clause: "transitions", Detail: "there is no statuscode"}},
		"a condition that cannot be asked": {"incident", flow.Updated, nil, nil, flow.Row{"incidentid": "i"},
			flow.Verdict{Key: "i", Reason: flow.EventRejected, Clause: "where", Detail: "there is no row.visible"}},
		"a condition that is none": {"incident", flow.Updated, nil, nil, flow.Row{"incidentid": "i", "visible": "secret"},
			flow.Verdict{Key: "i", Reason: flow.EventRejected, Clause: "where", Detail: "the condition gives no boolean"}},
		"the second trigger":         {"incident", flow.Created, nil, nil, flow.Row{"incidentid": "i", "priority": n("4")}, flow.Verdict{Trigger: 1, Key: "i"}},
		"the second trigger refuses": {"incident", flow.Deleted, nil, nil, flow.Row{"incidentid": "i", "priority": n("3")}, flow.Verdict{Trigger: 1, Key: "i", Reason: flow.EventFiltered, Clause: "where"}},
		"no type of change":          {"annotation", flow.Deleted, nil, nil, flow.Row{"number": n("1")}, flow.Verdict{Trigger: 2, Key: "1", Reason: flow.EventFiltered, Clause: "change"}},
		"a number is a key":          {"annotation", flow.Created, nil, nil, flow.Row{"number": n("1.50e1")}, flow.Verdict{Trigger: 2, Key: "15"}},
		"a fraction is a key":        {"annotation", flow.Created, nil, nil, flow.Row{"number": n("1.50")}, flow.Verdict{Trigger: 2, Key: "1.5"}},
		"a null is no key":           {"annotation", flow.Created, nil, nil, flow.Row{"number": nil}, flow.Verdict{Trigger: 2, Reason: flow.EventRejected, Clause: "key", Detail: "the key is null"}},
		"a list is no key":           {"annotation", flow.Created, nil, nil, flow.Row{"number": []any{}}, flow.Verdict{Trigger: 2, Reason: flow.EventRejected, Clause: "key", Detail: "the key is neither text nor a number"}},
		"a key that is too long":     {"annotation", flow.Created, nil, nil, flow.Row{"number": strings.Repeat("x", 513)}, flow.Verdict{Trigger: 2, Reason: flow.EventRejected, Clause: "key", Detail: "the key is longer than 512 bytes"}},
		"a key that no column holds": {"annotation", flow.Created, nil, nil, flow.Row{"number": "a\x00"}, flow.Verdict{Trigger: 2, Reason: flow.EventRejected, Clause: "key", Detail: "the key holds what is no text"}},
		"any column":                 {"annotation", flow.Updated, nil, flow.Row{"number": n("1"), "a": nil}, flow.Row{"number": n("1"), "a": ""}, flow.Verdict{Trigger: 2, Key: "1", Changed: []string{"a"}}},
		"no column":                  {"annotation", flow.Updated, nil, flow.Row{"number": n("1"), "a": nil}, flow.Row{"number": n("1.0"), "a": nil}, flow.Verdict{Trigger: 2, Key: "1", Reason: flow.EventUnchanged, Clause: "select"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := event(c.table, c.change)
			e.Sent = c.sent
			require.Equal(t, c.want, m.Judge(e, c.was, c.row))
		})
	}
}

func TestRecipientAndThrottleAreTextOrSayWhyNot(t *testing.T) {
	t.Parallel()
	m := matcher(t, cases())
	to, err := m.Recipient("7", flow.Row{})
	require.NoError(t, err)
	require.Equal(t, "case-7@example.com", to)
	_, err = m.Recipient("7", flow.Row{"email": nil})
	require.EqualError(t, err, "cel.type: the recipient is null")
	by, err := m.ThrottleKey(flow.Row{"email": n("12")})
	require.NoError(t, err)
	require.Equal(t, "12", by)
	_, err = m.ThrottleKey(flow.Row{})
	require.EqualError(t, err, "cel.missing: there is no row.email")

	p := cases()
	p.Reaction.Throttle, p.Send = nil, nil
	by, err = matcher(t, p).ThrottleKey(flow.Row{})
	require.NoError(t, err)
	require.Empty(t, by)
}

func TestAnExpressionTellsTheColumnsItUses(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]struct {
		columns []string
		whole   bool
	}{
		`row.a == row.b`:                      {[]string{"a", "b"}, false},
		`has(row.a) && row.?b.orValue(1) > 0`: {[]string{"a", "b"}, false},
		`"c" in row ? row["c"] : row.a.deep`:  {[]string{"a", "c"}, false},
		`params.x == 1`:                       {nil, false},
		`[1].exists(x, x == row.a)`:           {[]string{"a"}, false},
		`size(row) > 1 && row.a`:              {[]string{"a"}, true},
		`row[params.x]`:                       {nil, true},
	} {
		p, issues := untyped(t).Compile(source, expr.Anything)
		require.Empty(t, issues, source)
		columns, whole := p.Uses("row")
		require.Equal(t, want.columns, columns, source)
		require.Equal(t, want.whole, whole, source)
	}
}

func TestAnExpressionTellsTheValuesItTakes(t *testing.T) {
	t.Parallel()
	for source, want := range map[string][]string{
		`row.a`:                                     {"a"},
		`row.rows.map(r, r.x + r.y)`:                {"rows.[].x", "rows.[].y"},
		`row.filter(r, r.open).map(r, r.x)`:         {"[].open", "[].x"},
		`row.filter(r, r.open)`:                     {"[]", "[].open"},
		`size(row.filter(r, r.open != "C"))`:        {"[].#", "[].open"},
		`sum(row.map(r, r.x)) + 1`:                  {"[].x"},
		`row.sortBy(r, r.at).first().value().x`:     {"[].at", "[].x"},
		`size(row)`:                                 {"#"},
		`row == null ? "" : row.name`:               {"#", "name"},
		`row[0].x`:                                  {"[].x"},
		`[row].map(r, r.x)[0]`:                      {"x"},
		`[[row]].map(l, l.map(r, r.x))[0]`:          {"x"},
		`{"a": row}.a.x`:                            {""},
		`row.exists(k, k == params.y)`:              {"[]"},
		`row.?a.?b.orValue("")`:                     {"a.b"},
		`row.?a.optMap(v, v.b).orValue("")`:         {"a", "a.b"},
		`row.a.filter(x, x.b in row.c).map(x, [x])`: {"a.[]", "a.[].b", "c"},
		`row.distinct().map(r, r.x)`:                {""},
		`"x" in row.tags`:                           {"tags"},
		`row.map(r, params.flag ? r.x : r.y)`:       {"[].x", "[].y"},
		`row.map(r, r.kids.map(k, k.x + r.y))`:      {"[].kids.[].x", "[].y"},
	} {
		p, issues := untyped(t).Compile(source, expr.Anything)
		require.Empty(t, issues, source)
		var got []string
		for _, path := range p.Takes("row") {
			got = append(got, strings.Join(path, "."))
		}
		slices.Sort(got)
		require.Equal(t, want, got, source)
	}
}

// world is a random trigger, an event and what is known of its record. Conditions are
// given twice: in CEL, and in Go for the reference.
type world struct {
	change      []flow.ChangeType
	columns     []string
	where       string
	transitions string
	event       flow.Occurrence
	was, row    flow.Row
}

var (
	columnNames = []string{"a", "b", "c"}
	samples     = []any{nil, "x", "y", n("1"), n("1.0"), n("2"), true}
	kinds       = []flow.ChangeType{flow.Created, flow.Updated, flow.Deleted}
	wheres      = map[string]func(flow.Row) string{
		"":                                 func(flow.Row) string { return "yes" },
		`row.a == "x"`:                     func(r flow.Row) string { return asked(r, "a", func(v any) bool { return v == "x" }) },
		`row.?a.orValue(null) == null`:     func(r flow.Row) string { return yes(r["a"] == nil) },
		`has(row.b) && row.b == 1`:         func(r flow.Row) string { v, ok := r["b"]; return yes(ok && flow.Same(v, n("1"))) },
		`row.c == null || row.c != "gone"`: func(r flow.Row) string { return asked(r, "c", func(v any) bool { return true }) },
	}
	moves = map[string]func(was, row flow.Row) string{
		"": func(_, _ flow.Row) string { return "yes" },
		`was.a != row.a`: func(was, row flow.Row) string {
			if _, ok := was["a"]; !ok {
				return "no"
			}
			return asked(row, "a", func(v any) bool { return !flow.Same(was["a"], v) })
		},
		`was.b == 1 && row.b == 2`: func(was, row flow.Row) string {
			v, ok := was["b"]
			if !ok || !flow.Same(v, n("1")) {
				return "no"
			}
			return asked(row, "b", func(v any) bool { return flow.Same(v, n("2")) })
		},
	}
)

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func asked(r flow.Row, column string, f func(any) bool) string {
	v, ok := r[column]
	if !ok {
		return "error"
	}
	return yes(f(v))
}

func keysOf[T any](m map[string]T) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func draw(r *rand.Rand) world {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	some := func(list []string) []string {
		out := []string{}
		for _, c := range list {
			if r.IntN(2) == 0 {
				out = append(out, c)
			}
		}
		return out
	}
	w := world{where: pick(keysOf(wheres)), transitions: pick(keysOf(moves))}
	for _, k := range kinds {
		if r.IntN(3) > 0 {
			w.change = append(w.change, k)
		}
	}
	if r.IntN(4) > 0 {
		w.columns = some(columnNames)
		if len(w.columns) == 0 {
			w.columns = nil
		}
	}
	row := func() flow.Row {
		out := flow.Row{}
		for _, c := range append(columnNames, "id") {
			if r.IntN(5) > 0 {
				out[c] = samples[r.IntN(len(samples))]
			}
		}
		return out
	}
	w.event = flow.Occurrence{Connection: "crm", Table: "t", Change: kinds[r.IntN(3)], Whole: r.IntN(2) == 0}
	if r.IntN(3) > 0 {
		w.event.Sent = some(columnNames)
	}
	w.row = row()
	if r.IntN(4) > 0 {
		w.was = row()
	}
	if w.event.Change == flow.Deleted && w.was != nil {
		w.row = w.was // a deleted record is as it was last known
	}
	// What the event itself says is part of what is known.
	w.event.After, w.event.Before = w.row, w.was
	if !w.event.Whole {
		w.event.After = part(r, w.row)
	}
	if w.was != nil {
		w.event.Before = part(r, w.was)
	}
	return w
}

func part(r *rand.Rand, row flow.Row) flow.Row {
	out := flow.Row{}
	for _, c := range append(columnNames, "id") {
		if v, ok := row[c]; ok && r.IntN(3) > 0 {
			out[c] = v
		}
	}
	return out
}

// reference is Power Automate's order of filters as it is documented: change type;
// for an update the selected columns that the request included, and of those the ones
// that really changed (ours); the row filter on the row after the save; then our
// transitions and the key.
func (w world) reference() (reason flow.EventReason, clause string) {
	if !slices.Contains(w.change, w.event.Change) {
		return flow.EventFiltered, "change"
	}
	if w.event.Change == flow.Updated {
		included := w.columns
		if included == nil {
			included = keysOf(w.row)
			if w.event.Sent != nil {
				included = w.event.Sent
			}
		}
		var requested, moved []string
		for _, c := range included {
			if w.event.Sent == nil || slices.Contains(w.event.Sent, c) {
				requested = append(requested, c)
			}
		}
		for _, c := range requested {
			before, known := w.was[c]
			after, there := w.row[c]
			if !known || !there || !flow.Same(before, after) {
				moved = append(moved, c)
			}
		}
		blind := w.columns == nil && w.event.Sent == nil && len(w.row) == 0
		switch {
		case w.columns != nil && len(requested) == 0:
			return flow.EventFiltered, "select"
		case len(moved) == 0 && !blind:
			return flow.EventUnchanged, "select"
		}
	}
	switch wheres[w.where](w.row) {
	case "error":
		return flow.EventRejected, "where"
	case "no":
		return flow.EventFiltered, "where"
	}
	if w.event.Change == flow.Updated {
		answer := moves[w.transitions](w.was, w.row)
		if w.transitions != "" && w.was == nil {
			answer = "no"
		}
		switch answer {
		case "error":
			return flow.EventRejected, "transitions"
		case "no":
			return flow.EventFiltered, "transitions"
		}
	}
	switch w.row["id"].(type) {
	case string, json.Number:
		return "", ""
	}
	return flow.EventRejected, "key"
}

func TestVerdictsAreThoseOfASequentialReference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 7))
	matchers := map[string]*expr.Matcher{}
	tally, screened := map[string]int{}, 0
	for range 10_000 {
		w := draw(r)
		id := fmt.Sprint(w.change, w.columns, w.where, w.transitions)
		if matchers[id] == nil {
			matchers[id] = matcher(t, &flow.Plan{Reaction: &flow.Reaction{On: []flow.Trigger{{
				Connection: "crm", Table: "t", Change: w.change, Select: w.columns, Where: w.where, Transitions: w.transitions, Key: "row.id",
			}}}})
		}
		m := matchers[id]
		reason, clause := w.reference()
		got := m.Judge(w.event, w.was, w.row)
		require.Equal(t, reason, got.Reason, "%+v\n%+v", w, got)
		require.Equal(t, clause, got.Clause, "%+v\n%+v", w, got)
		tally[string(reason)+" "+clause]++
		if early, ok := m.Screen(w.event); ok {
			screened++
			require.Contains(t, []flow.EventReason{flow.EventFiltered, flow.EventUnchanged}, early.Reason)
			require.Contains(t, []flow.EventReason{flow.EventFiltered, flow.EventUnchanged}, reason, "what an event says itself refuses it whatever else is known\n%+v\n%+v", w, early)
		}
	}
	t.Log(tally, screened)
	require.Len(t, tally, 9, "every verdict was drawn: %v", tally)
	for verdict, times := range tally {
		require.Greater(t, times, 20, verdict)
	}
	require.Greater(t, screened, 2_000)
}

func TestAMatcherIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	m := matcher(t, cases())
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			id := fmt.Sprint(i)
			for range 500 {
				v := m.Judge(event("incident", flow.Created), nil, flow.Row{"incidentid": id, "priority": n("9")})
				if v.Key != id {
					panic("another event's key: " + v.Key)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkScreen(b *testing.B) {
	m := matcher(b, cases())
	row := flow.Row{"incidentid": "i", "statuscode": n("5"), "visible": true, "priority": n("2"), "title": "a"}
	for name, e := range map[string]flow.Occurrence{
		"change":    {Change: flow.Deleted, Table: "annotation"},
		"unchanged": {Change: flow.Updated, Table: "incident", Before: row, After: row, Sent: []string{"statuscode", "title"}, Whole: true},
		"where":     {Change: flow.Created, Table: "incident", After: row, Whole: true},
	} {
		e.Connection = "crm"
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := m.Screen(e); !ok {
					b.Fatal("not refused")
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func TestWhatAConditionNeverHoldsOfIsProvedByWhatIsConstant(t *testing.T) {
	t.Parallel()
	env, err := expr.New(expr.Var{Name: "row"}, expr.Var{Name: "was"})
	require.NoError(t, err)
	ours := map[string]any{"source": "patchbay", "status": n("5")}
	for condition, never := range map[string]bool{
		`row.source != "patchbay"`:                               true,
		`row.open && row.source != "patchbay"`:                   true,
		`was.status == 1 && row.status == 4`:                     true,
		`row.source == "patchbay"`:                               false,
		`row.open || row.source != "patchbay"`:                   false,
		`row.status > 5`:                                         true,
		`row.open`:                                               false,
		`!has(row.open) && false`:                                false,
		`row.?open.orValue(false)`:                               false,
		`row.?source.orValue("") == "x"`:                         true,
		`size(row) > 100`:                                        false,
		`!has(was.status)`:                                       false,
		`row.source == "patchbay" ? row.open : false`:            false,
		`[1, 2].exists(x, row.source != "patchbay" && row.open)`: true,
	} {
		p, issues := env.Compile(condition, expr.Anything)
		require.Empty(t, issues, condition)
		require.Equal(t, never, p.Never(ours), condition)
	}
	for source, constant := range map[string]bool{`"patchbay"`: true, `1 + 1`: true, `null`: true, `row.a`: false, `has(row.a)`: false, `divide(1, 0, 2)`: false} {
		p, issues := env.Compile(source, expr.Anything)
		require.Empty(t, issues, source)
		_, ok := p.Constant()
		require.Equal(t, constant, ok, source)
	}
}
