package sap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/strictjson"
)

type (
	// model is what a service says of itself.
	model struct {
		v4   bool
		sets map[string]*entity
	}

	entity struct {
		name        string
		keys        []string
		order       []string // names of the properties, as the service has them
		properties  map[string]property
		navigations map[string]*entity // to one or to many
	}

	property struct {
		name, edm                string
		nullable, dateOnly       bool
		length, precision, scale int
	}

	// The elements of an EDMX document that matter, V2 and V4.
	edmx struct {
		XMLName xml.Name
		Version string      `xml:"Version,attr"`
		Schemas []xmlSchema `xml:"DataServices>Schema"`
	}

	xmlSchema struct {
		Namespace    string           `xml:"Namespace,attr"`
		Alias        string           `xml:"Alias,attr"`
		Types        []xmlType        `xml:"EntityType"`
		Associations []xmlAssociation `xml:"Association"`
		Sets         []xmlSet         `xml:"EntityContainer>EntitySet"`
	}

	xmlType struct {
		Name       string        `xml:"Name,attr"`
		BaseType   string        `xml:"BaseType,attr"`
		Keys       []xmlName     `xml:"Key>PropertyRef"`
		Properties []xmlProperty `xml:"Property"`
		Navigation []xmlNav      `xml:"NavigationProperty"`
	}

	xmlName struct {
		Name string `xml:"Name,attr"`
	}

	xmlProperty struct {
		Name      string `xml:"Name,attr"`
		Type      string `xml:"Type,attr"`
		Nullable  string `xml:"Nullable,attr"`
		MaxLength string `xml:"MaxLength,attr"`
		Precision string `xml:"Precision,attr"`
		Scale     string `xml:"Scale,attr"`
		Display   string `xml:"display-format,attr"`
	}

	xmlNav struct {
		Name         string `xml:"Name,attr"`
		Type         string `xml:"Type,attr"`         // V4
		Relationship string `xml:"Relationship,attr"` // V2
		ToRole       string `xml:"ToRole,attr"`
	}

	xmlAssociation struct {
		Name string `xml:"Name,attr"`
		Ends []struct {
			Role string `xml:"Role,attr"`
			Type string `xml:"Type,attr"`
		} `xml:"End"`
	}

	xmlSet struct {
		Name string `xml:"Name,attr"`
		Type string `xml:"EntityType,attr"`
	}
)

// parseModel reads an EDMX document. One that is cut off is told from one that is
// something else.
func parseModel(body []byte) (*model, error) {
	var doc edmx
	dec := xml.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&doc); err != nil {
		var syntax *xml.SyntaxError
		started := len(body) == 0 || bytes.IndexByte(body, '<') >= 0
		if started && errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &syntax) && strings.Contains(syntax.Msg, "unexpected EOF") {
			return nil, fmt.Errorf("$metadata ends in the middle: %w", strictjson.PlaceError{Offset: len(body)})
		}
		return nil, errors.New("$metadata is no XML document")
	}
	if doc.XMLName.Local != "Edmx" || len(doc.Schemas) == 0 {
		return nil, errors.New("$metadata is no EDMX document")
	}
	m := &model{v4: strings.HasPrefix(doc.Version, "4"), sets: map[string]*entity{}}
	r := &edmxReader{doc: &doc, types: map[string]*xmlType{}, made: map[string]*entity{}}
	for i, s := range doc.Schemas {
		for j := range s.Types {
			for _, space := range []string{s.Namespace, s.Alias} {
				if space != "" {
					r.types[space+"."+s.Types[j].Name] = &doc.Schemas[i].Types[j]
				}
			}
		}
	}
	for _, s := range doc.Schemas {
		for _, set := range s.Sets {
			if e := r.entity(set.Type); e != nil {
				m.sets[set.Name] = e
			}
		}
	}
	if len(m.sets) == 0 {
		return nil, errors.New("$metadata has no entity set")
	}
	return m, nil
}

