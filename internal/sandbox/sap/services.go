package sap

import "patchbay/internal/sandbox/storage"

// serverPage is how many rows the sets that page by themselves give at once.
const serverPage = 1000

// The properties, with the lengths and types of SAP's own metadata.
var (
	orderProperties = []property{
		str("SalesOrder", 10), str("SalesOrderType", 4), str("SalesOrganization", 4), str("DistributionChannel", 2), str("OrganizationDivision", 2),
		str("SoldToParty", 10), str("PurchaseOrderByCustomer", 35), of("SalesOrderDate", date), of("RequestedDeliveryDate", date), of("PricingDate", date),
		str("TransactionCurrency", 5), str("CustomerPaymentTerms", 4), str("IncotermsClassification", 3), str("IncotermsLocation1", 70), str("ShippingCondition", 2),
		str("DeliveryBlockReason", 2), str("HeaderBillingBlockReason", 2), str("SDDocumentReason", 3), str("AssignmentReference", 18),
		amount("TotalNetAmount", 16).fixed(), of("CreationDate", date).fixed(), str("CreatedByUser", 12).fixed(), of("LastChangeDate", date).fixed(),
		of("LastChangeDateTime", moment).fixed(), str("OverallSDProcessStatus", 1).fixed(), str("OverallDeliveryStatus", 1).fixed(), str("TotalCreditCheckStatus", 1).fixed(),
		str("OverallSDDocumentRejectionSts", 1).fixed(),
	}
	itemProperties = []property{
		str("SalesOrder", 10), str("SalesOrderItem", 6), str("Material", 40), str("SalesOrderItemText", 40), amount("RequestedQuantity", 15), str("RequestedQuantityUnit", 3),
		str("SalesOrderItemCategory", 4), str("ProductionPlant", 4), str("StorageLocation", 4), str("SalesDocumentRjcnReason", 2), amount("NetAmount", 16).fixed(),
		str("TransactionCurrency", 5).fixed(), amount("ConfdDelivQtyInOrderQtyUnit", 15).fixed(), str("SDProcessStatus", 1).fixed(), str("DeliveryStatus", 1).fixed(),
	}
	partnerProperties = []property{
		str("BusinessPartner", 10), str("Customer", 10).fixed(), str("BusinessPartnerCategory", 1), str("BusinessPartnerFullName", 81).fixed(), str("OrganizationBPName1", 40),
		str("OrganizationBPName2", 40), str("FirstName", 40), str("LastName", 40), str("BusinessPartnerGrouping", 4), of("BusinessPartnerIsBlocked", boolean),
		str("SearchTerm1", 20), of("BusinessPartnerUUID", guid).fixed(), of("CreationDate", date).fixed(), of("LastChangeDate", date).fixed(), of("LastChangeTime", clock).fixed(), str("ETag", 26).fixed(),
	}
	addressProperties = []property{
		str("BusinessPartner", 10), str("AddressID", 10), str("Country", 3), str("Region", 3), str("CityName", 40), str("PostalCode", 10), str("StreetName", 60), str("HouseNumber", 10),
	}
	customerProperties = []property{
		str("Customer", 10), str("CustomerName", 80).fixed(), str("OrderIsBlockedForCustomer", 2), str("DeliveryIsBlocked", 2), str("BillingIsBlockedForCustomer", 2), of("PostingIsBlocked", boolean),
	}
	journalProperties = []property{
		str("CompanyCode", 4), str("FiscalYear", 4), str("AccountingDocument", 10), str("AccountingDocumentItem", 3), str("FinancialAccountType", 1), str("Customer", 10), str("CustomerName", 80),
		str("GLAccount", 10), str("DebitCreditCode", 1), amount("AmountInCompanyCodeCurrency", 24), str("CompanyCodeCurrency", 5), amount("AmountInTransactionCurrency", 24), str("TransactionCurrency", 5),
		of("PostingDate", date), of("DocumentDate", date), of("NetDueDate", date), str("PaymentTerms", 4), str("AccountingDocumentType", 2), str("DocumentReferenceID", 16), str("BillingDocument", 10),
		str("AssignmentReference", 18), str("DocumentItemText", 50), str("DunningLevel", 1), of("LastDunningDate", date), str("PaymentBlockingReason", 1), str("SpecialGLCode", 1), of("ClearingDate", date),
		str("ClearingAccountingDocument", 10), of("IsCleared", boolean), of("LastChangeDate", date), of("AccountingDocumentCreationDate", date),
	}
)

var (
	itemKey    = []string{"SalesOrder", "SalesOrderItem"}
	addressKey = []string{"BusinessPartner", "AddressID"}
	journalKey = []string{"CompanyCode", "FiscalYear", "AccountingDocument", "AccountingDocumentItem"}

	orders    = keep("sales_order", []string{"SalesOrder"}, [][]string{{"SoldToParty"}, {"LastChangeDateTime"}}, orderProperties...)
	items     = keep("sales_order_item", itemKey, nil, itemProperties...)
	partners  = keep("business_partner", []string{"BusinessPartner"}, nil, partnerProperties...)
	addresses = keep("business_partner_address", addressKey, nil, addressProperties...)
	customers = keep("customer", []string{"Customer"}, nil, customerProperties...)
	journal   = keep("journal_item", journalKey, [][]string{{"Customer"}}, journalProperties...)
)

