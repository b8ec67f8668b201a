package postgres

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// extraction is one page that is read as a sheet.
type extraction struct {
	p     *Postgres
	table connector.Table
	q     connector.Query
	size  int
	last  []string // key of the row before the page, as PostgreSQL writes it; nil: there is none

	columns []column // selected, and then those of the key that do not come as PostgreSQL writes them
	places  []int    // of the key among them
	sheet   connector.Sheet
	end     [][]byte // key of the last row of the sheet
	more    bool
}

// errShape says that the table is not what it was taken for.
var errShape = errors.New("the table has other columns by now")

// ExtractPage reads one page in the order of the table's first key, by one statement
// and without OFFSET. Its rows are as of one moment. A page that would be larger than
// the connection allows ends earlier.
func (p *Postgres) ExtractPage(ctx context.Context, q connector.Query, token string) (connector.Sheet, error) {
	t, err := p.asked(q)
	if err != nil {
		return connector.Sheet{}, err
	}
	x := &extraction{p: p, table: t, q: q, size: q.Limit}
	if x.size <= 0 {
		x.size = defaultSheet
	}
	x.size = min(x.size, maxSheet)
	if token != "" {
		if x.last, err = positions(token, len(t.Keys[0])); err != nil {
			return connector.Sheet{}, err
		}
	}
	what := strings.Join(append([]string{"extract", t.Path, fmt.Sprint(q.Where), token}, q.Select...), " ")
	err = p.during(ctx, p.gate.Longer(1+x.size/perTimeout), what, func(inner context.Context, c *pgx.Conn) error {
		if token == "" {
			if err := p.total(ctx, inner, c, t); err != nil {
				return err
			}
		}
		err := x.read(ctx, inner, c)
		if errors.Is(err, errShape) {
			p.forget(t)
			if err = x.read(ctx, inner, c); errors.Is(err, errShape) {
				return fault.New(fault.Unavailable, System+".changing", "table "+t.Name+" of "+p.config.Name+" is being changed", nil)
			}
		}
		return err
	})
	if err != nil {
		return connector.Sheet{}, err
	}
	return x.sheet, nil
}

func (x *extraction) read(ctx, inner context.Context, c *pgx.Conn) error {
	s, err := x.p.shape(ctx, inner, c, x.table)
	if err != nil {
		return err
	}
	if x.columns, err = s.of(x.p, x.table, x.q.Select); err != nil {
		return err
	}
	key, err := s.of(x.p, x.table, x.table.Keys[0])
	if err != nil {
		return err
	}
	x.places = x.places[:0]
	for _, k := range key {
		at := slices.IndexFunc(x.columns, func(c column) bool { return c.name == k.name })
		if at < 0 || k.asJSON() {
			at = len(x.columns)
			x.columns = append(x.columns, k)
		}
		x.places = append(x.places, at)
	}
	statement, args, err := x.statement(s)
	if err != nil {
		return err
	}
	rows := c.PgConn().ExecParams(inner, statement, args, nil, nil, nil)
	why := x.rows(rows)
	if _, err := rows.Close(); err != nil {
		return x.p.fault(ctx, inner, false, err)
	}
	if why != nil {
		return why
	}
	if x.more {
		x.sheet.Next = tokenOf(x.end)
	}
	return nil
}

// statement asks for one row more than the page has, to tell whether there is one.
func (x *extraction) statement(s shape) (string, [][]byte, error) {
	var args [][]byte
	parameter := func(value string) string {
		args = append(args, []byte(value))
		return "$" + strconv.Itoa(len(args))
	}
	var conditions []string
	for _, m := range x.q.Where {
		column := "t." + pgx.Identifier{m.Column}.Sanitize()
		if m.Value == nil {
			conditions = append(conditions, column+" is null")
			continue
		}
		value, ok := single(m.Value)
		if !ok {
			return "", nil, fault.Invalidf("connector.value", "table %s: %s is compared with a value that is no single one", x.table.Name, m.Column)
		}
		conditions = append(conditions, column+" = "+parameter(value))
	}
	if since := x.q.Since; since != nil {
		of, err := s.of(x.p, x.table, []string{since.Column})
		if err != nil {
			return "", nil, err
		}
		value, ok := single(since.Value)
		if !ok {
			return "", nil, fault.Invalidf("connector.value", "table %s: %s is compared with a value that is no single one", x.table.Name, since.Column)
		}
		column := "t." + pgx.Identifier{since.Column}.Sanitize()
		condition := column + " >= " + parameter(value)
		if of[0].nullable { // nobody knows when such a row was changed
			condition = "(" + condition + " or " + column + " is null)"
		}
		conditions = append(conditions, condition)
	}
	key := quoted("t.", x.table.Keys[0])
	if x.last != nil {
		bound := make([]string, len(x.last))
		for i, value := range x.last {
			bound[i] = parameter(value)
		}
		conditions = append(conditions, fmt.Sprintf("(%s) > (%s)", key, strings.Join(bound, ", ")))
	}
	expressions := make([]string, len(x.columns))
	for i, of := range x.columns {
		expressions[i] = "t." + pgx.Identifier{of.name}.Sanitize()
		if i < len(x.q.Select) && of.asJSON() {
			expressions[i] = "to_json(" + expressions[i] + ")"
		}
	}
	where := ""
	if len(conditions) > 0 {
		where = " where " + strings.Join(conditions, " and ")
	}
	return fmt.Sprintf("select %s from %s as t%s order by %s limit %d",
		strings.Join(expressions, ", "), x.table.Path, where, key, x.size+1), args, nil
}

