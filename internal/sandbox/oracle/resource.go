package oracle

import (
	"patchbay/internal/sandbox/storage"
)

type (
	// attribute is one attribute of a resource. Hidden ones are stored and never
	// shown; Sets are filled by the server.
	attribute struct {
		storage.Column
		Title                       string
		MaxLength                   int
		Mandatory, Updatable, Hides bool
	}

	// resource is one resource, at the top or a child. Join names the columns that
	// a child shares with its parent; Identity is what an upsert matches on.
	resource struct {
		Name, Title string
		Table       *storage.Table
		Attributes  []attribute
		Join        []string
		Identity    []string
		Children    []*resource
		Enclosure   string // attribute whose bytes have an address of their own
		ReadOnly    bool
	}
)

const (
	versionColumn = "row_version" // behind changeIndicator
	created       = "CreationDateTime"
	updated       = "LastUpdateDateTime"
)

func text(name string, maxLength int) attribute {
	return attribute{Column: storage.Column{Name: name}, MaxLength: maxLength, Updatable: true}
}

func number(name string) attribute {
	return attribute{Column: storage.Column{Name: name, Kind: storage.Int}}
}

func of(name string, kind storage.Kind) attribute {
	return attribute{Column: storage.Column{Name: name, Kind: kind}}
}

func (a attribute) must() attribute   { a.Mandatory = true; return a }
func (a attribute) fixed() attribute  { a.Updatable = false; return a }
func (a attribute) hidden() attribute { a.Hides = true; return a }

// define builds the table behind a resource from its attributes.
func define(r resource, primary []string, unique, index [][]string) *resource {
	r.Attributes = append(r.Attributes, number(versionColumn).hidden())
	t := storage.Table{Schema: "oracle", Name: r.Name, Primary: primary, Unique: unique, Index: index}
	for _, a := range r.Attributes {
		t.Columns = append(t.Columns, a.Column)
	}
	r.Table = storage.NewTable(t)
	return &r
}

func (r *resource) attribute(name string) (attribute, bool) {
	for _, a := range r.Attributes {
		if a.Name == name && !a.Hides {
			return a, true
		}
	}
	return attribute{}, false
}