type edmxReader struct {
	doc   *edmx
	types map[string]*xmlType // by qualified name
	made  map[string]*entity
}

// entity makes the entity of a type with what its base types have; nil: there is no
// such type.
func (r *edmxReader) entity(name string) *entity {
	if e := r.made[name]; e != nil {
		return e
	}
	t := r.types[name]
	if t == nil {
		return nil
	}
	e := &entity{name: t.Name, properties: map[string]property{}, navigations: map[string]*entity{}}
	r.made[name] = e // before what it leads to, which may lead back
	for depth := 0; t != nil && depth < 16; depth++ {
		var keys []string
		for _, k := range t.Keys {
			keys = append(keys, k.Name)
		}
		if len(keys) > 0 {
			e.keys = keys
		}
		for _, p := range t.Properties {
			e.properties[p.Name] = p.property()
			e.order = append(e.order, p.Name)
		}
		for _, n := range t.Navigation {
			if to := r.entity(r.leadsTo(n)); to != nil {
				e.navigations[n.Name] = to
			}
		}
		t = r.types[t.BaseType]
	}
	return e
}

// leadsTo is the type at the end of a navigation property.
func (r *edmxReader) leadsTo(n xmlNav) string {
	if n.Type != "" {
		return strings.TrimSuffix(strings.TrimPrefix(n.Type, "Collection("), ")")
	}
	for _, s := range r.doc.Schemas {
		for _, a := range s.Associations {
			if n.Relationship != s.Namespace+"."+a.Name && (s.Alias == "" || n.Relationship != s.Alias+"."+a.Name) {
				continue
			}
			for _, end := range a.Ends {
				if end.Role == n.ToRole {
					return end.Type
				}
			}
		}
	}
	return ""
}

func (p xmlProperty) property() property {
	number := func(text string) int { n, _ := strconv.Atoi(text); return max(n, 0) } // "Max" and "variable" say no number
	return property{
		name: p.Name, edm: strings.TrimPrefix(p.Type, "Edm."), nullable: p.Nullable != "false", dateOnly: p.Display == "Date",
		length: number(p.MaxLength), precision: number(p.Precision), scale: number(p.Scale),
	}
}

// form is how values of the property become what rows hold.
func (p property) form() sheet.Form {
	switch p.edm {
	case "Decimal", "Int64", "Int32", "Int16", "Byte", "SByte", "Double", "Single", "Float":
		return sheet.Number
	case "DateTime":
		if p.dateOnly {
			return sheet.Date
		}
		return sheet.Timestamp
	case "DateTimeOffset":
		return sheet.Timestamp
	case "Time":
		return sheet.Clock
	}
	return sheet.AsIs
}

// kind is the type of the property in a description.
func (p property) kind() string {
	switch p.edm {
	case "String", "Guid", "Time", "TimeOfDay", "Duration":
		return "string"
	case "Int64", "Int32", "Int16", "Byte", "SByte":
		return "int"
	case "Decimal", "Double", "Single", "Float":
		return "decimal"
	case "Boolean":
		return "bool"
	case "Date":
		return "date"
	case "DateTime":
		if p.dateOnly {
			return "date"
		}
		return "timestamp"
	case "DateTimeOffset":
		return "timestamp"
	case "Binary":
		return "bytes"
	}
	switch {
	case strings.HasPrefix(p.edm, "Collection("):
		return "list"
	case strings.Contains(p.edm, "."):
		return "object"
	}
	return ""
}

func (e *entity) describe() connector.Description {
	var d connector.Description
	for _, name := range e.order {
		p := e.properties[name]
		c := connector.Described{Name: name, Type: p.kind(), Nullable: p.nullable}
		switch c.Type {
		case "string", "bytes":
			c.Length = p.length
		case "decimal":
			c.Precision, c.Scale = p.precision, p.scale
		}
		d.Columns = append(d.Columns, c)
	}
	if len(e.keys) > 0 {
		d.Keys = [][]string{e.keys}
	}
	return d
}
