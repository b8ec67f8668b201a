package dataverse

import (
	"slices"
	"strings"

	"patchbay/internal/sandbox/storage"
)

// Type is the type of a column, by Dataverse's own name.
type Type string

// The types.
const (
	String   Type = "String"
	Memo     Type = "Memo"
	Integer  Type = "Integer"
	BigInt   Type = "BigInt"
	Decimal  Type = "Decimal"
	Money    Type = "Money"
	Boolean  Type = "Boolean"
	DateTime Type = "DateTime"
	DateOnly Type = "DateOnly"
	Lookup   Type = "Lookup"
	Picklist Type = "Picklist"
	State    Type = "State"
	Status   Type = "Status"
	Unique   Type = "Uniqueidentifier"
)

type (
	// Option is one choice; State is the state a status belongs to.
	Option struct {
		Value int64
		Label string
		State int64
	}

	// Target is a table a lookup can point to, and the navigation that says so.
	Target struct{ Table, Navigation string }

	// Column is one column by its logical name. Length is in characters.
	Column struct {
		Name     string
		Type     Type
		Length   int
		Required bool
		ReadOnly bool
		Options  []Option
		Targets  []Target
		Default  any
		Late     bool // the metadata has it only once its row is in the table attribute
		Hidden   bool // can be written and is never shown
		// OnDelete is what becomes of the row when the one that its lookup points to is
		// deleted; empty: nothing, and the lookup leads nowhere.
		OnDelete Cascade
	}

	// Cascade is a behaviour of a relationship, by Dataverse's own name.
	Cascade string

	// Key is an alternate key over logical names.
	Key struct {
		Name    string
		Columns []string
	}

	// Collection is the other side of a lookup: rows of Table whose Column points
	// here.
	Collection struct{ Navigation, Table, Column string }

	// Table is one table.
	Table struct {
		Logical, Set, Primary, NameColumn, Label string
		Owned                                    bool
		Untracked                                bool // no change tracking, and nobody is told of its rows
		Merged                                   bool // two rows can be merged into one
		Single                                   bool // no bulk actions, as some standard tables; which, is not documented
		Columns                                  []Column
		Keys                                     []Key
		Collections                              []Collection

		rows       *storage.Table
		byProperty map[string]*Column
	}

	// Environment is one organisation with its tables.
	Environment struct {
		Name   string // the system's name in the sandbox
		Host   string // by which the platform knows the organisation
		ID     string
		Tables []*Table

		regional                     bool
		counter                      string // of its row versions
		bySet, byLogical             map[string]*Table
		tombstones, jobs, attributes *storage.Table
	}
)

// What becomes of the rows that point to one that is deleted.
const (
	CascadeAll Cascade = "Cascade"    // they go with it
	Restrict   Cascade = "Restrict"   // it cannot go before them
	RemoveLink Cascade = "RemoveLink" // they stay and point to nothing
)

// writesColumn counts the committed writes to a row since the sandbox made its
// first rows. It is no column of Dataverse: only the sandbox's own pages show it.
const writesColumn = "writes"

// kinds is how values of a type are stored.
var kinds = map[Type]storage.Kind{
	String: storage.Text, Memo: storage.Text, Integer: storage.Int, BigInt: storage.Int, Decimal: storage.Decimal, Money: storage.Decimal,
	Boolean: storage.Bool, DateTime: storage.Time, DateOnly: storage.Date, Lookup: storage.GUID, Picklist: storage.Int, State: storage.Int,
	Status: storage.Int, Unique: storage.GUID,
}

// Property is the column's name on the wire.
func (c *Column) Property() string {
	if c.Type == Lookup {
		return "_" + c.Name + "_value"
	}
	return c.Name
}

// pointer is where the target table of a lookup with several is kept.
func (c *Column) pointer() string { return "_" + c.Name + "_type" }

func (c *Column) polymorphic() bool { return c.Type == Lookup && len(c.Targets) > 1 }

func (c *Column) option(value int64) (Option, bool) {
	i := slices.IndexFunc(c.Options, func(o Option) bool { return o.Value == value })
	if i < 0 {
		return Option{}, false
	}
	return c.Options[i], true
}

// Build readies an environment: it adds the columns every table has and makes
// the storage tables. Their schema is the name, with _ in place of -.
func Build(name, id string, tables []Table) *Environment {
	return build(name, id, "contoso.crm.dynamics.com", tables)
}

