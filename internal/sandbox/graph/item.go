package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// downloadFor is how long the address of a file's bytes is good.
const downloadFor = time.Hour

func eTag(item storage.Row) string {
	return fmt.Sprintf(`"{%s},%d"`, strings.ToUpper(guid(textOf(item, "id"))), intOf(item, "version"))
}

func cTag(item storage.Row) string {
	return fmt.Sprintf(`"c:{%s},%d"`, strings.ToUpper(guid(textOf(item, "id"))), intOf(item, "content_version"))
}

// render is an item as Graph shows it; in delta whole is false: no paths, no cTag and no
// address of the bytes there.
func (r *request) render(ctx context.Context, item storage.Row, whole bool) (*ordered.Object, error) {
	o := ordered.New()
	if whole && item["folder"] != true {
		o.Set("@microsoft.graph.downloadUrl", r.downloadURL(item))
	}
	by := ordered.New("user", ordered.New("displayName", textOf(item, "by")))
	o.Set("createdDateTime", item["created"]).Set("eTag", eTag(item)).Set("id", item["id"]).Set("lastModifiedDateTime", item["modified"]).Set("name", item["name"])
	if whole {
		o.Set("webUrl", "https://"+host+"/sites/ops/"+url.PathEscape(textOf(item, "name")))
		if item["folder"] != true {
			o.Set("cTag", cTag(item))
		}
	}
	o.Set("size", intOf(item, "size")).Set("createdBy", by).Set("lastModifiedBy", by)
	parent := ordered.New("driveType", "documentLibrary", "driveId", item["drive"])
	if id := textOf(item, "parent"); id != "" {
		parent.Set("id", id)
		if whole {
			path, err := r.pathOf(ctx, id)
			if err != nil {
				return nil, err
			}
			parent.Set("path", path)
		}
	}
	o.Set("parentReference", parent)
	switch {
	case item["parent"] == nil:
		o.Set("root", ordered.New()).Set("folder", ordered.New("childCount", 0))
	case item["folder"] == true:
		o.Set("folder", ordered.New("childCount", 0))
	default:
		o.Set("file", ordered.New("mimeType", item["mime"], "hashes", ordered.New("quickXorHash", item["hash"])))
	}
	o.Set("fileSystemInfo", ordered.New("createdDateTime", item["created"], "lastModifiedDateTime", item["modified"]))
	return o, nil
}

// pathOf is the path of a folder, as parentReference has it.
func (r *request) pathOf(ctx context.Context, id string) (string, error) {
	path := ""
	for range 40 {
		folder, err := byID(ctx, r.tx, items, id, false)
		if err != nil {
			return "", err
		}
		if folder == nil || folder["parent"] == nil {
			break
		}
		path = "/" + url.PathEscape(textOf(folder, "name")) + path
		id = textOf(folder, "parent")
	}
	// Without a colon the path would be that of the root itself.
	return "/drives/" + textOf(storage.Row{"d": r.driveOf()}, "d") + "/root:" + path, nil
}

func (r *request) driveOf() string {
	_, rest, _ := strings.Cut(r.c.Path, "/drives/")
	id, _, _ := strings.Cut(rest, "/")
	return id
}

// children is a folder, a page at a time.
func (r *request) children(ctx context.Context, a address) (exchange.Answer, error) {
	if a.item == nil {
		return notFound(r.c), nil
	}
	top, err := strconv.Atoi(r.query.Get("$top"))
	if err != nil || top < 1 || top > 1000 {
		top = 200
	}
	skip := 0
	if token := r.query.Get("$skiptoken"); token != "" && !r.unseal(token, &skip) {
		return badRequest(r.c, "The skip token is none."), nil
	}
	rows, err := r.tx.Find(ctx, items, storage.Query{Limit: top + 1, Offset: skip, Order: []storage.Order{{Column: "name"}},
		Where: storage.And{storage.Compare{Column: "parent", Op: storage.Eq, Value: textOf(a.item, "id")}, storage.Compare{Column: "deleted", Op: storage.Eq, Value: false}}})
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading children: %w", err)
	}
	list := []*ordered.Object{}
	for _, row := range rows[:min(top, len(rows))] {
		o, err := r.render(ctx, row, true)
		if err != nil {
			return exchange.Answer{}, err
		}
		list = append(list, r.chosen(o))
	}
	body := ordered.New("@odata.context", r.c.Base+api+"$metadata#driveItems", "value", list)
	if len(rows) > top {
		body.Set("@odata.nextLink", r.c.Base+r.c.RawPath+"?$top="+strconv.Itoa(top)+"&$skiptoken="+r.sealed(skip+top))
	}
	return answer(http.StatusOK, body), nil
}

