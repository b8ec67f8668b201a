package storage_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/sandbox/storage"
	"patchbay/internal/store/storetest"
)

var (
	things = storage.NewTable(storage.Table{Schema: "t", Name: "things", Primary: []string{"id"}, Columns: []storage.Column{
		{Name: "id", Kind: storage.Int}, {Name: "name"}, {Name: "Label", Fold: true}, {Name: "n", Kind: storage.Int}, {Name: "price", Kind: storage.Decimal},
		{Name: "on", Kind: storage.Bool}, {Name: "at", Kind: storage.Time}, {Name: "day", Kind: storage.Date}, {Name: "parent", Kind: storage.Int},
	}, Index: [][]string{{"name"}, {"Label"}, {"Label", "n"}, {"parent"}}})

	errUndo = errors.New("undo")
	words   = []string{"", "a", "A", "b", "Ab", "aB", "ä", "Ä", "a%", "a_c", "abc", "a[b", `a\b`, "Zoë", "ZOË", "-", "a b"}
)

func drawValue(t *rapid.T, column storage.Column) any {
	switch column.Kind {
	case storage.Int:
		return rapid.Int64Range(-3, 12).Draw(t, "int")
	case storage.Decimal:
		return json.Number(rapid.SampledFrom([]string{"0", "1", "1.0", "1.50", "-2.25", "100000000000000000001", "0.10"}).Draw(t, "decimal"))
	case storage.Bool:
		return rapid.Bool().Draw(t, "bool")
	case storage.Time:
		return time.Date(2026, 1, 1+rapid.IntRange(0, 3).Draw(t, "time"), 0, 0, 0, 0, time.UTC)
	case storage.Date:
		return fmt.Sprintf("2026-01-%02d", rapid.IntRange(1, 4).Draw(t, "date"))
	default:
		return rapid.SampledFrom(words).Draw(t, "text")
	}
}

func drawColumn(t *rapid.T, fits func(storage.Column) bool) storage.Column {
	var list []storage.Column
	for _, c := range things.Columns {
		if fits(c) {
			list = append(list, c)
		}
	}
	return rapid.SampledFrom(list).Draw(t, "column")
}

func drawPredicate(t *rapid.T, depth int) storage.Expr {
	ops := []storage.Op{storage.Eq, storage.Ne, storage.Lt, storage.Le, storage.Gt, storage.Ge}
	every := func(storage.Column) bool { return true }
	isText := func(c storage.Column) bool { return c.Kind == storage.Text }
	kind := rapid.IntRange(0, 9).Draw(t, "predicate")
	if depth == 0 && kind < 4 {
		kind += 4
	}
	some := func() []storage.Expr {
		list := make([]storage.Expr, rapid.IntRange(0, 3).Draw(t, "operands"))
		for i := range list {
			list[i] = drawPredicate(t, depth-1)
		}
		return list
	}
	switch kind {
	case 0:
		return storage.And(some())
	case 1:
		return storage.Or(some())
	case 2:
		return storage.Not{X: drawPredicate(t, depth-1)}
	case 3:
		return storage.Exists{Table: things, Outer: []string{"id"}, Inner: []string{"parent"}, Where: drawPredicate(t, depth-1)}
	case 4:
		return storage.Null{Column: drawColumn(t, every).Name}
	case 5:
		c := drawColumn(t, every)
		list := make([]value, rapid.IntRange(0, 4).Draw(t, "values"))
		for i := range list {
			list[i] = drawValue(t, c)
		}
		return storage.In{Column: c.Name, Values: list}
	case 6:
		p := rapid.SampledFrom([]storage.Pattern{
			storage.Wildcards(rapid.SampledFrom(words).Draw(t, "pattern"), "*"), storage.SetWildcards("a[a-c]"), storage.SetWildcards("[^a]%"),
			storage.Literal(rapid.SampledFrom(words).Draw(t, "literal")).Within(), storage.Literal("a").Prefixed(), storage.SetWildcards("%[b_-]"),
		}).Draw(t, "like")
		return storage.Like{Column: drawColumn(t, isText).Name, Pattern: p, Fold: rapid.Bool().Draw(t, "fold")}
	case 7:
		left := drawColumn(t, every)
		right := drawColumn(t, func(c storage.Column) bool { return c.Kind == left.Kind })
		return storage.Columns{Left: left.Name, Op: rapid.SampledFrom(ops).Draw(t, "op"), Right: right.Name}
	case 8:
		list := make([][]value, rapid.IntRange(0, 3).Draw(t, "tuples"))
		for i := range list {
			list[i] = []value{rapid.SampledFrom(words).Draw(t, "label"), rapid.Int64Range(-3, 12).Draw(t, "n")}
		}
		return storage.Tuples{Columns: []string{"Label", "n"}, Values: list}
	default:
		c := drawColumn(t, every)
		return storage.Compare{Column: c.Name, Op: rapid.SampledFrom(ops).Draw(t, "op"), Value: drawValue(t, c), Fold: rapid.Bool().Draw(t, "fold")}
	}
}

type value = any

// The evaluator in Go is the plain meaning of a predicate; the SQL has to agree
// with it on every row, nulls, case, wildcards and order included.
func TestBothStoresFindTheSameRowsInTheSameOrder(t *testing.T) {
	t.Parallel()
	pg, err := storage.OpenPostgres(t.Context(), storetest.Empty(t))
	require.NoError(t, err)
	t.Cleanup(pg.Close)
	memory := storage.NewMemory()
	require.NoError(t, pg.Create(t.Context(), things))
	require.NoError(t, memory.Create(t.Context(), things))

	rapid.Check(t, func(rt *rapid.T) {
		rows := make([]storage.Row, rapid.IntRange(0, 12).Draw(rt, "rows"))
		for i := range rows {
			row := storage.Row{"id": int64(i)}
			for _, c := range things.Columns[1:] {
				if rapid.IntRange(0, 4).Draw(rt, "present") > 0 {
					row[c.Name] = drawValue(rt, c)
				}
			}
			rows[i] = row
		}
		q := storage.Query{Where: drawPredicate(rt, 3), Limit: rapid.IntRange(0, 5).Draw(rt, "limit"), Offset: rapid.IntRange(0, 3).Draw(rt, "offset")}
		for range rapid.IntRange(0, 2).Draw(rt, "orders") {
			q.Order = append(q.Order, storage.Order{Column: drawColumn(rt, func(storage.Column) bool { return true }).Name,
				Desc: rapid.Bool().Draw(rt, "desc"), NullsFirst: rapid.Bool().Draw(rt, "nulls first")})
		}
		find := func(s storage.Store) (ids []any, count int) {
			err := s.Write(t.Context(), func(tx storage.Tx) error {
				if len(rows) > 0 {
					require.NoError(rt, tx.Insert(t.Context(), things, rows...))
				}
				found, err := tx.Find(t.Context(), things, q)
				require.NoError(rt, err)
				for _, row := range found {
					ids = append(ids, row["id"])
				}
				count, err = tx.Count(t.Context(), things, q.Where)
				require.NoError(rt, err)
				return errUndo
			})
			require.ErrorIs(rt, err, errUndo)
			return ids, count
		}
		wantIDs, wantCount := find(memory)
		gotIDs, gotCount := find(pg)
		require.Equal(rt, wantIDs, gotIDs, "%#v", q)
		require.Equal(rt, wantCount, gotCount)
	})
}
