package flow_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/flow"
)

func anyColumn() *flow.Reaction {
	return &flow.Reaction{On: []flow.Trigger{{Connection: "crm", Table: "case", Change: []flow.ChangeType{flow.Created, flow.Updated, flow.Deleted}}}}
}

func update(at int, whole bool) flow.Occurrence {
	return flow.Occurrence{Connection: "crm", Table: "case", Record: "1", Change: flow.Updated, At: time.Unix(int64(at), 0), Whole: whole}
}

// The reference applies every event to the record, and compares its two ends.
func TestANetChangeIsWhatApplyingEveryEventComesTo(t *testing.T) {
	t.Parallel()
	values := rapid.SampledFrom([]any{nil, "A", "B", json.Number("1"), json.Number("1.0"), json.Number("2"), true, []any{json.Number("1")}, []any{json.Number("1.00")}})
	columns := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		record := flow.Row{}
		for _, c := range columns {
			if rapid.Bool().Draw(t, "known") {
				record[c] = values.Draw(t, c)
			}
		}
		start := maps.Clone(record)
		var net flow.NetChange
		n := rapid.IntRange(1, 12).Draw(t, "events")
		for i := range n {
			was := maps.Clone(record)
			e := update(i, rapid.Bool().Draw(t, "whole"))
			row := flow.Row{}
			if e.Whole {
				row = maps.Clone(record)
			}
			for _, c := range columns {
				switch rapid.IntRange(0, 3).Draw(t, "what") {
				case 0:
					record[c] = values.Draw(t, c)
					row[c] = record[c]
				case 1:
					if e.Whole { // only a whole record can tell that a column is gone
						delete(record, c)
						delete(row, c)
					}
				}
			}
			if !e.Whole { // the caller adds what it has seen before
				merged := maps.Clone(was)
				maps.Copy(merged, row)
				row = merged
			}
			net = anyColumn().Fold(net, "k", e, was, row)
		}
		var changed []string
		before := flow.Row{}
		for _, c := range columns {
			a, hadA := start[c]
			b, hadB := record[c]
			if hadA == hadB && (!hadA || flow.Same(a, b)) {
				continue
			}
			changed = append(changed, c)
			if hadA {
				before[c] = a
			}
		}
		require.Equal(t, changed, net.Changed)
		require.True(t, flow.Same(before, net.Was), "%v, not %v", before, net.Was)
		require.Equal(t, record, net.Row)
		require.Equal(t, n, net.Events)
		require.Equal(t, len(changed) == 0, net.Void)
		require.Equal(t, time.Unix(0, 0), net.First)
		require.Equal(t, time.Unix(int64(n-1), 0), net.Last)
	})
}

func TestAValueThatComesBackIsNoChange(t *testing.T) {
	t.Parallel()
	r := anyColumn()
	net := r.Fold(flow.NetChange{}, "k", update(0, false), flow.Row{"status": "A"}, flow.Row{"status": "B"})
	require.Equal(t, []string{"status"}, net.Changed)
	require.False(t, net.Void)
	net = r.Fold(net, "k", update(1, false), flow.Row{"status": "B"}, flow.Row{"status": "A"})
	require.Empty(t, net.Changed)
	require.True(t, net.Void)
	require.Equal(t, 2, net.Events)
	net = r.Fold(net, "k", update(2, false), flow.Row{"status": "A"}, flow.Row{"status": "C"})
	require.Equal(t, flow.Row{"status": "A"}, net.Was)
	require.False(t, net.Void)
}

func TestOnlySelectedColumnsKeepAWindowAlive(t *testing.T) {
	t.Parallel()
	r := anyColumn()
	r.On[0].Select = []string{"status"}
	net := r.Fold(flow.NetChange{}, "k", update(0, true), flow.Row{"status": "A", "modified": "1"}, flow.Row{"status": "B", "modified": "2"})
	require.False(t, net.Void)
	net = r.Fold(net, "k", update(1, true), flow.Row{"status": "B", "modified": "2"}, flow.Row{"status": "A", "modified": "3"})
	require.Equal(t, []string{"modified"}, net.Changed)
	require.True(t, net.Void, "modified is another, and nobody selects it")
}

