package ibm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	contents "patchbay/internal/sandbox/content"
	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

const (
	blobColumn   = "content_blob" // name of the bytes of a document that a caller made
	digestColumn = "content_sha256"
	// mostQuery is how large a query beside a file may be.
	mostQuery = 1 << 20
)

var chunks = contents.New("ibm")

type (
	// query is one request to the API.
	query struct {
		Query         string         `json:"query"`
		OperationName string         `json:"operationName"`
		Variables     map[string]any `json:"variables"`
	}

	// uploaded is a file that came with a query, under the name that its variable has.
	uploaded struct {
		name, kind, sum string
		size            int64
		used            bool
	}
)

// Receives says that a query with files is too large to hold.
func (s *System) Receives(c *exchange.Call) bool {
	return c.Method == http.MethodPost && c.Path == root+"/graphql" && strings.HasPrefix(c.Header.Get("Content-Type"), "multipart/")
}

// errForm is a body that is no query with files.
var errForm = errors.New("not a form with a query and its files")

// form reads a query with files: one part graphql, or operations and map, and then a part
// a file. The variable of a file becomes the name of its content.
func (r *request) form(ctx context.Context) (query, error) {
	var q query
	_, params, err := mime.ParseMediaType(r.call.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" || r.call.Upload == nil {
		return q, errForm
	}
	variables := map[string]string{} // by part
	parts := multipart.NewReader(r.call.Upload.Open(0, r.call.Upload.Size), params["boundary"])
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return q, nil
		}
		if err != nil {
			return q, errForm
		}
		switch name := p.FormName(); {
		case name == "graphql" || name == "operations":
			err = json.NewDecoder(io.LimitReader(p, mostQuery)).Decode(&q)
		case name == "map":
			var places map[string][]string
			if err = json.NewDecoder(io.LimitReader(p, mostQuery)).Decode(&places); err == nil {
				for part, of := range places {
					variables[part] = strings.TrimPrefix(strings.Join(of, ""), "variables.")
				}
			}
		default:
			if to := variables[name]; to != "" {
				name = to
			}
			if _, declared := q.Variables[name]; !declared {
				return q, errForm
			}
			q.Variables[name], err = r.take(ctx, p)
			if err != nil {
				return q, err
			}
		}
		if err != nil {
			return q, errForm
		}
	}
}

// take keeps one file and gives its name.
func (r *request) take(ctx context.Context, p *multipart.Part) (string, error) {
	n, err := storage.Version(ctx, r.tx)
	if err != nil {
		return "", fmt.Errorf("drawing a number: %w", err)
	}
	blob := fmt.Sprintf("upload-%d", n)
	u := &uploaded{name: p.FileName(), kind: p.Header.Get("Content-Type")}
	if u.size, u.sum, err = chunks.Copy(ctx, r.tx, blob, p); err != nil {
		return "", err
	}
	r.files[blob] = u
	return blob, nil
}

// clear gives up the files that no document took.
func (r *request) clear(ctx context.Context) error {
	for blob, u := range r.files {
		if !u.used {
			if err := chunks.Forget(ctx, r.tx, blob); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill has a document take the file that its properties name.
func (r *request) fill(in *documentProperties, row storage.Row) error {
	if in == nil || in.Content == nil {
		return nil
	}
	u := r.files[*in.Content]
	if u == nil || u.used {
		return refused("The content of the document is no file of the request.")
	}
	u.used = true
	row[blobColumn], row[digestColumn], row[retrieval] = *in.Content, u.sum, u.name
	row["ContentSize"] = json.Number(fmt.Sprint(u.size))
	if row["MimeType"] == nil {
		row["MimeType"] = u.kind
	}
	return nil
}

// unfill gives back the file of a document that is not made.
func (r *request) unfill(row storage.Row) {
	blob, _ := row[blobColumn].(string)
	if u := r.files[blob]; u != nil {
		u.used = false
	}
}

// Document is one that a caller made with content, for whoever judges what was sent.
type Document struct {
	Object string `json:"object"` // its class
	ID     string `json:"id"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Documents are the documents that callers made with content.
func Documents(ctx context.Context, store storage.Store) ([]Document, error) {
	list := []Document{}
	err := store.Read(ctx, func(tx storage.Tx) error {
		rows, err := tx.Find(ctx, documents, storage.Query{Omit: []string{content}, Where: storage.Not{X: storage.Null{Column: blobColumn}}})
		if err != nil {
			return fmt.Errorf("reading documents: %w", err)
		}
		text := func(row storage.Row, name string) string { s, _ := row[name].(string); return s }
		for _, row := range rows {
			list = append(list, Document{text(row, className), text(row, "Id"), text(row, "DocumentTitle"), text(row, digestColumn)})
		}
		return nil
	})
	return list, err
}
