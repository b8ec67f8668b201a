package maersk

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// Columns of bookings that are no members of the document as they stand.
const (
	referenceColumn = "reference"
	requestColumn   = "carrierBookingRequestReference"
	carrierColumn   = "carrierBookingReference"
	statusColumn    = "bookingStatus"
	cancelColumn    = "bookingCancellationStatus"
	amendColumn     = "amendedBookingStatus"
	reasonColumn    = "reason"

	longestReference = 35 // characters of the shipper's reference
)

// carriers are the columns that the carrier fills and no booking sends.
var carriers = []string{requestColumn, carrierColumn, statusColumn, cancelColumn, amendColumn, reasonColumn, "feedbacks", "refusal",
	"departureDate", "arrivalDate", "vesselName", "vesselIMONumber", "carrierExportVoyageNumberConfirmed",
	"confirmedEquipments", "transportPlan", "shipmentCutOffTimes", "charges", "carrierClauses", "advanceManifestFilings", "termsAndConditions"}

// places are the columns of locations, by DCSA's type of each.
var places = map[string]string{"placeOfReceipt": "PRE", "portOfLoading": "POL", "portOfDischarge": "POD", "placeOfDelivery": "PDE"}

// parties are the columns of names.
var parties = []string{"bookingAgent", "shipper", "consignee"}

// usual is what a new booking has without a word.
var usual = map[string]any{
	"receiptTypeAtOrigin": "CY", "deliveryTypeAtDestination": "CY", "cargoMovementTypeAtOrigin": "FCL", "cargoMovementTypeAtDestination": "FCL",
	"isEquipmentSubstitutionAllowed": false,
}

// merge puts the columns of a row into a copy of a document: the flat ones in their
// places, all others as members.
func merge(t connector.Table, into map[string]any, row connector.Row) (map[string]any, error) {
	d := clone(into)
	for column, value := range row {
		switch code, isPlace := places[column]; {
		case slices.Contains(carriers, column):
		case column == referenceColumn:
			text, _ := value.(string)
			if text == "" || utf8.RuneCountInString(text) > longestReference {
				return nil, fault.New(fault.Rejected, "maersk.reference", fmt.Sprintf("a booking of table %s has a reference of 1 to %d characters", t.Name, longestReference), nil)
			}
			entry(d, "references", "type", "CR", func(r map[string]any) { r["value"] = text })
		case isPlace:
			entry(d, "shipmentLocations", "locationTypeCode", code, func(l map[string]any) { child(l, "location")["UNLocationCode"] = value })
		case slices.Contains(parties, column):
			child(child(d, "documentParties"), column)["partyName"] = value
		case column == "contactName" || column == "contactEmail":
			agent := child(child(d, "documentParties"), "bookingAgent")
			contact := firstOf(agent, "partyContactDetails")
			contact[map[string]string{"contactName": "name", "contactEmail": "email"}[column]] = value
		default:
			if !equipment(d, column, value) {
				d[column] = value
			}
		}
	}
	return d, nil
}

// equipment puts a column of the first container and its cargo into its place; false:
// it is none of these.
func equipment(d map[string]any, column string, value any) bool {
	if !slices.Contains(equipmentColumns, column) {
		return false
	}
	first := firstOf(d, "requestedEquipments")
	switch column {
	case "equipmentCode":
		first["ISOEquipmentCode"] = value
	case "equipmentUnits":
		first["units"] = value
	case "shipperOwned":
		first["isShipperOwned"] = value
	case "commodity":
		firstOf(first, "commodities")["commodityType"] = value
	case "hsCode":
		firstOf(first, "commodities")["HSCodes"] = []any{value}
	case "cargoWeight":
		child(firstOf(first, "commodities"), "cargoGrossWeight")["value"] = number(value)
	case "cargoWeightUnit":
		child(firstOf(first, "commodities"), "cargoGrossWeight")["unit"] = value
	}
	return true
}

var equipmentColumns = []string{"equipmentCode", "equipmentUnits", "shipperOwned", "commodity", "hsCode", "cargoWeight", "cargoWeightUnit"}

// number is a decimal as JSON has numbers; flows may have it as a text.
func number(v any) any {
	if s, ok := v.(string); ok && json.Valid([]byte(s)) {
		return json.Number(s)
	}
	return v
}

// complete adds what a new booking has without a word.
func complete(d map[string]any) {
	for name, value := range usual {
		if _, there := d[name]; !there {
			d[name] = value
		}
	}
	for _, e := range objects(d["requestedEquipments"]) {
		if _, there := e["isShipperOwned"]; !there {
			e["isShipperOwned"] = false
		}
		for _, c := range objects(e["commodities"]) {
			if w, ok := c["cargoGrossWeight"].(map[string]any); ok && w["unit"] == nil {
				w["unit"] = "KGM"
			}
		}
	}
}

