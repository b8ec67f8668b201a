package ibm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	folderColumn = "folder"
	longestTitle = 255
	boundary     = "patchbay-document-7d1f6c0e"
)

// shown are the columns that say what a document is.
var shown = []string{"name", "mimeType", "contentSize", "dateLastModified", "updateSequenceNumber"}

// upload is one document on its way, under the ID that its writer gives it.
type upload struct {
	i      *IBM
	w      connector.DocumentWrite
	class  string
	folder string
	id     string
}

// upload checks a write and gives the document its ID: a repetition has the same, and the
// server takes no second document of one ID.
func (i *IBM) upload(ctx context.Context, w connector.DocumentWrite) (*upload, error) {
	r, err := i.newRead(w.Place.Table, shown, 1)
	if err != nil {
		return nil, err
	}
	u := &upload{i: i, w: w, class: r.table.Path}
	for column, v := range w.Place.Parent {
		text, is := v.(string)
		if column != folderColumn || !is || !strings.HasPrefix(text, "/") {
			return nil, fault.Invalidf("connector.place", "a document is filed in a folder, by its path in column %s; %q is none", folderColumn, column)
		}
		u.folder = text
	}
	switch {
	case w.Content.Size < 0 || w.Content.Open == nil:
		return nil, fault.Invalidf("connector.content", "the size of the document is not known")
	case w.Place.Name == "" || utf8.RuneCountInString(w.Place.Name) > longestTitle || strings.ContainsAny(w.Place.Name, "/\\\x00\r\n"):
		return nil, fault.Invalidf("connector.document_name", "the name of a document has 1 to %d characters, and neither slashes nor line ends", longestTitle)
	case w.Version != "":
		return nil, fault.Invalidf("connector.version", "connection %s makes documents and replaces none", i.config.Name)
	}
	mark := cmp.Or(w.Reference, w.Content.SHA256)
	if mark == "" {
		if mark, err = sumOf(ctx, w.Content); err != nil {
			return nil, err
		}
	}
	u.id = named(i.repository, u.class, u.folder, w.Place.Name, mark)
	return u, nil
}

