package connector

import "context"

type (
	// Cell is one value of a row as JSON text, exactly as precise as the system gave
	// it: a decimal keeps its digits, a date is "2006-01-02", a timestamp RFC 3339. A
	// nil Cell is an absent value, the text null a null.
	Cell = []byte

	// Sheet is one page of rows without a map a row, for reads of millions. Cells holds
	// the rows one after the other, each in the order of Columns. What the cells point
	// into stays as it is until the caller asks for the next page of the same read.
	Sheet struct {
		Columns []string
		Cells   []Cell
		Next    string // as of Page
		Bytes   int64  // that were read from the system for it
	}

	// Extractor reads as PageReader does, for those who read all there is. A page that
	// breaks off is an error, never the last one; a Next that was given before in the
	// same read is Unavailable, "vendor.page_loop" (the caller tells by the tokens).
	Extractor interface {
		ExtractPage(ctx context.Context, q Query, token string) (Sheet, error)
	}

	// Describer tells what the system itself says of one table now.
	Describer interface {
		Describe(ctx context.Context, table string) (Description, error)
	}

	// Description is the shape of one table in the system.
	Description struct {
		Columns []Described
		Keys    [][]string // primary and alternate keys; nil when the system does not say
	}

	// Described is one column. Type is one of string, int, decimal, bool, date,
	// timestamp, bytes, list, object; empty when the system's type is none of these.
	// Lengths are in characters, digits for decimals; 0 is not said.
	Described struct {
		Name                     string
		Type                     string
		Nullable                 bool
		Length, Precision, Scale int
	}
)

// Rows is how many rows the sheet has.
func (s Sheet) Rows() int {
	if len(s.Columns) == 0 {
		return 0
	}
	return len(s.Cells) / len(s.Columns)
}

// Row is the cells of the row at i, in the order of Columns.
func (s Sheet) Row(i int) []Cell {
	n := len(s.Columns)
	return s.Cells[i*n : (i+1)*n : (i+1)*n]
}
