// Package seed makes the rows the sandbox begins with: a catalogue of products
// with technical specifications in the words of their trade, and the customers,
// cases and products of a Dataverse environment.
//
// The sandbox loads them once into an empty store. Everything follows from the
// seed: two sandboxes with one seed hold the same rows, so tests can name them.
// It imports storage; the tables are handed in as rows by column name.
package seed

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

const (
	// Products is how many items the catalogue has.
	Products = 10_000
	// Laptop is the product of the product-specs example.
	Laptop = "AS54888"
	// Order is the sales order of the contract-distribution example.
	Order = "11"

	laptopID  = 300_000_001_234_567
	firstItem = 300_000_002_000_000
	firstLine = 300_000_010_000_000
	firstRev  = 300_000_030_000_000
)

// epoch is when the sandbox's world was made.
var epoch = time.Date(2025, 11, 2, 8, 0, 0, 0, time.UTC)

type (
	// Product is one item of the catalogue.
	Product struct {
		ID             int64
		Number, Name   string
		Class, Status  string
		Phase, Unit    string
		Made, Changed  time.Time
		Specifications []Specification
	}

	// Specification is one technical property of a product.
	Specification struct{ Attribute, Value, Unit string }

	// Catalogue is all products in the order of their ids.
	Catalogue []Product
)

// NewCatalogue makes n products, at least the laptop, which is the first. A
// smaller catalogue is the beginning of a larger one.
func NewCatalogue(seed uint64, n int) Catalogue {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	list := make(Catalogue, 0, n)
	list = append(list, Product{ID: laptopID, Number: Laptop, Name: "Laptop", Class: "Root Item Class", Status: "Active", Phase: "Production", Unit: "Each",
		Made: epoch, Changed: time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC), Specifications: laptop})
	counts := map[string]int{}
	for i := 1; i < n; i++ {
		f := families[r.IntN(len(families))]
		counts[f.prefix]++
		made := epoch.Add(time.Duration(r.IntN(70*24*60)) * time.Minute)
		p := Product{
			ID: firstItem + int64(i), Number: fmt.Sprintf("%s%05d", f.prefix, 10000+counts[f.prefix]*3),
			Name: f.name(r), Class: f.class, Status: "Active", Phase: "Production", Unit: f.unit(),
			Made: made, Changed: made.Add(time.Duration(r.IntN(20*24*60)) * time.Minute), Specifications: f.specify(r),
		}
		switch r.IntN(20) {
		case 0:
			p.Status, p.Phase = "Inactive", "Obsolete"
		case 1, 2:
			p.Phase = "Design"
		}
		list = append(list, p)
	}
	return list
}

// Varied picks up to n products in use, the laptop first and no two of a class.
func (c Catalogue) Varied(n int) []Product {
	var list []Product
	classes := map[string]bool{}
	for _, p := range c {
		if len(list) < n && !classes[p.Class] && p.Status == "Active" && p.Phase == "Production" {
			classes[p.Class] = true
			list = append(list, p)
		}
	}
	return list
}

// Rows are the rows of Oracle's resources by the name of the resource.
func (c Catalogue) Rows(seed uint64) map[string]iter.Seq[storage.Row] {
	return map[string]iter.Seq[storage.Row]{
		"itemsV2": c.items(), "ItemEffCategory": c.categories(), "ItemEFFBTechnicalSpecifications_Private": c.lines(),
		"ItemRevision": c.revisions(), "inventoryOnhandBalances": c.onhand(seed),
	}
}

// items are the rows of itemsV2.
func (c Catalogue) items() iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		for i, p := range c {
			if !yield(storage.Row{"ItemId": p.ID, "OrganizationId": int64(204), "OrganizationCode": "V1", "ItemNumber": p.Number, "ItemDescription": p.Name,
				"ItemClass": p.Class, "ItemStatusValue": p.Status, "LifecyclePhaseValue": p.Phase, "PrimaryUOMValue": p.Unit, "CreatedBy": "PLM_ADMIN",
				"LastUpdatedBy": "PLM_ADMIN", "CreationDateTime": p.Made, "LastUpdateDateTime": p.Changed, "row_version": int64(i + 1)}) {
				return
			}
		}
	}
}