func sumOf(ctx context.Context, c connector.Content) (string, error) {
	body, err := c.Open(ctx, 0)
	if err != nil {
		return "", err
	}
	defer body.Close()
	sum := sha256.New()
	if _, err := io.CopyBuffer(sum, body, make([]byte, 64<<10)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// named is the GUID (version 8 of RFC 9562) that follows from what a document is.
func named(parts ...string) string {
	sum := sha256.Sum256([]byte("patchbay document\x00" + strings.Join(parts, "\x00")))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("{%X-%X-%X-%X-%X}", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// find reads what a document is; nil: there is none.
func (i *IBM) find(ctx context.Context, table, id string) (*connector.Document, error) {
	rows, err := i.ReadByKey(ctx, table, []string{"id"}, []connector.Row{{"id": id}}, shown)
	if err != nil || rows[0] == nil {
		return nil, err
	}
	row := rows[0]
	d := &connector.Document{ID: id, Size: -1}
	d.Name, _ = row["name"].(string)
	d.Type, _ = row["mimeType"].(string)
	d.Version = fmt.Sprint(row["updateSequenceNumber"])
	if n, is := row["contentSize"].(json.Number); is {
		if size, err := n.Float64(); err == nil {
			d.Size = int64(size)
		}
	}
	if text, is := row["dateLastModified"].(string); is {
		d.At, _ = time.Parse(time.RFC3339Nano, text)
	}
	return d, nil
}

// Stat implements connector.DocumentReader.
func (i *IBM) Stat(ctx context.Context, ref connector.DocumentRef) (connector.Document, error) {
	d, err := i.find(ctx, ref.Table, ref.ID)
	switch {
	case err != nil:
		return connector.Document{}, err
	case d == nil:
		return connector.Document{}, fault.New(fault.NotFound, System+".no_document", i.config.Name+" has no such document", nil)
	case ref.Version != "" && ref.Version != d.Version:
		return connector.Document{}, fault.New(fault.Conflict, "connector.changed", i.config.Name+" has another version of the document than the one asked for", nil)
	}
	return *d, nil
}

// Open implements connector.DocumentReader. What lies before the offset is read and thrown
// away: whether the server knows ranges is not documented.
func (i *IBM) Open(ctx context.Context, ref connector.DocumentRef, from int64) (connector.OpenDocument, error) {
	d, err := i.Stat(ctx, ref)
	if err != nil {
		return connector.OpenDocument{}, err
	}
	if from < 0 || d.Size >= 0 && from > d.Size {
		return connector.OpenDocument{}, fault.Invalidf("connector.offset", "a document is read from 0 to its end, not from %d", from)
	}
	ref.Version = d.Version
	target := strings.TrimSuffix(i.endpoint, "/graphql") + "/content?repositoryIdentifier=" + connector.EscapeQuery(i.repository) + "&documentId=" + connector.EscapeQuery(ref.ID) + "&elementSequenceNumber=0"
	return connector.OpenDocument{Document: d, Body: &connector.Continued{Name: i.config.Name, At: from, Size: d.Size,
		Begin: func(from int64) (io.ReadCloser, error) {
			_, body, err := i.transport.Stream(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: http.Header{"Accept": {"*/*"}}})
			if err != nil {
				return nil, err
			}
			return connector.Skipped(body, from)
		},
		End: func() error { _, err := i.Stat(ctx, ref); return err }}}, nil
}

// there gives the document of a write, where it is there with its content.
func (u *upload) there(ctx context.Context) (*connector.Document, error) {
	d, err := u.i.find(ctx, u.w.Place.Table, u.id)
	if err != nil || d == nil {
		return nil, err
	}
	equal, err := connector.SameContent(ctx, u.i, connector.DocumentRef{Table: u.w.Place.Table, ID: u.id}, d.Size, u.w.Content)
	if err == nil && !equal {
		err = fault.New(fault.Conflict, "connector.exists", u.i.config.Name+" has another content under the ID of this document, and it may not be replaced", nil)
	}
	return d, err
}

// Store implements connector.DocumentWriter. It makes a document of the table's class, with
// the properties of Values, under an ID that follows from the reference: what has it
// already is left as it is.
func (i *IBM) Store(ctx context.Context, w connector.DocumentWrite) (connector.StoredDocument, error) {
	u, err := i.upload(ctx, w)
	if err != nil {
		return connector.StoredDocument{}, err
	}
	d, err := u.there(ctx)
	if err != nil || d != nil {
		return stored(d, true), err
	}
	err = u.create(ctx)
	if fault.Is(err, fault.Conflict) && fault.Of(err).Code == System+".conflict" { // another came in between
		if d, err = u.there(ctx); err == nil && d == nil {
			err = fault.New(fault.Conflict, "connector.exists", i.config.Name+" does not take the document under its ID, and shows none", nil)
		}
		return stored(d, true), err
	}
	if err != nil {
		return connector.StoredDocument{}, err
	}
	if d, err = i.find(ctx, w.Place.Table, u.id); err != nil || d == nil {
		return connector.StoredDocument{}, fault.New(fault.InDoubt, System+".unseen", i.config.Name+" took the document and does not show it yet", err)
	}
	return stored(d, false), nil
}

func stored(d *connector.Document, unchanged bool) connector.StoredDocument {
	if d == nil {
		return connector.StoredDocument{}
	}
	return connector.StoredDocument{Document: *d, Unchanged: unchanged}
}

// create sends the document: the query first, so that the server can stream what follows.
func (u *upload) create(ctx context.Context) error {
	kind := cmp.Or(u.w.Content.Type, "application/octet-stream")
	properties := make([]map[string]any, 0, len(u.w.Values))
	for _, name := range connector.ColumnsOf([]connector.Row{u.w.Values}) {
		properties = append(properties, map[string]any{name: u.w.Values[name]})
	}
	variables := map[string]any{"repository": u.i.repository, "class": u.class, "id": u.id, "name": u.w.Place.Name, "type": kind, "properties": properties, "f": nil}
	declared, filed := "", ""
	if u.folder != "" {
		variables["folder"] = u.folder
		declared, filed = ",$folder:String", ",fileInFolderIdentifier:$folder"
	}
	query := "mutation($repository:String!,$class:String,$id:ID,$name:String,$type:String,$properties:[PropertyIdentifierAndScalarValue!],$f:String" + declared + "){" +
		"createDocument(repositoryIdentifier:$repository,classIdentifier:$class,id:$id" + filed +
		",documentProperties:{name:$name,mimeType:$type,properties:$properties,content:$f},checkinAction:{}){id}}"
	text, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return fault.Invalidf("connector.value", "a value of the document is none that JSON can carry")
	}
	name := strings.NewReplacer(`"`, "%22", "\r", "", "\n", "").Replace(u.w.Place.Name)
	head := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"graphql\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + string(text) +
		"\r\n--" + boundary + "\r\nContent-Disposition: form-data; name=\"f\"; filename=\"" + name + "\"\r\nContent-Type: " + kind + "\r\n\r\n"
	content := u.w.Content.Verified().Framed([]byte(head), []byte("\r\n--"+boundary+"--\r\n"))
	return u.i.change(ctx, connector.Request{Header: http.Header{"Content-Type": {"multipart/form-data; boundary=" + boundary}}, Content: &content, Held: u.w.Held}, "createDocument")
}

// change sends a mutation.
func (i *IBM) change(ctx context.Context, r connector.Request, field string) error {
	r.Method, r.Target, r.Collection, r.Write = http.MethodPost, i.endpoint, true, true
	var answer map[string]any
	if _, err := i.transport.Do(ctx, r, &answer); err != nil {
		return err
	}
	data, _ := answer["data"].(map[string]any)
	if data[field] == nil {
		return fault.New(fault.InDoubt, "vendor.malformed", "the answer of "+i.config.Name+" does not say what was done; it may be", nil)
	}
	return nil
}

// Once implements connector.DocumentOnce: an ID has one document.
func (*IBM) Once() {}

// Stored implements connector.DocumentWriter.
func (i *IBM) Stored(ctx context.Context, w connector.DocumentWrite) (*connector.Document, error) {
	u, err := i.upload(ctx, w)
	if err != nil {
		return nil, err
	}
	d, err := u.there(ctx)
	if fault.Is(err, fault.Conflict) {
		return nil, nil
	}
	return d, err
}

// Remove implements connector.DocumentRemover.
func (i *IBM) Remove(ctx context.Context, w connector.DocumentWrite) error {
	u, err := i.upload(ctx, w)
	if err != nil {
		return err
	}
	d, err := u.there(ctx)
	if d == nil || fault.Is(err, fault.Conflict) && fault.Of(err).Code == "connector.exists" {
		return nil // another content stays
	}
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"query": "mutation($repository:String!,$id:String!){deleteDocument(repositoryIdentifier:$repository,identifier:$id){id}}",
		"variables": map[string]any{"repository": i.repository, "id": u.id}})
	if err != nil {
		return fault.New(fault.Bug, "bug.query", "a query cannot be written", err)
	}
	return i.change(ctx, connector.Request{Body: body, Held: w.Held}, "deleteDocument")
}
