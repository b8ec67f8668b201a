package connector

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"patchbay/internal/fault"
)

// InOrder writes rows one after the other. What is about one row is its outcome; any
// other failure ends the write, and the rows behind it are Unavailable, code, to come
// again when that may. An error means that no row has an outcome of its own.
func InOrder(rows []Row, code string, about func(*fault.Fault) bool, write func(Row) error) ([]Result, error) {
	results := make([]Result, len(rows))
	stayed := func(why error) error {
		f := fault.New(fault.Unavailable, code, "the row was not sent, because one before it failed or the time was over", nil)
		f.After = fault.Of(why).After
		return f
	}
	settled := false
	var whole error
	for i, row := range rows {
		if whole != nil {
			results[i].Err = stayed(whole)
			continue
		}
		err := write(row)
		var f *fault.Fault
		is := errors.As(err, &f)
		switch {
		case err == nil, is && about(f):
			settled = true
			results[i].Err = err
			continue
		case !settled:
			return nil, err
		case is:
			results[i].Err = f
		default:
			results[i].Err = stayed(err)
		}
		whole = err
	}
	return results, nil
}

// References are, by table, the columns that option reference names as TABLE.COLUMN,
// separated by commas: in them a row bears what its writer knows it by, where the system
// draws the key itself.
func (c Config) References() (map[string]string, error) {
	out := map[string]string{}
	for pair := range strings.SplitSeq(c.Options["reference"], ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		table, column, _ := strings.Cut(pair, ".")
		if t, known := c.Tables[table]; !known || t.Check(column) != nil {
			return nil, fault.Invalidf("connector.option", "connection %s: option reference has %q, which is no TABLE.COLUMN of the connection", c.Name, pair)
		}
		out[table] = column
	}
	return out, nil
}

// ColumnsOf are the columns of rows, in order.
func ColumnsOf(rows []Row) []string {
	all := map[string]bool{}
	for _, row := range rows {
		for column := range row {
			all[column] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// PlainNumber is a decimal without the zeros at its end that say nothing.
func PlainNumber(text string) string {
	if !strings.Contains(text, ".") || strings.ContainsAny(text, "eE") {
		return text
	}
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
