package flowfile

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"patchbay/internal/flow"
)

type (
	adviseDoc struct {
		at
		model        tableRef
		version      text
		instructions text
		sources      dict[evidenceDoc, *evidenceDoc]
		facts        dict[factDoc, *factDoc]
		actions      dict[actionDoc, *actionDoc]
		rules        list[ruleDoc, *ruleDoc]
		limits       adviseLimitsDoc
		attempts     whole
		timeout      span
		patience     span
		review       word
		write        adviseWriteDoc
	}

	evidenceDoc struct {
		at
		id     list[column, *column]
		show   list[column, *column]
		newest column
		most   whole
	}

	factDoc struct {
		at
		do    word
		of    sourceColumn
		where cel
		by    column
	}

	actionDoc struct {
		at
		title  text
		when   cel
		needs  list[text, *text]
		review flag
	}

	ruleDoc struct {
		at
		when   cel
		action text
		reason cel
	}

	adviseLimitsDoc struct {
		at
		reason   whole
		evidence whole
		request  whole
	}

	adviseWriteDoc struct {
		at
		to      tableRef
		key     list[column, *column]
		mapping dict[cel, *cel]
	}

	// sourceColumn is source or source.column.
	sourceColumn struct {
		at
		source, column string
		columnAt       at
	}
)

var (
	adviseDos     = words([]flow.AdviseDo{flow.AdviseCount, flow.AdviseSum, flow.AdviseLeast, flow.AdviseMost, flow.AdviseNewest})
	adviseReviews = words([]flow.AdviseReview{flow.ReviewNever, flow.ReviewRejected, flow.ReviewFailed, flow.ReviewAlways})
)

func (d *adviseDoc) fields() []field {
	return []field{
		{key: "model", into: &d.model, required: true, advice: "CONNECTION.MODEL", example: "model.next-best-action", doc: "connection.table of connections.yaml whose path is the model's name at its server."},
		{key: "version", into: &d.version, example: "'3'", doc: "Of the model; without it what is served."},
		{key: "instructions", into: &d.instructions, example: "Prefer what keeps the customer", doc: "What a model that reads text is told, besides the rows."},
		{key: "sources", into: &d.sources, required: true, keys: &identifiers, advice: "SOURCE: { id: [COLUMN], show: [COLUMN, …] }", doc: "Sources of gather that the model is shown and facts are made of. A row's evidence is SOURCE/ID."},
		{key: "facts", into: &d.facts, keys: &identifiers, doc: "Numbers and texts that are computed from the rows, for conditions and reasons. The model is shown them."},
		{key: "actions", into: &d.actions, required: true, keys: &identifiers, advice: "NAME: { title: … }", doc: "What may be proposed, and nothing else."},
		{key: "rules", into: &d.rules, required: true, advice: "[{ action: NAME, reason: … }]", doc: "Who proposes where the model does not: the first rule that holds. The last one has no condition."},
		{key: "limits", into: &d.limits, doc: "What is sent and accepted at most."},
		{key: "attempts", into: &d.attempts, min: 0, max: 10, example: 2, doc: "Of the model for one key; default 2. 0: it is never asked, rules decide."},
		{key: "timeout", into: &d.timeout, example: "20s", doc: "Of one attempt; default 20s, at most 10m."},
		{key: "patience", into: &d.patience, example: "5s", doc: "A wait that the model asks for and that is longer counts as a failure; default 5s."},
		{key: "review", into: &d.review, enum: adviseReviews, example: "rejected", doc: "Which plans wait for a person: rejected, those of rules because the model's answers were refused (the default); failed, those of rules, why ever; always; never."},
		{key: "write", into: &d.write, required: true, doc: "Where the plans go."},
	}
}

