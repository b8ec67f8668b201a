package maersk

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

const (
	vesselName   = "MAERSK EINDHOVEN"
	vesselIMO    = "9456771"
	voyageNumber = "603W"
	serviceCode  = "AE7"
	mostUnits    = 5 // containers of a booking that are told of
)

// voyage is what follows from a confirmed booking: the same whenever it is asked for.
type voyage struct {
	from, to           string // UN location codes
	equipment          string // ISO code
	containers         []string
	departure, arrival time.Time // local, with the port's offset
}

// offsets of ports by country, as far as the examples go; else UTC.
var offsets = map[string]int{"DK": 1, "DE": 1, "NL": 1, "FR": 1, "CH": 1, "CN": 8, "SG": 8, "IN": 5, "US": -5}

func zone(place string) *time.Location {
	hours := offsets[place[:min(2, len(place))]]
	return time.FixedZone("", hours*3600)
}

func voyageOf(row storage.Row) voyage {
	var d document
	_ = decode([]byte(textOf(row, "document")), &d) // it was encoded here
	v := voyage{from: "DKAAR", to: "CNSHA", equipment: "42G1"}
	for _, l := range list(d["shipmentLocations"]) {
		code, _ := object(l["location"])["UNLocationCode"].(string)
		switch {
		case code == "":
		case l["locationTypeCode"] == "POL" || l["locationTypeCode"] == "PRE":
			v.from = code
		case l["locationTypeCode"] == "POD" || l["locationTypeCode"] == "PDE":
			v.to = code
		}
	}
	units := int64(1)
	if e := list(d["requestedEquipments"]); len(e) > 0 {
		if code, _ := e[0]["ISOEquipmentCode"].(string); code != "" {
			v.equipment = code
		}
		if n, ok := e[0]["units"].(json.Number); ok {
			if whole, err := n.Int64(); err == nil {
				units = whole
			}
		}
	}
	day, err := time.Parse(time.DateOnly, fmt.Sprint(d["expectedDepartureDate"]))
	if err != nil {
		created, _ := row["created_at"].(time.Time)
		day = created.AddDate(0, 0, 14)
	}
	v.departure = time.Date(day.Year(), day.Month(), day.Day(), 14, 0, 0, 0, zone(v.from))
	v.arrival = v.departure.AddDate(0, 0, 28).In(zone(v.to))
	for i := range min(units, mostUnits) {
		v.containers = append(v.containers, container(textOf(row, "reference"), int(i)))
	}
	return v
}

// container is a number of ISO 6346 that follows from the booking's.
func container(reference string, i int) string {
	digits := fmt.Sprintf("%06s", reference)
	number := "MSKU" + digits[len(digits)-5:] + fmt.Sprint(i%10)
	return number + fmt.Sprint(checkDigit(number))
}

// checkDigit is that of ISO 6346: letters count 10, 12, … without multiples of 11.
func checkDigit(number string) int {
	sum := 0
	for i, c := range number {
		n := int(c - '0')
		if c >= 'A' {
			n = 10 + int(c-'A')
			n += (n - 1) / 10 // 11, 22 and 33 are left out
		}
		sum += n << i
	}
	return sum % 11 % 10
}

// local is a moment as the events write it: the port's own time, with its offset.
func local(t time.Time) string { return strings.Replace(t.Format(time.RFC3339), "Z", "+00:00", 1) }
