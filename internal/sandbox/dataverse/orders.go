package dataverse

// The states of an order that are the company's own, besides those of Dataverse.
const (
	OrderNew        = 1
	OrderApproved   = 717750001
	OrderInShipment = 717750002
	OrderDelivered  = 717750003
	OrderNotShipped = 717750009
)

// orderTables are orders, their lines, and what is known of their shipment.
func orderTables(currency Column) []Table {
	order := Column{Name: "salesorderid", Type: Lookup, Targets: []Target{{Table: "salesorder", Navigation: "salesorderid"}}, OnDelete: CascadeAll}
	return []Table{
		{
			Logical: "salesorder", Set: "salesorders", Primary: "salesorderid", NameColumn: "name", Label: "Order", Owned: true,
			Columns: append([]Column{
				{Name: "name", Type: String, Length: 300}, {Name: "ordernumber", Type: String, Length: 100}, {Name: "description", Type: Memo, Length: 2000},
				{Name: "customerid", Type: Lookup, Required: true, Targets: []Target{{"account", "customerid_account"}, {"contact", "customerid_contact"}}},
				{Name: "totalamount", Type: Money}, {Name: "msx_readyon", Type: DateOnly},
				{Name: "msx_loadingport", Type: String, Length: 5}, {Name: "msx_dischargeport", Type: String, Length: 5}, {Name: "msx_salesorder", Type: String, Length: 20}, currency,
			}, states(choicesFrom(0, "Active", "Submitted", "Canceled", "Fulfilled", "Invoiced"), []Option{
				{OrderNew, "New", 0}, {2, "Pending", 0}, {OrderApproved, "Approved", 0}, {OrderInShipment, "In shipment", 0}, {OrderDelivered, "Delivered", 0},
				{OrderNotShipped, "Not shipped", 0}, {3, "In Progress", 1}, {4, "No Money", 2}, {100001, "Complete", 3}, {100002, "Partial", 3}, {100003, "Invoiced", 4}})...),
			Keys:        []Key{{Name: "msx_ordernumber_key", Columns: []string{"ordernumber"}}},
			Collections: []Collection{{Navigation: "order_details", Table: "salesorderdetail", Column: "salesorderid"}, {Navigation: "msx_salesorder_shipment", Table: "msx_shipment", Column: "salesorderid"}},
		},
		{
			Logical: "salesorderdetail", Set: "salesorderdetails", Primary: "salesorderdetailid", NameColumn: "productdescription", Label: "Order Product",
			Columns: []Column{
				{Name: "productdescription", Type: String, Length: 500}, {Name: "lineitemnumber", Type: Integer}, {Name: "msx_productnumber", Type: String, Length: 100},
				{Name: "quantity", Type: Decimal}, order,
			},
		},
		{
			Logical: "msx_shipment", Set: "msx_shipments", Primary: "msx_shipmentid", NameColumn: "msx_shipmentnumber", Label: "Shipment", Owned: true,
			Columns: append([]Column{
				{Name: "msx_shipmentnumber", Type: String, Length: 20}, {Name: "msx_carrier", Type: String, Length: 60}, {Name: "msx_booking", Type: String, Length: 35},
				{Name: "msx_vessel", Type: String, Length: 60}, {Name: "msx_progress", Type: String, Length: 40},
				{Name: "msx_eta", Type: DateTime}, {Name: "msx_departed", Type: DateTime}, {Name: "msx_arrived", Type: DateTime}, order,
			}, states(activity, activityStatus)...),
			Keys: []Key{{Name: "msx_shipmentnumber_key", Columns: []string{"msx_shipmentnumber"}}},
		},
	}
}
