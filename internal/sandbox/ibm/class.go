package ibm

import (
	"slices"
	"strings"

	"patchbay/internal/sandbox/storage"
)

type (
	// property is one property of a class. Owned ones belong to the system: nobody
	// sets them.
	property struct {
		name   string // symbolic name, and that of the column
		kind   string // a TypeID
		length int
		owned  bool
		must   bool
	}

	// class is one class of documents; its properties are those of its parent and
	// its own.
	class struct {
		name, label string
		id          string
		parent      *class
		own         []property
	}
)

func text(name string, length int) property {
	return property{name: name, kind: "STRING", length: length}
}

func of(name, kind string) property { return property{name: name, kind: kind} }

func (p property) system() property { p.owned = true; return p }

var (
	base = &class{name: "Document", label: "Document", id: "{01A3A8C2-7AEC-11D1-A31B-0020AF9FBB1C}", own: []property{
		of("Id", "GUID").system(), text("DocumentTitle", 255), text("MimeType", 255), text("Creator", 64).system(), text("Owner", 64),
		text("LastModifier", 64).system(), of("DateCreated", "DATE").system(), of("DateLastModified", "DATE").system(), of("DateCheckedIn", "DATE").system(),
		of("CmRetentionDate", "DATE"), of("ContentSize", "DOUBLE").system(), of("MajorVersionNumber", "LONG").system(), of("MinorVersionNumber", "LONG").system(),
		of("VersionStatus", "LONG").system(), of("IsCurrentVersion", "BOOLEAN").system(), of("IsReserved", "BOOLEAN").system(), of("VersionSeries", "GUID").system(),
	}}

	customers = &class{name: "CustomerDocument", label: "Customer Document", id: "{7C0D5EED-0000-4000-8000-000000000001}", parent: base, own: []property{
		text("CustomerNumber", 20), text("DocumentType", 30), of("ValidFrom", "DATE"), of("ValidTo", "DATE"), text("SourceSystem", 20),
	}}

	financials = &class{name: "FinancialDocument", label: "Financial Document", id: "{7C0D5EED-0000-4000-8000-000000000002}", parent: base, own: []property{
		text("CompanyCode", 4), of("FiscalYear", "LONG"), text("DocumentNumber", 20), text("DocumentType", 30), text("CustomerNumber", 20),
		of("Amount", "DOUBLE"), text("Currency", 3), of("PostingDate", "DATE"),
	}}

	classes = []*class{base, customers, financials}
)

// Columns that are no property: the class, the number that an update has to know, and
// the bytes of the one content element.
const (
	className = "className"
	sequence  = "updateSequenceNumber"
	content   = "content"
	retrieval = "retrievalName"
)

var kinds = map[string]storage.Kind{"STRING": storage.Text, "GUID": storage.Text, "DATE": storage.Time, "DOUBLE": storage.Decimal, "LONG": storage.Int, "BOOLEAN": storage.Bool}

// documents is the one table: a search of a class finds its subclasses, too.
var documents = func() *storage.Table {
	t := storage.Table{Schema: "ibm", Name: "documents", Primary: []string{"Id"},
		Columns: []storage.Column{{Name: className}, {Name: sequence, Kind: storage.Int}, {Name: content, Kind: storage.Bytes}, {Name: retrieval}, {Name: blobColumn}, {Name: digestColumn}},
		Index:   [][]string{{"DateLastModified", "Id"}, {"CustomerNumber"}, {"VersionSeries"}}}
	for _, c := range classes {
		for _, p := range c.own {
			if !slices.ContainsFunc(t.Columns, func(c storage.Column) bool { return c.Name == p.name }) {
				t.Columns = append(t.Columns, storage.Column{Name: p.name, Kind: kinds[p.kind]})
			}
		}
	}
	return storage.NewTable(t)
}()

// Tables lists the tables of the stand-in.
func Tables() []*storage.Table { return []*storage.Table{documents, chunks.Table} }

// find gives a class by symbolic name or ID; nil where there is none.
func find(name string) *class {
	for _, c := range classes {
		if strings.EqualFold(c.name, name) || strings.EqualFold(c.id, name) {
			return c
		}
	}
	return nil
}

// all are the properties of the class, those of its parent first.
func (c *class) all() []property {
	if c.parent == nil {
		return c.own
	}
	return slices.Concat(c.parent.all(), c.own)
}

func (c *class) property(name string) (property, bool) {
	for _, p := range c.all() {
		if strings.EqualFold(p.name, name) {
			return p, true
		}
	}
	return property{}, false
}

// known finds a property of the class or of one below it, which a search may name.
func (c *class) known(name string) (property, bool) {
	for _, one := range classes {
		if p, ok := one.property(name); ok && one.within(c) {
			return p, true
		}
	}
	return property{}, false
}

func (c *class) within(other *class) bool {
	for at := c; at != nil; at = at.parent {
		if at == other {
			return true
		}
	}
	return false
}

// rows is the condition that a document is of the class or one below.
func (c *class) rows() storage.Expr {
	in := storage.In{Column: className}
	for _, one := range classes {
		if one.within(c) {
			in.Values = append(in.Values, one.name)
		}
	}
	return in
}
