package flowfile

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"patchbay/internal/flow"
)

var regionNames = keyRule{regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}[a-z0-9]$`), "2 to 16 lower-case letters, digits and hyphens"}

// ruleKeys are what conflict may speak of: default, a table, or a column of one.
var ruleKeys = keyRule{regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.@-]{0,190}$`), "default, TABLE or TABLE.COLUMN"}

type (
	// syncDoc is what a synchronization has that other patterns do not.
	syncDoc struct {
		regions    dict[text, *text]
		tables     dict[syncTableDoc, *syncTableDoc]
		restricted list[fieldRef, *fieldRef]
		conflict   dict[conflictDoc, *conflictDoc]
		skew       span
		reconcile  span
		maxRow     whole
	}

	syncTableDoc struct {
		at
		key   list[column, *column]
		allow list[allowDoc, *allowDoc]
		clock column
	}

	// allowDoc is one column that may cross: its name, or its name with what is to be
	// said of it.
	allowDoc struct {
		at
		name  column
		about syncColumnDoc
	}

	syncColumnDoc struct {
		at
		refers   text
		backfill flag
		open     openDoc
	}

	openDoc struct {
		at
		by text
	}

	// conflictDoc is a way to decide conflicts: a word, or { region: NAME }.
	conflictDoc struct {
		at
		rule     flow.Rule
		region   string
		regionAt at
	}

	regionDoc struct {
		at
		region text
	}

	// fieldRef is TABLE.COLUMN.
	fieldRef struct {
		at
		table, column string
	}
)

// syncFields are the sections of a synchronization that other patterns do not have.
func (d *flowDoc) syncFields() []field {
	return []field{
		{key: "regions", into: &d.regions, keys: &regionNames, example: object{"de": "dataverse-de", "fr": "dataverse-fr"}, doc: "Region: the connection of its own system. The process of one region uses no connection of another."},
		{key: "tables", into: &d.tables, keys: &tableNames, doc: "Table: what of it the regions share. A table that others refer to stands above them."},
		{key: "restricted", into: &d.restricted, example: []string{"account.msx_diagnosis"}, doc: "TABLE.COLUMN: never leaves its region, by no flow. What is not under allow does not leave by this one in any case."},
		{key: "conflict", into: &d.conflict, keys: &ruleKeys, example: object{"default": "latest"}, doc: "default, TABLE or TABLE.COLUMN: who wins when two regions changed a value without knowing of each other. latest (the default), hold (both are kept until a person decides) or { region: NAME }. The most particular one counts."},
		{key: "skew", into: &d.skew, example: "1m", doc: "How far the clocks of the systems may be ahead. A change that claims to be later than this is taken as of now, and said. Default 1m."},
		{key: "reconcile", into: &d.reconcile, example: "15m", doc: "How often regions are compared. Default 15m; 0s is never."},
		{key: "max_row", into: &d.maxRow, min: 256, max: 1 << 20, example: defaultMaxRow, doc: "Bytes that the allowed values of one record may have; a larger one stays. Default 65536."},
	}
}

func (d *syncTableDoc) fields() []field {
	return []field{
		{key: "key", into: &d.key, required: true, advice: "[COLUMN]", example: []string{"accountnumber"}, doc: "What identifies a record in every region: a key that each of them declares. It crosses."},
		{key: "allow", into: &d.allow, required: true, advice: "[COLUMN, …]", example: []string{"name", "telephone1"}, doc: "The columns that may cross, each by name, or COLUMN: with what is to be said of it. No other is read."},
		{key: "clock", into: &d.clock, example: "modifiedon", doc: "The column that says when a record was changed last. Without it what the system tells with a change."},
	}
}

func (d *syncColumnDoc) fields() []field {
	return []field{
		{key: "refers", into: &d.refers, example: "account", doc: "The table of this flow whose record the value identifies. The key of that record crosses in its place. Without it as connections.yaml says under refers."},
		{key: "backfill", into: &d.backfill, doc: "true: when the column is newly allowed, the values that are there cross too, and not only what changes from now on."},
		{key: "open", into: &d.open, doc: "Free text starts restricted: who allowed it to cross."},
	}
}

func (d *openDoc) fields() []field {
	return []field{
		{key: "by", into: &d.by, required: true, advice: "the name of who is responsible", example: "Dr. A. Weber, data protection", doc: "Who allowed it, as auditors should read it."},
	}
}

func (d *regionDoc) fields() []field {
	return []field{{key: "region", into: &d.region, required: true, example: "de", doc: "What this region wrote wins."}}
}

func (a *allowDoc) read(r *reader, n *yaml.Node, f field) {
	name, about := n, (*yaml.Node)(nil)
	if n.Kind == yaml.MappingNode {
		if len(n.Content) != 2 {
			r.add(placeOf(n), CodeType, fmt.Sprintf("an entry of %s names %d columns", f.name(), len(n.Content)/2), "write one entry for each: - COLUMN: { … }")
			return
		}
		name, about = n.Content[0], n.Content[1]
	}
	r.read(name, field{key: f.key, into: &a.name, example: "name"})
	if about != nil {
		r.read(about, field{key: joined(f.key, a.name.value), into: &a.about})
	}
}

func (a *allowDoc) schema(field) object {
	return object{"oneOf": []object{
		(&column{}).schema(field{}),
		{"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": schemaOf(field{into: &syncColumnDoc{}}), "propertyNames": object{"pattern": columnName.String()}},
	}}
}

var regionRule = regexp.MustCompile(`^region: *(\S+)$`)

var rules = []string{string(flow.RuleLatest), string(flow.RuleHold)}

func (d *conflictDoc) read(r *reader, n *yaml.Node, f field) {
	if n.Kind == yaml.MappingNode {
		var named regionDoc
		r.read(n, field{key: f.key, into: &named})
		if named.region.value != "" {
			d.rule, d.region, d.regionAt = flow.RuleRegion, named.region.value, named.region.at
		}
		return
	}
	v, ok := r.text(n, f)
	if !ok {
		return
	}
	if m := regionRule.FindStringSubmatch(v); m != nil {
		d.rule, d.region, d.regionAt = flow.RuleRegion, m[1], placeOf(n)
		return
	}
	var w word
	w.read(r, n, field{key: f.key, enum: rules})
	d.rule = flow.Rule(w.value)
}

func (d *conflictDoc) schema(field) object {
	return object{"oneOf": []object{
		{"type": "string", "enum": rules},
		{"type": "string", "pattern": regionRule.String()},
		schemaOf(field{into: &regionDoc{}}),
	}}
}

func (d *fieldRef) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	if !ok {
		return
	}
	if strings.ContainsAny(v, `*?[](){}|^$\+`) {
		r.add(placeOf(n), CodeWildcard, fmt.Sprintf("%s names columns by the pattern %q", f.name(), clip(v)), "name each: TABLE.COLUMN")
		return
	}
	table, name, found := strings.Cut(v, ".")
	if !found || table == "" || !columnName.MatchString(name) {
		r.add(placeOf(n), CodeUnknownRef, fmt.Sprintf("%s is %q, which names no column", f.name(), clip(v)), "write TABLE.COLUMN")
		return
	}
	d.table, d.column = table, name
}

func (d *fieldRef) schema(field) object {
	return object{"type": "string", "pattern": `^[^.*]+\.[^*]+$`}
}
