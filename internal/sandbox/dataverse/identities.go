package dataverse

import (
	"context"
	"fmt"
	"hash/fnv"

	"patchbay/internal/sandbox/storage"
)

// attributes says of columns what they are beyond their names, where it is not what
// the environment began with. Tests write it by SQL: another metadataid is a column
// that was deleted and made again under its name, a row for a column that is Late is
// a column that was just made.
func attributes(schema string) *storage.Table {
	return storage.NewTable(storage.Table{Schema: schema, Name: "attribute",
		Columns: []storage.Column{{Name: "logical"}, {Name: "name"}, {Name: "metadataid", Kind: storage.GUID}},
		Primary: []string{"logical", "name"}})
}

// identities are the MetadataIds of an environment.
type identities struct {
	env   *Environment
	given map[[2]string]string // by table and column; empty: the column's first one
}

func (e *Environment) identities(ctx context.Context, tx storage.Tx) (identities, error) {
	rows, err := tx.Find(ctx, e.attributes, storage.Query{})
	if err != nil {
		return identities{}, fmt.Errorf("reading the identities of columns: %w", err)
	}
	ids := identities{env: e, given: map[[2]string]string{}}
	for _, row := range rows {
		ids.given[[2]string{textOf(row, "logical"), textOf(row, "name")}] = textOf(row, "metadataid")
	}
	return ids, nil
}

// table is the id of a table, which differs between organisations.
func (i identities) table(t *Table) string {
	h := fnv.New64a()
	if i.env.regional {
		_, _ = h.Write([]byte(i.env.ID)) // never fails
	}
	_, _ = h.Write([]byte(t.Logical))
	return fmt.Sprintf("70816501-edb9-4740-a16c-%012x", h.Sum64()&0xffffffffffff)
}

// column is the id of the n-th column of a table.
func (i identities) column(t *Table, n int) string {
	if id := i.given[[2]string{t.Logical, t.Columns[n].Name}]; id != "" {
		return id
	}
	table := i.table(t)
	return table[24:32] + table[8:24] + fmt.Sprintf("%012x", n+1)
}

// present reports whether the metadata has a column.
func (i identities) present(t *Table, c *Column) bool {
	_, made := i.given[[2]string{t.Logical, c.Name}]
	return made || !c.Late
}
