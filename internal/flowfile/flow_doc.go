package flowfile

import (
	"regexp"
	"slices"
	"strings"

	"patchbay/internal/flow"
)

// patterns are the patterns of flows.
var patterns = []string{string(flow.Instant), string(flow.Event), string(flow.Consolidation), string(flow.Service), string(flow.Synchronization), string(flow.Hybrid)}

var types = []string{
	string(flow.String), string(flow.Int), string(flow.Decimal), string(flow.Bool),
	string(flow.Date), string(flow.Timestamp), string(flow.Any),
}

// columnKinds are the types of columns; a parameter that a person gives is no document.
var columnKinds = append(slices.Clone(types), string(flow.Document))

var identifiers = keyRule{regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`), "letters, digits and underscores, beginning with a letter"}

var columnKeys = keyRule{columnName, "the name of a column, and quote an expression that holds commas or braces"}

type (
	// flowDoc declares a flow file.
	flowDoc struct {
		at
		flow    slug
		pattern patternName
		summary text
		why     text
		params  dict[paramDoc, *paramDoc]
		read    readDoc
		each    cel
		mapping dict[cel, *cel]
		write   writeDoc
		respond word
		order   list[text, *text]
		limits  limitsDoc

		// of event flows
		on       list[triggerDoc, *triggerDoc]
		sweep    span
		collapse collapseDoc
		throttle throttleDoc
		expect   expectedDoc
		spike    list[word, *word]
		explain  word
		send     sendDoc
		loop     word

		// of consolidations
		schedule scheduleDoc
		gather   dict[sourceDoc, *sourceDoc]
		base     text
		guard    guardDoc
		advise   adviseDoc

		serviceDoc
		hybridDoc
		syncDoc
	}

	paramDoc struct {
		at
		typ      word
		title    text
		help     text
		pattern  pattern
		enum     list[text, *text]
		min, max whole
		optional flag
		personal flag
		initial  literal
		example  literal
	}

	readDoc struct {
		at
		from    tableRef
		where   dict[cel, *cel]
		columns list[column, *column]
		expand  dict[text, *text]
	}

	writeDoc struct {
		at
		to     tableRef
		key    list[column, *column]
		when   cel
		repeat word
	}

	limitsDoc struct {
		at
		timeout        span
		rows           whole
		concurrent     whole
		perUser        whole
		queue          whole
		shareIdentical span
	}
)

func (d *flowDoc) fields() []field {
	return slices.Concat([]field{
		{key: "flow", into: &d.flow, required: true, advice: "a name that no other flow has", example: "product-specs", doc: "Name of the flow, unique in the directory. It stands in addresses and IDs and is never reused."},
		{key: "pattern", into: &d.pattern, required: true, example: "instant", doc: "How the flow is started and carried out; it chooses the sections: " + strings.Join(patterns, ", ") + "."},
		{key: "summary", into: &d.summary, required: true, advice: "one sentence that says what the flow does", example: "Technical specifications of one product, from Oracle PLM into Dataverse", doc: "What the flow does, in one sentence for its users."},
		{key: "why", into: &d.why, example: "Users must not need an Oracle licence to read a specification", doc: "Why the flow exists."},
		{key: "params", into: &d.params, keys: &identifiers, doc: "What a caller gives. The console makes its form and the API its checks from this."},
		{key: "read", into: &d.read, doc: "What is read, from one table of one connection. An event flow may do without: its rows are then the changed records. There, params.key is the business key."},
		{key: "each", into: &d.each, example: "row.specs", doc: "CEL list over row and params: one target row is made of each item. Without it, one of each row."},
		{key: "map", into: &d.mapping, keys: &columnKeys, example: object{"msx_productnumber": "row.ItemNumber"}, doc: "Target column: CEL over row, item and params; of a consolidation over key, each source and asof. Without it rows pass as they are."},
		{key: "write", into: &d.write, doc: "Where the rows are written. Without it an instant flow only answers; an event flow writes or sends; a consolidation writes."},
		{key: "respond", into: &d.respond, enum: []string{string(flow.AfterRead), string(flow.AfterWrite)}, example: "after-read", doc: "When the caller of an instant flow is answered; after-read is the default."},
		{key: "order", into: &d.order, example: []string{"product_id"}, doc: "Parameters: runs that agree in all of them are carried out one after the other, as they were accepted. Without it runs do not wait for each other."},
		{key: "limits", into: &d.limits, doc: "Bounds of a run."},
	}, d.eventFields(), d.gatherFields(), d.serviceFields(), d.hybridFields(), d.syncFields())
}

func (d *paramDoc) fields() []field {
	return []field{
		{key: "type", into: &d.typ, required: true, enum: types[:len(types)-1], example: "string", doc: "Type of the value. A decimal is exact."},
		{key: "title", into: &d.title, example: "Product ID", doc: "Label in forms."},
		{key: "help", into: &d.help, doc: "One sentence below the input."},
		{key: "pattern", into: &d.pattern, example: "^[A-Z0-9-]{3,40}$", doc: "RE2 expression that a string must match; anchor it with ^ and $."},
		{key: "enum", into: &d.enum, doc: "The only values a string may have."},
		{key: "min", into: &d.min, min: -1 << 62, max: 1 << 62, doc: "Least value of an int, least length of a string."},
		{key: "max", into: &d.max, min: -1 << 62, max: 1 << 62, doc: "Greatest value of an int, greatest length of a string."},
		{key: "optional", into: &d.optional, doc: "Whether it may be left out; has(params.name) tells."},
		{key: "personal", into: &d.personal, doc: "Of a hybrid flow: it names or describes somebody, and no calculator is given it."},
		{key: "default", into: &d.initial, doc: "Value where the caller gives none."},
		{key: "example", into: &d.example, doc: "Value shown in forms and documents."},
	}
}

func (d *readDoc) fields() []field {
	return []field{
		{key: "from", into: &d.from, required: true, advice: "CONNECTION.TABLE", example: "oracle-plm.items", doc: "connection.table, as in connections.yaml."},
		{key: "where", into: &d.where, keys: &columnKeys, example: object{"ItemNumber": "params.product_id"}, doc: "Column: CEL over params. All must be equal."},
		{key: "select", into: &d.columns, required: true, advice: "[COLUMN, …]", example: []string{"ItemNumber", "ItemDescription"}, doc: "The columns that are read, each by name. No other leaves the system."},
		{key: "expand", into: &d.expand, keys: &identifiers, example: object{"specs": "ItemEffCategory"}, doc: "Name in the row: path of child rows, which become a list."},
	}
}

func (d *writeDoc) fields() []field {
	return []field{
		{key: "to", into: &d.to, required: true, advice: "CONNECTION.TABLE", example: "dataverse.msx_specification", doc: "connection.table, as in connections.yaml."},
		{key: "key", into: &d.key, example: []string{"msx_productnumber", "msx_attribute"}, doc: "Target columns that identify a row: a key that the table declares, so that a repeated write changes nothing."},
		{key: "when", into: &d.when, example: "steps.decision.row.outcome != 'refuse'", doc: "Of a hybrid flow: CEL over params and steps; nothing is written where it is false."},
		{key: "repeat", into: &d.repeat, enum: []string{"accepted"}, doc: "accepted: the table declares no such key, and a row that is written twice does no harm."},
	}
}

func (d *limitsDoc) fields() []field {
	return []field{
		{key: "timeout", into: &d.timeout, example: "30s", doc: "A press is answered within this; default 30s, at most 24h. A service or a hybrid has come to its end within it, default 720h, at most 366 days. A run of an event flow is given up after it, default and at most 720h; one of a consolidation too, default and at most 24h."},
		{key: "rows", into: &d.rows, min: 1, max: 100_000, example: 500, doc: "A read that gives more rows fails the run; default 500."},
		{key: "concurrent", into: &d.concurrent, min: 1, max: 10_000, example: 50, doc: "Runs of this flow at a time while runs of others wait; default 50."},
		{key: "per_user", into: &d.perUser, min: 1, max: 10_000, example: 2, doc: "Presses a second of one user that keep their place while others wait; default 2."},
		{key: "queue", into: &d.queue, min: 1, max: 1_000_000, example: 1000, doc: "Presses that may wait before the next is refused with 429; default 1000. Of an event flow: runs; default 1000000."},
		{key: "share_identical", into: &d.shareIdentical, example: "5s", doc: "Identical requests within this share the work of one run, whoever asks; default 0s, never."},
	}
}
