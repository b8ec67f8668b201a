package dataverse

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// businessUnit is the one unit of every environment.
const businessUnit = "38e0dbe4-131b-4111-8a7e-78e7d1620f5e"

func (s *System) whoAmI(r *request) (exchange.Answer, error) {
	if r.Method != http.MethodGet {
		return exchange.Answer{}, &problem{status: http.StatusNotFound, message: "No HTTP resource was found that matches the request URI '" + r.Base + r.Path + "'."}
	}
	return reply(http.StatusOK, ordered.New("@odata.context", r.service+"/$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse",
		"BusinessUnitId", businessUnit, "UserId", r.User.ID, "OrganizationId", s.env.ID)), nil
}

func (s *System) serviceDocument(r *request) exchange.Answer {
	var list []*ordered.Object
	for _, t := range s.env.Tables {
		list = append(list, ordered.New("name", t.Set, "kind", "EntitySet", "url", t.Set))
	}
	return reply(http.StatusOK, ordered.New("@odata.context", r.service+"/$metadata", "value", list))
}

// metadata is the CSDL document, as far as clients look: types, keys,
// properties, navigations and sets.
func (s *System) metadata() exchange.Answer {
	var b strings.Builder
	quote := func(v string) string {
		var q strings.Builder
		_ = xml.EscapeText(&q, []byte(v)) // a Builder takes everything
		return `"` + q.String() + `"`
	}
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>` +
		`<Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm">`)
	for _, t := range s.env.Tables {
		fmt.Fprintf(&b, `<EntityType Name=%s><Key><PropertyRef Name=%s/></Key>`, quote(t.Logical), quote(t.Primary))
		for i := range t.Columns {
			c := &t.Columns[i]
			fmt.Fprintf(&b, `<Property Name=%s Type=%s`, quote(c.Property()), quote(edm(c.Type)))
			if c.Length > 0 {
				fmt.Fprintf(&b, ` MaxLength="%d"`, c.Length)
			}
			b.WriteString(`/>`)
		}
		for i := range t.Columns {
			for _, x := range t.Columns[i].Targets {
				name := x.Navigation
				if name == "" {
					name = t.Columns[i].Name
				}
				fmt.Fprintf(&b, `<NavigationProperty Name=%s Type=%s Nullable="true"/>`, quote(name), quote("mscrm."+x.Table))
			}
		}
		for _, c := range t.Collections {
			fmt.Fprintf(&b, `<NavigationProperty Name=%s Type=%s/>`, quote(c.Navigation), quote("Collection(mscrm."+c.Table+")"))
		}
		b.WriteString(`</EntityType>`)
	}
	b.WriteString(`<EntityContainer Name="System">`)
	for _, t := range s.env.Tables {
		fmt.Fprintf(&b, `<EntitySet Name=%s EntityType=%s/>`, quote(t.Set), quote("Microsoft.Dynamics.CRM."+t.Logical))
	}
	b.WriteString(`</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>`)
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/xml"}}, Body: []byte(b.String())}
}

