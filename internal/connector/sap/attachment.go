package sap

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
)

const (
	attachmentSet = "AttachmentContentSet"
	kindColumn    = "BusinessObjectTypeName"
	objectColumn  = "LinkedSAPObjectKey"
	longestName   = 255
	objectDigits  = 10
)

// attachmentKey are the properties that address an attachment, in SAP's order.
var attachmentKey = []string{"DocumentInfoRecordDocType", "DocumentInfoRecordDocNumber", "DocumentInfoRecordDocVersion", "DocumentInfoRecordDocPart",
	"LogicalDocument", "ArchiveDocumentID", objectColumn, kindColumn}

type (
	// object is what attachments belong to.
	object struct{ root, kind, key string }

	// attachment is one that is there.
	attachment struct {
		connector.Document

		address string // below the root of the service
	}
)

// object finds the object of a place: LinkedSAPObjectKey and BusinessObjectTypeName, or
// SalesOrder alone. Numbers have ten digits there.
func (s *SAP) object(table string, parent connector.Row) (object, error) {
	root, err := s.attachmentRoot(table)
	if err != nil {
		return object{}, err
	}
	at := object{root: root}
	for column, v := range parent {
		text, is := scalar(v)
		switch {
		case !is || text == "":
			return at, fault.Invalidf("connector.place", "a document of table %s has a place without a value in %s", table, column)
		case column == kindColumn:
			at.kind = text
		case column == objectColumn:
			at.key = text
		case column == "SalesOrder":
			at.kind, at.key = "BUS2032", text
		default:
			return at, fault.Invalidf("connector.place", "a document is attached to an object, by %s and %s or by SalesOrder; %q is neither", kindColumn, objectColumn, column)
		}
	}
	if at.kind == "" || at.key == "" {
		return at, fault.Invalidf("connector.place", "a document is attached to an object, by %s and %s or by SalesOrder", kindColumn, objectColumn)
	}
	if strings.Trim(at.key, "0123456789") == "" && len(at.key) < objectDigits {
		at.key = strings.Repeat("0", objectDigits-len(at.key)) + at.key
	}
	return at, nil
}

// attachmentRoot is the service of a table of attachments.
func (s *SAP) attachmentRoot(table string) (string, error) {
	t, err := s.config.Table(table)
	if err != nil {
		return "", err
	}
	root, set, ok := s.place(t)
	if !ok || set != attachmentSet {
		return "", fault.Invalidf("connector.path", "connection %s: table %s has no documents; those of SAP are at API_CV_ATTACHMENT_SRV/%s", s.config.Name, table, attachmentSet)
	}
	return root, nil
}

// quoted is a text as a literal of an address.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// originals are the attachments of an object.
func (s *SAP) originals(ctx context.Context, at object) ([]attachment, error) {
	got, err := s.list(ctx, false, at.root+"/GetAllOriginals"+s.query(kindColumn+"="+connector.EscapeQuery(quoted(at.kind)), objectColumn+"="+connector.EscapeQuery(quoted(at.key))))
	if err != nil {
		return nil, err
	}
	all := make([]attachment, len(got.rows))
	for i, item := range got.rows {
		if all[i], err = s.attachment(item); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *SAP) attachment(item map[string]any) (attachment, error) {
	a := attachment{Document: connector.Document{Size: -1}}
	parts, values := make([]string, len(attachmentKey)), make([]string, len(attachmentKey))
	for i, name := range attachmentKey {
		value, is := item[name].(string)
		if !is {
			return a, s.transport.Malformed("an attachment has no " + name)
		}
		values[i], parts[i] = value, name+"="+pathEscape(quoted(value))
	}
	id, err := json.Marshal(values)
	if err != nil {
		return a, s.transport.Malformed("an attachment has a key that is none")
	}
	a.ID, a.Version = string(id), string(id) // an attachment never gets another content
	a.address = attachmentSet + "(" + strings.Join(parts, ",") + ")"
	a.Name, _ = item["FileName"].(string)
	a.Type, _ = item["MimeType"].(string)
	if text, is := scalar(item["FileSize"]); is {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			a.Size = n
		}
	}
	if text, is := value(sheet.Timestamp, item["CreationDateTime"]).(string); is {
		a.At, _ = time.Parse(time.RFC3339Nano, text)
	}
	return a, nil
}

