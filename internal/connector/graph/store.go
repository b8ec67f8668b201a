package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// maxSize is the largest file that SharePoint takes.
const maxSize = 250 << 30

// rewritten are the files into which SharePoint itself writes properties when it takes
// them: what it holds afterwards has another size and another hash.
var rewritten = []string{".docx", ".docm", ".dotx", ".xlsx", ".xlsm", ".xltx", ".pptx", ".pptm", ".potx", ".vsdx", ".html", ".htm", ".aspx"}

// Store implements connector.DocumentWriter. A file is found again by its place, so the
// reference is kept nowhere.
func (g *Graph) Store(ctx context.Context, w connector.DocumentWrite) (connector.StoredDocument, error) {
	u, err := g.upload(ctx, w)
	if err != nil {
		return connector.StoredDocument{}, err
	}
	existing, err := g.stat(ctx, u.target, "")
	switch {
	case fault.Is(err, fault.NotFound):
		if w.Version != "" {
			return connector.StoredDocument{}, g.changed()
		}
	case err != nil:
		return connector.StoredDocument{}, err
	default:
		equal, err := u.equals(ctx, existing)
		switch {
		case err != nil:
			return connector.StoredDocument{}, err
		case equal:
			return connector.StoredDocument{Document: existing.Document, Unchanged: true}, nil
		case w.New:
			return connector.StoredDocument{}, g.exists(nil)
		case !existing.is(w.Version):
			return connector.StoredDocument{}, g.changed()
		case w.Version != "":
			u.match = existing.eTag
		}
	}
	var item map[string]any
	if w.Content.Size <= small {
		item, err = u.once(ctx)
	} else {
		item, err = u.bySession(ctx)
	}
	if err != nil {
		return connector.StoredDocument{}, g.refusal(err)
	}
	stored, err := u.accepted(item)
	return connector.StoredDocument{Document: stored.Document}, err
}

// Once implements connector.DocumentOnce: a place has one file.
func (*Graph) Once() {}

// Stored implements connector.DocumentWriter.
func (g *Graph) Stored(ctx context.Context, w connector.DocumentWrite) (*connector.Document, error) {
	u, err := g.upload(ctx, w)
	if err != nil {
		return nil, err
	}
	existing, err := g.stat(ctx, u.target, "")
	if fault.Is(err, fault.NotFound) || err != nil && fault.Of(err).Code == "graph.no_file" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if equal, err := u.equals(ctx, existing); err != nil || !equal {
		return nil, err
	}
	return &existing.Document, nil
}

// upload is one document on its way.
type upload struct {
	g      *Graph
	w      connector.DocumentWrite
	target string // of the file, whether it is there or not
	match  string // the ETag that it has to have
	sum    *quickXor
	sha    hash.Hash
	hashed int64 // how far both have come
}

func (g *Graph) upload(ctx context.Context, w connector.DocumentWrite) (*upload, error) {
	_, drive, err := g.drive(ctx, w.Place.Table)
	if err != nil {
		return nil, err
	}
	if err := checkName(w.Place.Name); err != nil {
		return nil, err
	}
	if w.Content.Size < 0 || w.Content.Size > maxSize || w.Content.Open == nil {
		return nil, fault.Invalidf("connector.content", "the size of the document is not known, or above what SharePoint takes")
	}
	if len(w.Values) > 0 {
		return nil, fault.Invalidf("connector.values", "connection %s writes documents, and no columns of them", g.config.Name)
	}
	for column := range w.Place.Parent {
		if column != "id" && column != "path" {
			return nil, fault.Invalidf("connector.place", "a document is put into a folder, by its path or its id; %q is neither", column)
		}
	}
	target, err := within(drive, w.Place.Parent, w.Place.Name)
	return &upload{g: g, w: w, target: target, sum: new(quickXor), sha: sha256.New()}, err
}

func (u *upload) held() error {
	if u.w.Held == nil {
		return nil
	}
	return u.w.Held()
}

// equals reports whether a file has the content that is to be stored.
func (u *upload) equals(ctx context.Context, f file) (bool, error) {
	if f.Size != u.w.Content.Size {
		return false, nil
	}
	if f.hash == "" {
		return connector.SameContent(ctx, u.g, connector.DocumentRef{Table: u.w.Place.Table, ID: f.ID, Version: f.Version}, f.Size, u.w.Content)
	}
	content, err := u.w.Content.Open(ctx, 0)
	if err != nil {
		return false, err
	}
	defer content.Close()
	sum := new(quickXor)
	if _, err := io.CopyBuffer(sum, content, make([]byte, 64<<10)); err != nil {
		return false, err
	}
	return sum.text() == f.hash, nil
}

// part reads a part of the content into p, which it fills.
func (u *upload) part(content io.Reader, at int64, p []byte) error {
	if _, err := io.ReadFull(content, p); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return connector.ErrContent
		}
		return err
	}
	if fresh := u.hashed - at; fresh >= 0 && fresh < int64(len(p)) {
		_, _ = u.sum.Write(p[fresh:]) // never fails
		_, _ = u.sha.Write(p[fresh:]) // never fails
		u.hashed = at + int64(len(p))
	}
	if u.hashed < u.w.Content.Size || u.w.Content.SHA256 == "" || strings.EqualFold(u.w.Content.SHA256, hex.EncodeToString(u.sha.Sum(nil))) {
		return nil
	}
	return connector.ErrContent
}

// once sends a small file in one request.
func (u *upload) once(ctx context.Context) (map[string]any, error) {
	content, err := u.w.Content.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	body := make([]byte, u.w.Content.Size)
	if err := u.part(content, 0, body); err != nil {
		return nil, err
	}
	kind := u.w.Content.Type
	if kind == "" {
		kind = "application/octet-stream"
	}
	h := http.Header{"Content-Type": {kind}}
	if u.match != "" {
		h.Set("If-Match", u.match)
	}
	var item map[string]any
	_, err = u.g.transport.Do(ctx, connector.Request{Method: http.MethodPut, Target: u.target + "/content?@microsoft.graph.conflictBehavior=" + u.behavior(),
		Header: h, Body: body, Write: true, Held: u.w.Held}, &item)
	return item, err
}

func (u *upload) behavior() string {
	if u.w.New {
		return "fail"
	}
	return "replace"
}

// accepted checks what Graph says it has stored.
func (u *upload) accepted(item map[string]any) (file, error) {
	f, err := u.g.document(item)
	if err != nil {
		return f, fault.New(fault.InDoubt, "vendor.malformed", "the answer of "+u.g.config.Name+" does not say what was stored; it may be there", err)
	}
	if slices.Contains(rewritten, strings.ToLower(path.Ext(f.Name))) {
		return f, nil
	}
	if f.Size != u.w.Content.Size || f.hash != "" && f.hash != u.sum.text() {
		return f, fault.New(fault.InDoubt, "vendor.checksum", "what "+u.g.config.Name+" says it has stored has another size or checksum than what was sent", nil)
	}
	return f, nil
}

// refusal gives the faults of a write their names.
func (g *Graph) refusal(err error) error {
	switch f := fault.Of(err); f.Code {
	case System + ".name_exists":
		return g.exists(err)
	case System + ".changed":
		return fault.New(fault.Conflict, "connector.changed", g.changed().Text, err)
	}
	return err
}

func (g *Graph) exists(cause error) *fault.Fault {
	return fault.New(fault.Conflict, "connector.exists", g.config.Name+" has another document of this name in this place, and it may not be replaced", cause)
}
