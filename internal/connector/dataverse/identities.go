package dataverse

import (
	"context"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	// schemaFor is how long what a write has to know of a table is believed: the
	// navigations of lookups and the lengths of texts change with a deployment only.
	schemaFor = 10 * time.Minute
	// identitiesFor is how long the identities of columns are: they are asked for to find
	// out that they changed.
	identitiesFor = 10 * time.Second
)

type (
	// schema is what a write has to know of a table.
	schema struct {
		at          time.Time
		navigations map[[2]string]string
		details     map[string]detail
	}

	identityList struct {
		at   time.Time
		list []connector.Identity
	}
)

// schema reads what a write has to know, where it is not known yet.
func (v *Dataverse) schema(ctx context.Context, t connector.Table) (schema, error) {
	v.tables.mu.Lock()
	s, ok := v.tables.schemas[t.Name]
	v.tables.mu.Unlock()
	if ok && v.now().Sub(s.at) < schemaFor {
		return s, nil
	}
	s = schema{at: v.now()}
	var err error
	if len(t.Refers) > 0 {
		if s.navigations, err = v.relationships(ctx, t.Name); err != nil {
			return schema{}, err
		}
	}
	if s.details, err = v.more(ctx, t.Name); err != nil {
		return schema{}, err
	}
	v.tables.mu.Lock()
	v.tables.schemas[t.Name] = s
	v.tables.mu.Unlock()
	return s, nil
}

// Identities tells of each column the MetadataId, which a column keeps for as long as it
// is there: one that was deleted and made again under its name has another.
func (v *Dataverse) Identities(ctx context.Context, table string) ([]connector.Identity, error) {
	t, err := v.config.Table(table)
	if err != nil {
		return nil, err
	}
	v.tables.mu.Lock()
	had, ok := v.tables.identities[table]
	v.tables.mu.Unlock()
	if ok && v.now().Sub(had.at) < identitiesFor {
		return slices.Clone(had.list), nil
	}
	set, ok := connector.Literal(t.Path)
	if !ok {
		return nil, fault.Invalidf("connector.path", "table %s has no path", t.Name)
	}
	now := identityList{at: v.now()}
	found, err := v.metadata(ctx, "EntityDefinitions?$select=LogicalName&$filter="+connector.EscapeQuery("EntitySetName eq "+set)+
		"&$expand="+connector.EscapeQuery("Attributes($select=LogicalName,AttributeType,MetadataId)"))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.Rejected, System+".unknown_resource", v.config.Name+" has no table whose set is called as the path of "+t.Name, nil)
	}
	attributes, isList := found[0]["Attributes"].([]any)
	if !isList {
		return nil, v.transport.Malformed("a definition lacks its attributes")
	}
	dates, err := v.dates(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	for _, one := range attributes {
		of, _ := one.(map[string]any)
		name, isText := of["LogicalName"].(string)
		id, hasID := of["MetadataId"].(string)
		if !isText || !hasID {
			return nil, v.transport.Malformed("an attribute has no name or no identity")
		}
		kind, _ := of["AttributeType"].(string)
		column := connector.Identity{Column: name, ID: strings.ToLower(id), Type: types[kind]}
		switch {
		case column.Type == "":
			continue // it holds no value of its own
		case dates[name].dateOnly:
			column.Type = "date"
		case slices.Contains(references, kind):
			column.Column = known(t, name)
		}
		now.list = append(now.list, column)
	}
	v.tables.mu.Lock()
	v.tables.identities[table] = now
	v.tables.mu.Unlock()
	return slices.Clone(now.list), nil
}
