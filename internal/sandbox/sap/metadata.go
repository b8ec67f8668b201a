package sap

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
)

// metadata is the EDMX document of a service.
func (s *service) metadata() exchange.Answer {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n")
	if s.V4 {
		b.WriteString(`<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices><Schema Namespace="` + s.namespace() +
			`" Alias="SAP__self" xmlns="http://docs.oasis-open.org/odata/ns/edm">`)
	} else {
		b.WriteString(`<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx" xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata" xmlns:sap="http://www.sap.com/Protocols/SAPData">` +
			`<edmx:DataServices m:DataServiceVersion="2.0"><Schema Namespace="` + s.namespace() + `" xml:lang="en" sap:schema-version="1" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">`)
	}
	for _, e := range s.Entities {
		s.entityType(&b, e)
	}
	if !s.V4 {
		s.associations(&b)
	}
	s.container(&b)
	b.WriteString(`</Schema></edmx:DataServices></edmx:Edmx>` + "\n")
	header := http.Header{"Content-Type": {"application/xml"}, "Dataserviceversion": {"2.0"}, "Cache-Control": {"max-age=0"}}
	if s.V4 {
		header = http.Header{"Content-Type": {"application/xml"}, "Odata-Version": {"4.0"}}
	}
	return exchange.Answer{Status: http.StatusOK, Header: header, Body: []byte(b.String())}
}

func (s *service) entityType(b *strings.Builder, e *entity) {
	fmt.Fprintf(b, `<EntityType Name="%s"`, e.Type)
	if !s.V4 {
		fmt.Fprintf(b, ` sap:label="%s" sap:content-version="1"`, e.Label)
	}
	b.WriteString(`><Key>`)
	for _, k := range e.Keys {
		fmt.Fprintf(b, `<PropertyRef Name="%s"/>`, k)
	}
	b.WriteString(`</Key>`)
	for _, p := range e.Properties {
		kind := p.Kind.v2
		if s.V4 {
			kind = p.Kind.v4
		}
		fmt.Fprintf(b, `<Property Name="%s" Type="%s"`, p.Name, kind)
		if e.isKey(p.Name) || s.V4 && (p.Kind == text || p.Kind == boolean) {
			b.WriteString(` Nullable="false"`)
		}
		if p.Length > 0 {
			b.WriteString(` MaxLength="` + strconv.Itoa(p.Length) + `"`)
		}
		switch {
		case p.Kind == decimal:
			fmt.Fprintf(b, ` Precision="%d" Scale="%d"`, p.Precision, p.Scale)
		case p.Kind == moment:
			b.WriteString(` Precision="7"`)
		}
		if !s.V4 {
			s.annotate(b, e, p)
		}
		b.WriteString(`/>`)
	}
	for _, n := range e.Navigations {
		to := s.set(n.To)
		switch {
		case !s.V4:
			fmt.Fprintf(b, `<NavigationProperty Name="%s" Relationship="%s.assoc_%s_%s" FromRole="From" ToRole="To"/>`, n.Name, s.namespace(), e.Set, n.Name)
		case n.Many:
			fmt.Fprintf(b, `<NavigationProperty Name="%s" Type="Collection(SAP__self.%s)"/>`, n.Name, to.Type)
		default:
			fmt.Fprintf(b, `<NavigationProperty Name="%s" Type="SAP__self.%s"/>`, n.Name, to.Type)
		}
	}
	b.WriteString(`</EntityType>`)
}

func (s *service) annotate(b *strings.Builder, e *entity, p property) {
	switch p.Kind {
	case date:
		b.WriteString(` Precision="0" sap:display-format="Date"`)
	case text:
		b.WriteString(` sap:display-format="UpperCase"`)
	}
	if p.Name == e.Version {
		b.WriteString(` ConcurrencyMode="Fixed"`)
	}
	if p.ReadOnly {
		b.WriteString(` sap:creatable="false" sap:updatable="false"`)
	} else if e.isKey(p.Name) {
		b.WriteString(` sap:updatable="false"`)
	}
}

func (s *service) associations(b *strings.Builder) {
	for _, e := range s.Entities {
		for _, n := range e.Navigations {
			many := "0..1"
			if n.Many {
				many = "*"
			}
			fmt.Fprintf(b, `<Association Name="assoc_%s_%s" sap:content-version="1"><End Type="%s.%s" Multiplicity="1" Role="From"/><End Type="%s.%s" Multiplicity="%s" Role="To"/></Association>`,
				e.Set, n.Name, s.namespace(), e.Type, s.namespace(), s.set(n.To).Type, many)
		}
	}
}

func (s *service) container(b *strings.Builder) {
	if s.V4 {
		b.WriteString(`<EntityContainer Name="Container">`)
	} else {
		b.WriteString(`<EntityContainer Name="` + s.Name + `_Entities" m:IsDefaultEntityContainer="true" sap:supported-formats="atom json xlsx">`)
	}
	for _, e := range s.Entities {
		fmt.Fprintf(b, `<EntitySet Name="%s" EntityType="%s.%s"`, e.Set, s.namespace(), e.Type)
		if !s.V4 {
			fmt.Fprintf(b, ` sap:creatable="%t" sap:updatable="%t" sap:deletable="%t" sap:content-version="1"`, e.Creates, e.Updates, e.Deletes)
		}
		b.WriteString(`>`)
		for _, n := range e.Navigations {
			if s.V4 {
				fmt.Fprintf(b, `<NavigationPropertyBinding Path="%s" Target="%s"/>`, n.Name, n.To)
			}
		}
		b.WriteString(`</EntitySet>`)
	}
	if !s.V4 {
		for _, e := range s.Entities {
			for _, n := range e.Navigations {
				fmt.Fprintf(b, `<AssociationSet Name="assoc_%s_%s_S" Association="%s.assoc_%s_%s"><End EntitySet="%s" Role="From"/><End EntitySet="%s" Role="To"/></AssociationSet>`,
					e.Set, n.Name, s.namespace(), e.Set, n.Name, e.Set, n.To)
			}
		}
	}
	b.WriteString(`</EntityContainer>`)
}

// document lists the entity sets of a service.
func (s *service) document() exchange.Answer {
	if s.V4 {
		sets := make([]*ordered.Object, len(s.Entities))
		for i, e := range s.Entities {
			sets[i] = ordered.New("name", e.Set, "url", e.Set)
		}
		return s.ok(ordered.New("@odata.context", "$metadata", "value", sets))
	}
	names := make([]string, len(s.Entities))
	for i, e := range s.Entities {
		names[i] = e.Set
	}
	return s.ok(ordered.New("d", ordered.New("EntitySets", names)))
}

// ok is an answer in JSON.
func (s *service) ok(body *ordered.Object) exchange.Answer {
	header := http.Header{"Content-Type": {"application/json"}, "Dataserviceversion": {"2.0"}, "Cache-Control": {"no-store, no-cache"}}
	if s.V4 {
		header = http.Header{"Content-Type": {"application/json;odata.metadata=minimal;charset=utf-8"}, "Odata-Version": {"4.0"}, "Cache-Control": {"no-store, no-cache"}}
	}
	return exchange.Answer{Status: http.StatusOK, Header: header, Body: body.Bytes()}
}
