package seed

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"time"

	"patchbay/internal/sandbox/storage"
)

// How much trade there is in SAP: orders and journal items of each account.
const (
	ordersEach  = 5
	journalEach = 6

	orderBlock   = 0xb0
	partnerBlock = 0xb1
)

var iso = map[string]string{"Switzerland": "CH", "France": "FR", "Germany": "DE", "Italy": "IT", "Austria": "AT", "Netherlands": "NL"}

// Trade is the rows of SAP's tables by their name. Its customers are the accounts of
// Dataverse: the number of an account is the number of the customer and of the
// business partner.
func (c Catalogue) Trade(seed uint64) map[string]iter.Seq[storage.Row] {
	return map[string]iter.Seq[storage.Row]{
		"business_partner": partnerRows(seed), "business_partner_address": partnerAddresses(seed), "customer": customerRows(seed),
		"sales_order": c.orderRows(seed, false), "sales_order_item": c.orderRows(seed, true), "journal_item": journalRows(seed),
	}
}

// ofAccounts makes rows of every account.
func ofAccounts(seed uint64, rows func(i int, account storage.Row, yield func(storage.Row) bool) bool) iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		i := 0
		for account := range accountRows(seed, "") {
			if !rows(i, account, yield) {
				return
			}
			i++
		}
	}
}

func partnerRows(seed uint64) iter.Seq[storage.Row] {
	return ofAccounts(seed, func(i int, account storage.Row, yield func(storage.Row) bool) bool {
		at := epoch.Add(time.Duration(i) * 11 * time.Minute)
		number := account["accountnumber"]
		return yield(storage.Row{"BusinessPartner": number, "Customer": number, "BusinessPartnerCategory": "2", "BusinessPartnerFullName": account["name"],
			"OrganizationBPName1": account["name"], "BusinessPartnerGrouping": "BPEE", "BusinessPartnerIsBlocked": false, "SearchTerm1": number,
			"BusinessPartnerUUID": guid(partnerBlock, i+1), "CreationDate": at.Format(time.DateOnly), "LastChangeDate": at.Format(time.DateOnly),
			"LastChangeTime": at.Format(time.TimeOnly), "ETag": at.Format("20060102150405.000000")})
	})
}

func partnerAddresses(seed uint64) iter.Seq[storage.Row] {
	return ofAccounts(seed, func(i int, account storage.Row, yield func(storage.Row) bool) bool {
		country, _ := account["address1_country"].(string)
		return yield(storage.Row{"BusinessPartner": account["accountnumber"], "AddressID": strconv.Itoa(20_000 + i), "Country": iso[country], "CityName": account["address1_city"],
			"PostalCode": strconv.Itoa(4000 + i), "StreetName": "Industriestrasse", "HouseNumber": strconv.Itoa(1 + i%90)})
	})
}

func customerRows(seed uint64) iter.Seq[storage.Row] {
	return ofAccounts(seed, func(_ int, account storage.Row, yield func(storage.Row) bool) bool {
		block := ""
		if account["creditonhold"] == true {
			block = "01"
		}
		return yield(storage.Row{"Customer": account["accountnumber"], "CustomerName": account["name"], "OrderIsBlockedForCustomer": block, "PostingIsBlocked": false})
	})
}

// orderRows are the sales orders, or their items. An order and its items follow from
// the order's number alone, so the two agree.
func (c Catalogue) orderRows(seed uint64, items bool) iter.Seq[storage.Row] {
	return ofAccounts(seed, func(i int, account storage.Row, yield func(storage.Row) bool) bool {
		for n := range ordersEach {
			order, lines := c.order(seed, i*ordersEach+n+1, account)
			if !items {
				lines = []storage.Row{order}
			}
			for _, line := range lines {
				if !yield(line) {
					return false
				}
			}
		}
		return true
	})
}

