package oracle

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	child       = "/child/"
	enclosed    = "/enclosure/FileContents"
	longestText = 255 // of a description, and here of a file's name
)

// shownOf is what is asked of an attachment.
const shownOf = "?fields=AttachedDocumentId,FileName,UploadedFileContentType&links=self"

// attachment is one that is there.
type attachment struct {
	connector.Document

	row map[string]any
}

// attached splits the path of a table of attachments: the resource that they belong to
// and the name of the child.
func (o *Oracle) attached(table string) (of, name string, err error) {
	t, err := o.config.Table(table)
	if err != nil {
		return "", "", err
	}
	of, name, ok := strings.Cut(t.Path, child)
	if !ok || (connector.Table{Name: "a path"}).Check(of, name) != nil {
		return "", "", fault.Invalidf("connector.path", "connection %s: table %s has no documents; those of Oracle are at RESOURCE/child/NAME, as itemsV2/child/ItemAttachment", o.config.Name, table)
	}
	return of, name, nil
}

// place finds the address of the attachments of a row.
func (o *Oracle) place(ctx context.Context, at connector.DocumentPlace) (string, error) {
	of, name, err := o.attached(at.Table)
	if err != nil {
		return "", err
	}
	if len(at.Parent) == 0 {
		return "", fault.Invalidf("connector.place", "a document is attached to a row of %s, which columns of it name", of)
	}
	r := &read{o: o, table: connector.Table{Name: of, Path: of}, limit: 2}
	for _, column := range connector.ColumnsOf([]connector.Row{at.Parent}) {
		r.query.Where = append(r.query.Where, connector.Match{Column: column, Value: at.Parent[column]})
		r.query.Select = append(r.query.Select, column)
	}
	got, err := r.fetch(ctx, 0, "links=self")
	switch {
	case err != nil:
		return "", err
	case len(got.items) == 0:
		return "", fault.New(fault.Rejected, System+".no_parent", o.config.Name+" has no row of "+of+" to attach the document to", nil)
	case len(got.items) > 1:
		return "", fault.New(fault.Rejected, System+".ambiguous", o.config.Name+" has several rows of "+of+" that the document could belong to; name the organization, too", nil)
	}
	self, err := o.self(got.items[0])
	return self + child + name, err
}

func (o *Oracle) attachment(row map[string]any) (attachment, error) {
	a := attachment{Document: connector.Document{Size: -1, Version: version(row)}, row: row}
	self, err := o.self(row)
	if err != nil {
		return a, err
	}
	_, below, ok := strings.Cut(self, o.root)
	if !ok {
		return a, o.transport.Malformed("an attachment has an address that is none of its resources")
	}
	a.ID = below
	a.Name, _ = row["FileName"].(string)
	a.Type, _ = row["UploadedFileContentType"].(string)
	return a, nil
}

// at reads an attachment by its ID, which is its address below the resources.
func (o *Oracle) at(ctx context.Context, ref connector.DocumentRef) (attachment, error) {
	of, name, err := o.attached(ref.Table)
	if err != nil {
		return attachment{}, err
	}
	if u, err := url.Parse(ref.ID); err != nil || u.Path != ref.ID || strings.Contains(ref.ID, "..") || !strings.HasPrefix(ref.ID, of+"/") || !strings.Contains(ref.ID, child+name+"/") {
		return attachment{}, fault.Invalidf("connector.document", "this is no ID of an attachment of connection %s", o.config.Name)
	}
	var row map[string]any
	if _, err := o.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: o.root + ref.ID + shownOf}, &row); err != nil {
		return attachment{}, err
	}
	a, err := o.attachment(row)
	if err == nil && ref.Version != "" && ref.Version != a.Version {
		err = o.replaced()
	}
	return a, err
}

func (o *Oracle) replaced() error {
	return fault.New(fault.Conflict, "connector.changed", o.config.Name+" has another version of the document than the one asked for", nil)
}

