package graph

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"iter"
	"slices"
	"time"

	"patchbay/internal/sandbox/content"
	"patchbay/internal/sandbox/storage"
)

var (
	drives = storage.NewTable(storage.Table{Schema: "graph", Name: "drives",
		Columns: []storage.Column{{Name: "id"}, {Name: "name"}, {Name: "seq", Kind: storage.Int}}, Primary: []string{"id"}})

	// items are files and folders. The name of a deleted one is null. Content is the blob
	// of its chunks, or generator the number that it is made of.
	items = storage.NewTable(storage.Table{Schema: "graph", Name: "items",
		Columns: []storage.Column{{Name: "id"}, {Name: "drive"}, {Name: "parent"}, {Name: "name", Fold: true}, {Name: "folder", Kind: storage.Bool},
			{Name: "deleted", Kind: storage.Bool}, {Name: "content"}, {Name: "generator", Kind: storage.Int}, {Name: "size", Kind: storage.Int},
			{Name: "hash"}, {Name: "mime"}, {Name: "created", Kind: storage.Time}, {Name: "modified", Kind: storage.Time},
			{Name: "version", Kind: storage.Int}, {Name: "content_version", Kind: storage.Int}, {Name: "changed", Kind: storage.Int}, {Name: "by"}},
		Primary: []string{"id"}, Unique: [][]string{{"drive", "parent", "name"}}, Index: [][]string{{"drive", "changed"}}})

	chunks = content.New("graph")

	sessions = storage.NewTable(storage.Table{Schema: "graph", Name: "sessions",
		Columns: []storage.Column{{Name: "id"}, {Name: "drive"}, {Name: "parent"}, {Name: "name"}, {Name: "behavior"}, {Name: "match"},
			{Name: "size", Kind: storage.Int}, {Name: "received", Kind: storage.Int}, {Name: "sum", Kind: storage.Bytes}, {Name: "expires", Kind: storage.Time}, {Name: "by"}},
		Primary: []string{"id"}})

	subscriptions = storage.NewTable(storage.Table{Schema: "graph", Name: "subscriptions",
		Columns: []storage.Column{{Name: "id"}, {Name: "drive"}, {Name: "resource"}, {Name: "url"}, {Name: "lifecycle"}, {Name: "state"},
			{Name: "expires", Kind: storage.Time}, {Name: "by"}},
		Primary: []string{"id"}, Index: [][]string{{"drive"}}})

	// jobs are notifications that are due.
	jobs = storage.NewTable(storage.Table{Schema: "graph", Name: "jobs",
		Columns: []storage.Column{{Name: "id"}, {Name: "url"}, {Name: "body"}, {Name: "made", Kind: storage.Time}, {Name: "due", Kind: storage.Time}, {Name: "tries", Kind: storage.Int}},
		Primary: []string{"id"}, Index: [][]string{{"due"}}})
)

// Tables are the tables of the system.
func Tables() []*storage.Table {
	return []*storage.Table{drives, items, chunks.Table, sessions, subscriptions, jobs}
}

// The one site, and its libraries.
const (
	host   = "contoso.sharepoint.com"
	siteID = host + ",2c712604-1370-44e7-a1f5-426573fda80a,2d2244c3-251a-49ea-93a8-39e1c3a060fe"
	tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
)

var libraries = []struct{ id, name string }{
	{"b!BCZxLHATRkSh9UJlc_2oCsNEIi0aJepJk6g54cOgYP4T01", "Documents"}, {"b!BCZxLHATRkSh9UJlc_2oCsNEIi0aJepJk6g54cOgYP4T02", "Archive"},
}

// Contract is the path of a contract that is there from the first day.
const Contract = "/Contracts/Framework agreement ACC-00001.pdf"

// firstFiles are what the libraries begin with: a folder, a name and a size.
var firstFiles = []struct {
	folder, name, mime string
	size               int64
}{
	{"Contracts", "Framework agreement ACC-00001.pdf", "application/pdf", 348_211}, {"Contracts", "Framework agreement ACC-00002.pdf", "application/pdf", 291_007},
	{"Contracts", "Price list 2026.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 187_330},
	{"Inbox", "Delivery terms.pdf", "application/pdf", 96_512}, {"Inbox", "order.csv", "text/csv", 35},
}

var firstDay = time.Date(2026, 1, 12, 8, 0, 0, 0, time.UTC)

// First gives the first rows by table.
func First() map[string]iter.Seq[storage.Row] {
	var list, all []storage.Row
	for n, l := range libraries {
		seq := int64(0)
		add := func(row storage.Row) {
			seq++
			row["drive"], row["deleted"], row["version"], row["content_version"], row["changed"], row["by"] = l.id, false, int64(1), int64(1), seq, "Alex Wilber"
			row["created"], row["modified"] = firstDay.Add(time.Duration(seq)*time.Hour), firstDay.Add(time.Duration(seq)*time.Hour)
			all = append(all, row)
		}
		top := rootOf(l.id)
		add(storage.Row{"id": top, "name": "root", "folder": true})
		folders := map[string]string{}
		for i, f := range firstFiles {
			if n > 0 {
				break // the archive is empty
			}
			if folders[f.folder] == "" {
				folders[f.folder] = newID(l.id, f.folder)
				add(storage.Row{"id": folders[f.folder], "parent": top, "name": f.folder, "folder": true})
			}
			generator := int64(i + 1)
			add(storage.Row{"id": newID(l.id, f.name), "parent": folders[f.folder], "name": f.name, "folder": false, "generator": generator, "size": f.size,
				"mime": f.mime, "hash": hashOf(generator, f.size)})
		}
		list = append(list, storage.Row{"id": l.id, "name": l.name, "seq": seq})
	}
	return map[string]iter.Seq[storage.Row]{drives.Name: slices.Values(list), items.Name: slices.Values(all)}
}

func rootOf(drive string) string { return newID(drive, "/root") }

// newID is the ID of an item, which follows from what made it.
func newID(of ...any) string {
	sum := sha256.Sum256(fmt.Append(nil, of...))
	return "01" + base32.StdEncoding.EncodeToString(sum[:20])
}

// guid is one of the same kind.
func guid(of ...any) string {
	sum := sha256.Sum256(fmt.Append(nil, of...))
	sum[6], sum[8] = sum[6]&0x0f|0x40, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func textOf(row storage.Row, name string) string { s, _ := row[name].(string); return s }
func intOf(row storage.Row, name string) int64   { n, _ := row[name].(int64); return n }

func byID(ctx context.Context, tx storage.Tx, t *storage.Table, id string, lock bool) (storage.Row, error) {
	row, err := storage.First(ctx, tx, t, storage.Compare{Column: "id", Op: storage.Eq, Value: id}, lock)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Name, err)
	}
	return row, nil
}