func (r *resource) child(name string) *resource {
	for _, c := range r.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// stamps are the attributes that every changing resource has.
func stamps() []attribute { return []attribute{of(created, storage.Time), of(updated, storage.Time)} }

// The resources. Every row of a child carries the whole key of its item.
var (
	itemKey = []string{"ItemId", "OrganizationId"}

	specifications = define(resource{
		Name: "ItemEFFBTechnicalSpecifications_Private", Title: "Technical Specifications",
		Join: []string{"ItemId", "OrganizationId", "CategoryCode"},
		Attributes: []attribute{
			number("EffLineId"), number("ItemId").hidden(), number("OrganizationId").hidden(), text("CategoryCode", 30).hidden(),
			text("ContextCode", 80).fixed(), text("AttributeName", 200).must(), text("AttributeValue", 2000), text("UnitOfMeasure", 50),
		},
	}, []string{"EffLineId"}, nil, [][]string{{"ItemId", "OrganizationId", "CategoryCode"}})

	categories = define(resource{
		Name: "ItemEffCategory", Title: "Item Extensible Flexfields", Join: itemKey, Identity: []string{"CategoryCode"},
		Attributes: []attribute{number("ItemId"), number("OrganizationId"), text("CategoryCode", 30).must().fixed()},
		Children:   []*resource{specifications},
	}, []string{"ItemId", "OrganizationId", "CategoryCode"}, nil, [][]string{itemKey})

	revisions = define(resource{
		Name: "ItemRevision", Title: "Item Revisions", Join: itemKey, Identity: []string{"RevisionCode"},
		Attributes: append([]attribute{number("RevisionId"), number("ItemId"), number("OrganizationId"), text("RevisionCode", 18).must().fixed(),
			text("Description", 240), of("EffectivityDate", storage.Time)}, stamps()...),
	}, []string{"RevisionId"}, nil, [][]string{itemKey})

	attachments = define(resource{
		Name: "ItemAttachment", Title: "Item Attachments", Join: itemKey, Enclosure: "FileContents",
		Attributes: append([]attribute{number("AttachedDocumentId"), number("ItemId").hidden(), number("OrganizationId").hidden(),
			text("DatatypeCode", 30).must(), text("FileName", 2048), text("UploadedFileContentType", 255), text("Title", 255),
			text("Description", 255), text("CategoryName", 30), text("Url", 4000), number("UploadedFileLength"),
			{Column: storage.Column{Name: "FileContents", Kind: storage.Bytes}, Updatable: true}, text(blobColumn, 0).hidden(), text(digestColumn, 0).hidden()}, stamps()...),
	}, []string{"AttachedDocumentId"}, nil, [][]string{itemKey})

	items = define(resource{
		Name: "itemsV2", Title: "Items Version 2", Identity: []string{"OrganizationCode", "ItemNumber"},
		Attributes: append([]attribute{
			number("ItemId"), number("OrganizationId"), text("OrganizationCode", 18).must().fixed(), text("ItemNumber", 300).must().fixed(),
			text("ItemDescription", 240), text("LongDescription", 4000), text("ItemClass", 255).must().fixed(), text("ItemStatusValue", 80),
			text("LifecyclePhaseValue", 80), text("PrimaryUOMValue", 80), text("CreatedBy", 64).fixed(), text("LastUpdatedBy", 64).fixed()},
			stamps()...),
		Children: []*resource{categories, revisions, attachments},
	}, itemKey, [][]string{{"ItemNumber", "OrganizationCode"}}, [][]string{{"ItemNumber"}, {updated}})

	onhand = define(resource{
		Name: "inventoryOnhandBalances", Title: "Inventory On-Hand Balances", ReadOnly: true,
		Attributes: []attribute{
			number("OnhandQuantityId").hidden(), number("OrganizationId"), text("OrganizationCode", 18), number("InventoryItemId"), text("ItemNumber", 300),
			text("SummaryLevel", 30), text("SubinventoryCode", 10), number("LocatorId"), text("Revision", 18), text("LotNumber", 80),
			of("PrimaryQuantity", storage.Decimal), text("PrimaryUOMCode", 3)},
	}, []string{"OnhandQuantityId"}, nil, [][]string{{"ItemNumber"}})

	reservations = define(resource{
		Name: "inventoryReservations", Title: "Inventory Reservations",
		Attributes: append([]attribute{
			number("ReservationId"), number("OrganizationId"), text("OrganizationCode", 18).must().fixed(), number("InventoryItemId"), text("ItemNumber", 300).must().fixed(),
			number("DemandSourceTypeId").must(), text("DemandSourceHeaderNumber", 150), text("DemandSourceLineNumber", 150), text("DemandSourceName", 30),
			number("SupplySourceTypeId").must(), text("SubinventoryCode", 10), {Column: storage.Column{Name: "ReservationQuantity", Kind: storage.Decimal}, Updatable: true, Mandatory: true},
			text("ReservationUnitOfMeasure", 25), {Column: storage.Column{Name: "RequirementDate", Kind: storage.Date}, Updatable: true}},
			stamps()...),
	}, []string{"ReservationId"}, nil, [][]string{{"ItemNumber"}, {"DemandSourceName"}})

	resources = []*resource{items, onhand, reservations}
)

// organizations are the organisations that items can be assigned to.
var organizations = map[string]int64{"V1": 204, "M1": 207, "M2": 209}

// Tables lists every table of the stand-in.
func Tables() []*storage.Table {
	var list []*storage.Table
	var walk func([]*resource)
	walk = func(rs []*resource) {
		for _, r := range rs {
			list = append(list, r.Table)
			walk(r.Children)
		}
	}
	walk(resources)
	return append(list, chunks.Table)
}