func TestARecordThatIsMadeAndRemovedInOneWindowIsNothing(t *testing.T) {
	t.Parallel()
	made, gone := update(0, true), update(1, false)
	made.Change, gone.Change = flow.Created, flow.Deleted
	net := anyColumn().Fold(flow.NetChange{}, "k", made, nil, flow.Row{"a": "x"})
	require.Equal(t, flow.Created, net.Change)
	net = anyColumn().Fold(net, "k", update(1, false), flow.Row{"a": "x"}, flow.Row{"a": "y"})
	require.Equal(t, flow.Created, net.Change, "a record that is new stays so")
	net = anyColumn().Fold(net, "k", gone, flow.Row{"a": "y"}, flow.Row{"a": "y"})
	require.Equal(t, flow.Deleted, net.Change)
	require.True(t, net.Void)

	net = anyColumn().Fold(flow.NetChange{}, "k", gone, flow.Row{"a": "y"}, flow.Row{"a": "y"})
	require.Equal(t, flow.Deleted, net.Change)
	require.False(t, net.Void, "it was there before the window")
	net = anyColumn().Fold(net, "k", made, flow.Row{"a": "y"}, flow.Row{"a": "y"})
	require.Equal(t, flow.Updated, net.Change)
	require.True(t, net.Void, "removed and made again as it was")
}

func TestRecordsOfOneKeyDoNotMixTheirColumns(t *testing.T) {
	t.Parallel()
	r := anyColumn()
	r.On = append(r.On, flow.Trigger{Connection: "crm", Table: "note", Change: []flow.ChangeType{flow.Created}})
	note := flow.Occurrence{Connection: "crm", Table: "note", Record: "n", Change: flow.Created, At: time.Unix(5, 0), Whole: true}
	net := r.Fold(flow.NetChange{}, "k", update(0, false), flow.Row{"status": "A"}, flow.Row{"status": "B"})
	net = r.Fold(net, "k", note, nil, flow.Row{"text": "hello"})
	require.Equal(t, "crm.note", net.Source)
	require.Equal(t, []string{"text"}, net.Changed)
	require.Len(t, net.Others, 1)
	require.Equal(t, []string{"status"}, net.Others[0].Changed)
	require.Equal(t, 2, net.Events)

	net = r.Fold(net, "k", update(9, false), flow.Row{"status": "B"}, flow.Row{"status": "A"})
	require.Equal(t, "crm.note", net.Source, "the case is as it was: the note alone is told of")
	require.Empty(t, net.Others)
	require.Equal(t, 3, net.Events)
	require.Equal(t, time.Unix(0, 0), net.First)
	require.Equal(t, time.Unix(9, 0), net.Last)
	require.False(t, net.Void)
}

func TestANetChangeStaysSmallHoweverManyRecordsItIsOf(t *testing.T) {
	t.Parallel()
	var net flow.NetChange
	for i := range 1_000 {
		e := update(i, true)
		e.Change, e.Record = flow.Created, fmt.Sprint(i)
		net = anyColumn().Fold(net, "k", e, nil, flow.Row{"a": "x"})
	}
	require.Equal(t, 1_000, net.Events)
	require.Len(t, net.Others, 50)
	require.Equal(t, "998", net.Others[49].Record)
}

func TestNumbersAreTheSameByWhatTheyAreWorth(t *testing.T) {
	t.Parallel()
	n := func(s string) any { return json.Number(s) }
	for _, pair := range [][2]any{
		{n("1"), n("1.0")}, {n("100"), n("1e2")}, {n("-0"), n("0.000")}, {n("0.0012"), n("1.2E-3")}, {n("1e999999999999"), n("10e999999999998")},
		{nil, nil}, {"a", "a"}, {true, true}, {[]any{n("1")}, []any{n("1.0")}}, {map[string]any{"a": n("2")}, map[string]any{"a": n("2.0")}},
	} {
		require.True(t, flow.Same(pair[0], pair[1]), "%v", pair)
	}
	for _, pair := range [][2]any{
		{n("1"), "1"}, {n("1"), n("-1")}, {n("9007199254740993"), n("9007199254740992")}, {nil, ""}, {nil, false}, {n("0"), nil},
		{[]any{}, nil}, {map[string]any{}, nil}, {map[string]any{"a": nil}, map[string]any{}}, {n("1e1"), n("1e2")}, {"a", "A"}, {[]any{"a"}, []any{"a", "b"}},
	} {
		require.False(t, flow.Same(pair[0], pair[1]), "%v", pair)
	}
}
