package dataverse

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// leadsTo is the annotation that names the table a lookup leads to. No other is ever
// asked for: the formatted value of a lookup is the name of the row behind it.
const leadsTo = "@Microsoft.Dynamics.CRM.lookuplogicalname"

// wire is the name of a column on the Web API. A lookup that the connection knows by its
// own name (refers) is _name_value there.
func wire(t connector.Table, column string) string {
	if _, ok := t.Refers[column]; ok && !strings.HasPrefix(column, "_") {
		return lookup(column)
	}
	return column
}

// known is the name by which the connection has a lookup.
func known(t connector.Table, logical string) string {
	if _, ok := t.Refers[logical]; ok {
		return logical
	}
	return lookup(logical)
}

// selection is what a read asks for: the columns, and nothing besides.
func selection(t connector.Table, columns []string) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = wire(t, c)
	}
	return strings.Join(names, ",")
}

// paged is the preference of a read in pages.
func paged(size int) string { return "odata.maxpagesize=" + strconv.Itoa(size) }

// pages is paged for columns of which some may be lookups.
func pages(t connector.Table, columns []string, size int) string {
	if led := led(t, columns); led != "" {
		return paged(size) + "," + led
	}
	return paged(size)
}

// led is the preference by which a read of lookups tells where each leads; empty: none
// is read.
func led(t connector.Table, columns []string) string {
	if !slices.ContainsFunc(columns, func(c string) bool { return wire(t, c) != c }) {
		return ""
	}
	return `odata.include-annotations="` + strings.TrimPrefix(leadsTo, "@") + `"`
}

// bindings are the lookups of rows to write: of each column the property that binds it,
// and the set of the rows it leads to.
type bindings struct {
	table connector.Table
	to    map[string]binding
}

type binding struct{ property, set string }

// bindings finds the lookups among the columns of rows.
func (v *Dataverse) bindings(ctx context.Context, t connector.Table, rows []connector.Row) (bindings, error) {
	b := bindings{table: t, to: map[string]binding{}}
	if len(t.Refers) == 0 {
		return b, nil
	}
	for _, row := range rows {
		for column := range row {
			if _, done := b.to[column]; done || wire(t, column) == column {
				continue
			}
			to, ok := v.config.Tables[t.Refers[column]]
			if !ok || to.Path == "" {
				return b, fault.Invalidf("connector.lookup", "column %s of %s refers to %s, which is no table of %s", column, t.Name, t.Refers[column], v.config.Name)
			}
			property, err := v.navigation(ctx, t, column)
			if err != nil {
				return b, err
			}
			b.to[column] = binding{property + "@odata.bind", to.Path}
		}
	}
	return b, nil
}

// payload is a row as JSON without its key, which stands in the address.
func (b bindings) payload(key []string, row connector.Row) ([]byte, error) {
	values := make(map[string]any, len(row))
	for column, value := range row {
		if slices.Contains(key, column) {
			continue
		}
		if _, isLookup := b.to[column]; isLookup {
			name, bound, err := b.bind(column, value)
			if err != nil {
				return nil, err
			}
			values[name] = bound
			continue
		}
		values[column] = value
	}
	return json.Marshal(values)
}

// bind is a lookup as a write has it.
func (b bindings) bind(column string, value any) (property string, bound any, err error) {
	to := b.to[column]
	if value == nil {
		return to.property, nil, nil
	}
	id, isText := value.(string)
	if !isText || !isGUID(id) {
		return "", nil, fault.New(fault.Rejected, System+".value", "a row of "+b.table.Name+" has no ID in the lookup "+column, nil)
	}
	return to.property, "/" + to.set + "(" + strings.ToLower(id) + ")", nil
}

// bound reports whether a message speaks of a row that one of the lookups leads to.
func (b bindings) bound(row connector.Row, message string) bool {
	message = strings.ToLower(message)
	for column := range b.to {
		if id, isText := row[column].(string); isText && strings.Contains(message, strings.ToLower(id)) {
			return true
		}
	}
	return false
}

// navigation is the property by which a lookup is written: with several kinds of rows to
// lead to it has one for each.
func (v *Dataverse) navigation(ctx context.Context, t connector.Table, column string) (string, error) {
	s, err := v.schema(ctx, t)
	if err != nil {
		return "", err
	}
	to := t.Refers[column]
	if name := s.navigations[[2]string{column, to}]; name != "" {
		return name, nil
	}
	return "", fault.New(fault.Rejected, "connector.lookup", "column "+column+" of "+t.Name+" is no lookup that leads to "+to, nil)
}

// relationships reads the navigations of a table's lookups, by column and table.
func (v *Dataverse) relationships(ctx context.Context, logical string) (map[[2]string]string, error) {
	list, err := v.metadata(ctx, "EntityDefinitions(LogicalName='"+logical+"')/ManyToOneRelationships?$select=ReferencingAttribute,ReferencedEntity,ReferencingEntityNavigationPropertyName")
	if err != nil {
		return nil, err
	}
	found := map[[2]string]string{}
	for _, of := range list {
		column, isText := of["ReferencingAttribute"].(string)
		to, alsoText := of["ReferencedEntity"].(string)
		name, _ := of["ReferencingEntityNavigationPropertyName"].(string)
		if !isText || !alsoText {
			return nil, v.transport.Malformed("a relationship has no lookup")
		}
		found[[2]string{column, to}] = name
	}
	return found, nil
}

// named has the columns of a sheet as the keys of a row.
func named(columns []string) connector.Row {
	row := make(connector.Row, len(columns))
	for _, c := range columns {
		row[c] = nil
	}
	return row
}

// asJSON is the header of a part that has or wants JSON.
func asJSON() http.Header { return http.Header{"Accept": {"application/json"}} }
