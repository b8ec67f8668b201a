package join_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
	"patchbay/internal/join"
)

// record is a row of a source as the reference has it.
type record struct{ id, key, value string } // value: JSON, "" is absent

var names = []string{"one", "many", "more"}

func planOf(base string, exprs ...string) *flow.Plan {
	p := &flow.Plan{Flow: "f", Gather: &flow.Gather{Base: base}, Write: &flow.Write{Connection: "t", Table: "t", Key: []string{"k"}}}
	for i, name := range names {
		p.Gather.Sources = append(p.Gather.Sources, flow.Source{Name: name, Select: []string{"id", "key", "value"},
			Types: []flow.Type{flow.String, flow.String, flow.Any}, Key: "row.key", Identity: []string{"id"}, One: i == 0})
	}
	for i := 0; i < len(exprs); i += 2 {
		p.Map = append(p.Map, flow.Column{Name: exprs[i], Expr: exprs[i+1]})
	}
	return p
}

func picture(base string) *flow.Plan {
	return planOf(base, "k", "key", "v", "one.value", "n", "many.size()", "all", "many.map(m, m.?value.orValue(null))",
		"both", "string(many.size()) + '/' + string(more.size())")
}

// packed packs the rows of a source as they would be read, and sorts them.
func packed(t require.TestingT, s flow.Source, rows []record) (out []join.Row, sum join.Sum, rejects []flow.RejectedRow) {
	p, err := join.NewPacker("f", s)
	require.NoError(t, err)
	sheet := flow.Sheet{Columns: []string{"value", "key", "id"}} // not the order of the plan
	for _, r := range rows {
		for _, text := range []string{r.value, quoted(r.key), quoted(r.id)} {
			var cell []byte
			if text != "" {
				cell = []byte(text)
			}
			sheet.Cells = append(sheet.Cells, cell)
		}
	}
	of, err := p.Pack(sheet, 0, "page 1", func(r join.Row) {
		out = append(out, join.Row{Key: bytes.Clone(r.Key), Ident: bytes.Clone(r.Ident), Hash: r.Hash, N: r.N, Cells: bytes.Clone(r.Cells)})
	}, func(r flow.RejectedRow, _ []byte) { rejects = append(rejects, r) })
	require.NoError(t, err)
	slices.SortFunc(out, func(a, b join.Row) int {
		return cmp.Or(bytes.Compare(a.Key, b.Key), bytes.Compare(a.Ident, b.Ident), cmp.Compare(a.N, b.N))
	})
	return out, of.Sum, rejects
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return `"` + s + `"`
}

// rows is a stream that is used up, and overwrites what it gave before as a real one does.
type rows struct {
	left   []join.Row
	buffer [3][]byte
}

func (r *rows) Next() (join.Row, error) {
	for _, b := range r.buffer {
		for i := range b {
			b[i] = '!'
		}
	}
	if len(r.left) == 0 {
		return join.Row{}, io.EOF
	}
	next := r.left[0]
	r.left = r.left[1:]
	for i, b := range [][]byte{next.Key, next.Ident, next.Cells} {
		r.buffer[i] = append(r.buffer[i][:0], b...)
	}
	next.Key, next.Ident, next.Cells = r.buffer[0], r.buffer[1], r.buffer[2]
	return next, nil
}

// outcome is all that a join gives.
type outcome struct {
	counts  join.Counts
	changed map[string]string // by key
	rejects map[string]string // key → code
	level   join.Level
	merged  *join.Level
}

func level(layout string, blocks [][]byte) join.Level {
	return join.Level{Layout: layout, Next: func() ([]byte, error) {
		if len(blocks) == 0 {
			return nil, io.EOF
		}
		b := blocks[0]
		blocks = blocks[1:]
		return b, nil
	}}
}