func (c Catalogue) order(seed uint64, n int, account storage.Row) (order storage.Row, lines []storage.Row) {
	id := strconv.Itoa(n)
	r := rand.New(rand.NewPCG(seed+uint64(n), orderBlock))
	at := epoch.Add(time.Duration(n) * 97 * time.Minute)
	status := pick(r, []string{"A", "B", "C", "C"})
	total := 0 // hundredths
	for line := range 1 + r.IntN(3) {
		p := c[r.IntN(min(len(c), 500))]
		quantity, price := 1+r.IntN(40), 500+r.IntN(400_000)
		total += quantity * price
		lines = append(lines, storage.Row{"SalesOrder": id, "SalesOrderItem": strconv.Itoa(10 * (line + 1)), "Material": p.Number, "SalesOrderItemText": p.Name,
			"RequestedQuantity": number("%d.000", quantity), "RequestedQuantityUnit": "PC", "SalesOrderItemCategory": "TAN", "ProductionPlant": "1710", "NetAmount": hundredths(quantity * price),
			"TransactionCurrency": "EUR", "ConfdDelivQtyInOrderQtyUnit": number("%d.000", quantity), "SDProcessStatus": status, "DeliveryStatus": status})
	}
	return storage.Row{"SalesOrder": id, "SalesOrderType": "OR", "SalesOrganization": "1710", "DistributionChannel": "10", "OrganizationDivision": "00", "SoldToParty": account["accountnumber"],
		"PurchaseOrderByCustomer": fmt.Sprintf("PO-%05d", n), "SalesOrderDate": at.Format(time.DateOnly), "RequestedDeliveryDate": at.AddDate(0, 0, 7+r.IntN(40)).Format(time.DateOnly),
		"PricingDate": at.Format(time.DateOnly), "TransactionCurrency": "EUR", "CustomerPaymentTerms": "NT30", "IncotermsClassification": "EXW", "IncotermsLocation1": account["address1_city"],
		"TotalNetAmount": hundredths(total), "CreationDate": at.Format(time.DateOnly), "CreatedByUser": "SALES01", "LastChangeDate": at.Format(time.DateOnly),
		"LastChangeDateTime": at.Add(time.Duration(r.IntN(72*3600*1000)) * time.Millisecond), "OverallSDProcessStatus": status, "OverallDeliveryStatus": status}, lines
}

func hundredths(n int) any { return number("%d.%02d0", n/100, n%100) }

// journalRows are the lines of customers in accounting: invoices, of which some are
// paid and some are overdue, and credits with an amount below zero.
func journalRows(seed uint64) iter.Seq[storage.Row] {
	r := rand.New(rand.NewPCG(seed, partnerBlock))
	return ofAccounts(seed, func(i int, account storage.Row, yield func(storage.Row) bool) bool {
		for n := range journalEach {
			document := i*journalEach + n
			at := epoch.AddDate(0, 0, 30-r.IntN(120))
			posted, hundred, sign := at.Format(time.DateOnly), 5_000+r.IntN(9_000_000), ""
			row := storage.Row{"CompanyCode": "1710", "FiscalYear": strconv.Itoa(at.Year()), "AccountingDocument": strconv.Itoa(1_800_000_000 + document), "AccountingDocumentItem": "001",
				"FinancialAccountType": "D", "Customer": account["accountnumber"], "CustomerName": account["name"], "GLAccount": "12100000", "DebitCreditCode": "S", "CompanyCodeCurrency": "EUR",
				"TransactionCurrency": "EUR", "PostingDate": posted, "DocumentDate": posted, "NetDueDate": at.AddDate(0, 0, 30).Format(time.DateOnly),
				"PaymentTerms": "NT30", "AccountingDocumentType": "RV", "DocumentReferenceID": fmt.Sprintf("009%07d", document), "BillingDocument": strconv.Itoa(90_000_000 + document),
				"DunningLevel": strconv.Itoa(r.IntN(3)), "IsCleared": false, "LastChangeDate": posted, "AccountingDocumentCreationDate": posted}
			switch {
			case n == journalEach-1:
				row["DebitCreditCode"], row["AccountingDocumentType"], sign = "H", "DG", "-"
			case r.IntN(3) == 0:
				paid := at.AddDate(0, 0, 20).Format(time.DateOnly)
				row["IsCleared"], row["ClearingDate"], row["ClearingAccountingDocument"], row["LastChangeDate"] = true, paid, strconv.Itoa(1_400_000_000+document), paid
			}
			value := number("%s%d.%02d0", sign, hundred/100, hundred%100)
			row["AmountInCompanyCodeCurrency"], row["AmountInTransactionCurrency"] = value, value
			if !yield(row) {
				return false
			}
		}
		return true
	})
}
