package oracle

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"

	"patchbay/internal/sandbox/storage"
)

// userDefined and onHand are the kinds of demand and of supply whose documents this
// stand-in has.
const (
	userDefined = 13
	onHand      = 13
)

// unavailable is the code of a reservation of more than there is. Oracle documents none.
const unavailable = "INV_NOT_AVAILABLE"

// reserve checks a new or changed reservation: what is on hand of the item in the
// organisation, or in a part of it, is promised once.
func (s *System) reserve(ctx context.Context, tx storage.Tx, row storage.Row) error {
	for name, known := range map[string]int64{"DemandSourceTypeId": userDefined, "SupplySourceTypeId": onHand} {
		if row[name] != known {
			return invalid("25009", "/"+name, "The value %v of the attribute %s is not valid.", row[name], name)
		}
	}
	wanted := amountOf(row["ReservationQuantity"])
	if wanted.Sign() <= 0 {
		return invalid("INV_QUANTITY", "/ReservationQuantity", "The reservation quantity must be greater than zero.")
	}
	of := storage.And{storage.Compare{Column: "ItemNumber", Op: storage.Eq, Value: row["ItemNumber"]}, storage.Compare{Column: "OrganizationCode", Op: storage.Eq, Value: row["OrganizationCode"]}}
	if row["SubinventoryCode"] != nil {
		of = append(of, storage.Compare{Column: "SubinventoryCode", Op: storage.Eq, Value: row["SubinventoryCode"]})
	}
	there, err := tx.Find(ctx, onhand.Table, storage.Query{Lock: true, Where: append(storage.And{storage.Compare{Column: "SummaryLevel", Op: storage.Eq, Value: "Subinventory"}}, of...)})
	if err != nil {
		return fmt.Errorf("reading what is on hand: %w", err)
	}
	promised, err := tx.Find(ctx, reservations.Table, storage.Query{Where: of})
	if err != nil {
		return fmt.Errorf("reading what is reserved: %w", err)
	}
	left := new(big.Rat)
	for _, balance := range there {
		left.Add(left, amountOf(balance["PrimaryQuantity"]))
		row["InventoryItemId"], row["OrganizationId"] = balance["InventoryItemId"], balance["OrganizationId"]
	}
	for _, other := range promised {
		if other["ReservationId"] != row["ReservationId"] {
			left.Sub(left, amountOf(other["ReservationQuantity"]))
		}
	}
	if wanted.Cmp(left) > 0 {
		return invalid(unavailable, "/ReservationQuantity", "The quantity to reserve is greater than the quantity that is available to reserve.")
	}
	return nil
}

func amountOf(v any) *big.Rat {
	n, _ := v.(json.Number)
	amount, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return new(big.Rat)
	}
	return amount
}

// Reserved is one reservation, for whoever judges what was sent.
type Reserved struct {
	ID           int64  `json:"id"`
	Reference    string `json:"reference"` // name of the demand
	Organization string `json:"organization"`
	Item         string `json:"item"`
	Quantity     string `json:"quantity"`
}

// Reservations are the reservations that there are: all, or those with a reference.
func Reservations(ctx context.Context, store storage.Store, reference string) ([]Reserved, error) {
	list := []Reserved{}
	err := store.Read(ctx, func(tx storage.Tx) error {
		var q storage.Query
		if reference != "" {
			q.Where = storage.Compare{Column: "DemandSourceName", Op: storage.Eq, Value: reference}
		}
		rows, err := tx.Find(ctx, reservations.Table, q)
		if err != nil {
			return fmt.Errorf("reading reservations: %w", err)
		}
		for _, row := range rows {
			one := Reserved{Quantity: fmt.Sprint(row["ReservationQuantity"])}
			one.ID, _ = row["ReservationId"].(int64)
			one.Reference, _ = row["DemandSourceName"].(string)
			one.Organization, _ = row["OrganizationCode"].(string)
			one.Item, _ = row["ItemNumber"].(string)
			list = append(list, one)
		}
		return nil
	})
	return list, err
}
