package dataverse

import (
	"strings"

	"patchbay/internal/sandbox/login"
)

// Regional are the organisations of a company that has one in each region. They share
// nothing: each has its schema (dataverse_de, dataverse_fr, dataverse_ch), its row
// versions, change tracking, webhooks and metadata, its own users (login.Regional)
// and its own ids for what is the same record.
//
// Deleting an account deletes its contacts and is refused while it has orders;
// deleting an order takes the link from its shipments.
//
// Whoever tests may use the tables by SQL: a column has the name of its property
// (account.name, contact."_parentcustomerid_value" with "_parentcustomerid_type").
// An UPDATE there is a change behind the back of everybody: versionnumber and
// modifiedon stay, no webhook is sent, and change tracking says nothing of it. A row
// that is inserted by SQL takes its versionnumber from nextval of row_version in the
// schema, or it is seen by no later reading of changes.
func Regional() []*Environment {
	ids := map[string]string{"de": "d0e00000-07af-45eb-a0bc-3fea67ca0001", "fr": "f0f00000-07af-45eb-a0bc-3fea67ca0002", "ch": "c0c00000-07af-45eb-a0bc-3fea67ca0003"}
	list := make([]*Environment, 0, len(login.Regions))
	for _, of := range login.Regions {
		e := build(of.Organization, ids[of.Region], "contoso-"+of.Region+".crm.dynamics.com", regionalTables())
		e.regional, e.counter = true, e.tombstones.Schema
		list = append(list, e)
	}
	return list
}

// Counter names the counter of the environment's row versions, as storage has it.
func (e *Environment) Counter() string { return e.counter }

// organization is the short name by which the platform calls the environment.
func (e *Environment) organization() string {
	name, _, _ := strings.Cut(e.Host, ".")
	return name
}

// regionalTables are what the regions share and, beside it, what must stay: the
// diagnosis, the patient's number, the free texts. The name of a contact is a column
// of its own here, not made of two others.
func regionalTables() []Table {
	to := func(name, table, navigation string, onDelete Cascade) Column {
		return Column{Name: name, Type: Lookup, Targets: []Target{{Table: table, Navigation: navigation}}, OnDelete: onDelete}
	}
	late := Column{Name: "msx_remark", Type: String, Length: 200, Late: true}
	currency := Column{Name: "transactioncurrencyid", Type: Lookup, Targets: []Target{{Table: "transactioncurrency"}}, ReadOnly: true}
	merged := []Column{{Name: "merged", Type: Boolean, Default: false, Options: yesNo, ReadOnly: true}}
	return append([]Table{
		{
			Logical: "account", Set: "accounts", Primary: "accountid", NameColumn: "name", Label: "Account", Owned: true, Merged: true,
			Columns: append(append([]Column{
				{Name: "name", Type: String, Length: 160}, {Name: "accountnumber", Type: String, Length: 20},
				{Name: "telephone1", Type: String, Length: 50}, {Name: "emailaddress1", Type: String, Length: 100},
				{Name: "description", Type: Memo, Length: 2000}, {Name: "msx_diagnosis", Type: String, Length: 400}, late,
				{Name: "masterid", Type: Lookup, Targets: []Target{{Table: "account"}}, ReadOnly: true},
			}, merged...), states(activity, activityStatus)...),
			Keys: []Key{{Name: "msx_accountnumber_key", Columns: []string{"accountnumber"}}},
			Collections: []Collection{
				{Navigation: "contact_customer_accounts", Table: "contact", Column: "parentcustomerid"},
				{Navigation: "order_customer_accounts", Table: "salesorder", Column: "customerid"},
			},
		},
		{
			Logical: "contact", Set: "contacts", Primary: "contactid", NameColumn: "fullname", Label: "Contact", Owned: true, Merged: true,
			Columns: append(append([]Column{
				{Name: "fullname", Type: String, Length: 160}, {Name: "msx_contactnumber", Type: String, Length: 20},
				{Name: "emailaddress1", Type: String, Length: 100}, {Name: "description", Type: Memo, Length: 2000}, {Name: "msx_patientid", Type: String, Length: 50},
				{Name: "parentcustomerid", Type: Lookup, OnDelete: CascadeAll,
					Targets: []Target{{"account", "parentcustomerid_account"}, {"contact", "parentcustomerid_contact"}}},
				{Name: "masterid", Type: Lookup, Targets: []Target{{Table: "contact"}}, ReadOnly: true},
			}, merged...), states(activity, activityStatus)...),
			Keys: []Key{{Name: "msx_contactnumber_key", Columns: []string{"msx_contactnumber"}}},
		},
		{
			Logical: "salesorder", Set: "salesorders", Primary: "salesorderid", NameColumn: "ordernumber", Label: "Order", Owned: true,
			Columns: append([]Column{
				{Name: "ordernumber", Type: String, Length: 100}, {Name: "totalamount", Type: Money}, {Name: "description", Type: Memo, Length: 2000}, currency,
				{Name: "customerid", Type: Lookup, OnDelete: Restrict,
					Targets: []Target{{"account", "customerid_account"}, {"contact", "customerid_contact"}}},
			}, states(choicesFrom(0, "Active", "Submitted", "Canceled", "Fulfilled"),
				[]Option{{1, "New", 0}, {2, "Pending", 0}, {690970000, "On Hold", 0}, {690970001, "Ready", 0}, {3, "In Progress", 1}, {4, "No Money", 2}, {100001, "Complete", 3}})...),
			Keys:        []Key{{Name: "msx_ordernumber_key", Columns: []string{"ordernumber"}}},
			Collections: []Collection{{Navigation: "msx_salesorder_shipment", Table: "msx_shipment", Column: "salesorderid"}},
		},
		{
			Logical: "msx_shipment", Set: "msx_shipments", Primary: "msx_shipmentid", NameColumn: "msx_shipmentnumber", Label: "Shipment", Owned: true,
			Columns: append([]Column{
				{Name: "msx_shipmentnumber", Type: String, Length: 40}, {Name: "msx_carrier", Type: String, Length: 100}, {Name: "msx_eta", Type: DateTime},
				to("salesorderid", "salesorder", "salesorderid", RemoveLink),
			}, states(activity, activityStatus)...),
			Keys: []Key{{Name: "msx_shipmentnumber_key", Columns: []string{"msx_shipmentnumber"}}},
		},
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
	}, registrationTables()...)
}
