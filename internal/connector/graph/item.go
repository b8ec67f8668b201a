package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// column is a column of a row: the property it is asked for by, and how it is read. A
// value that is not there is absent from the row.
type column struct {
	property string
	read     func(item map[string]any) (any, bool)
}

func same(property string) column {
	return column{property, func(item map[string]any) (any, bool) { v, ok := item[property]; return v, ok }}
}

func below(property string, path ...string) column {
	return column{property, func(item map[string]any) (any, bool) {
		at := item[property]
		for _, name := range path {
			object, _ := at.(map[string]any)
			found, ok := object[name]
			if !ok {
				return nil, false
			}
			at = found
		}
		return at, true
	}}
}

// columns are those of every library.
var columns = map[string]column{
	"id": same("id"), "name": same("name"), "size": same("size"), "eTag": same("eTag"), "cTag": same("cTag"), "webUrl": same("webUrl"),
	"createdDateTime": same("createdDateTime"), "lastModifiedDateTime": same("lastModifiedDateTime"),
	"mimeType": below("file", "mimeType"), "quickXorHash": below("file", "hashes", "quickXorHash"),
	"parentId": below("parentReference", "id"), "driveId": below("parentReference", "driveId"),
	"path": {"parentReference", func(item map[string]any) (any, bool) {
		parent, _ := item["parentReference"].(map[string]any)
		path, ok := folderOf(text(parent["path"]))
		return path, ok
	}},
}

// types are those of the columns, as flows have them.
var types = map[string]string{"size": "int", "createdDateTime": "timestamp", "lastModifiedDateTime": "timestamp"}

// Describe tells what every library has.
func (g *Graph) Describe(ctx context.Context, table string) (connector.Description, error) {
	if _, _, err := g.drive(ctx, table); err != nil {
		return connector.Description{}, err
	}
	d := connector.Description{Keys: [][]string{{"id"}, {"path", "name"}}}
	for name := range columns {
		kind := types[name]
		if kind == "" {
			kind = "string"
		}
		d.Columns = append(d.Columns, connector.Described{Name: name, Type: kind, Nullable: name != "id"})
	}
	slices.SortFunc(d.Columns, func(a, b connector.Described) int { return strings.Compare(a.Name, b.Name) })
	return d, nil
}

// folderOf is the folder of a parentReference below the root of its library: "/" or
// "/Inbox/2026".
func folderOf(path string) (string, bool) {
	_, folder, ok := strings.Cut(path, "/root:")
	if !ok {
		return "/", strings.HasSuffix(path, "/root")
	}
	if folder, err := url.PathUnescape(folder); err == nil && folder != "" {
		return folder, true
	}
	return "/", true
}

// selected checks columns and gives the $select that brings them, and what is needed
// besides.
func selected(t connector.Table, names []string, besides ...string) (string, error) {
	if len(names) == 0 {
		return "", fault.Invalidf("connector.select", "a read of %s selects no column", t.Name)
	}
	if err := t.Check(names...); err != nil {
		return "", err
	}
	list := slices.Clone(besides)
	for _, name := range names {
		c, ok := columns[name]
		if !ok {
			return "", fault.Invalidf("connector.unknown_column", "table %s has no column %q; a document has %s", t.Name, name, strings.Join(sortedColumns(), ", "))
		}
		list = append(list, c.property)
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ","), nil
}