// categories are the rows of ItemEffCategory: the root category of each item.
func (c Catalogue) categories() iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		for _, p := range c {
			if !yield(storage.Row{"ItemId": p.ID, "OrganizationId": int64(204), "CategoryCode": "ROOT_ICC", "row_version": int64(1)}) {
				return
			}
		}
	}
}

// lines are the rows of the technical specifications.
func (c Catalogue) lines() iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		id := int64(firstLine)
		for _, p := range c {
			for _, s := range p.Specifications {
				id++
				var unit any
				if s.Unit != "" {
					unit = s.Unit
				}
				if !yield(storage.Row{"EffLineId": id, "ItemId": p.ID, "OrganizationId": int64(204), "CategoryCode": "ROOT_ICC",
					"ContextCode": "TechnicalSpecifications", "AttributeName": s.Attribute, "AttributeValue": s.Value, "UnitOfMeasure": unit, "row_version": int64(1)}) {
					return
				}
			}
		}
	}
}

// revisions are the rows of ItemRevision: the first of each item, and a second
// of every fifth.
func (c Catalogue) revisions() iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		id := int64(firstRev)
		for i, p := range c {
			for _, code := range []string{"A", "B"}[:1+(i%5)/4] {
				id++
				at := p.Made
				if code == "B" {
					at = p.Changed
				}
				if !yield(storage.Row{"RevisionId": id, "ItemId": p.ID, "OrganizationId": int64(204), "RevisionCode": code, "Description": "Revision " + code,
					"EffectivityDate": at, "CreationDateTime": at, "LastUpdateDateTime": at, "row_version": int64(1)}) {
					return
				}
			}
		}
	}
}

// onhand are the rows of inventoryOnhandBalances for the first products, at the
// two grains that SummaryLevel chooses from.
func (c Catalogue) onhand(seed uint64) iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		r := rand.New(rand.NewPCG(seed, 0x57ac))
		id := int64(0)
		for _, p := range c[:min(2000, len(c))] {
			total := int64(0)
			for _, sub := range []string{"FGI", "STORES"} {
				n := int64(r.IntN(200))
				total += n
				id++
				if !yield(balance(id, p, "Subinventory", sub, n)) {
					return
				}
			}
			id++
			if !yield(balance(id, p, "Organization", nil, total)) {
				return
			}
		}
		for row := range c.consigned(seed, &id) {
			if !yield(row) {
				return
			}
		}
	}
}

// consignedEach is how many products each customer keeps for us.
const consignedEach = 3

// consigned are the balances of the organisation M1: stock that lies at customers, each
// of whom is a subinventory by the customer's number. Some of it has run out.
func (c Catalogue) consigned(seed uint64, id *int64) iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		n := min(2000, len(c)) - 1 // the first product is the one that examples ask for
		if n < 1 {
			return
		}
		r := rand.New(rand.NewPCG(seed, 0xc051))
		for i, customer := range Accounts(seed) {
			for k := range consignedEach {
				p := c[1+(7*i+31*k)%n]
				*id++
				row := balance(*id, p, "Subinventory", customer.Number, int64(max(0, r.IntN(30)-4)))
				row["OrganizationId"], row["OrganizationCode"] = int64(207), "M1"
				if !yield(row) {
					return
				}
			}
		}
	}
}

func balance(id int64, p Product, level string, sub any, n int64) storage.Row {
	quantity, unit := fmt.Sprint(n), "Ea"
	if p.Unit != "Each" { // a piece weighs 0.337 kg
		quantity, unit = fmt.Sprintf("%d.%03d", n*337/1000, n*337%1000), "Kg"
	}
	return storage.Row{"OnhandQuantityId": id, "OrganizationId": int64(204), "OrganizationCode": "V1", "InventoryItemId": p.ID, "ItemNumber": p.Number,
		"SummaryLevel": level, "SubinventoryCode": sub, "PrimaryQuantity": json.Number(quantity), "PrimaryUOMCode": unit, "row_version": int64(1)}
}

// guid is the n-th id of a table; block keeps tables apart.
func guid(block, n int) string {
	return fmt.Sprintf("%04x%04x-5eed-4000-8000-%012x", block, n>>16, n)
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func slug(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(s)), "-")
}

func number(format string, args ...any) json.Number { return json.Number(fmt.Sprintf(format, args...)) }

// money is an amount below limit, with the four places Dataverse keeps.
func money(r *rand.Rand, limit int) json.Number {
	return number("%d.%02d00", r.IntN(limit), r.IntN(100))
}