// rowOf gives a booking as a row, with the flat columns beside the members.
func rowOf(d map[string]any) connector.Row {
	row := connector.Row{}
	for name, value := range d {
		row[name] = value
	}
	if own := ownReference(d); own != "" {
		row[referenceColumn] = own
	}
	for column, code := range places {
		for _, l := range objects(d["shipmentLocations"]) {
			if l["locationTypeCode"] == code {
				at, _ := l["location"].(map[string]any)
				row[column] = at["UNLocationCode"]
			}
		}
	}
	all, _ := d["documentParties"].(map[string]any)
	for _, column := range parties {
		if party, ok := all[column].(map[string]any); ok {
			row[column] = party["partyName"]
		}
	}
	agent, _ := all["bookingAgent"].(map[string]any)
	if contacts := objects(agent["partyContactDetails"]); len(contacts) > 0 {
		row["contactName"], row["contactEmail"] = contacts[0]["name"], contacts[0]["email"]
	}
	cargo(row, d)
	if plan := objects(d["transportPlan"]); len(plan) > 0 {
		row["departureDate"], row["arrivalDate"] = plan[0]["plannedDepartureDate"], plan[len(plan)-1]["plannedArrivalDate"]
		row["vesselName"], row["vesselIMONumber"] = plan[0]["vesselName"], plan[0]["vesselIMONumber"]
	}
	if said := refusal(d); said != "" {
		row["refusal"] = said
	}
	return row
}

func cargo(row connector.Row, d map[string]any) {
	all := objects(d["requestedEquipments"])
	if len(all) == 0 {
		return
	}
	row["equipmentCode"], row["equipmentUnits"], row["shipperOwned"] = all[0]["ISOEquipmentCode"], all[0]["units"], all[0]["isShipperOwned"]
	for _, c := range objects(all[0]["commodities"])[:min(1, len(objects(all[0]["commodities"])))] {
		row["commodity"] = c["commodityType"]
		if codes, ok := c["HSCodes"].([]any); ok && len(codes) > 0 {
			row["hsCode"] = codes[0]
		}
		if w, ok := c["cargoGrossWeight"].(map[string]any); ok {
			row["cargoWeight"], row["cargoWeightUnit"] = w["value"], w["unit"]
		}
	}
}

// ownReference is the shipper's own reference in a document.
func ownReference(d map[string]any) string {
	for _, r := range objects(d["references"]) {
		if r["type"] == "CR" {
			s, _ := r["value"].(string)
			return s
		}
	}
	return ""
}

// entry gives the element of a list of objects whose member has a value, made where it
// is missing, to change.
func entry(d map[string]any, list, member, value string, change func(map[string]any)) {
	for _, o := range objects(d[list]) {
		if o[member] == value {
			change(o)
			return
		}
	}
	o := map[string]any{member: value}
	change(o)
	all, _ := d[list].([]any)
	d[list] = append(all, o)
}

func child(d map[string]any, name string) map[string]any {
	o, ok := d[name].(map[string]any)
	if !ok {
		o = map[string]any{}
		d[name] = o
	}
	return o
}

func firstOf(d map[string]any, name string) map[string]any {
	if all := objects(d[name]); len(all) > 0 {
		return all[0]
	}
	o := map[string]any{}
	d[name] = []any{o}
	return o
}

// clone is a copy that shares nothing.
func clone(d map[string]any) map[string]any {
	out := make(map[string]any, len(d))
	for name, v := range d {
		out[name] = cloned(v)
	}
	return out
}

func cloned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return clone(v)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = cloned(x)
		}
		return out
	}
	return v
}

// sendable is a document without what the carrier adds.
func sendable(d map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range d {
		if !slices.Contains(carriers, name) {
			out[name] = v
		}
	}
	return out
}

// same reports whether two documents ask for the same.
func same(a, b map[string]any) bool {
	x, err := json.Marshal(sendable(a))
	y, err2 := json.Marshal(sendable(b))
	return err == nil && err2 == nil && string(x) == string(y)
}

// refusal names what the carrier objects to: its own codes and properties, no values.
func refusal(d map[string]any) string {
	said := ""
	for _, f := range objects(d["feedbacks"]) {
		if f["severity"] != "ERROR" {
			continue
		}
		code, _ := f["code"].(string)
		if !safeWord.MatchString(code) {
			code = "an objection without a code"
		}
		for _, name := range []string{"jsonPath", "property"} {
			if path, _ := f[name].(string); safePath.MatchString(path) {
				code += " at " + path
				break
			}
		}
		if said != "" {
			said += "; "
		}
		if said += code; len(said) > 300 {
			break
		}
	}
	return said
}