func sortedColumns() []string {
	var names []string
	for name := range columns {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// row keeps the columns asked for.
func row(item map[string]any, names []string) connector.Row {
	out := make(connector.Row, len(names))
	for _, name := range names {
		if v, ok := columns[name].read(item); ok {
			out[name] = v
		}
	}
	return out
}

// isFile tells files from folders, notebooks and what is gone.
func isFile(item map[string]any) bool {
	_, file := item["file"].(map[string]any)
	return file && item["deleted"] == nil
}

// version orders the states of a file, where its ETag is of the usual form,
// "{GUID},3"; else 0.
func version(item map[string]any) int64 {
	tag := strings.Trim(text(item["eTag"]), `"`)
	_, number, ok := strings.Cut(tag, "},")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 0 {
		return 0
	}
	return n
}

func moment(v any) time.Time {
	at, err := time.Parse(time.RFC3339, text(v))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// document reads what Graph says of a file.
func (g *Graph) document(item map[string]any) (file, error) {
	f := file{Document: connector.Document{ID: text(item["id"]), Name: text(item["name"]), Size: -1, At: moment(item["lastModifiedDateTime"])}}
	if !isFile(item) {
		return f, fault.New(fault.Rejected, "graph.no_file", "what "+g.config.Name+" has there is a folder and no file", nil)
	}
	n, ok := item["size"].(json.Number)
	size, err := n.Int64()
	f.eTag, f.cTag, f.url = text(item["eTag"]), text(item["cTag"]), text(item["@microsoft.graph.downloadUrl"])
	if f.ID == "" || f.eTag == "" || !ok || err != nil || size < 0 {
		return f, g.transport.Malformed("a file lacks its id, its version or its size")
	}
	f.Size, f.Version = size, f.eTag
	if f.cTag != "" {
		f.Version = f.cTag
	}
	about := item["file"].(map[string]any)
	f.Type = text(about["mimeType"])
	hashes, _ := about["hashes"].(map[string]any)
	f.hash = text(hashes["quickXorHash"])
	return f, nil
}

// file is what is known of one file. url is secret.
type file struct {
	connector.Document

	eTag, cTag, hash, url string
}

// is reports whether the file is at a version, by either of its tags.
func (f file) is(version string) bool { return version == "" || version == f.eTag || version == f.cTag }

const ofFile = "?$select=id,name,size,eTag,cTag,file,lastModifiedDateTime,parentReference"

// ReadByKey reads files by id, or by path and name.
func (g *Graph) ReadByKey(ctx context.Context, table string, key []string, keys []connector.Row, names []string) ([]connector.Row, error) {
	t, drive, err := g.drive(ctx, table)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fault.Invalidf("connector.select", "a read of %s selects no column", table)
	}
	wanted := names
	for _, k := range key {
		if !slices.Contains(wanted, k) {
			wanted = append(slices.Clone(wanted), k)
		}
	}
	asked, err := selected(t, wanted, "id", "file")
	if err != nil {
		return nil, err
	}
	rows := make([]connector.Row, len(keys))
	for i, k := range keys {
		target, err := itemAt(drive, key, k)
		if err != nil {
			return nil, err
		}
		item, err := g.get(ctx, target+"?$select="+asked, nil)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if isFile(item) {
			rows[i] = row(item, wanted)
		}
	}
	return rows, nil
}

// itemAt is the address of the item that a key names.
func itemAt(drive string, key []string, k connector.Row) (string, error) {
	if slices.Equal(key, []string{"id"}) && text(k["id"]) != "" {
		return drive + "/items/" + url.PathEscape(text(k["id"])), nil
	}
	if len(key) == 2 && slices.Contains(key, "path") && slices.Contains(key, "name") {
		if err := checkName(text(k["name"])); err != nil {
			return "", err
		}
		return within(drive, connector.Row{"path": k["path"]}, text(k["name"]))
	}
	return "", fault.Invalidf("connector.key", "a document is read by id, or by path and name")
}

// within is the address of a name in a folder, which is known by its id or its path.
func within(drive string, parent connector.Row, name string) (string, error) {
	if id := text(parent["id"]); id != "" {
		return drive + "/items/" + url.PathEscape(id) + ":/" + segment(name) + ":", nil
	}
	folder := strings.Trim(text(parent["path"]), "/")
	where := ""
	if folder != "" {
		for s := range strings.SplitSeq(folder, "/") {
			if err := checkName(s); err != nil {
				return "", err
			}
			where += "/" + segment(s)
		}
	}
	return drive + "/root:" + where + "/" + segment(name) + ":", nil
}

// segment escapes a name so that no character of it ends it.
func segment(name string) string {
	return strings.NewReplacer(":", "%3A", "'", "%27").Replace(url.PathEscape(name))
}

// checkName refuses what SharePoint takes as no name, before anything is sent.
func checkName(name string) error {
	bad := strings.ContainsAny(name, "\"*:<>?/\\|") || strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	})
	switch {
	case name == "" || len(name) > 400 || bad || strings.TrimSpace(name) != name || strings.HasSuffix(name, ".") || strings.HasPrefix(name, "~$") || name == ".lock" || name == "desktop.ini" || strings.Contains(name, "_vti_"):
		return fault.Invalidf("connector.document_name",
			"the name of the document cannot be one in SharePoint: it is empty or too long, holds one of \" * : < > ? / \\ | or a control character, or begins or ends with a space or a dot; give another name")
	}
	return nil
}

// stat asks for one file.
func (g *Graph) stat(ctx context.Context, target, besides string) (file, error) {
	item, err := g.get(ctx, target+ofFile+besides, nil)
	if err != nil {
		return file{}, err
	}
	return g.document(item)
}

// Stat implements connector.DocumentReader.
func (g *Graph) Stat(ctx context.Context, ref connector.DocumentRef) (connector.Document, error) {
	f, err := g.at(ctx, ref, "")
	return f.Document, err
}

// at is a file that is at the version asked for.
func (g *Graph) at(ctx context.Context, ref connector.DocumentRef, besides string) (file, error) {
	_, drive, err := g.drive(ctx, ref.Table)
	if err != nil {
		return file{}, err
	}
	if ref.ID == "" {
		return file{}, fault.Invalidf("connector.document", "the id of a document of %s is empty", ref.Table)
	}
	f, err := g.stat(ctx, drive+"/items/"+url.PathEscape(ref.ID), besides)
	if err == nil && !f.is(ref.Version) {
		err = g.changed()
	}
	return f, err
}

func (g *Graph) changed() *fault.Fault {
	return fault.New(fault.Conflict, "connector.changed", "the document has changed in "+g.config.Name+" since it was looked at; read it again from the beginning", nil)
}

func reading() http.Header { return http.Header{"Accept": {"*/*"}} }