func build(name, id, host string, tables []Table) *Environment {
	schema := strings.ReplaceAll(name, "-", "_")
	e := &Environment{Name: name, Host: host, ID: id, bySet: map[string]*Table{}, byLogical: map[string]*Table{},
		tombstones: tombstones(schema), jobs: jobs(schema), attributes: attributes(schema)}
	for _, t := range tables {
		t.Columns = append(slices.Clone(t.Columns), common(t.Owned)...)
		t.byProperty = map[string]*Column{}
		def := storage.Table{Schema: schema, Name: t.Logical, Primary: []string{t.Primary},
			Columns: []storage.Column{{Name: t.Primary, Kind: storage.GUID}}}
		t.Columns = slices.Insert(t.Columns, 0, Column{Name: t.Primary, Type: Unique})
		for i := range t.Columns {
			c := &t.Columns[i]
			t.byProperty[c.Property()] = c
			if c.Name != t.Primary {
				def.Columns = append(def.Columns, storage.Column{Name: c.Property(), Kind: kinds[c.Type], Fold: kinds[c.Type] == storage.Text})
			}
			if c.polymorphic() {
				def.Columns = append(def.Columns, storage.Column{Name: c.pointer()})
			}
			if c.Type == Lookup && !strings.HasSuffix(c.Name, "by") && c.Name != "ownerid" && c.Name != "transactioncurrencyid" {
				def.Index = append(def.Index, []string{c.Property()})
			}
		}
		for _, k := range t.Keys {
			def.Unique = append(def.Unique, t.properties(k.Columns))
		}
		def.Columns = append(def.Columns, storage.Column{Name: writesColumn, Kind: storage.Int})
		t.rows = storage.NewTable(def)
		e.Tables = append(e.Tables, &t)
		e.bySet[t.Set], e.byLogical[t.Logical] = &t, &t
	}
	return e
}

// Stored lists the storage tables of the environment.
func (e *Environment) Stored() []*storage.Table {
	list := make([]*storage.Table, 0, len(e.Tables)+3)
	for _, t := range e.Tables {
		list = append(list, t.rows)
	}
	return append(list, e.tombstones, e.jobs, e.attributes)
}

// Rows is the storage table behind a logical name.
func (e *Environment) Rows(logical string) *storage.Table { return e.byLogical[logical].rows }

func common(owned bool) []Column {
	user := []Target{{Table: "systemuser"}}
	list := []Column{
		{Name: "createdon", Type: DateTime, ReadOnly: true}, {Name: "modifiedon", Type: DateTime, ReadOnly: true},
		{Name: "createdby", Type: Lookup, Targets: user, ReadOnly: true}, {Name: "modifiedby", Type: Lookup, Targets: user, ReadOnly: true},
		{Name: "overriddencreatedon", Type: DateTime}, {Name: "importsequencenumber", Type: Integer},
		{Name: "versionnumber", Type: BigInt, ReadOnly: true},
	}
	if owned {
		list = append(list, Column{Name: "ownerid", Type: Lookup, Targets: user})
	}
	return list
}

func (t *Table) column(logical string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == logical {
			return &t.Columns[i]
		}
	}
	return nil
}

func (t *Table) properties(logical []string) []string {
	out := make([]string, len(logical))
	for i, name := range logical {
		out[i] = t.column(name).Property()
	}
	return out
}

// navigation finds a single-valued navigation: the lookup behind it and the
// logical name of the table it leads to.
func (t *Table) navigation(name string) (*Column, string, bool) {
	for i := range t.Columns {
		c := &t.Columns[i]
		for _, target := range c.Targets {
			if target.Navigation == name || target.Navigation == "" && !c.polymorphic() && c.Name == name {
				return c, target.Table, true
			}
		}
	}
	return nil, "", false
}

func (t *Table) collection(name string) (Collection, bool) {
	i := slices.IndexFunc(t.Collections, func(c Collection) bool { return c.Navigation == name })
	if i < 0 {
		return Collection{}, false
	}
	return t.Collections[i], true
}

// keyOver finds the alternate key that has exactly these properties.
func (t *Table) keyOver(properties map[string]any) ([]string, bool) {
	for _, k := range t.Keys {
		list := t.properties(k.Columns)
		if len(list) == len(properties) && !slices.ContainsFunc(list, func(p string) bool { _, ok := properties[p]; return !ok }) {
			return list, true
		}
	}
	return nil, false
}
