package ibm

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox/storage"
)

func TestTheSearchLanguageIsReadAsItIsDocumented(t *testing.T) {
	t.Parallel()
	number := storage.Compare{Column: "CustomerNumber", Op: storage.Eq, Value: "it's"}
	for where, want := range map[string]storage.Expr{
		"d.[CustomerNumber] = 'it''s'":        storage.And{number},
		"CustomerNumber='it''s'":              storage.And{number},
		"NOT ([customernumber] = 'it''s')":    storage.And{storage.Not{X: storage.And{number}}},
		"d.[FiscalYear] >= 2026 AND Amount<2": storage.And{storage.Compare{Column: "FiscalYear", Op: storage.Ge, Value: int64(2026)}, storage.Compare{Column: "Amount", Op: storage.Lt, Value: json.Number("2")}},
		"d.[DateLastModified] > 20260115T070000Z": storage.And{storage.Compare{Column: "DateLastModified", Op: storage.Gt,
			Value: time.Date(2026, 1, 15, 7, 0, 0, 0, time.UTC)}},
		"IsCurrentVersion = True or Currency is not null": storage.Or{storage.And{storage.Compare{Column: "IsCurrentVersion", Op: storage.Eq, Value: true}},
			storage.And{storage.Not{X: storage.Null{Column: "Currency"}}}},
		"Id in ({00d00000-5eed-4000-8000-000000000004})": storage.And{storage.In{Column: "Id", Values: []any{"{00D00000-5EED-4000-8000-000000000004}"}}},
	} {
		got, err := readWhere(financials, "d", where)
		require.NoError(t, err, where)
		require.Equal(t, want, got, where)
	}
}

// A search may be anything; what is refused is refused as the caller's mistake.
func FuzzSearch(f *testing.F) {
	for _, seed := range []string{"d.[Amount] = 1", "((((", "d.[Currency] LIKE 'E%' AND NOT d.[Id] IS NULL", "x in ('a','b", "{", "d..[Amount]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, where string) {
		for _, read := range []func() error{
			func() error { _, err := readWhere(financials, "d", where); return err },
			func() error { _, err := readOrder(financials, "d", where); return err },
			func() error { _, _, err := readFrom(where); return err },
		} {
			if err := read(); err != nil {
				require.ErrorAs(t, err, new(*problem))
			}
		}
	})
}
