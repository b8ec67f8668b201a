package dataverse

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
)

// entity reads rows of one table as SDK messages write them, into the names and
// values of the Web API, so that a row is the same whoever told of it.
type entity struct {
	table    string // name in the connection; the logical name where it has none
	primary  string
	columns  []string // known; nil when the schema is unknown
	refers   map[string]string
	dateOnly []string
}

// entity finds the table of a logical name: the tables of a connection are named
// so.
func (v *Dataverse) entity(logical string) entity {
	x := entity{table: logical, primary: primary(logical), dateOnly: v.dateOnly}
	if t, ok := v.config.Tables[logical]; ok {
		x.columns, x.refers = t.Columns, t.Refers
	}
	x.primary = primaryOf(connector.Table{Name: logical, Columns: x.columns})
	return x
}

// Identify names the column that holds Record of the events of a table.
func (v *Dataverse) Identify(table string) string {
	t := v.config.Tables[table]
	t.Name = table
	return primaryOf(t)
}

// activities are the tables whose rows are activities, which share one primary key.
var activities = []string{"task", "email", "phonecall", "appointment", "letter", "fax", "activitypointer", "serviceappointment", "recurringappointmentmaster"}

// identified is a table that also knows its primary key, which is a column that
// every table has and a record can always be read back by.
func identified(t connector.Table) connector.Table {
	if id := primaryOf(t); len(t.Columns) > 0 && !slices.Contains(t.Columns, id) {
		t.Columns = append(slices.Clone(t.Columns), id)
	}
	return t
}

func primary(logical string) string {
	if slices.Contains(activities, logical) {
		return activityID
	}
	return logical + "id"
}

const activityID = "activityid"

func primaryOf(t connector.Table) string {
	if own := t.Name + "id"; !slices.Contains(t.Columns, own) && slices.Contains(t.Columns, activityID) {
		return activityID
	}
	return primary(t.Name)
}

// row reads an Entity; nil where there is none, as of an EntityReference.
func (x entity) row(value any) connector.Row {
	of, _ := value.(map[string]any)
	list, ok := of["Attributes"].([]any)
	if !ok {
		return nil
	}
	row := make(connector.Row, len(list))
	for _, one := range list {
		pair, _ := one.(map[string]any)
		name, ok := pair["key"].(string)
		if !ok {
			continue
		}
		if column, value, ok := x.value(name, pair["value"]); ok {
			row[column] = value
		}
	}
	return row
}

// value is one attribute under its name on the Web API.
func (x entity) value(name string, value any) (column string, read any, ok bool) {
	switch value := value.(type) {
	case nil:
		// Nothing says of what type a null is; what the connection knows does.
		if lookup := lookup(name); !slices.Contains(x.columns, name) && slices.Contains(x.columns, lookup) {
			return lookup, nil, true
		}
		return name, nil, true
	case string:
		if at, ok := moment(value); ok && (strings.HasPrefix(value, "/Date(") || !strings.HasSuffix(value, "Z")) {
			return name, x.date(name, at), true
		}
		if name == x.primary && isGUID(value) {
			value = strings.ToLower(value)
		}
		return name, value, true
	case json.Number:
		return name, number(value), true
	case []any: // choices
		texts := make([]string, len(value))
		for i, one := range value {
			of, _ := one.(map[string]any)
			texts[i] = text(of["Value"])
		}
		return name, strings.Join(texts, ","), true
	case map[string]any:
		return x.typed(name, value)
	}
	return name, value, true
}

// typed reads a value with a type of the SDK; one that no column holds is passed
// over, for example the parties of an activity.
func (x entity) typed(name string, value map[string]any) (column string, read any, ok bool) {
	kind, _ := value["__type"].(string)
	kind, _, _ = strings.Cut(kind, ":")
	switch kind {
	case "EntityReference":
		id, _ := value["Id"].(string)
		return known(connector.Table{Refers: x.refers}, name), strings.ToLower(id), isGUID(id)
	case "EntityCollection", "AliasedValue":
		return "", nil, false
	}
	inner, found := value["Value"]
	if n, isNumber := inner.(json.Number); isNumber {
		inner = number(n)
	}
	if _, ok := value["LogicalName"].(string); !found && ok {
		id, _ := value["Id"].(string)
		return known(connector.Table{Refers: x.refers}, name), strings.ToLower(id), isGUID(id)
	}
	return name, inner, found
}

func lookup(name string) string { return "_" + name + "_value" }

// date is a time as the Web API writes it.
func (x entity) date(name string, at time.Time) string {
	if slices.Contains(x.dateOnly, name) {
		return at.Format(time.DateOnly)
	}
	return at.Format("2006-01-02T15:04:05.999Z")
}

var dateForm = regexp.MustCompile(`^/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)/$`)

// moment reads a time in one of the forms that the platform sends. The offset of
// the older form says in which zone it was written; the instant is in UTC.
func moment(s string) (time.Time, bool) {
	if m := dateForm.FindStringSubmatch(s); m != nil {
		ms, err := strconv.ParseInt(m[1], 10, 64)
		return time.UnixMilli(ms).UTC(), err == nil
	}
	if len(s) < len("2006-01-02T15:04:05") || s[4] != '-' || s[10] != 'T' {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

func text(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	}
	return ""
}

// number writes a decimal without zeros at its end: how many there are depends on
// the column, the currency and the way it came, and means nothing.
func number(n json.Number) json.Number {
	s := n.String()
	if !strings.ContainsRune(s, '.') || strings.ContainsAny(s, "eE") {
		return n
	}
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		s = "0"
	}
	return json.Number(s)
}
