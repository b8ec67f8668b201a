package connector

import (
	"context"
	"encoding/json"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// SheetOf gives rows as a sheet: a cell for each of columns, absent where the row has
// none. What else a row has is left out.
func SheetOf(columns []string, rows []Row) (Sheet, error) {
	s := Sheet{Columns: columns, Cells: make([]Cell, 0, len(rows)*len(columns))}
	for _, row := range rows {
		for _, c := range columns {
			v, there := row[c]
			if !there {
				s.Cells = append(s.Cells, nil)
				continue
			}
			cell, err := json.Marshal(v)
			if err != nil {
				return Sheet{}, fault.New(fault.Bug, "connector.cell", "a value of column "+c+" cannot be encoded", err)
			}
			s.Cells = append(s.Cells, cell)
		}
	}
	return s, nil
}

// RowsOf gives a sheet as rows. A cell that is no JSON is Invalid, as strictjson says it.
func RowsOf(s Sheet) ([]Row, error) {
	rows := make([]Row, s.Rows())
	for i := range rows {
		row := make(Row, len(s.Columns))
		for n, cell := range s.Row(i) {
			if cell == nil {
				continue
			}
			v, err := strictjson.Decode(cell, s.Columns[n])
			if err != nil {
				return nil, err
			}
			row[s.Columns[n]] = v
		}
		rows[i] = row
	}
	return rows, nil
}

// Extracting gives a reader as an Extractor: itself, where it is one.
func Extracting(r PageReader) Extractor {
	if x, ok := r.(Extractor); ok {
		return x
	}
	return byRows{r}
}

// byRows reads sheets by way of rows.
type byRows struct{ PageReader }

func (b byRows) ExtractPage(ctx context.Context, q Query, token string) (Sheet, error) {
	page, err := b.ReadPage(ctx, q, token)
	if err != nil {
		return Sheet{}, err
	}
	s, err := SheetOf(q.Select, page.Rows)
	s.Next = page.Next
	for _, c := range s.Cells {
		s.Bytes += int64(len(c))
	}
	return s, err
}
