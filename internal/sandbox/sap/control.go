package sap

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"patchbay/internal/sandbox/storage"
)

// delivered is the status of an item that nobody can reject any more.
const delivered = "C"

// ErrControl says that there is nothing that a control could be done to.
var ErrControl = errors.New("SAP has no such order")

type (
	// Ordered is an order that a caller made, for whoever judges what was sent.
	Ordered struct {
		Order     string        `json:"order"`
		Reference string        `json:"reference"`
		SoldTo    string        `json:"sold_to"`
		Total     string        `json:"total"`
		Rejection string        `json:"rejection"` // A none, B some, C all of its items
		Items     []OrderedItem `json:"items"`
	}

	// OrderedItem is one of its items.
	OrderedItem struct {
		Item     string `json:"item"`
		Material string `json:"material"`
		Quantity string `json:"quantity"`
		Rejected string `json:"rejected,omitempty"` // the reason
	}
)

// Orders are the orders that callers made, oldest first: all, or those with a reference.
func Orders(ctx context.Context, store storage.Store, reference string) ([]Ordered, error) {
	list := []Ordered{}
	err := store.Read(ctx, func(tx storage.Tx) error {
		var q storage.Query
		if reference != "" {
			q.Where = storage.Compare{Column: "PurchaseOrderByCustomer", Op: storage.Eq, Value: reference}
		}
		rows, err := tx.Find(ctx, orders, q)
		if err != nil {
			return fmt.Errorf("reading orders: %w", err)
		}
		for _, row := range rows {
			number := textOf(row, "SalesOrder")
			if n, err := strconv.Atoi(number); err != nil || n < firstNumber {
				continue
			}
			o := Ordered{Order: number, Reference: textOf(row, "PurchaseOrderByCustomer"), SoldTo: textOf(row, "SoldToParty"),
				Total: fmt.Sprint(row["TotalNetAmount"]), Rejection: textOf(row, "OverallSDDocumentRejectionSts")}
			below, err := tx.Find(ctx, items, storage.Query{Where: storage.Compare{Column: "SalesOrder", Op: storage.Eq, Value: number}})
			if err != nil {
				return fmt.Errorf("reading items: %w", err)
			}
			for _, item := range below {
				o.Items = append(o.Items, OrderedItem{textOf(item, "SalesOrderItem"), textOf(item, "Material"), fmt.Sprint(item["RequestedQuantity"]), textOf(item, "SalesDocumentRjcnReason")})
			}
			list = append(list, o)
		}
		return nil
	})
	return list, err
}

// Deliver has the items of an order delivered, after which none can be rejected.
func Deliver(ctx context.Context, store storage.Store, order string) error {
	return store.Write(ctx, func(tx storage.Tx) error {
		rows, err := tx.Find(ctx, items, storage.Query{Where: storage.Compare{Column: "SalesOrder", Op: storage.Eq, Value: order}, Lock: true})
		if err != nil {
			return fmt.Errorf("reading items: %w", err)
		}
		if len(rows) == 0 {
			return ErrControl
		}
		for _, row := range rows {
			if err := tx.Update(ctx, items, storage.Row{"SalesOrder": row["SalesOrder"], "SalesOrderItem": row["SalesOrderItem"], "DeliveryStatus": delivered}); err != nil {
				return fmt.Errorf("delivering an item: %w", err)
			}
		}
		return nil
	})
}

func textOf(row storage.Row, name string) string { s, _ := row[name].(string); return s }
