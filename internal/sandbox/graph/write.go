package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

// next numbers a change of a library. The row of the library is locked, so the numbers
// are in the order of the commits.
func (r *request) next(ctx context.Context, library storage.Row) (int64, error) {
	seq := intOf(library, "seq") + 1
	library["seq"] = seq
	if err := r.tx.Update(ctx, drives, storage.Row{"id": library["id"], "seq": seq}); err != nil {
		return 0, fmt.Errorf("numbering a change: %w", err)
	}
	return seq, nil
}

func (r *request) by() string {
	if r.c.User != nil {
		return r.c.User.Name
	}
	return "SharePoint App"
}

// content is what a file is to hold.
type incoming struct {
	blob      string
	generator any // nil, or the number it is made of
	size      int64
	hash      string
	mime      string
}

// replaced is the name under which a file is put that must not take the place of another.
func renamed(name string, n int) string {
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + " " + strconv.Itoa(n) + ext
}

// settle puts a file into its place and tells whoever subscribed.
func (r *request) settle(ctx context.Context, library, parent, existing storage.Row, name, behavior string, in incoming) (exchange.Answer, error) {
	if existing != nil && existing["folder"] == true || existing != nil && behavior == "fail" {
		return refuse(r.c, http.StatusConflict, "nameAlreadyExists", "", "The specified item name already exists."), nil
	}
	for n := 1; existing != nil && behavior == "rename"; n++ {
		candidate := renamed(name, n)
		there, err := r.childOf(ctx, parent, candidate)
		if err != nil {
			return exchange.Answer{}, err
		}
		if there == nil {
			name, existing = candidate, nil
		}
	}
	seq, err := r.next(ctx, library)
	if err != nil {
		return exchange.Answer{}, err
	}
	row := storage.Row{"content": in.blob, "generator": in.generator, "size": in.size, "hash": in.hash, "mime": in.mime, "modified": r.c.At.Truncate(1e9), "changed": seq, "by": r.by()}
	status := http.StatusOK
	if existing == nil {
		status = http.StatusCreated
		row["id"], row["drive"], row["parent"], row["name"] = newID(library["id"], "item", seq), library["id"], parent["id"], name
		row["folder"], row["deleted"], row["version"], row["content_version"], row["created"] = false, false, int64(1), int64(1), row["modified"]
		err = r.tx.Insert(ctx, items, row)
	} else {
		if err := chunks.Forget(ctx, r.tx, textOf(existing, "content")); err != nil {
			return exchange.Answer{}, err
		}
		row["id"], row["version"], row["content_version"] = existing["id"], intOf(existing, "version")+1, intOf(existing, "content_version")+1
		err = r.tx.Update(ctx, items, row)
		for column, value := range existing {
			if _, set := row[column]; !set {
				row[column] = value
			}
		}
	}
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("storing a file: %w", err)
	}
	if err := r.notify(ctx, textOf(library, "id")); err != nil {
		return exchange.Answer{}, err
	}
	o, err := r.render(ctx, row, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	return answer(status, o), nil
}

// condition checks If-Match and If-None-Match.
func (r *request) condition(item storage.Row) *exchange.Answer {
	match, none := r.c.Header.Get("If-Match"), r.c.Header.Get("If-None-Match")
	var refusal exchange.Answer
	switch {
	case match != "" && match != "*" && !strings.HasPrefix(match, `"`):
		refusal = refuse(r.c, http.StatusBadRequest, "invalidRequest", "malformedEntityTag", "The entity tag is malformed.")
	case match != "" && (item == nil || !fits(item, match)), none != "" && item != nil && fits(item, none):
		refusal = refuse(r.c, http.StatusPreconditionFailed, "resourceModified", "entityTagDoesNotMatch", "ETag does not match current item's value")
	default:
		return nil
	}
	return &refusal
}

func behaviorOf(text, otherwise string) (string, bool) {
	switch text {
	case "":
		return otherwise, true
	case "fail", "replace", "rename":
		return text, true
	}
	return "", false
}

func mimeOf(given, name string) string {
	if given != "" && given != "application/octet-stream" {
		return given
	}
	if byName := mime.TypeByExtension(path.Ext(name)); byName != "" {
		return byName
	}
	return "application/octet-stream"
}

// placeOf is the folder and the name that an upload goes to.
func (r *request) placeOf(ctx context.Context, a address) (parent storage.Row, name string, err error) {
	if a.name != "" {
		return a.parent, a.name, nil
	}
	parent, err = byID(ctx, r.tx, items, textOf(a.item, "parent"), false)
	return parent, textOf(a.item, "name"), err
}

// put takes a file in one request.
func (r *request) put(ctx context.Context, library storage.Row, a address) (exchange.Answer, error) {
	behavior, ok := behaviorOf(r.query.Get("@microsoft.graph.conflictBehavior"), "replace")
	if !ok {
		return badRequest(r.c, "The conflict behavior is none of fail, replace and rename."), nil
	}
	if refusal := r.condition(a.item); refusal != nil {
		return *refusal, nil
	}
	parent, name, err := r.placeOf(ctx, a)
	if err != nil || parent == nil {
		return notFound(r.c), err
	}
	sum := &checksum{}
	_, _ = sum.Write(r.c.Body)
	blob := guid("blob", library["id"], intOf(library, "seq"), r.c.At.UnixNano())
	if err := chunks.Keep(ctx, r.tx, blob, 0, r.c.Body); err != nil {
		return exchange.Answer{}, err
	}
	return r.settle(ctx, library, parent, a.item, name, behavior, incoming{blob: blob, size: int64(len(r.c.Body)), hash: sum.text(), mime: mimeOf(r.c.Header.Get("Content-Type"), name)})
}

