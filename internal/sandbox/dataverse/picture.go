package dataverse

// picture is what the customer-360 example keeps on an account: figures of three
// other systems, and when the oldest of them was read.
func picture() []Column {
	return []Column{
		{Name: "msx_openorders", Type: Integer}, {Name: "msx_ordervalue", Type: Money}, {Name: "msx_lastorder", Type: DateOnly},
		{Name: "msx_receivables", Type: Money}, {Name: "msx_overdue", Type: Money},
		{Name: "msx_stockquantity", Type: Decimal}, {Name: "msx_stockvalue", Type: Money},
		{Name: "msx_documents", Type: Integer}, {Name: "msx_lastdocument", Type: DateOnly},
		{Name: "msx_asof", Type: DateTime}, {Name: "msx_stale", Type: String, Length: 200},
	}
}

// salesActionPlan is the table of the next best action for each customer. It has the
// customer's number besides the lookup: a plan is found by it alone.
func salesActionPlan() Table {
	return Table{
		Logical: "msx_salesactionplan", Set: "msx_salesactionplans", Primary: "msx_salesactionplanid", NameColumn: "msx_name", Label: "Sales action plan", Owned: true,
		Columns: append([]Column{
			{Name: "msx_name", Type: String, Length: 300}, {Name: "msx_accountnumber", Type: String, Length: 20},
			{Name: "msx_account", Type: Lookup, Targets: []Target{{Table: "account", Navigation: "msx_account"}}},
			{Name: "msx_state", Type: String, Length: 20}, {Name: "msx_action", Type: String, Length: 100}, {Name: "msx_title", Type: String, Length: 200},
			{Name: "msx_reason", Type: Memo, Length: 2000}, {Name: "msx_evidence", Type: Memo, Length: 4000}, {Name: "msx_confidence", Type: Decimal},
			{Name: "msx_source", Type: String, Length: 20}, {Name: "msx_model", Type: String, Length: 100}, {Name: "msx_modelversion", Type: String, Length: 50},
			{Name: "msx_promptdigest", Type: String, Length: 64}, {Name: "msx_failure", Type: String, Length: 100},
			{Name: "msx_note", Type: Memo, Length: 2000}, {Name: "msx_stale", Type: String, Length: 200}, {Name: "msx_asof", Type: DateTime},
		}, states(activity, activityStatus)...),
		Keys: []Key{{Name: "msx_salesactionplan_key", Columns: []string{"msx_accountnumber"}}},
	}
}