// Tables are the tables of the stand-in.
func Tables() []*storage.Table {
	return []*storage.Table{orders, items, partners, addresses, customers, journal, attachments, chunks.Table}
}

var theOrder = []string{"SalesOrder"}

// services are what the stand-in offers. The V4 twin of the sales orders keeps its
// rows in the same tables, under names of its own.
var services = []*service{
	{Root: "/sap/opu/odata/sap/API_SALES_ORDER_SRV", Name: "API_SALES_ORDER_SRV", Entities: []*entity{
		{Set: "A_SalesOrder", Type: "A_SalesOrderType", Label: "Sales Order", Table: orders, Properties: orderProperties, Keys: theOrder, Version: "LastChangeDateTime", Page: serverPage,
			Creates: true, Updates: true, Deletes: true, Numbered: "SalesOrder",
			Navigations: []navigation{{Name: "to_Item", To: "A_SalesOrderItem", Many: true, Own: theOrder, Their: theOrder}}},
		{Set: "A_SalesOrderItem", Type: "A_SalesOrderItemType", Label: "Item", Table: items, Properties: itemProperties, Keys: itemKey, Page: serverPage, Updates: true, Deletes: true, Numbered: "SalesOrderItem", Parent: "A_SalesOrder",
			Navigations: []navigation{{Name: "to_SalesOrder", To: "A_SalesOrder", Own: theOrder, Their: theOrder}}},
	}},
	{Root: "/sap/opu/odata/sap/API_BUSINESS_PARTNER", Name: "API_BUSINESS_PARTNER", Entities: []*entity{
		{Set: "A_BusinessPartner", Type: "A_BusinessPartnerType", Label: "Business Partner", Table: partners, Properties: partnerProperties, Keys: []string{"BusinessPartner"}, Version: "ETag",
			Creates: true, Updates: true, Numbered: "BusinessPartner", GivenKeys: true,
			Navigations: []navigation{
				{Name: "to_BusinessPartnerAddress", To: "A_BusinessPartnerAddress", Many: true, Own: []string{"BusinessPartner"}, Their: []string{"BusinessPartner"}},
				{Name: "to_Customer", To: "A_Customer", Own: []string{"Customer"}, Their: []string{"Customer"}}}},
		{Set: "A_BusinessPartnerAddress", Type: "A_BusinessPartnerAddressType", Label: "Address", Table: addresses, Properties: addressProperties, Keys: addressKey, Updates: true, Numbered: "AddressID"},
		{Set: "A_Customer", Type: "A_CustomerType", Label: "Customer", Table: customers, Properties: customerProperties, Keys: []string{"Customer"}, Updates: true},
	}},
	{Root: "/sap/opu/odata/sap/API_OPLACCTGDOCITEMCUBE_SRV", Name: "API_OPLACCTGDOCITEMCUBE_SRV", Entities: []*entity{
		{Set: "A_OperationalAcctgDocItemCube", Type: "A_OperationalAcctgDocItemCubeType", Label: "Journal Entry Item", Table: journal, Properties: journalProperties, Keys: journalKey, Page: serverPage},
	}},
	{Root: attachmentRoot, Name: attachmentService, Entities: []*entity{
		{Set: attachmentSet, Type: "AttachmentContent", Label: "Attachment", Table: attachments, Properties: attachmentProperties, Keys: attachmentKey, Deletes: true},
	}},
	{Root: "/sap/opu/odata4/sap/api_salesorder/srvd_a2x/sap/salesorder/0001", Name: "api_salesorder", V4: true, Entities: []*entity{
		{Set: "SalesOrder", Type: "SalesOrderType", Label: "Sales Order", Table: orders, Properties: orderProperties, Keys: theOrder, Version: "LastChangeDateTime", Page: serverPage,
			Creates: true, Updates: true, Deletes: true, Numbered: "SalesOrder",
			Navigations: []navigation{{Name: "_Item", To: "SalesOrderItem", Many: true, Own: theOrder, Their: theOrder}}},
		{Set: "SalesOrderItem", Type: "SalesOrderItemType", Label: "Item", Table: items, Properties: renamed(itemProperties, "Material", "Product", "RequestedQuantityUnit", "RequestedQuantitySAPUnit"), Keys: itemKey, Page: serverPage, Updates: true, Deletes: true, Numbered: "SalesOrderItem", Parent: "SalesOrder",
			Navigations: []navigation{{Name: "_SalesOrder", To: "SalesOrder", Own: theOrder, Their: theOrder}}},
	}},
}

// renamed is properties of which some have another name than their column: old, new,
// old, new …
func renamed(list []property, names ...string) []property {
	out := make([]property, len(list))
	for i, p := range list {
		for j := 0; j < len(names); j += 2 {
			if p.Name == names[j] {
				p = p.in(p.Name)
				p.Name = names[j+1]
			}
		}
		out[i] = p
	}
	return out
}