func (d *evidenceDoc) fields() []field {
	return []field{
		{key: "id", into: &d.id, required: true, advice: "[COLUMN]", example: []string{"SalesOrder"}, doc: "Selected columns that name a row as evidence."},
		{key: "show", into: &d.show, required: true, advice: "[COLUMN, …]", example: []string{"SalesOrder", "TotalNetAmount"}, doc: "The selected columns that the model is shown, and no other."},
		{key: "newest", into: &d.newest, example: "CreationDate", doc: "Of more than most rows those with the greatest value of this column are shown; without it the first by id."},
		{key: "most", into: &d.most, min: 1, max: 1000, example: 20, doc: "Rows that are shown; default 20. Facts are of all."},
	}
}

func (d *factDoc) fields() []field {
	return []field{
		{key: "do", into: &d.do, required: true, enum: adviseDos, example: "sum", doc: "count, sum, min, max, or newest: the column's value in the row with the greatest by. Of no rows a count and a sum are 0, all else null."},
		{key: "of", into: &d.of, required: true, advice: "SOURCE.COLUMN", example: "receivables.Amount", doc: "source.column; of a count the source."},
		{key: "where", into: &d.where, example: "row.OverallSDProcessStatus != \"C\"", doc: "CEL over row: which rows. Without it all."},
		{key: "by", into: &d.by, example: "CreationDate", doc: "For newest: the column whose greatest value chooses the row."},
	}
}

func (d *actionDoc) fields() []field {
	return []field{
		{key: "title", into: &d.title, required: true, advice: "what people do", example: "Call about overdue invoices", doc: "What it is called."},
		{key: "when", into: &d.when, example: "facts.overdue > 0", doc: "CEL over facts: when it is offered and accepted. Without it always."},
		{key: "needs", into: &d.needs, example: []string{"orders"}, doc: "Sources without which it is withheld; those of the facts in when are implied."},
		{key: "review", into: &d.review, doc: "true: a person decides each time."},
	}
}

func (d *ruleDoc) fields() []field {
	return []field{
		{key: "when", into: &d.when, example: "facts.overdue > 0", doc: "CEL over facts. The last rule has none."},
		{key: "action", into: &d.action, required: true, advice: "NAME", example: "call", doc: "One of actions."},
		{key: "reason", into: &d.reason, required: true, advice: `'"because …"'`, example: `'"Overdue is " + string(facts.overdue)'`, doc: "CEL over facts that gives text."},
	}
}

func (d *adviseLimitsDoc) fields() []field {
	return []field{
		{key: "reason", into: &d.reason, min: 20, max: 2000, example: 300, doc: "Characters of a reason; default 300."},
		{key: "evidence", into: &d.evidence, min: 1, max: 100, example: 8, doc: "Pieces of evidence of one plan; default 8."},
		{key: "request", into: &d.request, min: 1024, max: 1 << 20, example: 32768, doc: "Bytes of the rows of one key; what is more is left out, the last rows first. Default 32768."},
	}
}

func (d *adviseWriteDoc) fields() []field {
	return []field{
		{key: "to", into: &d.to, required: true, advice: "CONNECTION.TABLE", example: "dataverse.msx_salesactionplan", doc: "connection.table, as in connections.yaml."},
		{key: "key", into: &d.key, required: true, advice: "[COLUMN]", example: []string{"msx_accountnumber"}, doc: "Target columns that identify a row: a key that the table declares."},
		{key: "map", into: &d.mapping, required: true, keys: &columnKeys, advice: "COLUMN: expression", example: object{"msx_action": "plan.action"}, doc: "Target column: CEL over key, facts, and plan (action, title, state, reason, evidence, source, model, version, digest, failure, note, stale)."},
	}
}

func (s *sourceColumn) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	if !ok {
		return
	}
	source, column, found := strings.Cut(v, ".")
	if !identifiers.pattern.MatchString(source) || found && !columnName.MatchString(column) {
		r.add(placeOf(n), CodeUnknownRef, fmt.Sprintf("%s is %q, which names no column", f.name(), clip(v)), "write source.column; of a count the source")
		return
	}
	s.source, s.column = source, column
	s.columnAt = r.inside(n, 1, len([]rune(source))+2)
}
func (s *sourceColumn) schema(field) object {
	return object{"type": "string", "pattern": `^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_.@-]*)?$`}
}