// definitions answers EntityDefinitions, by name or filtered by one equality,
// with Attributes and Keys below or expanded.
func (s *System) definitions(ctx context.Context, tx storage.Tx, r *request) (exchange.Answer, error) {
	if r.Method != http.MethodGet {
		return exchange.Answer{}, wrongVerb(r)
	}
	values, err := readQuery(r.RawQuery)
	if err != nil {
		return exchange.Answer{}, err
	}
	ids, err := s.env.identities(ctx, tx)
	if err != nil {
		return exchange.Answer{}, err
	}
	only := selected(values.Get("$select"))
	_, key, keyed := splitKey(r.segments[0])
	if !keyed {
		list := []*ordered.Object{}
		for _, t := range s.env.Tables {
			o := t.definition(only, values.Get("$expand"), ids)
			if definitionMatches(t, values.Get("$filter")) {
				list = append(list, o)
			}
		}
		return reply(http.StatusOK, ordered.New("@odata.context", r.service+"/$metadata#EntityDefinitions", "value", list)), nil
	}
	var t *Table
	if name, v, ok := strings.Cut(key, "="); ok && name == "LogicalName" {
		t = s.env.byLogical[strings.Trim(v, "'")]
	} else {
		for _, x := range s.env.Tables {
			if ids.table(x) == strings.ToLower(key) {
				t = x
			}
		}
	}
	if t == nil {
		return exchange.Answer{}, refuse(http.StatusNotFound, "0x80060888", "Could not find an entity with the key %s.", key)
	}
	if len(r.segments) == 1 {
		return reply(http.StatusOK, t.definition(only, values.Get("$expand"), ids).First("@odata.context", r.service+"/$metadata#EntityDefinitions/$entity")), nil
	}
	context := r.service + "/$metadata#EntityDefinitions('" + t.Logical + "')/" + r.segments[1]
	switch r.segments[1] {
	case "Attributes":
		kind := ""
		if len(r.segments) > 2 {
			kind = strings.TrimSuffix(strings.TrimPrefix(r.segments[2], "Microsoft.Dynamics.CRM."), "AttributeMetadata")
		}
		return reply(http.StatusOK, ordered.New("@odata.context", context, "value", t.attributes(only, kind, ids))), nil
	case "Keys":
		return reply(http.StatusOK, ordered.New("@odata.context", context, "value", t.keys(only, ids))), nil
	case "ManyToOneRelationships", "OneToManyRelationships":
		return reply(http.StatusOK, ordered.New("@odata.context", context, "value", t.relationships(r.segments[1], only, ids))), nil
	default:
		return exchange.Answer{}, noSegment(r.segments[1])
	}
}

func selected(text string) func(string) bool {
	if text == "" {
		return func(string) bool { return true }
	}
	names := strings.Split(text, ",")
	return func(name string) bool { return slices.Contains(names, name) || name == "MetadataId" }
}

func pick(only func(string) bool, pairs ...any) *ordered.Object {
	o := ordered.New()
	for i := 0; i+1 < len(pairs); i += 2 {
		if only(pairs[i].(string)) {
			o.Set(pairs[i].(string), pairs[i+1])
		}
	}
	return o
}

// definitionMatches reads "Name eq 'value'", joined by or.
func definitionMatches(t *Table, filter string) bool {
	if filter == "" {
		return true
	}
	fields := map[string]string{"LogicalName": t.Logical, "EntitySetName": t.Set, "SchemaName": t.Logical, "LogicalCollectionName": t.Set}
	for _, part := range strings.Split(filter, " or ") {
		name, v, ok := strings.Cut(strings.Trim(part, "() "), " eq ")
		if field, known := fields[name]; ok && known && strings.EqualFold(field, strings.Trim(v, "' ")) {
			return true
		}
	}
	return false
}

func label(text string) *ordered.Object {
	one := ordered.New("Label", text, "LanguageCode", 1033, "IsManaged", true)
	return ordered.New("LocalizedLabels", []*ordered.Object{one}, "UserLocalizedLabel", one)
}

func (t *Table) definition(only func(string) bool, expand string, ids identities) *ordered.Object {
	ownership := "OrganizationOwned"
	if t.Owned {
		ownership = "UserOwned"
	}
	o := pick(only, "LogicalName", t.Logical, "SchemaName", t.Logical, "EntitySetName", t.Set, "LogicalCollectionName", t.Set,
		"PrimaryIdAttribute", t.Primary, "PrimaryNameAttribute", t.NameColumn, "DisplayName", label(t.Label), "OwnershipType", ownership,
		"ChangeTrackingEnabled", !t.Untracked, "IsOptimisticConcurrencyEnabled", true, "IsCustomEntity", strings.HasPrefix(t.Logical, "msx_"),
		"TableType", "Standard", "MetadataId", ids.table(t))
	for _, part := range splitTop(expand, ',') {
		name, inner, _ := strings.Cut(strings.TrimSuffix(part, ")"), "(")
		inside := selected(strings.TrimPrefix(inner, "$select="))
		switch name {
		case "Attributes":
			o.Set("Attributes", t.attributes(inside, "", ids))
		case "Keys":
			o.Set("Keys", t.keys(inside, ids))
		}
	}
	return o
}