// Stat implements connector.DocumentReader. Oracle does not say how large it is.
func (o *Oracle) Stat(ctx context.Context, ref connector.DocumentRef) (connector.Document, error) {
	a, err := o.at(ctx, ref)
	return a.Document, err
}

// Open implements connector.DocumentReader. Oracle knows no ranges: what lies before the
// offset is read and thrown away.
func (o *Oracle) Open(ctx context.Context, ref connector.DocumentRef, from int64) (connector.OpenDocument, error) {
	a, err := o.at(ctx, ref)
	if err != nil {
		return connector.OpenDocument{}, err
	}
	if from < 0 {
		return connector.OpenDocument{}, fault.Invalidf("connector.offset", "a document is read from 0 on, not from %d", from)
	}
	ref.Version = a.Version
	return connector.OpenDocument{Document: a.Document, Body: &connector.Continued{Name: o.config.Name, At: from, Size: -1,
		Begin: func(from int64) (io.ReadCloser, error) {
			_, body, err := o.transport.Stream(ctx, connector.Request{Method: http.MethodGet, Target: o.root + ref.ID + enclosed, Header: http.Header{"Accept": {"*/*"}}})
			if err != nil {
				return nil, err
			}
			return connector.Skipped(body, from)
		},
		End: func() error {
			_, err := o.at(ctx, ref)
			if fault.Is(err, fault.NotFound) {
				return o.replaced()
			}
			return err
		}}}, nil
}

// stored are the attachments of the name of a write: the one with its content, and the
// others; and where they are.
func (o *Oracle) stored(ctx context.Context, w connector.DocumentWrite) (at string, same *attachment, others []attachment, err error) {
	switch {
	case w.Content.Size < 0 || w.Content.Open == nil:
		return "", nil, nil, fault.Invalidf("connector.content", "the size of the document is not known")
	case w.Place.Name == "" || utf8.RuneCountInString(w.Place.Name) > longestText || strings.ContainsAny(w.Place.Name, "/\\\x00\r\n"):
		return "", nil, nil, fault.Invalidf("connector.document_name", "the name of an attachment has 1 to %d characters, and neither slashes nor line ends", longestText)
	}
	if at, err = o.place(ctx, w.Place); err != nil {
		return "", nil, nil, err
	}
	name, _ := connector.Literal(w.Place.Name)
	got, err := o.collection(ctx, at+shownOf+"&limit=499&offset=0&q="+connector.EscapeQuery("FileName="+name), 0)
	if err != nil {
		return "", nil, nil, err
	}
	for _, row := range got.items {
		a, err := o.attachment(row)
		if err != nil {
			return "", nil, nil, err
		}
		equal := false
		if same == nil {
			if equal, err = connector.SameContent(ctx, o, connector.DocumentRef{Table: w.Place.Table, ID: a.ID}, a.Size, w.Content); err != nil {
				return "", nil, nil, err
			}
		}
		if equal {
			same = &a
		} else {
			others = append(others, a)
		}
	}
	return at, same, others, nil
}

