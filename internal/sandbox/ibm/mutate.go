package ibm

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/graph-gophers/graphql-go"

	"patchbay/internal/sandbox/storage"
)

type (
	// pair is a PropertyIdentifierAndScalarValue: one member.
	pair struct{ members map[string]any }

	documentProperties struct {
		CmRetentionDate *when
		Content         *string
		MimeType        *string
		Name            *string
		Owner           *string
		Properties      *[]pair
	}

	checkin struct{ AutoClassify, CheckinMinorVersion *bool }
)

// ImplementsGraphQLType names the scalar.
func (*pair) ImplementsGraphQLType(name string) bool {
	return name == "PropertyIdentifierAndScalarValue"
}

// UnmarshalGraphQL reads an argument.
func (p *pair) UnmarshalGraphQL(input any) error {
	members, ok := input.(map[string]any)
	if !ok || len(members) != 1 {
		return errors.New("a property is an object with one member")
	}
	p.members = members
	return nil
}

// into sets what the input says.
func (in *documentProperties) into(c *class, row storage.Row) error {
	if in == nil {
		return nil
	}
	for column, value := range map[string]*string{"DocumentTitle": in.Name, "MimeType": in.MimeType, "Owner": in.Owner} {
		if value != nil {
			row[column] = *value
		}
	}
	if in.CmRetentionDate != nil {
		row["CmRetentionDate"] = in.CmRetentionDate.at
	}
	if in.Properties == nil {
		return nil
	}
	for _, one := range *in.Properties {
		for name, value := range one.members {
			p, ok := c.property(name)
			if !ok {
				return refused("The property %s is not a property of the class %s.", name, c.name)
			}
			if p.owned {
				return &problem{403, "FNRCE0057E", "The property " + name + " is read-only."}
			}
			stored, err := p.stored(value)
			if err != nil {
				return err
			}
			row[p.name] = stored
		}
	}
	return nil
}

// stored is a value of the wire as the table has it.
func (p property) stored(value any) (any, error) {
	wrong := refused("The value of the property %s is not of type %s.", p.name, p.kind)
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		switch p.kind {
		case "STRING":
			if p.length > 0 && len([]rune(v)) > p.length {
				return nil, refused("The value of the property %s is longer than %d.", p.name, p.length)
			}
			return v, nil
		case "GUID":
			return strings.ToUpper(v), nil
		case "DATE":
			if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
				return at.UTC().Truncate(time.Millisecond), nil
			}
		}
	case bool:
		if p.kind == "BOOLEAN" {
			return v, nil
		}
	case float64, int32:
		text, err := json.Marshal(v)
		switch {
		case err != nil:
		case p.kind == "DOUBLE":
			return json.Number(text), nil
		case p.kind == "LONG":
			if n, err := json.Number(text).Int64(); err == nil && int64(int32(n)) == n {
				return n, nil
			}
		}
	}
	return nil, wrong
}