// at finds an attachment by its ID.
func (s *SAP) at(ctx context.Context, ref connector.DocumentRef) (attachment, string, error) {
	root, err := s.attachmentRoot(ref.Table)
	if err != nil {
		return attachment{}, "", err
	}
	var key []string
	if json.Unmarshal([]byte(ref.ID), &key) != nil || len(key) != len(attachmentKey) {
		return attachment{}, "", fault.Invalidf("connector.document", "this is no ID of an attachment of connection %s", s.config.Name)
	}
	all, err := s.originals(ctx, object{root, key[7], key[6]})
	if err != nil {
		return attachment{}, "", err
	}
	i := slices.IndexFunc(all, func(a attachment) bool { return a.ID == ref.ID })
	switch {
	case i < 0:
		return attachment{}, "", fault.New(fault.NotFound, System+".no_document", s.config.Name+" has no such attachment", nil)
	case ref.Version != "" && ref.Version != all[i].Version:
		return attachment{}, "", s.replaced()
	}
	return all[i], root, nil
}

func (s *SAP) replaced() error {
	return fault.New(fault.Conflict, "connector.changed", s.config.Name+" has another version of the document than the one asked for", nil)
}

// Stat implements connector.DocumentReader.
func (s *SAP) Stat(ctx context.Context, ref connector.DocumentRef) (connector.Document, error) {
	a, _, err := s.at(ctx, ref)
	return a.Document, err
}

// Open implements connector.DocumentReader. SAP knows no ranges: what lies before the
// offset is read and thrown away.
func (s *SAP) Open(ctx context.Context, ref connector.DocumentRef, from int64) (connector.OpenDocument, error) {
	a, root, err := s.at(ctx, ref)
	if err != nil {
		return connector.OpenDocument{}, err
	}
	if from < 0 || a.Size >= 0 && from > a.Size {
		return connector.OpenDocument{}, fault.Invalidf("connector.offset", "a document is read from 0 to its end, not from %d", from)
	}
	return connector.OpenDocument{Document: a.Document, Body: &connector.Continued{Name: s.config.Name, At: from, Size: a.Size,
		Begin: func(from int64) (io.ReadCloser, error) {
			_, body, err := s.transport.Stream(ctx, connector.Request{Method: http.MethodGet, Target: root + "/" + a.address + "/$value" + s.query(), Header: http.Header{"Accept": {"*/*"}}})
			if err != nil {
				return nil, err
			}
			return connector.Skipped(body, from)
		},
		End: func() error {
			_, _, err := s.at(ctx, ref)
			if fault.Is(err, fault.NotFound) {
				return s.replaced()
			}
			return err
		}}}, nil
}

// stored are the attachments of the name of a write: the one with its content, and the
// others.
func (s *SAP) stored(ctx context.Context, w connector.DocumentWrite) (at object, same *attachment, others []attachment, err error) {
	switch {
	case w.Content.Size < 0 || w.Content.Open == nil:
		return at, nil, nil, fault.Invalidf("connector.content", "the size of the document is not known")
	case len(w.Values) > 0:
		return at, nil, nil, fault.Invalidf("connector.values", "connection %s writes attachments, and no columns of them", s.config.Name)
	case w.Place.Name == "" || utf8.RuneCountInString(w.Place.Name) > longestName || strings.ContainsAny(w.Place.Name, "/\\\x00\r\n"):
		return at, nil, nil, fault.Invalidf("connector.document_name", "the name of an attachment has 1 to %d characters, and neither slashes nor line ends", longestName)
	}
	if at, err = s.object(w.Place.Table, w.Place.Parent); err != nil {
		return at, nil, nil, err
	}
	all, err := s.originals(ctx, at)
	if err != nil {
		return at, nil, nil, err
	}
	for i, a := range all {
		if a.Name != w.Place.Name {
			continue
		}
		equal := false
		if same == nil {
			if equal, err = connector.SameContent(ctx, s, connector.DocumentRef{Table: w.Place.Table, ID: a.ID}, a.Size, w.Content); err != nil {
				return at, nil, nil, err
			}
		}
		if equal {
			same = &all[i]
		} else {
			others = append(others, a)
		}
	}
	return at, same, others, nil
}