func run(ctx context.Context, t require.TestingT, plan *flow.Plan, sources map[string][]record, missing map[string]bool, refused func(key string) bool, levels ...join.Level) outcome {
	p, err := join.NewPlan(plan)
	require.NoError(t, err)
	out := outcome{changed: map[string]string{}, rejects: map[string]string{}}
	in := join.Input{Rows: 3, Levels: levels}
	for _, s := range plan.Gather.Sources {
		if missing[s.Name] {
			in.Streams, in.AsOf = append(in.Streams, nil), append(in.AsOf, time.Time{})
			continue
		}
		packed, _, rejects := packed(t, s, sources[s.Name])
		require.Empty(t, rejects)
		in.Streams, in.AsOf = append(in.Streams, &rows{left: packed}), append(in.AsOf, time.Unix(1, 0))
	}
	var blocks, merged [][]byte
	in.Chunk = func(n int, body []byte) error {
		c, err := join.ReadChunk(p.Columns(), bytes.Clone(body), n)
		require.NoError(t, err)
		require.Equal(t, n, c.Sheet.Rows())
		not := map[int]bool{}
		for i, key := range c.Keys {
			if refused != nil && refused(key) {
				not[i] = true
				continue
			}
			require.NotContains(t, out.changed, key, "a key is written once")
			out.changed[key] = string(bytes.Join(c.Sheet.Row(i), []byte("|")))
			require.Equal(t, "["+string(c.Sheet.Row(i)[0])+"]", string(c.Targets[i]))
		}
		if block, held := c.Level(not); held > 0 {
			blocks = append(blocks, block)
		}
		return nil
	}
	in.Reject = func(r flow.RejectedRow) error { out.rejects[r.Key] = r.Code; return nil }
	in.Merged = func(_ int, block []byte) error { merged = append(merged, bytes.Clone(block)); return nil }
	out.counts, err = p.Run(ctx, in)
	require.NoError(t, err)
	out.level = level(p.Layout(), blocks)
	m := level(p.Layout(), merged)
	out.merged = &m
	return out
}

// reference joins by nested maps.
func reference(base string, sources map[string][]record, missing map[string]bool) (want map[string]string, counts map[string]flow.SourceCount) {
	byKey := map[string]map[string][]record{}
	counts = map[string]flow.SourceCount{}
	for i, name := range names {
		if missing[name] {
			continue
		}
		count := flow.SourceCount{Staged: int64(len(sources[name]))}
		latest := map[string]record{}
		for _, r := range sources[name] { // one row of an identity and key; of a key where there is one only
			id := r.id
			if i == 0 {
				id = ""
			}
			latest[r.key+"\x00"+id] = r
		}
		count.Duplicate = count.Staged - int64(len(latest))
		for _, at := range slices.Sorted(maps.Keys(latest)) {
			r := latest[at]
			if byKey[r.key] == nil {
				byKey[r.key] = map[string][]record{}
			}
			byKey[r.key][name] = append(byKey[r.key][name], r)
		}
		counts[name] = count
	}
	want = map[string]string{}
	for key, of := range byKey {
		used := base == "" || len(of[base]) > 0
		for name, rows := range of {
			c := counts[name]
			if used {
				c.Used += int64(len(rows))
			} else {
				c.Unmatched += int64(len(rows))
			}
			counts[name] = c
		}
		if !used {
			continue
		}
		cells := []string{quoted(key), "null", fmt.Sprint(len(of["many"])), "", ""}
		if len(of["one"]) > 0 {
			cells[1] = of["one"][0].value
		}
		if missing["one"] {
			cells[1] = ""
		}
		var all []string
		for _, r := range of["many"] {
			all = append(all, cmp.Or(r.value, "null"))
		}
		cells[3] = "[" + strings.Join(all, ",") + "]"
		cells[4] = fmt.Sprintf(`"%d/%d"`, len(of["many"]), len(of["more"]))
		if missing["many"] {
			cells[2], cells[3] = "", ""
		}
		if missing["many"] || missing["more"] {
			cells[4] = ""
		}
		want[key] = strings.Join(cells, "|")
	}
	return want, counts
}

func randomRows(t *rapid.T, name string) []record {
	record := rapid.Custom(func(t *rapid.T) record {
		return record{
			id:    fmt.Sprint(rapid.IntRange(1, 12).Draw(t, "id")),
			key:   rapid.SampledFrom([]string{"A", "B", "C", "D", "aa", "\u00c4"}).Draw(t, "key"),
			value: rapid.SampledFrom([]string{"", "null", `"x"`, `"x\"y"`, "1.5", "99999999999999999999", "true", `{"a":[1]}`}).Draw(t, "value"),
		}
	})
	return rapid.SliceOfN(record, 0, 25).Draw(t, name)
}

