// Package bank owns the tables of the core banking stand-in, in the schema "bank" of the
// sandbox's database: PostgreSQL is its wire protocol, so it has no other face.
//
// The sandbox creates and fills them when it starts; it may import storage alone.
//
// Invariants: customer has one row a customer, whose sums are those of the rows of account,
// salary_credit and loan; the same seed gives the same rows.
package bank

import "patchbay/internal/sandbox/storage"

// Tables are those of core banking. customer has one row a customer, with what the others add up to.
func Tables() []*storage.Table {
	table := func(name string, columns ...storage.Column) *storage.Table {
		columns = append(columns, storage.Column{Name: "customer_number"}, storage.Column{Name: "currency"})
		return storage.NewTable(storage.Table{Schema: "bank", Name: name, Columns: columns, Primary: []string{columns[0].Name}})
	}
	text, amount := func(name string) storage.Column { return storage.Column{Name: name} }, func(name string) storage.Column {
		return storage.Column{Name: name, Kind: storage.Decimal}
	}
	day := func(name string) storage.Column { return storage.Column{Name: name, Kind: storage.Date} }
	return []*storage.Table{
		storage.NewTable(storage.Table{Schema: "bank", Name: "customer", Primary: []string{"customer_number"}, Unique: [][]string{{"subject_id"}},
			Columns: []storage.Column{text("customer_number"), text("subject_id"), day("customer_since"), amount("salary_monthly"), amount("savings"), amount("instalments_monthly"), text("currency")}}),
		table("account", text("account_number"), text("kind"), amount("balance")),
		table("salary_credit", text("credit_id"), day("credited_on"), amount("amount")),
		table("loan", text("loan_number"), amount("outstanding"), amount("instalment")),
	}
}
