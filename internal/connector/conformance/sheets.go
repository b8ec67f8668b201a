package conformance

import (
	"context"
	"slices"

	"patchbay/internal/connector"
)

// Sheets is the harness by which the suite asks of a connector's sheets what it asks of
// its rows: pages come through ExtractPage, and writes, where the connector is a Loader,
// go through Load.
func Sheets(h Harness) Harness {
	build := h.Build
	h.Build = func(c connector.Config, d connector.Deps) (any, error) {
		system, err := build(c, d)
		return bySheets{system}, err
	}
	return h
}

// bySheets has a connector's sheets look like rows.
type bySheets struct{ system any }

func (b bySheets) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	s, err := b.system.(connector.Extractor).ExtractPage(ctx, q, token)
	if err != nil {
		return connector.Page{}, err
	}
	rows, err := connector.RowsOf(s)
	return connector.Page{Rows: rows, Next: s.Next}, err
}

func (b bySheets) Upsert(ctx context.Context, u connector.Upsert) ([]connector.Result, error) {
	columns := slices.Clone(u.Key)
	for _, row := range u.Rows {
		for c := range row {
			if !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
	}
	s, err := connector.SheetOf(columns, u.Rows)
	if err != nil {
		return nil, err
	}
	refusals, err := b.system.(connector.Loader).Load(ctx, connector.Load{Table: u.Table, Key: u.Key, Sheet: s, Held: u.Held, Origin: u.Origin})
	if err != nil {
		return nil, err
	}
	results := make([]connector.Result, len(u.Rows))
	for _, r := range refusals {
		results[r.Row].Err = r.Err
	}
	return results, nil
}
