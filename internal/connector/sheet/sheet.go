package sheet

import (
	"errors"

	"patchbay/internal/connector"
	"patchbay/internal/strictjson"
)

type (
	// Plan is how lists of one kind are read. It is made once, holds no state and may
	// be shared.
	Plan struct {
		// List names the members that lead from the root to the list: {"value"},
		// {"items"}, {"d", "results"}. A list that stands where another step is due is
		// the list, too, as the d of older OData.
		List    []string
		Columns []Column
		// Beside are the members wanted of the object that holds the list.
		Beside []string
		// AbsentIsNull is for protocols that leave a null out: its cell is null.
		AbsentIsNull bool
	}

	// Column is one column that is wanted.
	Column struct {
		Name string
		Form Form
	}

	// Page is what was read. Cells holds the rows one after the other, each in the
	// order of the plan's columns; Beside is in the order of the plan's, nil where the
	// answer has no such member.
	Page struct {
		Cells  []connector.Cell
		Rows   int
		Beside []connector.Cell
	}
)

// ErrNoList is an answer that is JSON, but has no list of rows where one is due, or
// holds something that is no object in it.
var ErrNoList = errors.New("there is no list of rows where one is due")

// errJSON ends a walk; what is wrong is then said by strictjson.
var errJSON = errors.New("not the JSON expected")

var null = connector.Cell("null")

// Read walks one answer. Its error is ErrNoList or the fault that strictjson has
// for the answer; cells point into body, which must stay as it is.
func (p *Plan) Read(body []byte) (Page, error) {
	w := &walker{in: body, plan: p}
	w.page.Beside = make([]connector.Cell, len(p.Beside))
	if n := len(p.Columns); n > 0 {
		w.page.Cells = make([]connector.Cell, 0, max(len(body)/64, n))
	}
	w.row = &shape{root: true}
	err := w.document()
	if errors.Is(err, errJSON) {
		if _, said := strictjson.Decode(body, ""); said != nil {
			return Page{}, said
		}
	}
	if err != nil {
		return Page{}, err
	}
	if !w.found {
		return Page{}, ErrNoList
	}
	return w.page, nil
}

// column is the place of a column by its name, or -1.
func (p *Plan) column(name []byte) int {
	for i := range p.Columns {
		if p.Columns[i].Name == string(name) {
			return i
		}
	}
	return -1
}
