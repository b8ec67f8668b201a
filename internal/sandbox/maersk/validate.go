package maersk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"patchbay/internal/sandbox/ordered"
)

// document is a booking as the shipper sent it.
type document = map[string]any

func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("reading JSON: text behind it")
	}
	return nil
}

// invalid is one entry of errors of the booking API.
func invalid(property, value, text string) *ordered.Object {
	o := ordered.New("errorCode", 7003)
	if property != "" {
		o.Set("property", property)
	}
	if value != "" {
		o.Set("value", value)
	}
	if property != "" {
		o.Set("jsonPath", "$."+property)
	}
	return o.Set("errorCodeText", "invalidData").Set("errorCodeMessage", text)
}

// The allowed codes.
var (
	handlings  = []string{"CY", "SD", "CFS"}
	movements  = []string{"FCL", "LCL"}
	places     = []string{"PRE", "POL", "POD", "PDE", "PCF", "OIR", "ORI", "IEL", "PTP", "RTP"}
	weights    = []string{"KGM", "LBR"}
	payments   = []string{"PRE", "COL"}
	references = []string{"CR", "AKG", "AEF"}
)

// checker collects what is wrong with a booking.
type checker struct{ wrong []*ordered.Object }

func (k *checker) add(property, value, text string) {
	k.wrong = append(k.wrong, invalid(property, value, text))
}

func (k *checker) code(d document, property string, of []string, required bool) {
	v, there := d[property]
	text, ok := v.(string)
	switch {
	case !there && required:
		k.add(property, "", "is mandatory")
	case there && (!ok || !slices.Contains(of, text)):
		k.add(property, text, fmt.Sprintf("is none of %v", of))
	}
}

func filled(d document, property string) bool {
	s, ok := d[property].(string)
	return ok && s != ""
}

func list(v any) []document {
	items, _ := v.([]any)
	out := make([]document, 0, len(items))
	for _, item := range items {
		o, _ := item.(map[string]any)
		out = append(out, o)
	}
	return out
}

func object(v any) document { o, _ := v.(map[string]any); return o }

// check says everything that is wrong with a booking.
func check(d document) []*ordered.Object {
	k := &checker{}
	k.code(d, "receiptTypeAtOrigin", handlings, true)
	k.code(d, "deliveryTypeAtDestination", handlings, true)
	k.code(d, "cargoMovementTypeAtOrigin", movements, true)
	k.code(d, "cargoMovementTypeAtDestination", movements, true)
	k.code(d, "freightPaymentTermCode", payments, false)
	if _, ok := d["isEquipmentSubstitutionAllowed"].(bool); !ok {
		k.add("isEquipmentSubstitutionAllowed", "", "is mandatory, a boolean")
	}
	contract := filled(d, "serviceContractReference")
	quotation := filled(d, "contractQuotationReference") || filled(d, "extendedContractQuotationReference")
	if contract == quotation {
		k.add("serviceContractReference", "", "exactly one of serviceContractReference and contractQuotationReference is mandatory")
	}
	k.schedule(d)
	k.locations(d)
	k.references(d)
	k.equipment(d)
	if agent := object(object(d["documentParties"])["bookingAgent"]); !filled(agent, "partyName") {
		k.add("documentParties.bookingAgent.partyName", "", "is mandatory")
	}
	return k.wrong
}

func (k *checker) schedule(d document) {
	voyage := filled(d, "carrierExportVoyageNumber") && (object(d["vessel"]) != nil || filled(d, "carrierServiceCode") || filled(d, "carrierServiceName"))
	_, window := d["expectedArrivalAtPlaceOfDeliveryStartDate"]
	date, given := d["expectedDepartureDate"].(string)
	switch {
	case !given && !voyage && !window:
		k.add("expectedDepartureDate", "", "is mandatory unless a voyage or a window of delivery is given")
	case given:
		if _, err := time.Parse(time.DateOnly, date); err != nil {
			k.add("expectedDepartureDate", date, "is no date")
		}
	}
}

func (k *checker) locations(d document) {
	at := list(d["shipmentLocations"])
	if len(at) == 0 {
		k.add("shipmentLocations", "", "is mandatory")
	}
	for i, l := range at {
		path := fmt.Sprintf("shipmentLocations[%d]", i)
		if code, _ := l["locationTypeCode"].(string); !slices.Contains(places, code) {
			k.add(path+".locationTypeCode", code, fmt.Sprintf("is none of %v", places))
		}
		if code, there := object(l["location"])["UNLocationCode"].(string); there && len(code) != 5 {
			k.add(path+".location.UNLocationCode", code, "has not 5 characters")
		}
	}
}

func (k *checker) references(d document) {
	for i, r := range list(d["references"]) {
		path := fmt.Sprintf("references[%d]", i)
		if kind, _ := r["type"].(string); !slices.Contains(references, kind) {
			k.add(path+".type", kind, fmt.Sprintf("is none of %v", references))
		}
		if value, _ := r["value"].(string); value == "" || utf8.RuneCountInString(value) > 35 {
			k.add(path+".value", value, "has 1 to 35 characters")
		}
	}
}

func (k *checker) equipment(d document) {
	all := list(d["requestedEquipments"])
	if len(all) == 0 {
		k.add("requestedEquipments", "", "is mandatory")
	}
	for i, e := range all {
		path := fmt.Sprintf("requestedEquipments[%d]", i)
		if code, _ := e["ISOEquipmentCode"].(string); len(code) != 4 {
			k.add(path+".ISOEquipmentCode", code, "is mandatory, with 4 characters")
		}
		if n, ok := e["units"].(json.Number); !ok || n.String() == "0" || n.String()[0] == '-' {
			k.add(path+".units", n.String(), "is mandatory, above 0")
		}
		if _, ok := e["isShipperOwned"].(bool); !ok {
			k.add(path+".isShipperOwned", "", "is mandatory, a boolean")
		}
		for j, c := range list(e["commodities"]) {
			weight := object(c["cargoGrossWeight"])
			at := fmt.Sprintf("%s.commodities[%d].cargoGrossWeight", path, j)
			if _, ok := weight["value"].(json.Number); weight != nil && !ok {
				k.add(at+".value", "", "is mandatory, a number")
			}
			if unit, _ := weight["unit"].(string); weight != nil && !slices.Contains(weights, unit) {
				k.add(at+".unit", unit, fmt.Sprintf("is none of %v", weights))
			}
		}
	}
}

// ownReference is the shipper's own reference (type CR), or empty.
func ownReference(d document) string {
	for _, r := range list(d["references"]) {
		if r["type"] == "CR" {
			s, _ := r["value"].(string)
			return s
		}
	}
	return ""
}
