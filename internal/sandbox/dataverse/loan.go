package dataverse

// loanApplication is the table of the loan-qualification example: what somebody applies for and says
// of themselves, and what was decided.
func loanApplication() Table {
	return Table{
		Logical: "msx_loanapplication", Set: "msx_loanapplications", Primary: "msx_loanapplicationid", NameColumn: "msx_name", Label: "Loan application", Owned: true,
		Columns: append([]Column{
			{Name: "msx_name", Type: String, Length: 200}, {Name: "msx_applicationnumber", Type: String, Length: 20},
			{Name: "msx_subjectid", Type: String, Length: 20}, {Name: "msx_customernumber", Type: String, Length: 20}, {Name: "msx_birthdate", Type: DateOnly},
			{Name: "msx_amount", Type: Decimal}, {Name: "msx_currency", Type: String, Length: 3}, {Name: "msx_termmonths", Type: Integer}, {Name: "msx_purpose", Type: String, Length: 100},
			{Name: "msx_income", Type: Decimal}, {Name: "msx_livingcosts", Type: Decimal}, {Name: "msx_employmentmonths", Type: Integer}, {Name: "msx_housing", Type: String, Length: 20},
			{Name: "msx_adviser", Type: String, Length: 100},
			{Name: "msx_status", Type: String, Length: 30}, {Name: "msx_decision", Type: String, Length: 20}, {Name: "msx_reasons", Type: Memo, Length: 4000},
			{Name: "msx_score", Type: Integer}, {Name: "msx_price", Type: Decimal}, {Name: "msx_decidedby", Type: String, Length: 100}, {Name: "msx_decidedon", Type: DateTime},
			{Name: "msx_run", Type: String, Length: 40}, {Name: "msx_note", Type: Memo, Length: 2000},
		}, states(activity, activityStatus)...),
		Keys: []Key{{Name: "msx_loanapplication_key", Columns: []string{"msx_applicationnumber"}}},
	}
}
