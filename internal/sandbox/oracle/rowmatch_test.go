package oracle

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/sandbox/storage"
)

// condition is a q as a client writes it, beside what it means for a row with
// no nulls.
type condition struct {
	text string
	mean func(storage.Row) bool
}

func drawCondition(t *rapid.T, depth int) condition {
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if depth == 0 && kind < 2 {
		kind += 2
	}
	text := func(r storage.Row) string { s, _ := r["ItemNumber"].(string); return s }
	switch kind {
	case 0:
		a, b := drawCondition(t, depth-1), drawCondition(t, depth-1)
		return condition{"(" + a.text + " and " + b.text + ")", func(r storage.Row) bool { return a.mean(r) && b.mean(r) }}
	case 1:
		a, b := drawCondition(t, depth-1), drawCondition(t, depth-1)
		return condition{"((" + a.text + ") OR (" + b.text + "))", func(r storage.Row) bool { return a.mean(r) || b.mean(r) }}
	case 2:
		word := rapid.SampledFrom([]string{"A1", "a1", "O'B", "zz"}).Draw(t, "word")
		op := rapid.SampledFrom([]string{"=", "!=", "<>"}).Draw(t, "op")
		return condition{fmt.Sprintf("ItemNumber %s '%s'", op, strings.ReplaceAll(word, "'", "''")), func(r storage.Row) bool { return (text(r) == word) == (op == "=") }}
	case 3:
		n := rapid.Int64Range(0, 5).Draw(t, "n")
		op := rapid.SampledFrom([]string{"<", "<=", ">", ">=", "="}).Draw(t, "op")
		return condition{fmt.Sprintf("ItemId%s%d", op, n), func(r storage.Row) bool {
			v, _ := r["ItemId"].(int64)
			return map[string]bool{"<": v < n, "<=": v <= n, ">": v > n, ">=": v >= n, "=": v == n}[op]
		}}
	case 4:
		low, high := rapid.Int64Range(0, 5).Draw(t, "low"), rapid.Int64Range(0, 5).Draw(t, "high")
		return condition{fmt.Sprintf("ItemId between %d and '%d'", low, high), func(r storage.Row) bool { v, _ := r["ItemId"].(int64); return low <= v && v <= high }}
	case 5:
		part := rapid.SampledFrom([]string{"A", "a", "'", "1"}).Draw(t, "part")
		wild := rapid.SampledFrom([]string{"%", "*"}).Draw(t, "wild")
		return condition{fmt.Sprintf("ItemNumber LIKE '%s%s'", strings.ReplaceAll(part, "'", "''"), wild), func(r storage.Row) bool { return strings.HasPrefix(text(r), part) }}
	default:
		return condition{"ItemNumber not in ('A1', 'B2')", func(r storage.Row) bool { return text(r) != "A1" && text(r) != "B2" }}
	}
}

func TestRowMatchMeansWhatItsWordsSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		store := storage.NewMemory()
		require.NoError(rt, store.Create(t.Context(), Tables()...))
		c := drawCondition(rt, 3)
		where, err := parseRowMatch(items, c.text)
		require.NoError(rt, err, c.text)
		var want, got []any
		require.NoError(rt, store.Write(t.Context(), func(tx storage.Tx) error {
			for i := range int64(6) {
				row := storage.Row{"ItemId": i, "OrganizationId": int64(204), "OrganizationCode": fmt.Sprint(i),
					"ItemNumber": rapid.SampledFrom([]string{"A1", "a1", "B2", "O'B", "'x", "1"}).Draw(rt, "number")}
				if c.mean(row) {
					want = append(want, i)
				}
				if err := tx.Insert(t.Context(), items.Table, row); err != nil {
					return err
				}
			}
			found, err := tx.Find(t.Context(), items.Table, storage.Query{Where: where})
			for _, row := range found {
				got = append(got, row["ItemId"])
			}
			return err
		}))
		require.Equal(rt, want, got, c.text)
	})
}

func TestPathIDsLeadBackToTheirKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		row := storage.Row{"ItemId": rapid.Int64().Draw(rt, "item"), "OrganizationId": rapid.Int64().Draw(rt, "organization"), "CategoryCode": rapid.StringN(0, 30, 90).Draw(rt, "category")}
		for _, res := range []*resource{items, categories} {
			back, ok := keyOfID(res, idOf(res, row))
			require.True(rt, ok)
			for name, v := range back {
				require.Equal(rt, row[name], v)
			}
			_, ok = keyOfID(res, rapid.String().Draw(rt, "noise"))
			require.False(rt, ok)
		}
	})
}

func FuzzQueriesNeverPanic(f *testing.F) {
	for _, text := range []string{"ItemNumber = 'x'", "(a or b) and not c", "ItemId between 1 and 2", "A=1;B='2'", "ItemNumber in ('", "upper(ItemNumber) like 'A*'"} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = parseRowMatch(items, text)
		_, _ = parseByExample(items, text)
		_, _ = keyOfID(categories, text)
	})
}
