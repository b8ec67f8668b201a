package dataverse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/sandbox/storage"
)

// sentence is a filter as a client writes it, beside what it means for a row.
type sentence struct {
	text string
	mean func(storage.Row) *bool // nil is unknown, as SQL has it
}

func known(b bool) *bool { return &b }

func drawSentence(t *rapid.T, depth int) sentence {
	kind := rapid.IntRange(0, 7).Draw(t, "kind")
	if depth == 0 && kind < 3 {
		kind += 3
	}
	switch kind {
	case 0:
		a, b := drawSentence(t, depth-1), drawSentence(t, depth-1)
		return sentence{"(" + a.text + ") and (" + b.text + ")", func(r storage.Row) *bool { return both(a.mean(r), b.mean(r)) }}
	case 1:
		a, b := drawSentence(t, depth-1), drawSentence(t, depth-1)
		return sentence{"(" + a.text + " or " + b.text + ")", func(r storage.Row) *bool { return not(both(not(a.mean(r)), not(b.mean(r)))) }}
	case 2:
		a := drawSentence(t, depth-1)
		return sentence{"not (" + a.text + ")", func(r storage.Row) *bool { return not(a.mean(r)) }}
	case 3:
		word := rapid.SampledFrom([]string{"Acme", "acme", "O'Neil", "x", ""}).Draw(t, "word")
		op := rapid.SampledFrom([]string{"eq", "ne"}).Draw(t, "op")
		return sentence{fmt.Sprintf("name %s '%s'", op, strings.ReplaceAll(word, "'", "''")), func(r storage.Row) *bool {
			s, ok := r["name"].(string)
			if !ok {
				return nil
			}
			return known(strings.EqualFold(s, word) == (op == "eq"))
		}}
	case 4:
		n := rapid.Int64Range(0, 5).Draw(t, "n")
		op := rapid.SampledFrom([]string{"eq", "ne", "gt", "ge", "lt", "le"}).Draw(t, "op")
		return sentence{fmt.Sprintf("numberofemployees %s %d", op, n), func(r storage.Row) *bool {
			v, ok := r["numberofemployees"].(int64)
			if !ok {
				return nil
			}
			return known(map[string]bool{"eq": v == n, "ne": v != n, "gt": v > n, "ge": v >= n, "lt": v < n, "le": v <= n}[op])
		}}
	case 5:
		op := rapid.SampledFrom([]string{"eq", "ne"}).Draw(t, "op")
		return sentence{"name " + op + " null", func(r storage.Row) *bool { return known((r["name"] == nil) == (op == "eq")) }}
	case 6:
		part := rapid.SampledFrom([]string{"a", "ne", "Ac", "'", "zz"}).Draw(t, "part")
		function := rapid.SampledFrom([]string{"contains", "startswith", "endswith"}).Draw(t, "function")
		return sentence{fmt.Sprintf("%s(name,'%s')", function, strings.ReplaceAll(part, "'", "''")), func(r storage.Row) *bool {
			s, ok := r["name"].(string)
			if !ok {
				return nil
			}
			s, p := strings.ToLower(s), strings.ToLower(part)
			return known(map[string]bool{"contains": strings.Contains(s, p), "startswith": strings.HasPrefix(s, p), "endswith": strings.HasSuffix(s, p)}[function])
		}}
	default:
		return sentence{"creditonhold eq true", func(r storage.Row) *bool {
			v, ok := r["creditonhold"].(bool)
			if !ok {
				return nil
			}
			return known(v)
		}}
	}
}

func both(a, b *bool) *bool {
	switch {
	case a != nil && !*a || b != nil && !*b:
		return known(false)
	case a == nil || b == nil:
		return nil
	default:
		return known(true)
	}
}

func not(a *bool) *bool {
	if a == nil {
		return nil
	}
	return known(!*a)
}

func TestFilterMeansWhatItsWordsSay(t *testing.T) {
	t.Parallel()
	env := Build("d", "", Tables())
	accounts := env.byLogical["account"]
	rapid.Check(t, func(rt *rapid.T) {
		store := storage.NewMemory()
		require.NoError(rt, store.Create(t.Context(), env.Stored()...))
		s := drawSentence(rt, 3)
		where, err := env.parseFilter(accounts, s.text, nil, time.Now())
		require.NoError(rt, err, s.text)
		var want, got []any
		require.NoError(rt, store.Write(t.Context(), func(tx storage.Tx) error {
			for i := range 8 {
				row := storage.Row{"accountid": fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)}
				if rapid.Bool().Draw(rt, "named") {
					row["name"] = rapid.SampledFrom([]string{"Acme", "ACME", "O'Neil", "Xa", ""}).Draw(rt, "name")
				}
				if rapid.Bool().Draw(rt, "counted") {
					row["numberofemployees"] = rapid.Int64Range(0, 5).Draw(rt, "number")
				}
				if rapid.Bool().Draw(rt, "judged") {
					row["creditonhold"] = rapid.Bool().Draw(rt, "hold")
				}
				if m := s.mean(row); m != nil && *m {
					want = append(want, row["accountid"])
				}
				if err := tx.Insert(t.Context(), accounts.rows, row); err != nil {
					return err
				}
			}
			found, err := tx.Find(t.Context(), accounts.rows, storage.Query{Where: where})
			for _, row := range found {
				got = append(got, row["accountid"])
			}
			return err
		}))
		require.Equal(rt, want, got, s.text)
	})
}

func FuzzFilterNeverPanics(f *testing.F) {
	env := Build("d", "", Tables())
	for _, text := range []string{"name eq 'x'", "contains(name,'a') or not (revenue gt 1.5)", "a/any(x:x/y eq 1)", "Microsoft.Dynamics.CRM.In(PropertyName='name',PropertyValues=[\"a\"])", "_ownerid_value eq 00000000-0000-4000-8000-000000000000", "(((", "'", "createdon ge 2026-01-01T00:00:00Z"} {
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = env.parseFilter(env.byLogical["account"], text, map[string]string{"@p": text}, time.Now())
		_, _ = env.byLogical["account"].parseAddress(text)
	})
}
