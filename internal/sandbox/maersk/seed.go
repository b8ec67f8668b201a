package maersk

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"patchbay/internal/sandbox/storage"
)

// The bookings that there are from the beginning: one whose voyage is over, one under
// way that no timer moves.
const (
	SeededOver  = "400000001"
	SeededUnder = "400000002"
)

// seededFrom is when the first of them was made.
var seededFrom = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// Seed makes the first rows. Their events have the same times in every sandbox, and IDs
// of their own in each.
func (s *System) Seed(ctx context.Context, tx storage.Tx) error {
	for i, reference := range []string{SeededOver, SeededUnder} {
		day := seededFrom.AddDate(0, 0, 21*i)
		row := storage.Row{"request": fmt.Sprintf("b0000000-5eed-4000-8000-00000000000%d", i+1), "owner": "patchbay", "reference": reference, "own": fmt.Sprintf("SO-SEED-%d", i+1),
			"status": confirmed, "created_at": day, "visible_at": day, "step": int64(0)}
		row["document"] = text(document{
			"receiptTypeAtOrigin": "CY", "deliveryTypeAtDestination": "CY", "cargoMovementTypeAtOrigin": "FCL", "cargoMovementTypeAtDestination": "FCL",
			"isEquipmentSubstitutionAllowed": false, "serviceContractReference": "HHL51800000", "freightPaymentTermCode": "PRE",
			"expectedDepartureDate": day.AddDate(0, 0, 10).Format(time.DateOnly),
			"references":            []any{document{"type": "CR", "value": row["own"]}},
			"shipmentLocations": []any{document{"location": document{"UNLocationCode": "DKAAR"}, "locationTypeCode": "POL"},
				document{"location": document{"UNLocationCode": "CNSHA"}, "locationTypeCode": "POD"}},
			"requestedEquipments": []any{document{"ISOEquipmentCode": "42G1", "units": json.Number("1"), "isShipperOwned": false}},
			"documentParties":     document{"bookingAgent": document{"partyName": "Acme Forwarding"}},
		})
		if err := tx.Insert(ctx, bookings, row); err != nil {
			return fmt.Errorf("making the first bookings: %w", err)
		}
		if err := s.seedEvents(ctx, tx, row, day, map[int]int{0: len(course), 1: 4}[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *System) seedEvents(ctx context.Context, tx storage.Tx, row storage.Row, day time.Time, steps int) error {
	t := &telling{s: s, tx: tx, now: day}
	asked := maps.Clone(row)
	delete(asked, "reference") // the carrier gives it when it confirms
	if err := t.shipment(ctx, asked, "RECE", "CBR", ""); err != nil {
		return err
	}
	t.now = t.now.Add(time.Hour)
	if err := t.shipment(ctx, row, "CONF", "BKG", ""); err != nil {
		return err
	}
	if err := plan(ctx, t, row); err != nil {
		return err
	}
	set := storage.Row{"request": row["request"]}
	for range steps {
		t.now = t.now.Add(24 * time.Hour)
		if err := s.sailed(ctx, t, Decision{}, row, set); err != nil {
			return err
		}
		row["step"] = set["step"]
	}
	set["due_at"], set["next"] = nil, nil
	if err := tx.Update(ctx, bookings, set); err != nil {
		return fmt.Errorf("making the first bookings: %w", err)
	}
	return nil
}

// Seeded reports whether the first rows are there.
func (s *System) Seeded(ctx context.Context, tx storage.Tx) (bool, error) {
	n, err := tx.Count(ctx, bookings, nil)
	if err != nil {
		return false, fmt.Errorf("counting bookings: %w", err)
	}
	return n > 0, nil
}
