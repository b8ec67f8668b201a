package flow

// Sheet is rows without a map a row, where there are millions: Cells holds them one
// after the other, each in the order of Columns. A cell is the value as JSON text,
// exactly as precise as it was given; nil is absent, the text null is null. The
// connectors' own sheet has the same fields, so that each converts to the other.
type Sheet struct {
	Columns []string
	Cells   [][]byte
	Next    string // opaque: where the next page of a read begins; empty: this was the last
	Bytes   int64  // that were read for it
}

// Rows is how many rows the sheet has.
func (s Sheet) Rows() int {
	if len(s.Columns) == 0 {
		return 0
	}
	return len(s.Cells) / len(s.Columns)
}

// Row is the cells of the row at i.
func (s Sheet) Row(i int) [][]byte {
	n := len(s.Columns)
	return s.Cells[i*n : (i+1)*n : (i+1)*n]
}