// A join gives what nested maps give, counts every row once, and writes what differs
// from what the target took before and nothing else.
func TestAJoinIsWhatNestedMapsGive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		base := rapid.SampledFrom([]string{"", "one", "many"}).Draw(rt, "base")
		plan := picture(base)
		held := map[string]string{} // what the target took, by key
		var levels []join.Level
		for range rapid.IntRange(1, 4).Draw(rt, "runs") {
			sources := map[string][]record{}
			missing := map[string]bool{}
			for _, name := range names {
				sources[name] = randomRows(rt, name)
				missing[name] = rapid.IntRange(0, 5).Draw(rt, "missing") == 0
			}
			refused := rapid.SampledFrom([]string{"", "A", "B"}).Draw(rt, "refused")
			want, counts := reference(base, sources, missing)
			got := run(t.Context(), rt, plan, sources, missing, func(key string) bool { return key == refused }, levels...)

			differ, unchanged := map[string]string{}, int64(0)
			for key, row := range want {
				if covers(held[key], row, missing) {
					unchanged++
				} else {
					differ[key] = row
				}
			}
			gone := int64(0)
			for key := range held {
				if _, there := want[key]; !there {
					gone++
				}
			}
			require.Equal(rt, int64(len(want)), got.counts.Keys)
			require.Equal(rt, int64(len(differ)), got.counts.Changed)
			require.Equal(rt, unchanged, got.counts.Unchanged)
			require.Equal(rt, gone, got.counts.Gone)
			delete(differ, refused)
			require.Equal(rt, differ, got.changed)
			for i, name := range names {
				of := got.counts.Sources[i]
				require.Equal(rt, of.Staged, of.Used+of.Unmatched+of.Duplicate)
				require.Equal(rt, counts[name], of, name)
			}
			for key, row := range differ {
				held[key] = over(held[key], row, missing)
			}
			levels = append([]join.Level{got.level}, *got.merged) // the state of before, as one, below what is new
		}
	})
}

// covers reports whether a target that holds a row has all of another one; columns of
// missing sources do not count.
func covers(held, row string, missing map[string]bool) bool {
	return held != "" && over(held, row, missing) == held
}

// over is a row that was held with the cells of a new one, but for those of missing
// sources.
func over(held, row string, missing map[string]bool) string {
	if held == "" {
		return row
	}
	cells, was := strings.Split(row, "|"), strings.Split(held, "|")
	for i, of := range [][]string{nil, {"one"}, {"many"}, {"many"}, {"many", "more"}} {
		if slices.ContainsFunc(of, func(name string) bool { return missing[name] }) {
			cells[i] = was[i]
		}
	}
	return strings.Join(cells, "|")
}

func TestTwoKeysOfOneTargetKeyAreNotBothWritten(t *testing.T) {
	t.Parallel()
	plan := planOf("", "k", "one.value", "n", "key")
	got := run(t.Context(), t, plan, map[string][]record{"one": {{"1", "A", `"same"`}, {"2", "B", `"same"`}, {"3", "C", "null"}, {"4", "D", `"own"`}}}, nil, nil)
	require.Equal(t, map[string]string{"A": `"same"|"A"`, "D": `"own"|"D"`}, got.changed)
	require.Equal(t, map[string]string{"B": join.CodeTaken, "C": expr.CodeKeyMissing}, got.rejects)
	require.Equal(t, join.Counts{Sources: got.counts.Sources, Keys: 4, Changed: 2, Rejected: 2}, got.counts)
}

func TestAKeyThatCannotBeMappedIsRejectedByName(t *testing.T) {
	t.Parallel()
	plan := planOf("", "k", "key", "twice", "one.value * 2")
	got := run(t.Context(), t, plan, map[string][]record{"one": {{"1", "A", `"text"`}, {"2", "B", "1.25"}}, "many": {{"1", "C", ""}}}, nil, nil)
	require.Equal(t, map[string]string{"B": `"B"|2.5`}, got.changed)
	require.Equal(t, map[string]string{"A": expr.CodeType, "C": expr.CodeMissing}, got.rejects)
}

func TestTheLatestOfTwoReadingsOfARowCounts(t *testing.T) {
	t.Parallel()
	plan := planOf("", "k", "key", "all", "many.map(m, m.value)")
	got := run(t.Context(), t, plan, map[string][]record{"many": {{"1", "A", "1"}, {"2", "A", "2"}, {"1", "A", "3"}}}, nil, nil)
	require.Equal(t, map[string]string{"A": `"A"|[3,2]`}, got.changed)
	require.Equal(t, flow.SourceCount{Staged: 3, Used: 2, Duplicate: 1}, got.counts.Sources[1])
}

func TestColumnsOfAMissingSourceAreNotWritten(t *testing.T) {
	t.Parallel()
	p, err := join.NewPlan(picture("one"))
	require.NoError(t, err)
	fields := p.Fields([]time.Time{time.Unix(20, 0), {}, time.Unix(10, 0)})
	require.Equal(t, flow.Provenance{Sources: []string{}}, fields["k"])
	require.Equal(t, flow.Provenance{Sources: []string{"many"}, Missing: []string{"many"}}, fields["n"])
	require.Equal(t, flow.Provenance{Sources: []string{"many", "more"}, Missing: []string{"many"}, AsOf: time.Unix(10, 0)}, fields["both"])
}

func TestAJoinEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	p, err := join.NewPlan(picture(""))
	require.NoError(t, err)
	_, err = p.Run(ctx, join.Input{Streams: make([]join.Stream, 3), AsOf: make([]time.Time, 3), Rows: 1})
	require.ErrorIs(t, err, context.Canceled)
}
