package ibm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/graph-gophers/graphql-go"

	"patchbay/internal/sandbox/storage"
)

type (
	// document is one version of a document.
	document struct {
		r   *request
		row storage.Row
	}

	// moment is a DateTime that is answered, when one that is given; scalar is a
	// ScalarPropertyValue.
	moment struct{ at time.Time }
	when   struct{ at time.Time }
	scalar struct{ v any }

	// held is a property of a document with its value.
	held struct {
		p property
		v any
	}

	// element is the one content element of a document.
	element struct{ d *document }

	reference struct{ class, id string }
)

// ImplementsGraphQLType names the scalar.
func (moment) ImplementsGraphQLType(name string) bool { return name == "DateTime" }

// UnmarshalGraphQL is never called: a moment is no argument.
func (moment) UnmarshalGraphQL(any) error { return errors.ErrUnsupported }

// MarshalJSON writes milliseconds.
func (m moment) MarshalJSON() ([]byte, error) {
	return m.at.UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

// ImplementsGraphQLType names the scalar.
func (*when) ImplementsGraphQLType(name string) bool { return name == "DateTime" }

// UnmarshalGraphQL reads an argument.
func (m *when) UnmarshalGraphQL(input any) error {
	text, _ := input.(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return fmt.Errorf("%q is no DateTime", text)
	}
	m.at = at.UTC()
	return nil
}

// ImplementsGraphQLType names the scalar.
func (scalar) ImplementsGraphQLType(name string) bool { return name == "ScalarPropertyValue" }

// UnmarshalGraphQL is never called: a scalar is no argument.
func (scalar) UnmarshalGraphQL(any) error { return errors.ErrUnsupported }

// MarshalJSON writes the value as its type has it.
func (s scalar) MarshalJSON() ([]byte, error) {
	if at, ok := s.v.(time.Time); ok {
		return moment{at}.MarshalJSON()
	}
	return json.Marshal(s.v)
}

func (d *document) ToDocumentType() (*document, bool) { return d, true }

func (d *document) text(column string) *string {
	s, ok := d.row[column].(string)
	if !ok {
		return nil
	}
	return &s
}

func (d *document) moment(column string) *moment {
	at, ok := d.row[column].(time.Time)
	if !ok {
		return nil
	}
	return &moment{at}
}

func (d *document) int(column string) *int32 {
	n, ok := d.row[column].(int64)
	if !ok {
		return nil
	}
	m := int32(n)
	return &m
}

func (d *document) bool(column string) *bool {
	b, ok := d.row[column].(bool)
	if !ok {
		return nil
	}
	return &b
}

func (d *document) id() string { s, _ := d.row["Id"].(string); return s }

func (d *document) class() *class {
	name, _ := d.row[className].(string)
	if c := find(name); c != nil {
		return c
	}
	return base
}

func (d *document) ID() graphql.ID              { return graphql.ID(d.id()) }
func (d *document) ClassName() string           { return d.class().name }
func (d *document) Name() *string               { return d.text("DocumentTitle") }
func (d *document) MimeType() *string           { return d.text("MimeType") }
func (d *document) Creator() *string            { return d.text("Creator") }
func (d *document) Owner() *string              { return d.text("Owner") }
func (d *document) LastModifier() *string       { return d.text("LastModifier") }
func (d *document) DateCreated() *moment        { return d.moment("DateCreated") }
func (d *document) DateLastModified() *moment   { return d.moment("DateLastModified") }
func (d *document) DateCheckedIn() *moment      { return d.moment("DateCheckedIn") }
func (d *document) CmRetentionDate() *moment    { return d.moment("CmRetentionDate") }
func (d *document) MajorVersionNumber() *int32  { return d.int("MajorVersionNumber") }
func (d *document) MinorVersionNumber() *int32  { return d.int("MinorVersionNumber") }
func (d *document) IsCurrentVersion() *bool     { return d.bool("IsCurrentVersion") }
func (d *document) IsReserved() *bool           { return d.bool("IsReserved") }
func (d *document) UpdateSequenceNumber() int32 { return *d.int(sequence) }

func (d *document) ObjectReference() reference { return reference{d.class().name, d.id()} }

func (r reference) ClassIdentifier() string       { return r.class }
func (r reference) Identifier() string            { return r.id }
func (r reference) RepositoryIdentifier() *string { name := repository; return &name }

func (d *document) ContentSize() *float64 {
	n, ok := d.row["ContentSize"].(json.Number)
	if !ok {
		return nil
	}
	size, err := n.Float64()
	if err != nil {
		return nil
	}
	return &size
}

// VersionStatus is the number of the content engine by its name.
func (d *document) VersionStatus() *string {
	names := []string{"", "RELEASED", "IN_PROCESS", "RESERVATION", "SUPERSEDED"}
	n := d.int("VersionStatus")
	if n == nil || int(*n) >= len(names) || *n < 1 {
		return nil
	}
	return &names[*n]
}

func (d *document) series(ctx context.Context) ([]*document, error) {
	rows, err := d.r.tx.Find(ctx, documents, storage.Query{Omit: []string{content}, Order: []storage.Order{{Column: "MajorVersionNumber", Desc: true}},
		Where: storage.Compare{Column: "VersionSeries", Op: storage.Eq, Value: d.row["VersionSeries"]}})
	if err != nil {
		return nil, d.r.fail(fmt.Errorf("reading versions: %w", err))
	}
	list := make([]*document, len(rows))
	for i, row := range rows {
		list[i] = &document{d.r, row}
	}
	return list, nil
}

func (d *document) Versions(ctx context.Context) (*set, error) {
	list, err := d.series(ctx)
	return &set{documents: list}, err
}

func (d *document) CurrentVersion(ctx context.Context) (*document, error) {
	list, err := d.series(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		if one.row["IsCurrentVersion"] == true {
			return one, nil
		}
	}
	return nil, nil
}

// Properties are those asked for that the class has, or all.
func (d *document) Properties(args struct{ Includes *[]string }) []*held {
	list := []*held{}
	for _, p := range d.class().all() {
		if args.Includes != nil && !slices.ContainsFunc(*args.Includes, func(n string) bool { return strings.EqualFold(n, p.name) }) {
			continue
		}
		list = append(list, &held{p, d.row[p.name]})
	}
	return list
}

func (h *held) Alias() string       { return h.p.name }
func (h *held) Cardinality() string { return "SINGLE" }
func (h *held) ID() string          { return h.p.name }
func (h *held) Label() string       { return h.p.name }
func (h *held) Type() string        { return h.p.kind }
func (h *held) Value() *scalar {
	if h.v == nil {
		return nil
	}
	return &scalar{h.v}
}

func (h *held) ToStringProperty() (*held, bool)   { return h, h.p.kind == "STRING" }
func (h *held) ToIntegerProperty() (*held, bool)  { return h, h.p.kind == "LONG" }
func (h *held) ToFloatProperty() (*held, bool)    { return h, h.p.kind == "DOUBLE" }
func (h *held) ToBooleanProperty() (*held, bool)  { return h, h.p.kind == "BOOLEAN" }
func (h *held) ToDateTimeProperty() (*held, bool) { return h, h.p.kind == "DATE" }
func (h *held) ToIdProperty() (*held, bool)       { return h, h.p.kind == "GUID" }

func (h *held) as() *document { return &document{row: storage.Row{h.p.name: h.v}} }

func (h *held) StringValue() *string   { return h.as().text(h.p.name) }
func (h *held) IntValue() *int32       { return h.as().int(h.p.name) }
func (h *held) BooleanValue() *bool    { return h.as().bool(h.p.name) }
func (h *held) DateTimeValue() *moment { return h.as().moment(h.p.name) }
func (h *held) FloatValue() *float64 {
	n, ok := h.v.(json.Number)
	if !ok {
		return nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil
	}
	return &f
}

func (h *held) IDValue() *graphql.ID {
	s, ok := h.v.(string)
	if !ok {
		return nil
	}
	id := graphql.ID(s)
	return &id
}

// ContentElements is the one element of a document that has content.
func (d *document) ContentElements() *[]*element {
	list := []*element{}
	if d.row["ContentSize"] != nil {
		list = append(list, &element{d})
	}
	return &list
}

func (e *element) ToContentTransferType() (*element, bool) { return e, true }
func (e *element) ToContentTransfer() (*element, bool)     { return e, true }
func (e *element) ClassName() string                       { return "ContentTransfer" }
func (e *element) ContentType() string                     { s, _ := e.d.row["MimeType"].(string); return s }
func (e *element) ElementSequenceNumber() int32            { return 0 }
func (e *element) ContentSize() *float64                   { return e.d.ContentSize() }
func (e *element) RetrievalName() *string                  { return e.d.text(retrieval) }
func (e *element) DownloadURL() *string {
	at := "/content?repositoryIdentifier=" + repository + "&documentId=" + url.QueryEscape(e.d.id()) + "&elementSequenceNumber=" + strconv.Itoa(0)
	return &at
}
