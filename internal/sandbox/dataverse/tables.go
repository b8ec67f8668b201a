package dataverse

// Tables are the tables of the sandbox's environments, as documented, and
// msx_specification, msx_salesactionplan and msx_loanapplication as the examples need them.
func Tables() []Table {
	contactOf := func(name string) Column {
		return Column{Name: name, Type: Lookup, Targets: []Target{{Table: "contact"}}}
	}
	accountOf := func(name string) Column {
		return Column{Name: name, Type: Lookup, Targets: []Target{{Table: "account"}}}
	}
	currency := Column{Name: "transactioncurrencyid", Type: Lookup, Targets: []Target{{Table: "transactioncurrency"}}, ReadOnly: true}
	return append([]Table{
		{
			Logical: "account", Set: "accounts", Primary: "accountid", NameColumn: "name", Label: "Account", Owned: true,
			Columns: append([]Column{
				{Name: "name", Type: String, Length: 160}, {Name: "accountnumber", Type: String, Length: 20},
				{Name: "telephone1", Type: String, Length: 50}, {Name: "emailaddress1", Type: String, Length: 100},
				{Name: "websiteurl", Type: String, Length: 200}, {Name: "description", Type: Memo, Length: 2000},
				{Name: "revenue", Type: Money}, {Name: "creditlimit", Type: Money}, {Name: "numberofemployees", Type: Integer},
				{Name: "creditonhold", Type: Boolean, Default: false, Options: yesNo},
				{Name: "industrycode", Type: Picklist, Options: industries}, {Name: "customertypecode", Type: Picklist, Options: customerTypes},
				{Name: "accountcategorycode", Type: Picklist, Options: choices("Preferred Customer", "Standard")},
				{Name: "ownershipcode", Type: Picklist, Options: choices("Public", "Private", "Subsidiary", "Other")},
				{Name: "paymenttermscode", Type: Picklist, Options: choices("Net 30", "2% 10, Net 30", "Net 45", "Net 60")},
				{Name: "address1_line1", Type: String, Length: 250}, {Name: "address1_city", Type: String, Length: 80},
				{Name: "address1_postalcode", Type: String, Length: 20}, {Name: "address1_country", Type: String, Length: 80},
				contactOf("primarycontactid"), accountOf("parentaccountid"), currency,
			}, append(picture(), states(activity, activityStatus)...)...),
			Keys: []Key{{Name: "msx_accountnumber_key", Columns: []string{"accountnumber"}}},
			Collections: []Collection{
				{Navigation: "contact_customer_accounts", Table: "contact", Column: "parentcustomerid"},
				{Navigation: "incident_customer_accounts", Table: "incident", Column: "customerid"},
				{Navigation: "Account_Tasks", Table: "task", Column: "regardingobjectid"},
				{Navigation: "account_parent_account", Table: "account", Column: "parentaccountid"},
				{Navigation: "Account_Annotation", Table: "annotation", Column: "objectid"},
				{Navigation: "msx_account_salesactionplan", Table: "msx_salesactionplan", Column: "msx_account"},
				{Navigation: "order_customer_accounts", Table: "salesorder", Column: "customerid"},
			},
		},
		{
			Logical: "contact", Set: "contacts", Primary: "contactid", NameColumn: "fullname", Label: "Contact", Owned: true,
			Columns: append([]Column{
				{Name: "fullname", Type: String, Length: 160, ReadOnly: true}, {Name: "firstname", Type: String, Length: 50},
				{Name: "lastname", Type: String, Length: 50}, {Name: "jobtitle", Type: String, Length: 100},
				{Name: "emailaddress1", Type: String, Length: 100}, {Name: "telephone1", Type: String, Length: 50},
				{Name: "mobilephone", Type: String, Length: 50}, {Name: "birthdate", Type: DateOnly},
				{Name: "msx_contactnumber", Type: String, Length: 20}, {Name: "description", Type: Memo, Length: 2000},
				{Name: "gendercode", Type: Picklist, Options: choices("Male", "Female")},
				{Name: "familystatuscode", Type: Picklist, Options: choices("Single", "Married", "Divorced", "Widowed")},
				{Name: "preferredcontactmethodcode", Type: Picklist, Options: choices("Any", "Email", "Phone", "Fax", "Mail"), Default: int64(1)},
				{Name: "parentcustomerid", Type: Lookup, Targets: []Target{{"account", "parentcustomerid_account"}, {"contact", "parentcustomerid_contact"}}},
			}, states(activity, activityStatus)...),
			Keys: []Key{{Name: "msx_contactnumber_key", Columns: []string{"msx_contactnumber"}}},
			Collections: []Collection{
				{Navigation: "incident_customer_contacts", Table: "incident", Column: "customerid"},
				{Navigation: "account_primary_contact", Table: "account", Column: "primarycontactid"},
				{Navigation: "Contact_Annotation", Table: "annotation", Column: "objectid"},
			},
		},
		{
			Logical: "incident", Set: "incidents", Primary: "incidentid", NameColumn: "title", Label: "Case", Owned: true,
			Columns: append([]Column{
				{Name: "title", Type: String, Length: 200}, {Name: "ticketnumber", Type: String, Length: 100}, {Name: "description", Type: Memo, Length: 2000},
				{Name: "customerid", Type: Lookup, Required: true, Targets: []Target{{"account", "customerid_account"}, {"contact", "customerid_contact"}}},
				contactOf("primarycontactid"), {Name: "productid", Type: Lookup, Targets: []Target{{Table: "product"}}},
				{Name: "prioritycode", Type: Picklist, Options: choices("High", "Normal", "Low"), Default: int64(2)},
				{Name: "caseorigincode", Type: Picklist, Options: []Option{{Value: 1, Label: "Phone"}, {Value: 2, Label: "Email"}, {Value: 3, Label: "Web"}, {Value: 2483, Label: "Facebook"}, {Value: 3986, Label: "Twitter"}}},
				{Name: "casetypecode", Type: Picklist, Options: choices("Question", "Problem", "Request")},
				{Name: "severitycode", Type: Picklist, Options: choices("Default Value"), Default: int64(1)},
				{Name: "isescalated", Type: Boolean, Default: false, Options: yesNo}, {Name: "msx_customerfacing", Type: Boolean, Default: false, Options: yesNo},
				{Name: "customer_email", Type: String, Length: 100},
				{Name: "followupby", Type: DateTime}, {Name: "resolveby", Type: DateTime}, {Name: "responseby", Type: DateTime},
			}, states(choicesFrom(0, "Active", "Resolved", "Canceled"), []Option{
				{1, "In Progress", 0}, {2, "On Hold", 0}, {3, "Waiting for Details", 0}, {4, "Researching", 0}, {5, "Problem Solved", 1},
				{1000, "Information Provided", 1}, {6, "Canceled", 2}, {2000, "Merged", 2}})...),
			Keys:        []Key{{Name: "msx_ticketnumber_key", Columns: []string{"ticketnumber"}}},
			Collections: []Collection{{Navigation: "Incident_Annotation", Table: "annotation", Column: "objectid"}, {Navigation: "Incident_Tasks", Table: "task", Column: "regardingobjectid"}},
		},
		{
			Logical: "product", Set: "products", Primary: "productid", NameColumn: "name", Label: "Product", Single: true,
			Columns: append([]Column{
				{Name: "name", Type: String, Length: 100}, {Name: "productnumber", Type: String, Length: 100, Required: true},
				{Name: "description", Type: Memo, Length: 2000}, {Name: "price", Type: Money}, {Name: "currentcost", Type: Money},
				{Name: "standardcost", Type: Money}, {Name: "quantityonhand", Type: Decimal},
				{Name: "productstructure", Type: Picklist, Options: choices("Product", "Product Family", "Product Bundle"), Default: int64(1)},
				{Name: "producttypecode", Type: Picklist, Options: choices("Sales Inventory", "Miscellaneous Charges", "Services", "Flat Fees")},
				{Name: "validfromdate", Type: DateTime}, {Name: "validtodate", Type: DateTime},
				{Name: "parentproductid", Type: Lookup, Targets: []Target{{Table: "product"}}}, currency,
			}, states(choicesFrom(0, "Active", "Retired", "Draft", "Under Revision"),
				[]Option{{1, "Active", 0}, {2, "Retired", 1}, {0, "Draft", 2}, {3, "Under Revision", 3}})...),
			Keys: []Key{{Name: "msx_productnumber_key", Columns: []string{"productnumber"}}},
		},
		{
			Logical: "task", Set: "tasks", Primary: "activityid", NameColumn: "subject", Label: "Task", Owned: true,
			Columns: append([]Column{
				{Name: "subject", Type: String, Length: 200}, {Name: "description", Type: Memo, Length: 2000}, {Name: "scheduledend", Type: DateTime},
				{Name: "percentcomplete", Type: Integer}, {Name: "prioritycode", Type: Picklist, Options: choicesFrom(0, "Low", "Normal", "High"), Default: int64(1)},
				{Name: "regardingobjectid", Type: Lookup, Targets: []Target{{"account", "regardingobjectid_account_task"}, {"contact", "regardingobjectid_contact_task"}, {"incident", "regardingobjectid_incident_task"}}},
			}, states(choicesFrom(0, "Open", "Completed", "Canceled"), []Option{{2, "Not Started", 0}, {3, "In Progress", 0},
				{4, "Waiting on someone else", 0}, {7, "Deferred", 0}, {5, "Completed", 1}, {6, "Canceled", 2}})...),
		},
		{
			Logical: "annotation", Set: "annotations", Primary: "annotationid", NameColumn: "subject", Label: "Note", Owned: true,
			Columns: []Column{
				{Name: "subject", Type: String, Length: 500}, {Name: "notetext", Type: Memo, Length: 100000}, {Name: "isdocument", Type: Boolean, Default: false, Options: yesNo},
				{Name: "filename", Type: String, Length: 255}, {Name: "mimetype", Type: String, Length: 256}, {Name: "documentbody", Type: Memo, Length: 1 << 27},
				{Name: "filesize", Type: Integer, ReadOnly: true}, {Name: "objecttypecode", Type: String, Length: 64, ReadOnly: true},
				{Name: "objectid", Type: Lookup, Targets: []Target{{"account", "objectid_account"}, {"contact", "objectid_contact"}, {"incident", "objectid_incident"}}},
			},
		},
		{
			Logical: "msx_specification", Set: "msx_specifications", Primary: "msx_specificationid", NameColumn: "msx_name", Label: "Specification", Owned: true,
			Columns: append([]Column{
				{Name: "msx_name", Type: String, Length: 300}, {Name: "msx_productnumber", Type: String, Length: 100},
				{Name: "msx_attribute", Type: String, Length: 200}, {Name: "msx_value", Type: String, Length: 2000}, {Name: "msx_unit", Type: String, Length: 50},
			}, states(activity, activityStatus)...),
			Keys: []Key{{Name: "msx_specification_key", Columns: []string{"msx_productnumber", "msx_attribute"}}},
		},
		salesActionPlan(),
		loanApplication(),
		{
			Logical: "systemuser", Set: "systemusers", Primary: "systemuserid", NameColumn: "fullname", Label: "User",
			Columns: []Column{
				{Name: "fullname", Type: String, Length: 200}, {Name: "domainname", Type: String, Length: 1024}, {Name: "applicationid", Type: Unique},
				{Name: "internalemailaddress", Type: String, Length: 100}, {Name: "isdisabled", Type: Boolean, Default: false, Options: yesNo},
			},
		},
		{
			Logical: "transactioncurrency", Set: "transactioncurrencies", Primary: "transactioncurrencyid", NameColumn: "currencyname", Label: "Currency",
			Columns: []Column{
				{Name: "currencyname", Type: String, Length: 100}, {Name: "isocurrencycode", Type: String, Length: 5}, {Name: "currencysymbol", Type: String, Length: 13},
			},
		},
	}, append(orderTables(currency), registrationTables()...)...)
}