// Store implements connector.DocumentWriter. SAP keeps as many attachments of one name as
// it is sent, and no reference: those that are there are looked at first, and one that
// takes the place of another is stored before that goes.
func (s *SAP) Store(ctx context.Context, w connector.DocumentWrite) (connector.StoredDocument, error) {
	at, same, others, err := s.stored(ctx, w)
	if err != nil {
		return connector.StoredDocument{}, err
	}
	out := connector.StoredDocument{Unchanged: same != nil}
	switch {
	case same != nil:
		out.Document = same.Document
		if w.New {
			return out, nil
		}
	case w.New && len(others) > 0:
		return out, fault.New(fault.Conflict, "connector.exists", s.config.Name+" has another attachment of this name at the object, and it may not be replaced", nil)
	case w.Version != "" && !slices.ContainsFunc(others, func(a attachment) bool { return a.Version == w.Version }):
		return out, s.replaced()
	default:
		if out.Document, err = s.attach(ctx, at, w); err != nil {
			return connector.StoredDocument{}, err
		}
	}
	for _, a := range others {
		if w.Version == "" || w.Version == a.Version {
			if err := s.detach(ctx, at.root, a, w.Held); err != nil {
				return connector.StoredDocument{}, err
			}
		}
	}
	return out, nil
}

// attach sends a new attachment.
func (s *SAP) attach(ctx context.Context, at object, w connector.DocumentWrite) (connector.Document, error) {
	content := w.Content.Verified()
	kind := content.Type
	if kind == "" {
		kind = "application/octet-stream"
	}
	var got map[string]any
	r := connector.Request{Method: http.MethodPost, Target: at.root + "/" + attachmentSet + s.query(), Content: &content, Held: w.Held, Collection: true,
		Header: http.Header{"Content-Type": {kind}, "Accept": {olderType}, "Slug": {url.PathEscape(w.Place.Name)}, http.CanonicalHeaderKey(kindColumn): {at.kind}, http.CanonicalHeaderKey(objectColumn): {at.key}},
		Decode: func(_ http.Header, body []byte) error { return json.Unmarshal(body, &got) }}
	if err := s.write(ctx, at.root, r); err != nil {
		return connector.Document{}, err
	}
	item, _ := got["d"].(map[string]any)
	a, err := s.attachment(item)
	switch {
	case err != nil:
		return a.Document, fault.New(fault.InDoubt, "vendor.malformed", "the answer of "+s.config.Name+" does not say what was stored; it may be there", err)
	case a.Size >= 0 && a.Size != content.Size:
		return a.Document, fault.New(fault.InDoubt, "vendor.checksum", "what "+s.config.Name+" says it has stored has another size than what was sent", nil)
	}
	return a.Document, nil
}

func (s *SAP) detach(ctx context.Context, root string, a attachment, held func() error) error {
	err := s.write(ctx, root, connector.Request{Method: http.MethodDelete, Target: root + "/" + a.address + s.query(), Header: http.Header{"Accept": {olderType}}, Held: held})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Stored implements connector.DocumentWriter.
func (s *SAP) Stored(ctx context.Context, w connector.DocumentWrite) (*connector.Document, error) {
	_, same, _, err := s.stored(ctx, w)
	if err != nil || same == nil {
		return nil, err
	}
	return &same.Document, nil
}

// Remove implements connector.DocumentRemover.
func (s *SAP) Remove(ctx context.Context, w connector.DocumentWrite) error {
	at, same, _, err := s.stored(ctx, w)
	if err != nil || same == nil {
		return err
	}
	return s.detach(ctx, at.root, *same, w.Held)
}
