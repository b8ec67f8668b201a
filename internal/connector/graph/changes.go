package graph

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	deltaLink = "@odata.deltaLink"
	// sinceLink begins a cursor that asks for what changed since, as opposed to the next
	// page of an answer under way.
	sinceLink = "since "
)

// changeColumns are what a change is known by, besides the columns asked for.
var changeColumns = []string{"id", "eTag", "file", "deleted", "lastModifiedDateTime"}

// ReadChanges reads the delta of a library: first every file, then what changed since.
// Cursors hold Graph's own links from its version on. One that it no longer knows, in
// whichever of its words, is "connector.cursor_expired".
func (g *Graph) ReadChanges(ctx context.Context, table string, names []string, cursor string) (connector.Changes, error) {
	t, drive, err := g.drive(ctx, table)
	if err != nil {
		return connector.Changes{}, err
	}
	if len(names) == 0 {
		names = []string{"id"}
	}
	token := ""
	target, isSince := strings.CutPrefix(cursor, sinceLink)
	switch {
	case cursor == "":
		target, err = first(t, drive, names, 0)
	case !isSince:
		token = cursor
		target, err = connector.Continuation(cursor)
	}
	if err != nil {
		return connector.Changes{}, err
	}
	if !strings.HasPrefix(target, root) {
		return connector.Changes{}, connector.BadToken()
	}
	got, err := g.get(ctx, target, nil)
	if err != nil {
		return connector.Changes{}, g.expired(cursor, err)
	}
	items, err := g.list(got)
	if err != nil {
		return connector.Changes{}, err
	}
	page := connector.Changes{}
	folders := map[string]string{}
	for _, item := range last(items) {
		id := text(item["id"])
		if id == "" {
			return connector.Changes{}, g.transport.Malformed("an item has no id")
		}
		if item["deleted"] != nil {
			page.Deleted = append(page.Deleted, id)
			continue
		}
		if !isFile(item) {
			continue
		}
		r := row(item, names)
		r["id"] = id
		if err := g.place(ctx, drive, item, names, r, folders); err != nil {
			return connector.Changes{}, err
		}
		page.Rows = append(page.Rows, r)
		page.Versions = append(page.Versions, version(item))
		page.At = append(page.At, moment(item["lastModifiedDateTime"]))
	}
	if next := text(got[nextLink]); next != "" {
		page.More = true
		page.Cursor, err = g.transport.Advance(token, belowRoot(next))
		return page, err
	}
	since := belowRoot(text(got[deltaLink]))
	if !strings.HasPrefix(since, root) {
		return connector.Changes{}, g.transport.Malformed("there is no link to later changes")
	}
	page.Cursor = sinceLink + since
	return page, nil
}

func first(t connector.Table, drive string, names []string, top int) (string, error) {
	asked, err := selected(t, names, changeColumns...)
	if err != nil {
		return "", err
	}
	target := drive + "/root/delta?$select=" + asked
	if top > 0 {
		target += "&$top=" + strconv.Itoa(min(top, maxPage))
	}
	return target, nil
}

// last keeps of each item what stands last: a page may hold one twice.
func last(items []map[string]any) []map[string]any {
	at := make(map[string]int, len(items))
	for i, item := range items {
		at[text(item["id"])] = i
	}
	var kept []map[string]any
	for i, item := range items {
		if at[text(item["id"])] == i || text(item["id"]) == "" {
			kept = append(kept, item)
		}
	}
	return kept
}

// place fills in the folder of a file, which delta leaves out: it gives the parent by its
// ID alone. Each folder of a page is asked for once.
func (g *Graph) place(ctx context.Context, drive string, item map[string]any, names []string, r connector.Row, folders map[string]string) error {
	if _, there := r["path"]; there || !slices.Contains(names, "path") {
		return nil
	}
	parent, _ := columns["parentId"].read(item)
	id := text(parent)
	if id == "" {
		return nil
	}
	if path, known := folders[id]; known {
		r["path"] = path
		return nil
	}
	folder, err := g.get(ctx, drive+"/items/"+segment(id)+"?$select=id,name,root,parentReference", nil)
	if fault.Is(err, fault.NotFound) {
		return nil // gone since; the next page tells
	}
	if err != nil {
		return err
	}
	path := "/"
	if folder["root"] == nil {
		above, _ := columns["path"].read(folder)
		path = strings.TrimSuffix(text(above), "/") + "/" + text(folder["name"])
	}
	folders[id], r["path"] = path, path
	return nil
}

