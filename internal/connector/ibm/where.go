package ibm

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// kind is how the search language writes the values of a property.
type kind int

const (
	unsearchable kind = iota
	literal           // text in quotes, numbers and truth values bare
	moment            // 20260115T070000Z
	guid              // {3064C586-…}, bare
)

// field is a field of Document by the name that the search language has for it.
type field struct {
	name string
	kind kind
}

// fields are the fields of Document that are one value each.
var fields = map[string]field{
	"id": {"Id", guid}, "name": {"", literal}, "className": {}, "mimeType": {"MimeType", literal},
	"creator": {"Creator", literal}, "owner": {"Owner", literal}, "lastModifier": {"LastModifier", literal},
	"dateCreated": {"DateCreated", moment}, "dateLastModified": {"DateLastModified", moment}, "dateCheckedIn": {"DateCheckedIn", moment},
	"dateContentLastAccessed": {"DateContentLastAccessed", moment}, "cmRetentionDate": {"CmRetentionDate", moment},
	"majorVersionNumber": {"MajorVersionNumber", literal}, "minorVersionNumber": {"MinorVersionNumber", literal},
	"versionStatus": {}, "isCurrentVersion": {"IsCurrentVersion", literal}, "isReserved": {"IsReserved", literal},
	"contentSize": {"ContentSize", literal}, "updateSequenceNumber": {},
}

// property is what the search language calls a column, and how it writes its values.
func (r *read) property(column string) (field, error) {
	if err := r.table.Check(column); err != nil {
		return field{}, err
	}
	f, ok := fields[column]
	switch {
	case !ok && slices.Contains(r.i.dates, column):
		return field{column, moment}, nil
	case !ok:
		return field{column, literal}, nil
	case column == "name":
		f.name = r.i.title
	case f.kind == unsearchable:
		return f, fault.Invalidf("connector.where", "table %s: %s cannot be searched by", r.table.Name, column)
	}
	return f, nil
}

// where writes the conditions of a read in the search language.
func (r *read) where(matches []connector.Match, since *connector.Since) (string, error) {
	var all []string
	if !r.i.all {
		all = append(all, "d.[IsCurrentVersion] = True")
	}
	for _, m := range matches {
		one, err := r.compare(m.Column, "=", m.Value)
		if err != nil {
			return "", err
		}
		all = append(all, one)
	}
	if since != nil {
		one, err := r.compare(since.Column, ">=", since.Value)
		if err != nil {
			return "", err
		}
		all = append(all, one)
	}
	return strings.Join(all, " AND "), nil
}

func (r *read) compare(column, operator string, value any) (string, error) {
	f, err := r.property(column)
	if err != nil {
		return "", err
	}
	if value == nil {
		return "d.[" + f.name + "] IS NULL", nil
	}
	text, ok := f.kind.write(value)
	if !ok {
		return "", fault.Invalidf("connector.value", "table %s: %s is compared with a value that it cannot have", r.table.Name, column)
	}
	return fmt.Sprintf("d.[%s] %s %s", f.name, operator, text), nil
}

var guidForm = regexp.MustCompile(`^\{[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}$`)

// write is a value as the search language has it. A moment is cut to its second:
// the language has no finer one.
func (k kind) write(value any) (string, bool) {
	text, isText := value.(string)
	switch {
	case k == guid:
		return text, isText && guidForm.MatchString(text)
	case k == moment:
		for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
			if at, err := time.Parse(layout, text); isText && err == nil {
				return at.UTC().Format("20060102T150405Z"), true
			}
		}
		return "", false
	case isText:
		return "'" + strings.ReplaceAll(text, "'", "''") + "'", true
	}
	switch v := value.(type) {
	case bool:
		if v {
			return "True", true
		}
		return "False", true
	case json.Number:
		return v.String(), true
	case int, int32, int64:
		return fmt.Sprint(v), true
	}
	return "", false
}
