package join

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// separator stands between the cells of a packed row. JSON text never holds it; an
// absent cell is empty.
const separator = 0x1f

type (
	// Packer checks the rows of one source and packs them: it finds each row's key and
	// identity and joins its cells to one text. It is used by one goroutine.
	Packer struct {
		source   flow.Source
		keyer    *expr.Keyer
		identity []int // places in Select
		mark     int   // place of the watermark, -1: none
		page     Packed
		cells    [][]byte
		key      []byte
		ident    []byte
		packed   []byte
	}

	// Row is a packed row; what it points into stays as it is until the next one.
	Row struct {
		Key   []byte
		Ident []byte // the cells of the identity
		Hash  int64  // of Ident
		N     int64  // the order in which rows were read
		Cells []byte // of the source's Select
	}

	// Packed is what was packed of one page.
	Packed struct {
		Sum    Sum    // of the rows that were staged
		Latest string // the latest watermark of all rows, as JSON; empty: none had one
	}

	// Sum is the sum of the digests of rows: equal sums are the same rows, whatever the
	// order they came in.
	Sum [2]uint64
)

// NewPacker makes the packer of one source of a flow.
func NewPacker(name string, s flow.Source) (*Packer, error) {
	keyer, err := expr.NewKeyer(name, s)
	if err != nil {
		return nil, fmt.Errorf("compiling the key of %s: %w", s.Name, err)
	}
	p := &Packer{source: s, keyer: keyer, mark: -1, cells: make([][]byte, len(s.Select))}
	for _, column := range s.Identity {
		at := slices.Index(s.Select, column)
		if at < 0 {
			return nil, fault.New(fault.Bug, "bug.plan", "an identity column of "+s.Name+" is not selected", nil)
		}
		p.identity = append(p.identity, at)
	}
	if s.Changed != nil {
		p.mark = slices.Index(s.Select, s.Changed.Column)
	}
	return p, nil
}

// Settled reports whether rows of one identity always have one key.
func (p *Packer) Settled() bool { return p.keyer.Within(p.source.Identity) }

// Lost are the selected columns that a sheet lacks, Gained those that nobody asked for.
func (p *Packer) Lost(columns []string) (lost, gained []string) {
	for _, c := range p.source.Select {
		if !slices.Contains(columns, c) {
			lost = append(lost, c)
		}
	}
	for _, c := range columns {
		if !slices.Contains(p.source.Select, c) {
			gained = append(gained, c)
		}
	}
	return lost, gained
}

// Pack gives each good row of a sheet to stage, the others, with their identity as far
// as it is known, to reject. n is the place of the first of them; page tells where the
// sheet stands, for rows without an identity.
func (p *Packer) Pack(sheet flow.Sheet, n int64, page string, stage func(Row), reject func(r flow.RejectedRow, ident []byte)) (Packed, error) {
	p.page = Packed{}
	if len(sheet.Columns) == 0 && len(sheet.Cells) > 0 || len(sheet.Columns) > 0 && len(sheet.Cells)%len(sheet.Columns) != 0 {
		return Packed{}, fault.New(fault.Unavailable, "vendor.truncated", "a page of "+p.source.Name+" ends within a row", nil)
	}
	at := make([]int, len(p.source.Select))
	for i, c := range p.source.Select {
		at[i] = slices.Index(sheet.Columns, c)
	}
	for i := range sheet.Rows() {
		cells := sheet.Row(i)
		for j, from := range at {
			p.cells[j] = nil
			if from >= 0 && len(cells[from]) > 0 {
				p.cells[j] = cells[from]
			}
		}
		if row, ok := p.row(page, i, reject); ok {
			row.N = n + int64(i)
			stage(row)
		}
	}
	return p.page, nil
}