var guidForm = regexp.MustCompile(`^\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}$`)

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("{%X-%X-%X-%X-%X}", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// own runs one mutation so that its failure undoes it alone.
func (r *request) own(ctx context.Context, fn func(tx *request) error) error {
	err := r.tx.Nested(ctx, func(tx storage.Tx) error {
		inner := *r
		inner.tx = tx
		return fn(&inner)
	})
	if err != nil {
		return r.fail(err)
	}
	return nil
}

func (*resolver) CreateDocument(ctx context.Context, args struct {
	CheckinAction          *checkin
	ClassIdentifier        *string
	DocumentProperties     *documentProperties
	FileInFolderIdentifier *string
	ID                     *graphql.ID
	RepositoryIdentifier   string
	VersionSeriesID        *graphql.ID
}) (*document, error) {
	if err := at(args.RepositoryIdentifier); err != nil {
		return nil, err
	}
	c := base
	if args.ClassIdentifier != nil {
		if c = find(*args.ClassIdentifier); c == nil {
			return nil, missing("class " + *args.ClassIdentifier)
		}
	}
	if args.FileInFolderIdentifier != nil {
		return nil, missing("folder " + *args.FileInFolderIdentifier)
	}
	r := under(ctx)
	id, series := newID(), newID()
	if args.ID != nil {
		id = strings.ToUpper(string(*args.ID))
	}
	if args.VersionSeriesID != nil {
		series = strings.ToUpper(string(*args.VersionSeriesID))
	}
	if !guidForm.MatchString(id) || !guidForm.MatchString(series) {
		return nil, refused("The ID %s is not valid.", id)
	}
	now := r.call.At.UTC().Truncate(time.Millisecond)
	row := storage.Row{"Id": id, className: c.name, sequence: int64(1), "VersionSeries": series, "Creator": r.call.User.Name, "Owner": r.call.User.Name,
		"LastModifier": r.call.User.Name, "DateCreated": now, "DateLastModified": now, "IsReserved": false, "MinorVersionNumber": int64(0)}
	switch {
	case args.CheckinAction == nil: // it stays a reservation, which no search for current versions finds
		maps.Copy(row, storage.Row{"MajorVersionNumber": int64(0), "MinorVersionNumber": int64(1), "VersionStatus": int64(3), "IsCurrentVersion": false})
	default:
		maps.Copy(row, storage.Row{"MajorVersionNumber": int64(1), "VersionStatus": int64(1), "IsCurrentVersion": true, "DateCheckedIn": now})
	}
	if err := args.DocumentProperties.into(c, row); err != nil {
		return nil, err
	}
	if err := r.fill(args.DocumentProperties, row); err != nil {
		return nil, err
	}
	err := r.own(ctx, func(inner *request) error {
		there, err := storage.First(ctx, inner.tx, documents, storage.Compare{Column: "Id", Op: storage.Eq, Value: id}, true)
		if err != nil {
			return fmt.Errorf("looking for a document: %w", err)
		}
		if there != nil {
			r.unfill(row)
			return &problem{409, "FNRCE0044E", "An object with the ID " + id + " exists."}
		}
		if err := inner.tx.Insert(ctx, documents, row); err != nil {
			return fmt.Errorf("creating a document: %w", err)
		}
		return nil
	})
	return &document{r, row}, err
}

func (*resolver) UpdateDocument(ctx context.Context, args struct {
	ClassIdentifier      *string
	DocumentProperties   *documentProperties
	Identifier           string
	RepositoryIdentifier string
	UpdateSequenceNumber *int32
}) (*document, error) {
	if err := at(args.RepositoryIdentifier); err != nil {
		return nil, err
	}
	r := under(ctx)
	var after *document
	err := r.own(ctx, func(inner *request) error {
		d, err := inner.expected(ctx, args.Identifier, args.UpdateSequenceNumber)
		if err != nil {
			return err
		}
		if args.ClassIdentifier != nil && find(*args.ClassIdentifier) != d.class() {
			return refused("A change of class is not supported here.")
		}
		row := maps.Clone(d.row)
		if err := args.DocumentProperties.into(d.class(), row); err != nil {
			return err
		}
		row["LastModifier"], row["DateLastModified"] = r.call.User.Name, r.call.At.UTC().Truncate(time.Millisecond)
		row[sequence] = int64(d.UpdateSequenceNumber()) + 1
		if err := inner.tx.Update(ctx, documents, row); err != nil {
			return fmt.Errorf("updating a document: %w", err)
		}
		after = &document{r, row}
		return nil
	})
	return after, err
}

func (*resolver) DeleteDocument(ctx context.Context, args struct {
	Identifier           string
	RepositoryIdentifier string
	UpdateSequenceNumber *int32
}) (*document, error) {
	if err := at(args.RepositoryIdentifier); err != nil {
		return nil, err
	}
	r := under(ctx)
	var gone *document
	err := r.own(ctx, func(inner *request) error {
		d, err := inner.expected(ctx, args.Identifier, args.UpdateSequenceNumber)
		if err != nil {
			return err
		}
		if until := d.moment("CmRetentionDate"); until != nil && r.call.At.Before(until.at) {
			return &problem{403, "FNRCE0305E", "The document is retained."}
		}
		if _, err := inner.tx.Delete(ctx, documents, documents.Key(d.row)); err != nil {
			return fmt.Errorf("deleting a document: %w", err)
		}
		if blob, _ := d.row[blobColumn].(string); blob != "" {
			if err := chunks.Forget(ctx, inner.tx, blob); err != nil {
				return err
			}
		}
		gone = &document{r, d.row}
		return nil
	})
	return gone, err
}

// expected locks a document, which has to have the sequence number that the caller
// knows.
func (r *request) expected(ctx context.Context, id string, number *int32) (*document, error) {
	d, err := r.byID(ctx, id, true)
	if err != nil {
		return nil, err
	}
	if number != nil && *number != d.UpdateSequenceNumber() {
		return nil, conflicting("The object %s was modified since it was retrieved.", d.id())
	}
	return d, nil
}
