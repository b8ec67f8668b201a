package sap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
)

// ExtractPage reads what ReadPage reads, as cells.
func (s *SAP) ExtractPage(ctx context.Context, q connector.Query, token string) (connector.Sheet, error) {
	if len(q.Expand) > 0 {
		return connector.Sheet{}, fault.Invalidf("connector.expand", "an extraction of %s asks for children; read their own table", q.Table)
	}
	r, p, err := s.newRead(ctx, q, token)
	if err != nil {
		return connector.Sheet{}, err
	}
	target, err := r.target(p)
	if err != nil {
		return connector.Sheet{}, err
	}
	plan := sheet.Plan{List: []string{"d", "results"}, Beside: []string{"__next"}, Columns: make([]sheet.Column, len(r.columns))}
	if r.at.v4 {
		plan.List, plan.Beside = []string{"value"}, []string{"@odata.nextLink"}
	}
	for i, c := range r.columns {
		plan.Columns[i] = sheet.Column{Name: c, Form: r.at.form(c)}
	}
	var got sheet.Page
	out := connector.Sheet{Columns: q.Select}
	_, err = s.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: http.Header{"Accept": jsonType(r.at.v4)}, Collection: true,
		Decode: func(_ http.Header, body []byte) (err error) {
			out.Bytes = int64(len(body))
			got, err = plan.Read(body)
			return err
		}}, nil)
	switch {
	case errors.Is(err, sheet.ErrNoList):
		return connector.Sheet{}, s.transport.Malformed("there is no list of rows")
	case err != nil:
		return connector.Sheet{}, err
	}
	link, err := s.cellLink(got.Beside[0])
	if err != nil {
		return connector.Sheet{}, err
	}
	last, err := r.lastKey(got)
	if err != nil {
		return connector.Sheet{}, err
	}
	out.Cells = narrow(got.Cells, len(r.columns), len(q.Select))
	out.Next, err = r.next(token, p, got.Rows, link, last)
	return out, err
}

// cellLink is the next link of an answer, "" where there is none.
func (s *SAP) cellLink(cell connector.Cell) (link string, err error) {
	if cell == nil || bytes.Equal(cell, []byte("null")) {
		return "", nil
	}
	if json.Unmarshal(cell, &link) != nil {
		return "", s.transport.Malformed("the link to the next page is no text")
	}
	return link, nil
}

// lastKey is the key of the last row, as ReadPage has its values.
func (r *read) lastKey(got sheet.Page) ([]any, error) {
	if got.Rows == 0 {
		return nil, nil
	}
	n := len(r.columns)
	row := got.Cells[(got.Rows-1)*n:]
	last := make([]any, 0, len(r.at.entity.keys))
	for _, k := range r.at.entity.keys {
		for i, c := range r.columns {
			if c != k {
				continue
			}
			var v any
			if row[i] != nil {
				dec := json.NewDecoder(bytes.NewReader(row[i]))
				dec.UseNumber()
				if dec.Decode(&v) != nil {
					return nil, r.s.transport.Malformed("a row has no key")
				}
			}
			last = append(last, v)
		}
	}
	return last, nil
}

// narrow leaves of each row the first cells: the key was read for the next page, and
// stays here.
func narrow(cells []connector.Cell, from, to int) []connector.Cell {
	if from == to {
		return cells
	}
	rows := len(cells) / from
	for i := range rows {
		copy(cells[i*to:(i+1)*to], cells[i*from:i*from+to])
	}
	return cells[:rows*to]
}
