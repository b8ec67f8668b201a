package residency

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Of a record in the write-ahead log: its header, and the marks of what follows.
const (
	recordHeader = 24
	mostBlock    = 32  // IDs of blocks go up to this
	topXact      = 252 // with a transaction
	origin       = 253
	hasImage     = 0x10
	sameRelation = 0x80
	continued    = 1 // flags of a page: it begins with the rest of a record
)

// WriteAhead scans what the write-ahead log of a server says of one of its databases, by
// the OID; records of others are left out, because they are another region's. It fails
// when the log says nothing of it.
func (s *Scanner) WriteAhead(data string, database uint32) error {
	files, err := filepath.Glob(filepath.Join(data, "pg_wal", "????????????????????????"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	var records []byte
	for at := 0; at < len(files); {
		var part []byte
		last := ""
		for at < len(files) && (last == "" || follows(last, files[at])) {
			b, err := os.ReadFile(files[at])
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			part, last = append(part, b...), files[at]
			at++
		}
		records = append(records, recordsOf(part, database)...)
	}
	if len(records) == 0 {
		return fmt.Errorf("the write-ahead log in %s says nothing of database %d", data, database)
	}
	src := &source{name: fmt.Sprintf("%s/pg_wal, database %d", data, database), tries: blockTries, postgres: true}
	s.scan(src, records, 0, len(records))
	s.scanned(src.name, int64(len(records)))
	return nil
}

// follows reports whether one segment comes right after another, by their names.
func follows(a, b string) bool {
	var x, y [3]uint32
	for i, name := range []string{filepath.Base(a), filepath.Base(b)} {
		to := &x
		if i == 1 {
			to = &y
		}
		if _, err := fmt.Sscanf(name, "%8X%8X%8X", &to[0], &to[1], &to[2]); err != nil {
			return false
		}
	}
	return x[0] == y[0] && (x[1] == y[1] && x[2]+1 == y[2] || x[1]+1 == y[1] && y[2] == 0)
}

// recordsOf gives the records that concern a database, from segments that follow each
// other. A segment that is only prepared for what comes holds old records, of another
// place in the log than they stand at: it ends there.
func recordsOf(b []byte, database uint32) (out []byte) {
	if len(b) < logLong {
		return nil
	}
	start := 0
	if binary.LittleEndian.Uint16(b[2:])&continued != 0 {
		start = int(binary.LittleEndian.Uint32(b[16:])+7) &^ 7
	}
	address := binary.LittleEndian.Uint64(b[8:]) // of the first page
	log := logRecords(pagesOf(b, address))
	for at := start; at+recordHeader <= len(log); {
		size := int(binary.LittleEndian.Uint32(log[at:]))
		if size < recordHeader || at+size > len(log) {
			break
		}
		if record := log[at : at+size]; concerns(record, database) {
			out = append(out, record...)
		}
		at = (at + size + 7) &^ 7
	}
	return out
}

// pagesOf gives the pages that stand where they say.
func pagesOf(b []byte, address uint64) []byte {
	for at := 0; at+logPage <= len(b); at += logPage {
		if binary.LittleEndian.Uint64(b[at+8:]) != address+uint64(at) {
			return b[:at]
		}
	}
	return b
}

// concerns reports whether a record is of a database: by the first relation it names.
func concerns(record []byte, database uint32) bool {
	for at := recordHeader; at < len(record); {
		switch id := record[at]; {
		case id <= mostBlock:
			if at+4 > len(record) {
				return false
			}
			flags := record[at+1]
			at += 4
			if flags&hasImage != 0 {
				if at+5 > len(record) {
					return false
				}
				hole, compressed := record[at+4]&1 != 0, record[at+4]&0x1c != 0
				if at += 5; hole && compressed {
					at += 2
				}
			}
			if flags&sameRelation == 0 {
				return at+12 <= len(record) && binary.LittleEndian.Uint32(record[at+4:]) == database
			}
			at += 4
		case id == origin:
			at += 3
		case id == topXact:
			at += 5
		default: // the record's own data follows
			return false
		}
	}
	return false
}
