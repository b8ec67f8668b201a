package dataverse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
)

// ExtractPage reads what ReadPage reads, as cells, in pages as large as Dataverse
// gives them.
func (v *Dataverse) ExtractPage(ctx context.Context, q connector.Query, token string) (connector.Sheet, error) {
	if len(q.Expand) > 0 {
		return connector.Sheet{}, fault.Invalidf("connector.expand", "an extraction of %s asks for children; read their own table", q.Table)
	}
	t, err := v.config.Table(q.Table)
	if err != nil {
		return connector.Sheet{}, err
	}
	target, err := v.targetOf(q, token)
	if err != nil {
		return connector.Sheet{}, err
	}
	size := q.Limit
	if size <= 0 {
		size = maxPage
	}
	h := reading()
	h["Prefer"] = []string{pages(t, q.Select, min(size, maxPage))}
	plan := sheet.Plan{List: []string{"value"}, Beside: []string{nextLink}, Columns: make([]sheet.Column, len(q.Select))}
	var led []int // the columns of which another one says where each lookup leads
	for i, c := range q.Select {
		plan.Columns[i] = sheet.Column{Name: wire(t, c)}
		if wire(t, c) != c {
			plan.Columns, led = append(plan.Columns, sheet.Column{Name: wire(t, c) + leadsTo}), append(led, i)
		}
	}
	out := connector.Sheet{Columns: q.Select}
	var got sheet.Page
	_, err = v.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: h, Collection: true,
		Decode: func(_ http.Header, body []byte) (err error) {
			out.Bytes = int64(len(body))
			got, err = plan.Read(body)
			return err
		}}, nil)
	switch {
	case errors.Is(err, sheet.ErrNoList):
		return connector.Sheet{}, v.transport.Malformed("there is no list of rows")
	case err != nil:
		return connector.Sheet{}, err
	}
	for i, cell := range got.Cells {
		got.Cells[i] = exact(cell)
	}
	out.Cells = narrowed(t, q.Select, led, got.Cells)
	var next string
	if link := got.Beside[0]; link != nil && string(link) != "null" && json.Unmarshal(link, &next) != nil {
		return connector.Sheet{}, v.transport.Malformed("the link to the next page is no text")
	}
	out.Next, err = v.transport.Advance(token, next)
	return out, err
}

// narrowed is cells without those behind each row that say where its lookups lead, and
// without the lookups that lead elsewhere than the connection says.
func narrowed(t connector.Table, columns []string, led []int, cells []connector.Cell) []connector.Cell {
	if len(led) == 0 {
		return cells
	}
	kept := cells[:0]
	for row := range slices.Chunk(cells, len(columns)+len(led)) {
		for n, i := range led {
			if to := row[len(columns)+n]; to != nil && value(to) != t.Refers[columns[i]] {
				row[i] = nil
			}
		}
		kept = append(kept, row[:len(columns)]...)
	}
	return kept
}

// exact is number of a cell: without the zeros at its end that say nothing.
func exact(cell connector.Cell) connector.Cell {
	if len(cell) == 0 || cell[0] != '-' && (cell[0] < '0' || cell[0] > '9') || bytes.IndexByte(cell, '.') < 0 || bytes.ContainsAny(cell, "eE") {
		return cell
	}
	cell = bytes.TrimRight(bytes.TrimRight(cell, "0"), ".")
	if string(cell) == "-0" {
		cell = cell[1:]
	}
	return cell
}
