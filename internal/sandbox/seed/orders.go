package seed

import (
	"encoding/json"
	"fmt"
	"iter"
	"strconv"

	"patchbay/internal/sandbox/storage"
)

const (
	orders      = 60
	headBlock   = 0xb8 // the orders of Dataverse, and their lines
	lineBlock   = 0xb9
	wellStocked = 60 // pieces on hand of a product that many orders ask for
)

// OrderNumber is the number of the n-th order, from 1 on.
func OrderNumber(n int) string { return fmt.Sprintf("ORD-%05d", n) }

// orderHeads are orders that wait for somebody to approve them. Their products are in stock.
func (c Catalogue) orderHeads(user string) iter.Seq[storage.Row] {
	return count(orders, func(i int) storage.Row {
		return stamp(storage.Row{"salesorderid": guid(headBlock, i+1), "ordernumber": OrderNumber(i + 1), "name": "Order of " + firms[i%len(firms)] + " " + trades[(i/len(firms))%len(trades)],
			"totalamount": number("%d.0000", 1200+i*35), "msx_readyon": "2026-03-01", "msx_loadingport": "DKAAR", "msx_dischargeport": []string{"CNSHA", "SGSIN"}[i%2],
			"_customerid_value": guid(accountBlock, i+1), "_customerid_type": "account", "_transactioncurrencyid_value": guid(currencyBlock, 1), "statecode": int64(0), "statuscode": int64(1)}, user, 8000+i, true)
	})
}

// orderLines are one or two lines of each order.
func (c Catalogue) orderLines(seed uint64, user string) iter.Seq[storage.Row] {
	stocked := c.stocked(seed)
	return func(yield func(storage.Row) bool) {
		n := 0
		for i := range orders {
			for line := range 1 + i%2 {
				p := stocked[(i+line)%len(stocked)]
				row := stamp(storage.Row{"salesorderdetailid": guid(lineBlock, n+1), "_salesorderid_value": guid(headBlock, i+1), "lineitemnumber": int64(line + 1),
					"msx_productnumber": p.Number, "productdescription": p.Name, "quantity": number("%d", 1+i%3)}, user, 9000+n, false)
				if n++; !yield(row) {
					return
				}
			}
		}
	}
}

// stocked are products counted in pieces of which there is much, at least one.
func (c Catalogue) stocked(seed uint64) []Product {
	byNumber := map[any]Product{}
	for _, p := range c {
		byNumber[p.Number] = p
	}
	var list []Product
	for row := range c.onhand(seed) {
		text, _ := row["PrimaryQuantity"].(json.Number)
		pieces, err := strconv.Atoi(string(text))
		if row["SummaryLevel"] == "Organization" && row["PrimaryUOMCode"] == "Ea" && err == nil && pieces >= wellStocked {
			list = append(list, byNumber[row["ItemNumber"]])
		}
		if len(list) == 12 {
			break
		}
	}
	if len(list) == 0 {
		list = append(list, c[0])
	}
	return list
}
