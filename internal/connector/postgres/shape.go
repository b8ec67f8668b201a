package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// remembered is how long a table's columns are taken to be what they were. A read
// notices earlier, by the types that the database sends along.
const remembered = time.Minute

type (
	// kind is how values of a type are written, here and there.
	kind int

	// column is one column of a table; a domain counts as what it is made of.
	column struct {
		name             string
		number           int16 // in its table, through every renaming
		oid              uint32
		kind             kind
		nullable         bool
		length           int // characters; 0 is any
		precision, scale int // digits; precision 0 is any
	}

	// shape is the columns of a table as of a moment.
	shape struct {
		at      time.Time
		oid     uint32 // of the table
		columns []column
	}
)

const (
	other  kind = iota // read by to_json, written as text
	list               // an array
	object             // json
	text
	integer
	decimal
	float
	boolean
	binary
	date
	local  // timestamp without time zone, which is taken as UTC
	moment // timestamp with time zone
)

// kinds is by the OIDs of PostgreSQL's own types, which are fixed.
var kinds = map[uint32]kind{
	16: boolean, 17: binary, 18: text, 19: text, 20: integer, 21: integer, 23: integer, 25: text, 26: integer, 114: object, 142: text, 650: text,
	700: float, 701: float, 869: text, 1042: text, 1043: text, 1082: date, 1083: text, 1114: local, 1184: moment, 1266: text, 1700: decimal,
	2950: text, 3802: object,
}

const (
	typeVarchar = 1043
	typeBpchar  = 1042
	typeJSON    = 114
)

// types are the kinds as Described names them.
var types = map[kind]string{
	list: "list", object: "object", text: "string", integer: "int", decimal: "decimal", float: "decimal", boolean: "bool", binary: "bytes",
	date: "date", local: "timestamp", moment: "timestamp",
}

// Describe tells the columns and the unique keys of a table, the primary one first.
func (p *Postgres) Describe(ctx context.Context, table string) (connector.Description, error) {
	t, err := p.table(table)
	if err != nil {
		return connector.Description{}, err
	}
	var d connector.Description
	err = p.with(ctx, "describe "+t.Path, func(inner context.Context, c *pgx.Conn) error {
		p.forget(t)
		s, err := p.shape(ctx, inner, c, t)
		if err != nil {
			return err
		}
		for _, of := range s.columns {
			d.Columns = append(d.Columns, connector.Described{Name: of.name, Type: types[of.kind], Nullable: of.nullable,
				Length: of.length, Precision: of.precision, Scale: of.scale})
		}
		rows, err := c.Query(inner, `
			select array(select a.attname::text from unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality as k(num, place)
				join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num order by k.place)
			from pg_index i where i.indrelid = $1::regclass and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
			order by not i.indisprimary, i.indexrelid`, t.Path)
		if err == nil {
			d.Keys, err = pgx.CollectRows(rows, pgx.RowTo[[]string])
		}
		return p.fault(ctx, inner, false, err)
	})
	return d, err
}

// shape gives the columns of a table, from memory where that is fresh.
func (p *Postgres) shape(ctx, inner context.Context, c *pgx.Conn, t connector.Table) (shape, error) {
	p.mu.Lock()
	s, ok := p.shapes[t.Path]
	p.mu.Unlock()
	if ok && time.Since(s.at) < remembered {
		return s, nil
	}
	s = shape{at: time.Now()}
	rows, err := c.Query(inner, `
		with recursive c as (
			select attnum, attname, atttypid as oid, atttypmod as mod, attnotnull as total from pg_attribute
			where attrelid = $1::regclass and attnum > 0 and not attisdropped
			union all
			select c.attnum, c.attname, t.typbasetype, case when t.typtypmod >= 0 then t.typtypmod else c.mod end, c.total or t.typnotnull
			from c join pg_type t on t.oid = c.oid and t.typtype = 'd')
		select $1::regclass::oid, c.attnum, c.attname::text, c.oid, c.mod, c.total, t.typcategory::text from c join pg_type t on t.oid = c.oid and t.typtype <> 'd' order by c.attnum`, t.Path)
	if err == nil {
		var of column
		var mod int
		var total bool
		var category string
		_, err = pgx.ForEachRow(rows, []any{&s.oid, &of.number, &of.name, &of.oid, &mod, &total, &category}, func() error {
			s.columns = append(s.columns, of.with(mod, total, category))
			return nil
		})
	}
	if err != nil {
		return shape{}, p.fault(ctx, inner, false, err)
	}
	p.mu.Lock()
	p.shapes[t.Path] = s
	p.mu.Unlock()
	return s, nil
}

func (p *Postgres) forget(t connector.Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.shapes, t.Path)
}

// with adds what the catalogue says besides name and type.
func (of column) with(mod int, total bool, category string) column {
	of.nullable = !total
	of.kind = kinds[of.oid]
	if of.kind == other && category == "A" {
		of.kind = list
	}
	const header = 4 // that a modifier counts in
	switch mod -= header; {
	case mod < 0:
	case of.oid == typeVarchar || of.oid == typeBpchar:
		of.length = mod
	case of.kind == decimal:
		of.precision = mod >> 16 & 0xffff
		of.scale = (mod&0x7ff ^ 1024) - 1024 // it has a sign of its own
	}
	return of
}

// asJSON says that the database makes the JSON of a value.
func (of column) asJSON() bool { return of.kind == list || of.kind == other }

// of gives the columns of names, in their order.
func (s shape) of(p *Postgres, t connector.Table, names []string) ([]column, error) {
	found := make([]column, len(names))
next:
	for i, name := range names {
		for _, c := range s.columns {
			if c.name == name {
				found[i] = c
				continue next
			}
		}
		v := verdictOf("42703")
		return nil, fault.New(v.class, System+"."+v.reason, "table "+t.Name+": "+p.config.Name+" "+v.text, nil)
	}
	return found, nil
}
