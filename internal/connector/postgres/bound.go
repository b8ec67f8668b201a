package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

type (
	// bound is a table of a feed as the database has it: names became columns.
	bound struct {
		connector.FeedTable
		path     string // quoted
		oid      uint32
		key      []attribute
		columns  []attribute // without the key; what is another column by now is not among them
		identity []string    // columns by which the log tells of deletes
		whole    bool        // they are all of them
	}

	// attribute is one column as the catalogue has it.
	attribute struct {
		name      string
		number    int16
		oid       uint32 // of its type
		total     bool   // never null
		generated bool
		identity  bool // of the replica identity
		format    format
	}
)

// bind finds the columns of a table in a transaction that holds it, so that they stay
// what they are: whoever renames one waits.
func (p *Postgres) bind(ctx context.Context, tx pgx.Tx, of connector.FeedTable) (*bound, error) {
	t, err := p.table(of.Table)
	if err == nil {
		err = named(t, of.Key, of.Columns...)
	}
	if err != nil {
		return nil, err
	}
	b := &bound{FeedTable: of, path: t.Path}
	// No column is asked for, and the lock stays until the transaction ends.
	if _, err := tx.Exec(ctx, "select from "+t.Path+" limit 0"); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		select c.oid, c.relreplident = 'f', a.attname::text, a.attnum, a.atttypid, a.attnotnull, a.attgenerated <> '',
		       c.relreplident = 'f' or coalesce(a.attnum = any (i.indkey[0:i.indnkeyatts - 1]), false)
		from pg_class c
		join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
		left join pg_index i on i.indrelid = c.oid and i.indisvalid and i.indimmediate
		     and (c.relreplident = 'd' and i.indisprimary or c.relreplident = 'i' and i.indisreplident)
		where c.oid = $1::regclass order by a.attnum`, t.Path)
	if err != nil {
		return nil, err
	}
	all := map[string]attribute{}
	var a attribute
	_, err = pgx.ForEachRow(rows, []any{&b.oid, &b.whole, &a.name, &a.number, &a.oid, &a.total, &a.generated, &a.identity}, func() error {
		all[a.name] = a
		if a.identity {
			b.identity = append(b.identity, a.name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, k := range of.Key {
		a, ok := all[k]
		switch id, checked := of.IDs[k]; {
		case !ok:
			return nil, fault.New(fault.Rejected, System+".unknown_column", "table "+of.Table+" of "+p.config.Name+" has no column "+k+", which is of its key", nil)
		case checked && id != b.id(a):
			return nil, fault.New(fault.Rejected, "connector.identity",
				"column "+k+" of "+of.Table+" in "+p.config.Name+" is another column than the one that was allowed, and is of the key; nothing is read until the flow is applied again", nil)
		}
		b.key = append(b.key, a)
	}
	for _, name := range of.Columns {
		if slices.Contains(of.Key, name) || slices.ContainsFunc(b.columns, func(a attribute) bool { return a.name == name }) {
			continue
		}
		a, ok := all[name]
		switch id, checked := of.IDs[name]; {
		case checked && (!ok || id != b.id(a)):
			continue // it flows nowhere, and the rest does
		case !ok:
			v := verdictOf("42703")
			return nil, fault.New(v.class, System+"."+v.reason, "table "+of.Table+": "+p.config.Name+" "+v.text, nil)
		}
		b.columns = append(b.columns, a)
	}
	formats, err := p.formatsOf(ctx, tx.Conn(), b.types())
	if err != nil {
		return nil, err
	}
	for _, list := range [][]attribute{b.key, b.columns} {
		for i := range list {
			list[i].format = formats[list[i].oid]
		}
	}
	return b, nil
}

// id is what Identities says of a column.
func (b *bound) id(a attribute) string { return identityOf(b.oid, a.number) }

func identityOf(table uint32, number int16) string {
	return strconv.FormatUint(uint64(table), 10) + "." + strconv.Itoa(int(number))
}

// all gives the key and then the columns.
func (b *bound) all() []attribute { return slices.Concat(b.key, b.columns) }

// published gives them in the order in which the log tells of them.
func (b *bound) published() []attribute {
	all := b.all()
	slices.SortFunc(all, func(x, y attribute) int { return int(x.number) - int(y.number) })
	return all
}

func (b *bound) types() []uint32 {
	var list []uint32
	for _, a := range b.all() {
		list = append(list, a.oid)
	}
	return list
}

// followable refuses a table whose log would not say which record was deleted, or whose
// writers PostgreSQL would refuse because the feed does not have what identifies a row.
func (b *bound) followable(p *Postgres) error {
	refuse := func(code, text string) error {
		return fault.New(fault.Rejected, code, "table "+b.Table+" of "+p.config.Name+" "+text, nil)
	}
	for _, a := range b.all() {
		if a.generated {
			return refuse("connector.generated_column", "computes its column "+a.name+" by itself, and the log does not tell of it; leave it out of the flow")
		}
	}
	key := strings.Join(b.Key, ", ")
	fix := fmt.Sprintf("; create a unique index on (%s), none of them null, and run: alter table %s replica identity using index NAME", key, b.path)
	for _, k := range b.key {
		if !k.identity {
			return refuse("connector.replica_identity", "does not tell by its key ("+key+") what was deleted"+fix)
		}
	}
	all := b.all()
	for _, name := range b.identity {
		if !slices.ContainsFunc(all, func(a attribute) bool { return a.name == name }) {
			return refuse("connector.replica_identity", "identifies its rows in the log by column "+name+", which the flow may not read"+fix)
		}
	}
	return nil
}

// Identities tells the columns of a table by what PostgreSQL keeps through a renaming:
// the table and the number in it. A table that was made anew has other ones.
func (p *Postgres) Identities(ctx context.Context, table string) ([]connector.Identity, error) {
	t, err := p.table(table)
	if err != nil {
		return nil, err
	}
	var list []connector.Identity
	err = p.with(ctx, "identities "+t.Path, func(inner context.Context, c *pgx.Conn) error {
		p.forget(t)
		s, err := p.shape(ctx, inner, c, t)
		if err != nil {
			return err
		}
		list = make([]connector.Identity, len(s.columns))
		for i, of := range s.columns {
			list[i] = connector.Identity{Column: of.name, ID: identityOf(s.oid, of.number), Type: types[of.kind]}
		}
		return nil
	})
	return list, err
}