func (t *Table) attributes(only func(string) bool, kind string, ids identities) []*ordered.Object {
	list := []*ordered.Object{}
	for i := range t.Columns {
		c := &t.Columns[i]
		if !ids.present(t, c) {
			continue
		}
		kindName := string(c.Type)
		if c.Type == DateOnly {
			kindName = "DateTime"
		}
		if kind != "" && kindName != kind {
			continue
		}
		o := pick(only, "LogicalName", c.Name, "SchemaName", c.Name, "AttributeType", kindName, "AttributeTypeName", ordered.New("Value", kindName+"Type"),
			"EntityLogicalName", t.Logical, "IsPrimaryId", c.Name == t.Primary, "IsPrimaryName", c.Name == t.NameColumn,
			"IsValidForCreate", !c.ReadOnly, "IsValidForUpdate", !c.ReadOnly && c.Name != t.Primary, "IsValidForRead", true,
			"RequiredLevel", ordered.New("Value", requiredLevel(c)), "DisplayName", label(c.Name), "MetadataId", ids.column(t, i))
		if c.Length > 0 && only("MaxLength") {
			o.Set("MaxLength", c.Length)
		}
		if kindName == "DateTime" && only("Format") {
			o.Set("Format", map[bool]string{true: "DateOnly", false: "DateAndTime"}[c.Type == DateOnly])
		}
		if kind != "" && len(c.Options) > 0 {
			options := []*ordered.Object{}
			for _, x := range c.Options {
				option := ordered.New("Value", x.Value, "Label", label(x.Label))
				if c.Type == Status {
					option.Set("State", x.State)
				}
				options = append(options, option)
			}
			o.Set("OptionSet", ordered.New("Options", options)).Set("GlobalOptionSet", nil)
		}
		list = append(list, o.First("@odata.type", "#Microsoft.Dynamics.CRM."+kindName+"AttributeMetadata"))
	}
	return list
}

func requiredLevel(c *Column) string {
	if c.Required {
		return "SystemRequired"
	}
	return "None"
}

func (t *Table) keys(only func(string) bool, ids identities) []*ordered.Object {
	list := []*ordered.Object{}
	for i, k := range t.Keys {
		list = append(list, pick(only, "SchemaName", k.Name, "LogicalName", k.Name, "KeyAttributes", k.Columns, "EntityKeyIndexStatus", "Active",
			"MetadataId", ids.table(t)[:24]+fmt.Sprintf("%012x", 0xf00+i)))
	}
	return list
}

func (t *Table) relationships(side string, only func(string) bool, ids identities) []*ordered.Object {
	list := []*ordered.Object{}
	add := func(pairs ...any) {
		list = append(list, pick(only, append(pairs, "MetadataId", ids.table(t)[:24]+fmt.Sprintf("%012x", 0xe00+len(list)))...))
	}
	if side == "OneToManyRelationships" {
		for _, c := range t.Collections {
			add("ReferencedEntity", t.Logical, "ReferencingEntity", c.Table, "ReferencingAttribute", c.Column,
				"ReferencedEntityNavigationPropertyName", c.Navigation)
		}
		return list
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		for _, x := range c.Targets {
			name, behaviour := x.Navigation, c.OnDelete
			if name == "" {
				name = c.Name
			}
			if behaviour == "" {
				behaviour = "NoCascade"
			}
			add("ReferencedEntity", x.Table, "ReferencingEntity", t.Logical, "ReferencingAttribute", c.Name,
				"ReferencingEntityNavigationPropertyName", name, "CascadeConfiguration", ordered.New("Delete", string(behaviour)))
		}
	}
	return list
}
