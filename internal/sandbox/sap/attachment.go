package sap

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/content"
	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

const (
	attachmentService = "API_CV_ATTACHMENT_SRV"
	attachmentRoot    = "/sap/opu/odata/sap/" + attachmentService
	attachmentSet     = "AttachmentContentSet"
	// salesOrder is the kind of business object that this stand-in has.
	salesOrder = "BUS2032"
)

var (
	attachmentKey = []string{"DocumentInfoRecordDocType", "DocumentInfoRecordDocNumber", "DocumentInfoRecordDocVersion", "DocumentInfoRecordDocPart",
		"LogicalDocument", "ArchiveDocumentID", "LinkedSAPObjectKey", "BusinessObjectTypeName"}

	attachmentProperties = []property{
		str("DocumentInfoRecordDocType", 3), str("DocumentInfoRecordDocNumber", 25), str("DocumentInfoRecordDocVersion", 2), str("DocumentInfoRecordDocPart", 3),
		str("LogicalDocument", 32), str("ArchiveDocumentID", 40), str("LinkedSAPObjectKey", 90), str("BusinessObjectTypeName", 10),
		str("FileName", 255), str("FileSize", 20), str("MimeType", 128), str("CreatedByUser", 12), of("CreationDateTime", moment), of("AttachmentDeletionIsAllowed", boolean),
	}

	// attachments are by ArchiveDocumentID, which is also the name of the content.
	attachments = keep("attachment", []string{"ArchiveDocumentID"}, [][]string{{"LinkedSAPObjectKey"}},
		append(attachmentProperties[:len(attachmentProperties):len(attachmentProperties)], str("sha256", 64))...)

	chunks = content.New("sap")

	objectKey = regexp.MustCompile(`^[0-9]{10}$`)
)

// Receives says that the bytes of an attachment are too large to hold.
func (s *System) Receives(c *exchange.Call) bool {
	return c.Method == http.MethodPost && c.Path == attachmentRoot+"/"+attachmentSet
}

// attachments answers what is about attachments: their set cannot be listed, and what
// belongs to an object is asked for by a function.
func (w *work) attachments(ctx context.Context, s *System, path []segment) (exchange.Answer, error) {
	e := w.s.set(attachmentSet)
	first := path[0]
	switch {
	case first.name == "GetAllOriginals" && w.method == http.MethodGet && len(path) == 1:
		return w.originals(ctx, e)
	case first.name != attachmentSet || len(path) > 2:
		return exchange.Answer{}, notFound(first.name)
	case !first.keyed && w.method == http.MethodPost && len(path) == 1:
		return w.attach(ctx, e)
	case !first.keyed:
		return exchange.Answer{}, &problem{status: http.StatusMethodNotAllowed, code: "/IWBEP/CM_MGW_RT/021", text: "Method 'GET_ENTITYSET' not implemented in data provider class."}
	}
	key, err := w.s.key(e, first.key)
	if err != nil {
		return exchange.Answer{}, err
	}
	row, err := w.row(ctx, e, e.Table.Key(key), w.method == http.MethodDelete)
	if err != nil {
		return exchange.Answer{}, err
	}
	switch {
	case len(path) == 2 && path[1].name == "$value" && w.method == http.MethodGet:
		size, err := strconv.ParseInt(textOf(row, "FileSize"), 10, 64)
		return exchange.Answer{Status: http.StatusOK, Size: size, Header: http.Header{"Content-Type": {textOf(row, "MimeType")}}, Stream: func(ctx context.Context, to io.Writer) error {
			return chunks.Send(ctx, s.store, textOf(row, "ArchiveDocumentID"), 0, size, to)
		}}, err
	case len(path) == 1 && w.method == http.MethodGet:
		return w.shownRow(ctx, e, row, &view{}, http.StatusOK)
	case len(path) == 1 && w.method == http.MethodDelete:
		if _, err := w.tx.Delete(ctx, attachments, attachments.Key(row)); err != nil {
			return exchange.Answer{}, fmt.Errorf("deleting an attachment: %w", err)
		}
		return exchange.Answer{Status: http.StatusNoContent, Header: http.Header{}}, chunks.Forget(ctx, w.tx, textOf(row, "ArchiveDocumentID"))
	}
	return exchange.Answer{}, &problem{status: http.StatusMethodNotAllowed, code: "/IWBEP/CM_MGW_RT/021", text: "Method '" + w.method + "' not implemented in data provider class."}
}