// Store implements connector.DocumentWriter. Attachments have no key: those of the name are
// looked at first. The reference is their description, where Values has no other.
func (o *Oracle) Store(ctx context.Context, w connector.DocumentWrite) (connector.StoredDocument, error) {
	at, same, others, err := o.stored(ctx, w)
	switch {
	case err != nil:
		return connector.StoredDocument{}, err
	case same != nil:
		return connector.StoredDocument{Document: same.Document, Unchanged: true}, nil
	case w.New && len(others) > 0:
		return connector.StoredDocument{}, fault.New(fault.Conflict, "connector.exists", o.config.Name+" has another attachment of this name at the row, and it may not be replaced", nil)
	}
	r := connector.Request{Method: http.MethodPost, Target: at, Write: true, Held: w.Held, Header: http.Header{"Content-Type": {"application/json"}}}
	if w.Version != "" || len(others) > 0 {
		i := slices.IndexFunc(others, func(a attachment) bool { return w.Version == "" || a.Version == w.Version })
		if i < 0 {
			return connector.StoredDocument{}, o.replaced()
		}
		r.Method, r.Target = http.MethodPatch, o.root+others[i].ID
		if others[i].Version != "" {
			r.Header.Set("If-Match", `"`+others[i].Version+`"`)
		}
	}
	content, err := inJSON(w)
	if err != nil {
		return connector.StoredDocument{}, err
	}
	r.Content = &content
	var row map[string]any
	if _, err := o.transport.Do(ctx, r, &row); err != nil {
		if fault.Of(err).Code == System+".precondition" {
			err = fault.New(fault.Conflict, "connector.changed", o.replaced().Error(), err)
		}
		return connector.StoredDocument{}, err
	}
	a, err := o.attachment(row)
	if err != nil {
		return connector.StoredDocument{}, fault.New(fault.InDoubt, "vendor.malformed", "the answer of "+o.config.Name+" does not say what was stored; it may be there", err)
	}
	return connector.StoredDocument{Document: a.Document}, nil
}

// Stored implements connector.DocumentWriter.
func (o *Oracle) Stored(ctx context.Context, w connector.DocumentWrite) (*connector.Document, error) {
	_, same, _, err := o.stored(ctx, w)
	if err != nil || same == nil {
		return nil, err
	}
	return &same.Document, nil
}

// Remove implements connector.DocumentRemover.
func (o *Oracle) Remove(ctx context.Context, w connector.DocumentWrite) error {
	_, same, _, err := o.stored(ctx, w)
	if err != nil || same == nil {
		return err
	}
	_, err = o.transport.Do(ctx, connector.Request{Method: http.MethodDelete, Target: o.root + same.ID, Write: true, Held: w.Held}, nil)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// inJSON is the payload of an attachment, whose bytes become base64 while they are sent.
func inJSON(w connector.DocumentWrite) (connector.Content, error) {
	kind := w.Content.Type
	if kind == "" {
		kind = "application/octet-stream"
	}
	values := map[string]any{"DatatypeCode": "FILE", "FileName": w.Place.Name, "Title": w.Place.Name, "CategoryName": "MISC", "UploadedFileContentType": kind}
	if w.Reference != "" && utf8.RuneCountInString(w.Reference) <= longestText {
		values["Description"] = w.Reference
	}
	for column, v := range w.Values {
		values[column] = v
	}
	head, err := json.Marshal(values)
	if err != nil {
		return connector.Content{}, fault.Invalidf("connector.value", "a value of the document is none that JSON can carry")
	}
	return base64Of(w.Content.Verified()).Framed(append(head[:len(head)-1], `,"FileContents":"`...), []byte(`"}`)), nil
}

// base64Of is a content as base64, made while it is read.
func base64Of(c connector.Content) connector.Content {
	return connector.Content{Size: (c.Size + 2) / 3 * 4, Open: func(ctx context.Context, from int64) (io.ReadCloser, error) {
		body, err := c.Open(ctx, from)
		if err != nil {
			return nil, err
		}
		return &encoding{body: body}, nil
	}}
}

type encoding struct {
	body  io.ReadCloser
	ready []byte // to be given
	ended bool
	raw   [48 << 10]byte // whole groups of three
}

func (e *encoding) Read(p []byte) (int, error) {
	for len(e.ready) == 0 {
		if e.ended {
			return 0, io.EOF
		}
		n, err := io.ReadFull(e.body, e.raw[:])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		e.ended = err != nil
		e.ready = base64.StdEncoding.AppendEncode(e.ready[:0], e.raw[:n])
	}
	n := copy(p, e.ready)
	e.ready = e.ready[n:]
	return n, nil
}

func (e *encoding) Close() error { return e.body.Close() }