// ticket is what the address of a file's bytes says.
type ticket struct {
	Item string
	Till int64
}

func (r *request) downloadURL(item storage.Row) string {
	till := r.c.At.Add(time.Duration(float64(downloadFor) / r.speed)).Unix()
	return r.c.Base + download + "?UniqueId=" + guid(textOf(item, "id")) + "&tempauth=" + r.sealed(ticket{textOf(item, "id"), till})
}

// content sends the caller to the bytes.
func (r *request) content(a address) exchange.Answer {
	switch {
	case a.item == nil:
		return notFound(r.c)
	case a.item["folder"] == true:
		return badRequest(r.c, "A folder has no content.")
	case r.c.Header.Get("If-None-Match") != "" && fits(a.item, r.c.Header.Get("If-None-Match")):
		return exchange.Answer{Status: http.StatusNotModified}
	}
	return exchange.Answer{Status: http.StatusFound, Header: http.Header{"Location": {r.downloadURL(a.item)}}}
}

func fits(item storage.Row, tag string) bool {
	return tag == eTag(item) || tag == cTag(item) || tag == "*"
}

// download sends the bytes, from where the caller wants them on.
func (r *request) download(ctx context.Context) (exchange.Answer, error) {
	var t ticket
	if !r.unseal(r.query.Get("tempauth"), &t) || r.c.At.Unix() > t.Till {
		return exchange.Answer{Status: http.StatusUnauthorized, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("401 UNAUTHORIZED")}, nil
	}
	item, err := byID(ctx, r.tx, items, t.Item, false)
	if err != nil {
		return exchange.Answer{}, err
	}
	if item == nil || item["deleted"] == true {
		return exchange.Answer{Status: http.StatusNotFound, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("404 FILE NOT FOUND")}, nil
	}
	size := intOf(item, "size")
	from, to, status := int64(0), size, http.StatusOK
	h := http.Header{"Content-Type": {textOf(item, "mime")}, "ETag": {eTag(item)}, "Accept-Ranges": {"bytes"}}
	if asked := r.c.Header.Get("Range"); asked != "" && r.c.Odd != noRange {
		if from, to, err = rangeOf(asked, size); err != nil {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			return exchange.Answer{Status: http.StatusRequestedRangeNotSatisfiable, Header: h}, nil
		}
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))
	}
	odd := r.c.Odd
	return exchange.Answer{Status: status, Header: h, Size: to - from, Stream: func(ctx context.Context, w io.Writer) error {
		half := from + (to-from)/2
		switch odd {
		case corrupts:
			spoiled := storage.Row{"generator": int64(-1)}
			if err := send(ctx, r.store, item, from, half, w); err != nil {
				return err
			}
			return send(ctx, r.store, spoiled, half, to, w)
		case changes:
			if err := send(ctx, r.store, item, from, half, w); err != nil {
				return err
			}
			now, err := r.Change(ctx, textOf(item, "drive"), textOf(item, "id"), size)
			if err != nil {
				return err
			}
			return send(ctx, r.store, now, half, to, w)
		}
		return send(ctx, r.store, item, from, to, w)
	}}, nil
}

var errRange = errors.New("no range of this file")

// rangeOf reads bytes=from-to and bytes=from-; the end it gives is behind the last byte.
func rangeOf(text string, size int64) (from, to int64, err error) {
	text, ok := strings.CutPrefix(text, "bytes=")
	first, last, ok2 := strings.Cut(text, "-")
	from, err = strconv.ParseInt(first, 10, 64)
	if !ok || !ok2 || err != nil || from >= size {
		return 0, 0, errRange
	}
	to = size
	if last != "" {
		end, err := strconv.ParseInt(last, 10, 64)
		if err != nil || end < from {
			return 0, 0, errRange
		}
		to = min(size, end+1)
	}
	return from, to, nil
}

// What can be wrong with a document, besides what can be wrong with any call.
const (
	changes  = "changes"  // it gets another content while it is sent
	corrupts = "corrupts" // half of it is not what is stored
	noRange  = "no-range" // ranges are not heeded
	forgets  = "forgets"  // the upload session is gone
)