// object checks that there is what an attachment is to belong to.
func (w *work) object(ctx context.Context, kind, key string) error {
	if kind != salesOrder {
		return business("CV_ATTACHMENT_API/012", "BusinessObjectTypeName", "Business object type %s is not supported", kind)
	}
	found, err := storage.First(ctx, w.tx, orders, orders.Key(storage.Row{"SalesOrder": strings.TrimLeft(key, "0")}), false)
	if err != nil {
		return fmt.Errorf("looking for the order: %w", err)
	}
	if found == nil || !objectKey.MatchString(key) {
		return business("CV_ATTACHMENT_API/013", "LinkedSAPObjectKey", "Business object %s does not exist", key)
	}
	return nil
}

// attach stores the body of a call as an attachment. Two of one name are two.
func (w *work) attach(ctx context.Context, e *entity) (exchange.Answer, error) {
	head := w.call.Header
	kind, key := head.Get("BusinessObjectTypeName"), head.Get("LinkedSAPObjectKey")
	name, err := url.PathUnescape(head.Get("Slug"))
	if err != nil || name == "" || len([]rune(name)) > 255 {
		return exchange.Answer{}, business("CV_ATTACHMENT_API/011", "FileName", "The header Slug gives no file name")
	}
	if err := w.object(ctx, kind, key); err != nil {
		return exchange.Answer{}, err
	}
	n, err := storage.Version(ctx, w.tx)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("drawing a number: %w", err)
	}
	id := fmt.Sprintf("FA163E%026X", n)
	var from io.Reader = strings.NewReader("")
	if w.call.Upload != nil {
		from = w.call.Upload.Open(0, w.call.Upload.Size)
	}
	size, sum, err := chunks.Copy(ctx, w.tx, id, from)
	if err != nil {
		return exchange.Answer{}, err
	}
	mime := head.Get("Content-Type")
	if mime == "" {
		mime = "application/octet-stream"
	}
	row := storage.Row{"DocumentInfoRecordDocType": "GOS", "DocumentInfoRecordDocNumber": "", "DocumentInfoRecordDocVersion": "", "DocumentInfoRecordDocPart": "",
		"LogicalDocument": id, "ArchiveDocumentID": id, "LinkedSAPObjectKey": key, "BusinessObjectTypeName": kind, "FileName": name, "FileSize": strconv.FormatInt(size, 10),
		"MimeType": mime, "CreatedByUser": w.userName(), "CreationDateTime": w.call.At, "AttachmentDeletionIsAllowed": true, "sha256": sum}
	if err := w.tx.Insert(ctx, attachments, row); err != nil {
		return exchange.Answer{}, unique(err, e, "ArchiveDocumentID")
	}
	return w.shownRow(ctx, e, row, &view{}, http.StatusCreated)
}

// originals are the attachments of one object.
func (w *work) originals(ctx context.Context, e *entity) (exchange.Answer, error) {
	query, err := url.ParseQuery(w.call.RawQuery)
	kind, key := strings.Trim(query.Get("BusinessObjectTypeName"), "'"), strings.Trim(query.Get("LinkedSAPObjectKey"), "'")
	if err != nil || kind == "" || key == "" {
		return exchange.Answer{}, badQuery("The function GetAllOriginals needs BusinessObjectTypeName and LinkedSAPObjectKey.")
	}
	rows, err := w.tx.Find(ctx, attachments, storage.Query{Where: storage.And{storage.Compare{Column: "BusinessObjectTypeName", Op: storage.Eq, Value: kind},
		storage.Compare{Column: "LinkedSAPObjectKey", Op: storage.Eq, Value: key}}})
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading attachments: %w", err)
	}
	objects, err := w.rows(ctx, e, rows, &view{})
	if err != nil {
		return exchange.Answer{}, err
	}
	return w.s.ok(ordered.New("d", ordered.New("results", objects))), nil
}

// Document is an attachment, for whoever judges what was sent.
type Document struct {
	Object string `json:"object"` // its number, with zeros
	Name   string `json:"name"`
	Size   string `json:"size"`
	SHA256 string `json:"sha256"`
}

// Documents are the attachments of all objects, in the order in which they came.
func Documents(ctx context.Context, store storage.Store) ([]Document, error) {
	list := []Document{}
	err := store.Read(ctx, func(tx storage.Tx) error {
		rows, err := tx.Find(ctx, attachments, storage.Query{})
		for _, row := range rows {
			list = append(list, Document{textOf(row, "LinkedSAPObjectKey"), textOf(row, "FileName"), textOf(row, "FileSize"), textOf(row, "sha256")})
		}
		if err != nil {
			return fmt.Errorf("reading attachments: %w", err)
		}
		return nil
	})
	return list, err
}
