package sap

import (
	"slices"
	"strings"

	"patchbay/internal/sandbox/storage"
)

type (
	// kind is the type of a property, in both versions.
	kind struct {
		v2, v4 string // Edm names
		kept   storage.Kind
	}

	// property is one property of an entity. Column is where it is kept, where that
	// has another name; ReadOnly ones are filled by the system.
	property struct {
		Name             string
		Kind             kind
		Length           int
		Precision, Scale int
		Column           string
		ReadOnly         bool
	}

	// navigation leads to rows of another entity whose columns equal those of this one.
	navigation struct {
		Name, To   string // To is an entity set
		Many       bool
		Own, Their []string // columns
	}

	// entity is one entity set with its type. Version names the property behind the
	// ETag; Page is how many rows an answer has at most, 0: as many as there are.
	entity struct {
		Set, Type, Label          string
		Table                     *storage.Table
		Properties                []property
		Keys                      []string // properties
		Version                   string
		Page                      int
		Creates, Updates, Deletes bool
		Numbered                  string // key property that the system numbers when a create leaves it out
		GivenKeys                 bool   // a create may bring the key
		Navigations               []navigation
		Parent                    string // set whose rows are changed when a row of this one is
	}

	// service is one OData service.
	service struct {
		Root, Name string // Root begins with a slash and ends without
		V4         bool
		Entities   []*entity
	}
)

var (
	text    = kind{"Edm.String", "Edm.String", storage.Text}
	decimal = kind{"Edm.Decimal", "Edm.Decimal", storage.Decimal}
	boolean = kind{"Edm.Boolean", "Edm.Boolean", storage.Bool}
	date    = kind{"Edm.DateTime", "Edm.Date", storage.Date}
	moment  = kind{"Edm.DateTimeOffset", "Edm.DateTimeOffset", storage.Time}
	clock   = kind{"Edm.Time", "Edm.TimeOfDay", storage.Text}
	guid    = kind{"Edm.Guid", "Edm.Guid", storage.GUID}
)

func str(name string, length int) property { return property{Name: name, Kind: text, Length: length} }

// amount has three places, as amounts and quantities of all these entities.
func amount(name string, precision int) property {
	return property{Name: name, Kind: decimal, Precision: precision, Scale: 3}
}

func of(name string, k kind) property { return property{Name: name, Kind: k} }

func (p property) fixed() property { p.ReadOnly = true; return p }

func (p property) in(column string) property { p.Column = column; return p }

func (p property) column() string {
	if p.Column != "" {
		return p.Column
	}
	return p.Name
}

func (e *entity) property(name string) (property, bool) {
	for _, p := range e.Properties {
		if p.Name == name {
			return p, true
		}
	}
	return property{}, false
}

func (e *entity) navigation(name string) (navigation, bool) {
	for _, n := range e.Navigations {
		if n.Name == name {
			return n, true
		}
	}
	return navigation{}, false
}

func (e *entity) isKey(name string) bool { return slices.Contains(e.Keys, name) }

func (s *service) set(name string) *entity {
	for _, e := range s.Entities {
		if e.Set == name {
			return e
		}
	}
	return nil
}

// namespace is the first part of qualified type names.
func (s *service) namespace() string {
	if s.V4 {
		return "com.sap.gateway.srvd_a2x." + strings.ToLower(s.Name) + ".v0001"
	}
	return s.Name
}

// keep builds the table behind properties.
func keep(name string, primary []string, index [][]string, properties ...property) *storage.Table {
	t := storage.Table{Schema: "sap", Name: name, Primary: primary, Index: index}
	for _, p := range properties {
		t.Columns = append(t.Columns, storage.Column{Name: p.column(), Kind: p.Kind.kept})
	}
	return storage.NewTable(t)
}
