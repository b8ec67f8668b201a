package dataverse

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
	// sinceLink begins a cursor that asks for what changed, as opposed to the next
	// page of an answer under way.
	sinceLink    = "since "
	trackChanges = "odata.track-changes"
)

// ReadChanges reads change tracking: first every row, then what changed since.
// Rows hold the primary key besides the columns asked for, and come with the time of
// their last change, which is zero after a cursor from before it was asked for. Cursors hold the path
// of the system's own links, which stay good when the host gets another name.
func (v *Dataverse) ReadChanges(ctx context.Context, table string, columns []string, cursor string) (connector.Changes, error) {
	t, err := v.config.Table(table)
	if err != nil {
		return connector.Changes{}, err
	}
	token := ""
	target, isSince := strings.CutPrefix(cursor, sinceLink)
	switch {
	case cursor == "":
		target, err = v.target(t, connector.Query{Table: table, Select: columns})
		if err == nil && !slices.Contains(columns, changedAt) { // a stamp of the platform, as the version is
			target += "," + changedAt
		}
	case !isSince:
		token = cursor
		target, err = connector.Continuation(cursor)
	}
	if err != nil {
		return connector.Changes{}, err
	}
	if !strings.HasPrefix(target, v.root) {
		return connector.Changes{}, connector.BadToken()
	}
	h := reading()
	h["Prefer"] = []string{trackChanges + "," + pages(t, columns, defaultPage)}
	var got map[string]any
	if _, err = v.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: h, Collection: cursor == ""}, &got); err != nil {
		return connector.Changes{}, v.expired(cursor, err)
	}
	return v.changes(t, columns, token, got)
}

// expired tells a cursor that the system no longer knows from other failures.
func (v *Dataverse) expired(cursor string, err error) error {
	f := fault.Of(err)
	if cursor == "" || f.Code != System+".cursor_expired" && f.Code != System+".gone" {
		return err
	}
	return fault.New(fault.Conflict, "connector.cursor_expired",
		"the change tracking of "+v.config.Name+" no longer knows where it was read to; it has to be read from the beginning", err)
}

func (v *Dataverse) changes(t connector.Table, columns []string, token string, got map[string]any) (connector.Changes, error) {
	listed, err := v.listed(got["value"], got[nextLink])
	if err != nil {
		return connector.Changes{}, err
	}
	primary := primaryOf(t)
	var page connector.Changes
	for _, item := range listed.rows {
		if gone(item) {
			id, _ := item["id"].(string)
			if !isGUID(id) {
				return connector.Changes{}, v.transport.Malformed("a deleted row has no id")
			}
			page.Deleted = append(page.Deleted, strings.ToLower(id))
			continue
		}
		row := pick(t, item, columns)
		if row[primary] = item[primary]; row[primary] == nil {
			return connector.Changes{}, v.transport.Malformed("a changed row has no primary key")
		}
		page.Rows, page.Versions, page.At = append(page.Rows, row), append(page.Versions, versionOf(item)), append(page.At, changed(item))
	}
	if listed.next != "" {
		page.More = true
		page.Cursor, err = v.transport.Advance(token, v.below(listed.next))
		return page, err
	}
	since, _ := got[deltaLink].(string)
	if page.Cursor = sinceLink + v.below(since); !strings.HasPrefix(v.below(since), v.root) {
		return connector.Changes{}, v.transport.Malformed("there is no link to later changes; change tracking may be off for the table")
	}
	return page, nil
}

// versionOf is the row version in an ETag, W/"468026"; 0 for one of another form.
func versionOf(item map[string]any) int64 {
	tag, _ := item["@odata.etag"].(string)
	tag, weak := strings.CutPrefix(tag, `W/"`)
	version, err := strconv.ParseInt(strings.TrimSuffix(tag, `"`), 10, 64)
	if !weak || err != nil {
		return 0
	}
	return version
}

// changedAt is the column in which the platform says when a row was changed last.
const changedAt = "modifiedon"

func changed(item map[string]any) time.Time {
	text, _ := item[changedAt].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// gone recognises a deleted row.
func gone(item map[string]any) bool {
	about, _ := item["@odata.context"].(string)
	return strings.HasSuffix(about, "/$deletedEntity") || item["reason"] == "deleted"
}

// below is a link from the root of the Web API on.
func (v *Dataverse) below(link string) string {
	if i := strings.Index(link, v.root); i >= 0 {
		return link[i:]
	}
	return link
}
