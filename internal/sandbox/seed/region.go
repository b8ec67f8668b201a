package seed

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

// How many rows each regional organisation begins with.
const (
	regionAccounts  = 24
	regionContacts  = 60
	regionOrders    = 48
	regionShipments = 36
)

// RegionVersions is above every version number of a seeded row of a region.
const RegionVersions = 2_000

// The words of what must not leave a region. Every value that is planted begins with
// one of the marks, so that whoever searches finds it.
const (
	DiagnosisMark = "DX-"
	PatientMark   = "PAT-"
)

var diagnoses = []string{"I48.0 paroxysmal atrial fibrillation", "E11.9 type 2 diabetes", "J44.1 COPD with exacerbation", "N18.4 chronic kidney disease", "G40.2 focal epilepsy", "M16.1 coxarthrosis"}

// Region is the first rows of the regional organisation with this number, by the
// logical name of their table. No two regions have a customer in common, and in each
// there are things that must stay: a diagnosis on every account, a patient's number on
// every contact, and free text that speaks of both.
func Region(seed uint64, number int, region string, users []User) map[string]iter.Seq[storage.Row] {
	x := area{seed: seed, block: 0xc0 + 8*number, code: strings.ToUpper(region), user: users[0].ID}
	return map[string]iter.Seq[storage.Row]{
		"transactioncurrency": currencies(x.user), "systemuser": systemUsers(users),
		"account": x.accounts(), "contact": x.contacts(), "salesorder": x.orders(), "msx_shipment": x.shipments(),
	}
}

// area is one region while its rows are made.
type area struct {
	seed  uint64
	block int // of its ids
	code  string
	user  string
}

func (x area) of(table int) *rand.Rand { return rand.New(rand.NewPCG(x.seed, uint64(x.block+table))) }

func (x area) mark(kind string, n int) string { return fmt.Sprintf("%s%s-%06d", kind, x.code, n) }

func (x area) accounts() iter.Seq[storage.Row] {
	r := x.of(0)
	return count(regionAccounts, func(i int) storage.Row {
		name := fmt.Sprintf("%s %s %s", firms[(i+x.block)%len(firms)], trades[(i/3+x.block)%len(trades)], pick(r, forms))
		return stamp(storage.Row{"accountid": guid(x.block, i+1), "accountnumber": fmt.Sprintf("%s-%04d", x.code, 1001+i), "name": name,
			"telephone1": fmt.Sprintf("+%d 61 555 %04d", 30+x.block%20, i), "emailaddress1": "info@" + slug(name) + ".example",
			"description":   "Told us of " + x.mark(DiagnosisMark, i+1) + ": " + pick(r, diagnoses),
			"msx_diagnosis": x.mark(DiagnosisMark, i+1) + " " + pick(r, diagnoses), "merged": false, "statecode": int64(0), "statuscode": int64(1)}, x.user, i, true)
	})
}

func (x area) contacts() iter.Seq[storage.Row] {
	r := x.of(1)
	return count(regionContacts, func(i int) storage.Row {
		first, last := pick(r, firstNames), pick(r, lastNames)
		return stamp(storage.Row{"contactid": guid(x.block+1, i+1), "msx_contactnumber": fmt.Sprintf("%s-C%04d", x.code, 1001+i), "fullname": first + " " + last,
			"emailaddress1": fmt.Sprintf("%s.%s%d@customer.example", slug(first), slug(last), i+1),
			"description":   "Patient " + x.mark(PatientMark, i+1) + ", " + pick(r, diagnoses), "msx_patientid": x.mark(PatientMark, i+1),
			"_parentcustomerid_value": guid(x.block, 1+i%regionAccounts), "_parentcustomerid_type": "account", "merged": false, "statecode": int64(0), "statuscode": int64(1)}, x.user, 100+i, true)
	})
}

func (x area) orders() iter.Seq[storage.Row] {
	r := x.of(2)
	return count(regionOrders, func(i int) storage.Row {
		return stamp(storage.Row{"salesorderid": guid(x.block+2, i+1), "ordernumber": fmt.Sprintf("%s-ORD-%05d", x.code, 1001+i), "totalamount": money(r, 90_000),
			"description": "For patient " + x.mark(PatientMark, 1+i%regionContacts), "_transactioncurrencyid_value": guid(currencyBlock, 1),
			"_customerid_value": guid(x.block, 1+i%regionAccounts), "_customerid_type": "account", "statecode": int64(0), "statuscode": int64(1 + r.IntN(2))}, x.user, 200+i, true)
	})
}

func (x area) shipments() iter.Seq[storage.Row] {
	r := x.of(3)
	return count(regionShipments, func(i int) storage.Row {
		return stamp(storage.Row{"msx_shipmentid": guid(x.block+3, i+1), "msx_shipmentnumber": fmt.Sprintf("%s-SHP-%05d", x.code, 1001+i),
			"msx_carrier": pick(r, []string{"Maersk", "DHL", "DPD", "Planzer", "Kuehne+Nagel"}), "msx_eta": epoch.AddDate(0, 1, r.IntN(90)).Truncate(time.Hour),
			"_salesorderid_value": guid(x.block+2, 1+i%regionOrders), "statecode": int64(0), "statuscode": int64(1)}, x.user, 300+i, true)
	})
}
