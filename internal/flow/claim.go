package flow

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Claim is a claim check: what a value of type Document is. The bytes are in the
// database, known by their checksum; in histories, events and rows there is only this.
type Claim struct {
	Name   string `json:"name"` // of the file, with its ending; see SafeName
	Type   string `json:"type"` // media type; empty: not known
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// FileName is the column of a table of documents that has their names.
const FileName = "name"

const (
	// MostDocument is the largest document that a flow carries, in bytes.
	MostDocument = 250 << 20
	// longestFile is the most characters of a file's name.
	longestFile = 255
)

// The codes of the faults about documents.
const (
	DocumentUnknownCode = "document.unknown"   // no such bytes are kept
	DocumentLargeCode   = "document.too_large" // more than MostDocument
	DocumentNameCode    = "document.name"      // the name is none of a file
	DocumentChangedCode = "document.changed"   // it changed while it was read
)

var checksum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Row is the claim as a value of a row.
func (c Claim) Row() Row {
	return Row{"name": c.Name, "type": c.Type, "size": c.Size, "sha256": c.SHA256}
}

// ClaimOf reads a value of type Document; false when it is none. What it says of the
// bytes may be wrong: who keeps them knows.
func ClaimOf(v any) (c Claim, is bool) {
	row, is := v.(map[string]any)
	if !is || len(row) > 4 {
		return c, false
	}
	var named, summed, sized bool
	c.Name, named = row["name"].(string)
	c.SHA256, summed = row["sha256"].(string)
	c.Type, _ = row["type"].(string)
	switch n := row["size"].(type) {
	case int64:
		c.Size, sized = n, true
	case json.Number:
		size, err := n.Int64()
		c.Size, sized = size, err == nil
	}
	return c, named && summed && sized && c.Size >= 0 && checksum.MatchString(c.SHA256)
}

// Claims gives the checksums of all documents in a value, each once.
func Claims(values ...any) (sums []string) {
	seen := map[string]bool{}
	var look func(v any)
	look = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				look(one)
			}
		case map[string]any:
			if c, is := ClaimOf(v); is {
				if !seen[c.SHA256] {
					sums = append(sums, c.SHA256)
				}
				seen[c.SHA256] = true
				return
			}
			for _, one := range v {
				look(one)
			}
		}
	}
	for _, v := range values {
		look(v)
	}
	return sums
}

// SafeName reports whether a text may be the name of a file wherever it goes: no path,
// and nothing that cannot be seen or turns what follows around.
func SafeName(name string) bool {
	return name != "" && name != "." && name != ".." && utf8.ValidString(name) && utf8.RuneCountInString(name) <= longestFile &&
		!strings.ContainsAny(name, `/\`) && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs)
	})
}