// expired tells a cursor that Graph no longer knows from other failures.
func (g *Graph) expired(cursor string, err error) error {
	if f := fault.Of(err); cursor == "" || f.Code != System+".resync" {
		return err
	}
	return fault.New(fault.Conflict, "connector.cursor_expired", g.config.Name+" no longer knows where its changes were read to; they have to be read from the beginning", err)
}

// belowRoot is a link from the version of the API on.
func belowRoot(link string) string {
	if i := strings.Index(link, root); i >= 0 {
		return link[i:]
	}
	return link
}

// ReadPage reads all files of a library, whatever their folders: the children of a
// folder are no safe way under writes, delta is. Where and Since choose here.
func (g *Graph) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	t, drive, err := g.drive(ctx, q.Table)
	if err != nil {
		return connector.Page{}, err
	}
	if len(q.Expand) > 0 {
		return connector.Page{}, fault.Invalidf("connector.expand", "table %s: a document has no child rows", q.Table)
	}
	if _, err := selected(t, q.Select); err != nil {
		return connector.Page{}, err
	}
	wanted := slices.Clone(q.Select)
	for _, m := range q.Where {
		if !slices.Contains(wanted, m.Column) {
			wanted = append(wanted, m.Column)
		}
	}
	since, err := sinceOf(q)
	if err != nil {
		return connector.Page{}, err
	}
	for _, m := range q.Where {
		if _, ok := connector.Literal(m.Value); !ok {
			return connector.Page{}, fault.Invalidf("connector.value", "a read of %s compares %q with what is no single value", q.Table, m.Column)
		}
		if id := text(m.Value); m.Column == "id" && id != "" && token == "" {
			return g.one(ctx, q, wanted, id, since)
		}
	}
	size := q.Limit
	if size <= 0 {
		size = defaultPage
	}
	target, err := first(t, drive, wanted, size)
	if err == nil && token != "" {
		target, err = connector.Continuation(token)
	}
	if err != nil {
		return connector.Page{}, err
	}
	got, err := g.get(ctx, target, http.Header{})
	if err != nil {
		return connector.Page{}, g.expired(token, err)
	}
	items, err := g.list(got)
	if err != nil {
		return connector.Page{}, err
	}
	page := connector.Page{Rows: []connector.Row{}}
	folders := map[string]string{}
	for _, item := range last(items) {
		if !isFile(item) || moment(item["lastModifiedDateTime"]).Before(since) {
			continue
		}
		r := row(item, wanted)
		if err := g.place(ctx, drive, item, wanted, r, folders); err != nil {
			return connector.Page{}, err
		}
		if matches(r, q.Where) {
			page.Rows = append(page.Rows, narrowed(r, q.Select))
		}
	}
	next := text(got[nextLink])
	if next != "" {
		next = belowRoot(next)
	}
	page.Next, err = g.transport.Advance(token, next)
	return page, err
}

// one is the page of a read that names its file.
func (g *Graph) one(ctx context.Context, q connector.Query, wanted []string, id string, since time.Time) (connector.Page, error) {
	asked := append(slices.Clone(wanted), "lastModifiedDateTime")
	if since.IsZero() {
		asked = wanted
	}
	rows, err := g.ReadByKey(ctx, q.Table, []string{"id"}, []connector.Row{{"id": id}}, asked)
	page := connector.Page{Rows: []connector.Row{}}
	if err != nil || rows[0] == nil || !matches(rows[0], q.Where) || !since.IsZero() && moment(rows[0]["lastModifiedDateTime"]).Before(since) {
		return page, err
	}
	page.Rows = append(page.Rows, narrowed(rows[0], q.Select))
	return page, nil
}

func sinceOf(q connector.Query) (time.Time, error) {
	if q.Since == nil {
		return time.Time{}, nil
	}
	at := moment(q.Since.Value)
	if q.Since.Column != "lastModifiedDateTime" || at.IsZero() {
		return at, fault.Invalidf("connector.no_since", "documents are read since a lastModifiedDateTime, and by no other column")
	}
	return at.Truncate(time.Second), nil
}

func matches(r connector.Row, where []connector.Match) bool {
	for _, m := range where {
		literal, ok := connector.Literal(m.Value)
		own, _ := connector.Literal(r[m.Column])
		if !ok || literal != own {
			return false
		}
	}
	return true
}

func narrowed(r connector.Row, names []string) connector.Row {
	for name := range r {
		if !slices.Contains(names, name) {
			delete(r, name)
		}
	}
	return r
}