// row packs the cells at hand.
func (p *Packer) row(page string, i int, reject func(flow.RejectedRow, []byte)) (Row, bool) {
	p.packed, p.ident, p.key = p.packed[:0], p.ident[:0], p.key[:0]
	code, column := "", ""
	for j, cell := range p.cells {
		if j > 0 {
			p.packed = append(p.packed, separator)
		}
		if cell == nil {
			continue
		}
		if c := unfit(p.typeOf(j), cell); c != "" && code == "" {
			code, column = c, p.source.Select[j]
		}
		p.packed = append(p.packed, cell...)
	}
	refuse := func(code, reason string) (Row, bool) {
		reject(flow.RejectedRow{Source: p.source.Name, Key: strings.ToValidUTF8(string(p.key), "\uFFFD"), Identity: p.label(page, i), Code: code, Reason: reason}, p.ident)
		return Row{}, false
	}
	nameless := ""
	for k, j := range p.identity {
		if c := p.cells[j]; c == nil || c[0] == 'n' {
			nameless, p.ident = p.source.Identity[k], p.ident[:0]
			break
		}
		if k > 0 {
			p.ident = append(p.ident, separator)
		}
		p.ident = append(p.ident, p.cells[j]...)
	}
	switch {
	case code != "":
		return refuse(code, column+" "+reasons[code])
	case nameless != "":
		return refuse(CodeIdentity, nameless+" "+reasons[CodeIdentity])
	}
	if p.mark >= 0 {
		p.page.Latest = Later(p.page.Latest, p.cells[p.mark])
	}
	var err error
	if p.key, err = p.keyer.Append(p.key, p.cells); err != nil {
		f := fault.Of(err)
		if f.Code == expr.CodeMissing || f.Code == expr.CodeType {
			return refuse(CodeKey, "the row has no key: "+f.Text)
		}
		return refuse(f.Code, f.Text)
	}
	p.page.Sum = p.page.Sum.Add(SumOfRow(p.key, p.packed))
	return Row{Key: p.key, Ident: p.ident, Hash: hashOf(p.ident), Cells: p.packed}, true
}

func (p *Packer) typeOf(j int) flow.Type {
	if j < len(p.source.Types) {
		return p.source.Types[j]
	}
	return flow.Any
}

// label is what a row is known by, for people.
func (p *Packer) label(page string, i int) string {
	var parts []string
	for _, j := range p.identity {
		c := p.cells[j]
		if c == nil || c[0] == 'n' {
			return fmt.Sprintf("%s, row %d", page, i+1)
		}
		parts = append(parts, Plain(c))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("%s, row %d", page, i+1)
	}
	return strings.Join(parts, ", ")
}

// Plain is a cell for people: a text without its quotes.
func Plain(cell []byte) string {
	s := strings.ToValidUTF8(string(cell), "\uFFFD")
	if text, err := strconv.Unquote(s); err == nil && s[0] == '"' {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.Trim(s, `"`)
}

// SumOfRow is the digest of one row.
func SumOfRow(key, cells []byte) Sum {
	var buffer [512]byte
	all := binary.AppendUvarint(buffer[:0], uint64(len(key)))
	all = append(append(all, key...), cells...)
	digest := sha256.Sum256(all)
	return Sum{binary.BigEndian.Uint64(digest[:]), binary.BigEndian.Uint64(digest[8:])}
}

// Add is the sum with that of other rows.
func (s Sum) Add(other Sum) Sum {
	low, carry := bits.Add64(s[1], other[1], 0)
	high, _ := bits.Add64(s[0], other[0], carry)
	return Sum{high, low}
}

// Sub is the sum without other rows.
func (s Sum) Sub(other Sum) Sum {
	low, borrow := bits.Sub64(s[1], other[1], 0)
	high, _ := bits.Sub64(s[0], other[0], borrow)
	return Sum{high, low}
}

// Bytes is the sum as it is stored.
func (s Sum) Bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s[0]), s[1])
}

// SumOf reads a stored sum; empty is that of no rows.
func SumOf(b []byte) (s Sum) {
	if len(b) == 16 {
		s = Sum{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	}
	return s
}

// hashOf is FNV-1a of an identity, by which it is found in an index of small entries.
func hashOf(ident []byte) int64 {
	h := uint64(14695981039346656037)
	for _, c := range ident {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return int64(h)
}
