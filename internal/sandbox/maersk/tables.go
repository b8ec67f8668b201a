package maersk

import "patchbay/internal/sandbox/storage"

// The tables. Documents are kept as their JSON text.
var (
	bookings = storage.NewTable(storage.Table{Schema: "maersk", Name: "booking",
		Columns: []storage.Column{{Name: "request"}, {Name: "owner"}, {Name: "reference"}, {Name: "own"}, {Name: "document"}, {Name: "amended"},
			{Name: "status"}, {Name: "amended_status"}, {Name: "cancel_status"}, {Name: "feedbacks"}, {Name: "reason"},
			{Name: "created_at", Kind: storage.Time}, {Name: "visible_at", Kind: storage.Time},
			{Name: "due_at", Kind: storage.Time}, {Name: "next"}, {Name: "step", Kind: storage.Int}},
		Primary: []string{"request"}, Unique: [][]string{{"reference"}}, Index: [][]string{{"due_at"}, {"own"}}})

	events = storage.NewTable(storage.Table{Schema: "maersk", Name: "event",
		Columns: []storage.Column{{Name: "id"}, {Name: "owner"}, {Name: "created", Kind: storage.Time}, {Name: "at", Kind: storage.Time},
			{Name: "type"}, {Name: "classifier"}, {Name: "shipment_code"}, {Name: "transport_code"}, {Name: "equipment_code"},
			{Name: "document_type"}, {Name: "booking"}, {Name: "transport_document"}, {Name: "equipment"}, {Name: "call"},
			{Name: "imo"}, {Name: "voyage"}, {Name: "service"}, {Name: "place"}, {Name: "body"}},
		Primary: []string{"id"}, Index: [][]string{{"created"}, {"booking"}}})

	subscriptions = storage.NewTable(storage.Table{Schema: "maersk", Name: "subscription",
		Columns: []storage.Column{{Name: "id"}, {Name: "owner"}, {Name: "kind"}, {Name: "url"}, {Name: "secret"}, {Name: "filters"},
			{Name: "created_at", Kind: storage.Time}, {Name: "bundle", Kind: storage.Int}},
		Primary: []string{"id"}})

	deliveries = storage.NewTable(storage.Table{Schema: "maersk", Name: "delivery",
		Columns: []storage.Column{{Name: "n", Kind: storage.Int}, {Name: "subscription"}, {Name: "body"}, {Name: "due_at", Kind: storage.Time}, {Name: "tries", Kind: storage.Int}},
		Primary: []string{"n"}, Index: [][]string{{"due_at"}}})

	decisions = storage.NewTable(storage.Table{Schema: "maersk", Name: "decision",
		Columns: []storage.Column{{Name: "own"}, {Name: "rule"}}, Primary: []string{"own"}})
)

// Tables are those of the system, in an order in which they can be filled.
func Tables() []*storage.Table {
	return []*storage.Table{bookings, events, subscriptions, deliveries, decisions}
}

func textOf(row storage.Row, column string) string { s, _ := row[column].(string); return s }

func numberOf(row storage.Row, column string) int64 { n, _ := row[column].(int64); return n }

func is(column string, value any) storage.Expr {
	return storage.Compare{Column: column, Op: storage.Eq, Value: value}
}