// rows makes the sheet of what the database sends.
func (x *extraction) rows(rows *pgconn.ResultReader) error {
	width := len(x.q.Select)
	expected := x.size
	if x.last == nil { // nobody knows yet whether there are so many
		expected = min(x.size, 1000)
	}
	x.sheet = connector.Sheet{Columns: slices.Clone(x.q.Select), Cells: make([]connector.Cell, 0, width*expected)}
	var a arena
	var why error
	n, full := 0, false
	for why == nil && rows.NextRow() {
		values := rows.Values()
		if n == 0 {
			if why = x.same(rows.FieldDescriptions()); why != nil {
				break
			}
		}
		if n == x.size || full {
			x.more = true
			if slices.EqualFunc(x.end, x.keyOf(values), slices.Equal) {
				why = fault.New(fault.Rejected, System+".key_twice",
					"table "+x.table.Name+" of "+x.p.config.Name+" has two rows with one key, and pages that follow it would lose one", nil)
			}
			break
		}
		for i, raw := range values {
			x.sheet.Bytes += int64(len(raw))
			if i >= width {
				break
			}
			cell, err := a.cell(x.columns[i].kind, raw)
			if err != nil {
				why = x.refusal(x.columns[i], err)
				break
			}
			x.sheet.Cells = append(x.sheet.Cells, cell)
		}
		n++
		if full = x.sheet.Bytes > x.p.bytes; full || n == x.size {
			x.end = x.keyOf(values)
			for i := range x.end {
				x.end[i] = slices.Clone(x.end[i]) // the connection uses its memory again
			}
		}
	}
	return why
}

func (x *extraction) keyOf(values [][]byte) [][]byte {
	key := make([][]byte, len(x.places))
	for i, at := range x.places {
		key[i] = values[at]
	}
	return key
}

// same makes sure that the values are of the types that they are taken for.
func (x *extraction) same(fields []pgconn.FieldDescription) error {
	for i, f := range fields {
		want := x.columns[i].oid
		if i < len(x.q.Select) && x.columns[i].asJSON() {
			want = typeJSON
		}
		if f.DataTypeOID != want {
			return errShape
		}
	}
	return nil
}

// refusal is the fault of a value that no cell can hold; it does not show the value.
func (x *extraction) refusal(of column, err error) error {
	return fault.New(fault.Rejected, System+".form",
		"column "+of.name+" of "+x.table.Name+" in "+x.p.config.Name+" holds "+err.Error()+", which no row can carry", nil)
}

// single is a value as PostgreSQL reads it.
func single(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	case int:
		return strconv.Itoa(value), true
	case int64:
		return strconv.FormatInt(value, 10), true
	}
	return "", false
}

// A token of sheets begins with a mark of its own: what ReadPage gives is no token here.
const sheetToken = "s."

func tokenOf(key [][]byte) string {
	texts := make([]string, len(key))
	for i, value := range key {
		texts[i] = string(value)
	}
	body, _ := json.Marshal(texts) // texts
	return sheetToken + base64.RawURLEncoding.EncodeToString(body)
}

// positions is what a token of tokenOf says.
func positions(token string, n int) ([]string, error) {
	encoded, ok := strings.CutPrefix(token, sheetToken)
	body, err := base64.RawURLEncoding.DecodeString(encoded)
	var texts []string
	if !ok || err != nil || json.Unmarshal(body, &texts) != nil || len(texts) != n {
		return nil, connector.BadToken()
	}
	return texts, nil
}