func (r *request) body(into any) bool { return json.Unmarshal(r.c.Body, into) == nil }

// makeFolder is POST children.
func (r *request) makeFolder(ctx context.Context, library storage.Row, a address) (exchange.Answer, error) {
	var said struct {
		Name   string          `json:"name"`
		Folder json.RawMessage `json:"folder"`
	}
	if !r.body(&said) || said.Name == "" || said.Folder == nil || strings.ContainsAny(said.Name, "\"*:<>?/\\|") || a.item == nil {
		return badRequest(r.c, "A folder needs a name and the facet folder."), nil
	}
	there, err := r.childOf(ctx, a.item, said.Name)
	if err != nil {
		return exchange.Answer{}, err
	}
	if there != nil {
		return refuse(r.c, http.StatusConflict, "nameAlreadyExists", "", "The specified item name already exists."), nil
	}
	seq, err := r.next(ctx, library)
	if err != nil {
		return exchange.Answer{}, err
	}
	at := r.c.At.Truncate(1e9)
	row := storage.Row{"id": newID(library["id"], "item", seq), "drive": library["id"], "parent": a.item["id"], "name": said.Name, "folder": true, "deleted": false,
		"version": int64(1), "content_version": int64(1), "changed": seq, "created": at, "modified": at, "by": r.by()}
	if err := r.tx.Insert(ctx, items, row); err != nil {
		return exchange.Answer{}, fmt.Errorf("making a folder: %w", err)
	}
	o, err := r.render(ctx, row, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	return answer(http.StatusCreated, o), r.notify(ctx, textOf(library, "id"))
}

// rename changes name or folder.
func (r *request) rename(ctx context.Context, library storage.Row, a address) (exchange.Answer, error) {
	var said struct {
		Name   string `json:"name"`
		Parent *struct {
			ID string `json:"id"`
		} `json:"parentReference"`
	}
	if !r.body(&said) || a.item == nil || a.item["parent"] == nil {
		return badRequest(r.c, "The item cannot be changed so."), nil
	}
	if refusal := r.condition(a.item); refusal != nil {
		return *refusal, nil
	}
	parent, name := storage.Row{"id": a.item["parent"], "drive": a.item["drive"]}, textOf(a.item, "name")
	if said.Name != "" {
		name = said.Name
	}
	if said.Parent != nil {
		parent = storage.Row{"id": said.Parent.ID, "drive": a.item["drive"]}
	}
	there, err := r.childOf(ctx, parent, name)
	if err != nil {
		return exchange.Answer{}, err
	}
	if there != nil && there["id"] != a.item["id"] {
		return refuse(r.c, http.StatusConflict, "nameAlreadyExists", "", "The specified item name already exists."), nil
	}
	seq, err := r.next(ctx, library)
	if err != nil {
		return exchange.Answer{}, err
	}
	row := storage.Row{}
	for column, value := range a.item {
		row[column] = value
	}
	row["name"], row["parent"], row["version"], row["changed"], row["modified"] = name, parent["id"], intOf(row, "version")+1, seq, r.c.At.Truncate(1e9)
	if err := r.tx.Update(ctx, items, row); err != nil {
		return exchange.Answer{}, fmt.Errorf("changing an item: %w", err)
	}
	o, err := r.render(ctx, row, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	return answer(http.StatusOK, o), r.notify(ctx, textOf(library, "id"))
}

// remove deletes a file or an empty folder.
func (r *request) remove(ctx context.Context, library storage.Row, a address) (exchange.Answer, error) {
	if a.item == nil || a.item["parent"] == nil {
		return notFound(r.c), nil
	}
	if refusal := r.condition(a.item); refusal != nil {
		return *refusal, nil
	}
	n, err := r.tx.Count(ctx, items, storage.Compare{Column: "parent", Op: storage.Eq, Value: textOf(a.item, "id")})
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("counting children: %w", err)
	}
	if n > 0 {
		return refuse(r.c, http.StatusConflict, "notAllowed", "", "The sandbox deletes empty folders only."), nil
	}
	if err := chunks.Forget(ctx, r.tx, textOf(a.item, "content")); err != nil {
		return exchange.Answer{}, err
	}
	seq, err := r.next(ctx, library)
	if err != nil {
		return exchange.Answer{}, err
	}
	if err := r.tx.Update(ctx, items, storage.Row{"id": a.item["id"], "name": nil, "parent": nil, "deleted": true, "changed": seq, "content": nil, "generator": nil}); err != nil {
		return exchange.Answer{}, fmt.Errorf("deleting an item: %w", err)
	}
	return exchange.Answer{Status: http.StatusNoContent}, r.notify(ctx, textOf(library, "id"))
}