// The choices that several tables share.
var (
	yesNo          = choicesFrom(0, "No", "Yes")
	activity       = choicesFrom(0, "Active", "Inactive")
	activityStatus = []Option{{1, "Active", 0}, {2, "Inactive", 1}}
	customerTypes  = choices("Competitor", "Consultant", "Customer", "Investor", "Partner", "Influencer", "Press", "Prospect", "Reseller", "Supplier", "Vendor", "Other")
	industries     = choices("Accounting", "Agriculture and Non-petrol Natural Resource Extraction", "Broadcasting Printing and Publishing", "Brokers",
		"Building Supply Retail", "Business Services", "Consulting", "Consumer Services", "Design, Direction and Creative Management",
		"Distributors, Dispatchers and Processors", "Doctor's Offices and Clinics", "Durable Manufacturing")
)

func choices(labels ...string) []Option { return choicesFrom(1, labels...) }

func choicesFrom(first int64, labels ...string) []Option {
	list := make([]Option, len(labels))
	for i, label := range labels {
		list[i] = Option{Value: first + int64(i), Label: label}
	}
	return list
}

// states are the two columns of a table with a life cycle; the first status of
// a state is its default.
func states(state, status []Option) []Column {
	return []Column{
		{Name: "statecode", Type: State, Options: state, Default: state[0].Value},
		{Name: "statuscode", Type: Status, Options: status, Default: status[0].Value},
	}
}
