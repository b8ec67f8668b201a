package oracle

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
)

// ExtractPage reads what ReadPage reads, as cells, in pages as large as Oracle gives
// them.
func (o *Oracle) ExtractPage(ctx context.Context, q connector.Query, token string) (connector.Sheet, error) {
	if len(q.Expand) > 0 {
		return connector.Sheet{}, fault.Invalidf("connector.expand", "an extraction of %s asks for children; read their own table", q.Table)
	}
	if q.Limit <= 0 {
		q.Limit = maxLimit
	}
	r, err := o.newRead(q)
	if err != nil {
		return connector.Sheet{}, err
	}
	offset, err := offsetOf(token)
	if err != nil {
		return connector.Sheet{}, err
	}
	target, err := r.target(offset, "onlyData=true")
	if err != nil {
		return connector.Sheet{}, err
	}
	plan := sheet.Plan{List: []string{"items"}, Beside: []string{"hasMore", "count", "offset"}, AbsentIsNull: true, Columns: make([]sheet.Column, len(q.Select))}
	for i, c := range q.Select {
		plan.Columns[i] = sheet.Column{Name: c}
	}
	out := connector.Sheet{Columns: q.Select}
	var got sheet.Page
	_, err = o.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Collection: true,
		Decode: func(_ http.Header, body []byte) (err error) {
			out.Bytes = int64(len(body))
			got, err = plan.Read(body)
			return err
		}}, nil)
	if errors.Is(err, sheet.ErrNoList) {
		err = o.transport.Malformed("there is no list of items")
	}
	if err != nil {
		return connector.Sheet{}, err
	}
	more, count, at := string(got.Beside[0]), got.Beside[1], got.Beside[2]
	switch {
	case more != "true" && more != "false":
		return connector.Sheet{}, o.transport.Malformed("it does not say whether there is more")
	case count != nil && string(count) != strconv.Itoa(got.Rows):
		return connector.Sheet{}, o.transport.Malformed("count and items of a collection differ")
	case more == "true" && got.Rows == 0, at != nil && string(at) != strconv.Itoa(offset):
		return connector.Sheet{}, o.transport.PageLoop()
	case more == "true":
		out.Next = strconv.Itoa(offset + got.Rows)
	}
	out.Cells = got.Cells
	return out, nil
}

// offsetOf reads a token of a page.
func offsetOf(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	offset, err := strconv.Atoi(token)
	if err != nil || offset <= 0 {
		return 0, connector.BadToken()
	}
	return offset, nil
}
