package bureau

import "patchbay/internal/sandbox/storage"

// The tables. spent is in cents.
var (
	subjects = storage.NewTable(storage.Table{Schema: "bureau", Name: "subject",
		Columns: []storage.Column{{Name: "subject_id"}, {Name: "score", Kind: storage.Int}, {Name: "open_loans", Kind: storage.Int},
			{Name: "monthly_instalments", Kind: storage.Decimal}, {Name: "card_use_percent", Kind: storage.Decimal},
			{Name: "inquiries", Kind: storage.Int}, {Name: "late_payments", Kind: storage.Int}, {Name: "currency"}},
		Primary: []string{"subject_id"}})

	inquiries = storage.NewTable(storage.Table{Schema: "bureau", Name: "inquiry",
		Columns: []storage.Column{{Name: "reference"}, {Name: "owner"}, {Name: "subject_id"}, {Name: "purpose"}, {Name: "at", Kind: storage.Time},
			{Name: "day"}, {Name: "cents", Kind: storage.Int}, {Name: "times", Kind: storage.Int}},
		Primary: []string{"reference", "owner"}, Index: [][]string{{"subject_id"}, {"at"}}})

	days = storage.NewTable(storage.Table{Schema: "bureau", Name: "day",
		Columns: []storage.Column{{Name: "day"}, {Name: "spent", Kind: storage.Int}}, Primary: []string{"day"}})

	rules = storage.NewTable(storage.Table{Schema: "bureau", Name: "rule",
		Columns: []storage.Column{{Name: "subject_id"}, {Name: "answer"}, {Name: "cents", Kind: storage.Int}}, Primary: []string{"subject_id"}})
)

// Tables are those of the system; the first holds the persons it knows.
func Tables() []*storage.Table { return []*storage.Table{subjects, inquiries, days, rules} }

func is(column string, value any) storage.Expr {
	return storage.Compare{Column: column, Op: storage.Eq, Value: value}
}

func text(row storage.Row, column string) string { s, _ := row[column].(string); return s }

func number(row storage.Row, column string) int64 { n, _ := row[column].(int64); return n }
