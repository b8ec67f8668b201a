package oracle

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"patchbay/internal/sandbox/content"
	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

const (
	blobColumn   = "content_blob" // name of the bytes of an attachment that came by itself
	digestColumn = "content_sha256"
	// mostBeside is how much may stand beside the bytes of an attachment.
	mostBeside = 1 << 20
)

var chunks = content.New("oracle")

// encoded is where the base64 of a payload stands in the body of its call.
type encoded struct {
	of       *exchange.Upload
	from, to int64
}

// Receives says that the payload of an attachment is too large to hold.
func (s *System) Receives(c *exchange.Call) bool {
	return (c.Method == http.MethodPost || c.Method == http.MethodPatch) && strings.Contains(c.Path, "/child/"+attachments.Name)
}

// split reads a payload without its FileContents: what remains, and where they are; nil
// where there are none.
func split(u *exchange.Upload) (rest []byte, found *encoded, err error) {
	r := bufio.NewReaderSize(u.Open(0, u.Size), 256<<10)
	var out, word bytes.Buffer
	key, depth := "", 0
	inside, escaped, skips := false, false, false
	for at := int64(0); ; at++ {
		b, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), found, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading a payload: %w", err)
		}
		if skips && b != '"' {
			continue
		}
		if out.WriteByte(b); out.Len() > mostBeside {
			return nil, nil, invalid("", "", "The request payload is too large.")
		}
		switch {
		case skips:
			found.to, skips = at, false
		case inside && escaped:
			escaped = false
		case inside && b == '\\':
			escaped = true
		case inside && b == '"':
			inside = false
		case inside:
			word.WriteByte(b)
		case b == '"' && depth == 1 && key == attachments.Enclosure:
			found, skips = &encoded{of: u, from: at + 1}, true
		case b == '"':
			inside = true
			word.Reset()
		case b == '{' || b == '[':
			depth++
		case b == '}' || b == ']':
			depth--
		case b == ':' && depth == 1:
			key = word.String()
		case b == ',' && depth == 1:
			key = ""
		}
	}
}

// unslashed leaves out the backslashes that some writers of JSON put before a slash.
type unslashed struct{ io.Reader }

func (u unslashed) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	kept := 0
	for _, b := range p[:n] {
		if b != '\\' {
			p[kept] = b
			kept++
		}
	}
	return kept, err
}

// enclose keeps the bytes of an attachment that came as encoded.
func (s *System) enclose(ctx context.Context, tx storage.Tx, res *resource, row storage.Row, old any) error {
	from, came := row[attachments.Enclosure].(*encoded)
	if res != attachments || !came {
		return nil
	}
	if blob, _ := old.(string); blob != "" {
		if err := chunks.Forget(ctx, tx, blob); err != nil {
			return err
		}
	}
	blob := fmt.Sprintf("%v", row[versionColumn])
	size, sum, err := chunks.Copy(ctx, tx, blob, base64.NewDecoder(base64.StdEncoding, unslashed{from.of.Open(from.from, from.to)}))
	if bad := base64.CorruptInputError(0); errors.As(err, &bad) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("25009", "/"+attachments.Enclosure, "The value of %s is not valid.", attachments.Enclosure)
	}
	row[attachments.Enclosure], row[blobColumn], row[digestColumn], row["UploadedFileLength"] = nil, blob, sum, size
	return err
}

// Document is an attachment, for whoever judges what was sent.
type Document struct {
	Object    string `json:"object"` // number of the item
	Name      string `json:"name"`
	Reference string `json:"reference"` // its description
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`
}

// Documents are the attachments of all items that came by themselves, oldest first.
func Documents(ctx context.Context, store storage.Store) ([]Document, error) {
	list := []Document{}
	err := store.Read(ctx, func(tx storage.Tx) error {
		rows, err := tx.Find(ctx, attachments.Table, storage.Query{Omit: heavy(attachments), Where: storage.Not{X: storage.Null{Column: blobColumn}}})
		if err != nil {
			return fmt.Errorf("reading attachments: %w", err)
		}
		for _, row := range rows {
			item, err := storage.First(ctx, tx, items.Table, items.Table.Key(row), false)
			if err != nil {
				return fmt.Errorf("reading an item: %w", err)
			}
			var d Document
			d.Object, _ = item["ItemNumber"].(string)
			d.Name, _ = row["FileName"].(string)
			d.Reference, _ = row["Description"].(string)
			d.SHA256, _ = row[digestColumn].(string)
			d.Size, _ = row["UploadedFileLength"].(int64)
			list = append(list, d)
		}
		return nil
	})
	return list, err
}
