package dataverse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

const (
	// maxContext is the largest body of a webhook; above it images and parameters go.
	maxContext = 256 << 10
	contracts  = ":http://schemas.microsoft.com/xrm/2011/Contracts"
)

// remoteContext is the RemoteExecutionContext of an event, as JSON.
func (s *System) remoteContext(r *request, t *Table, x step, e event, operation string) []byte {
	id := anyOf(e).of(t.Primary)
	var target *ordered.Object
	if e.message == "Delete" {
		target = ordered.New("__type", "EntityReference"+contracts, "Id", id, "KeyAttributes", []any{}, "LogicalName", t.Logical, "Name", nil, "RowVersion", nil)
	} else {
		target = t.entity(id, t.attributesOf(e.target(t), nil), false)
	}
	o := s.contextHead(r, t, x, e, operation)
	o.Set("InputParameters", []*ordered.Object{pair("Target", target)})
	var pre, post = []*ordered.Object{}, []*ordered.Object{}
	for _, image := range x.images {
		if e.old != nil && image.kind != 1 {
			pre = append(pre, pair(image.alias, t.entity(id, t.attributesOf(e.old, image.attributes), true)))
		}
		if e.now != nil && image.kind != 0 {
			post = append(post, pair(image.alias, t.entity(id, t.attributesOf(e.now, image.attributes), true)))
		}
	}
	o.Set("PreEntityImages", pre).Set("PostEntityImages", post).Set("ParentContext", nil)
	return slashed(o)
}

// trimmedContext is what is left of a context that was too large.
func (s *System) trimmedContext(r *request, t *Table, x step, e event, operation string) []byte {
	return slashed(s.contextHead(r, t, x, e, operation))
}

func (s *System) contextHead(r *request, t *Table, x step, e event, operation string) *ordered.Object {
	shared := []*ordered.Object{}
	if tag := queryTag(r.RawQuery); tag != "" {
		shared = append(shared, pair("tag", tag))
	}
	return ordered.New("BusinessUnitId", businessUnit, "CorrelationId", r.correlation(), "Depth", 1, "InitiatingUserAzureActiveDirectoryObjectId", r.User.ID,
		"InitiatingUserId", r.User.ID, "IsExecutingOffline", false, "IsInTransaction", false, "IsOfflinePlayback", false, "IsolationMode", 1,
		"MessageName", e.message, "Mode", 1, "OperationCreatedOn", wireDate(r.At), "OperationId", operation, "OrganizationId", s.env.ID, "OrganizationName", s.env.organization(),
		"OutputParameters", []any{}, "OwningExtension", ordered.New("Id", x.id, "KeyAttributes", []any{}, "LogicalName", "sdkmessageprocessingstep", "Name", x.name, "RowVersion", nil),
		"PrimaryEntityId", anyOf(e).of(t.Primary), "PrimaryEntityName", t.Logical, "RequestId", nil, "SecondaryEntityName", "none", "SharedVariables", shared,
		"Stage", 40, "UserAzureActiveDirectoryObjectId", r.User.ID, "UserId", r.User.ID)
}

// queryTag is the text that a request carries for plug-ins.
func queryTag(raw string) string {
	for _, one := range strings.Split(raw, "&") {
		if v, ok := strings.CutPrefix(one, "tag="); ok {
			text, err := url.QueryUnescape(v)
			if err == nil {
				return text
			}
		}
	}
	return ""
}

// rowOf reads columns of the row that an event is about.
type rowOf storage.Row

func (r rowOf) of(name string) any { return r[name] }

func anyOf(e event) rowOf {
	if e.now != nil {
		return rowOf(e.now)
	}
	return rowOf(e.old)
}

// target is what Target holds: of a creation all that the row has, of an update
// what the request named and what the platform sets with it.
func (e event) target(t *Table) storage.Row {
	if e.message == "Create" {
		return e.now
	}
	row := maps.Clone(e.set)
	for _, name := range []string{t.Primary, "modifiedon", "_modifiedby_value"} {
		row[name] = e.now[name]
	}
	for name := range row { // lookups keep their target beside them
		if c := t.byProperty[name]; c != nil && c.polymorphic() {
			row[c.pointer()] = e.now[c.pointer()]
		}
	}
	return row
}

// attributesOf are the columns of a row as an Entity holds them; only, where not
// nil, names those that may come. What is null has a place only where the row
// names it, as a request does.
func (t *Table) attributesOf(row storage.Row, only []string) []*ordered.Object {
	list := []*ordered.Object{}
	for i := range t.Columns {
		c := &t.Columns[i]
		v, named := row[c.Property()]
		if !named || c.Hidden || only != nil && !slices.Contains(only, c.Name) {
			continue
		}
		list = append(list, pair(c.Name, contextValue(c, v, row)))
	}
	return list
}

func (t *Table) entity(id any, attributes []*ordered.Object, image bool) *ordered.Object {
	if image { // an image leaves out what is null
		attributes = slices.DeleteFunc(attributes, func(o *ordered.Object) bool { return bytes.HasSuffix(o.Bytes(), []byte(`"value":null}`)) })
	}
	o := ordered.New()
	if !image {
		o.Set("__type", "Entity"+contracts)
	}
	return o.Set("Attributes", attributes).Set("EntityState", nil).Set("FormattedValues", []any{}).Set("Id", id).Set("KeyAttributes", []any{}).
		Set("LogicalName", t.Logical).Set("RelatedEntities", []any{}).Set("RowVersion", nil)
}

func pair(key string, value any) *ordered.Object { return ordered.New("key", key, "value", value) }

// contextValue is a value with its type, as the platform's serialiser writes it.
func contextValue(c *Column, v any, row storage.Row) any {
	if v == nil {
		return nil
	}
	switch c.Type {
	case Picklist, State, Status:
		return ordered.New("__type", "OptionSetValue"+contracts, "Value", v)
	case Money:
		n, _ := v.(json.Number)
		return ordered.New("__type", "Money"+contracts, "Value", n)
	case Lookup:
		return ordered.New("__type", "EntityReference"+contracts, "Id", v, "KeyAttributes", []any{}, "LogicalName", targetOf(c, row), "Name", nil, "RowVersion", nil)
	case DateTime:
		if at, ok := v.(time.Time); ok {
			return wireDate(at)
		}
	case DateOnly:
		if at, err := time.Parse(time.DateOnly, fmt.Sprint(v)); err == nil {
			return wireDate(at)
		}
	}
	return v
}

func wireDate(at time.Time) string { return fmt.Sprintf("/Date(%d)/", at.UnixMilli()) }

// slashed writes JSON as the platform's serialiser does: a slash, which stands in
// texts only, behind a backslash.
func slashed(o *ordered.Object) []byte {
	return bytes.ReplaceAll(o.Bytes(), []byte("/"), []byte(`\/`))
}
