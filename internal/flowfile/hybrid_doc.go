package flowfile

import (
	"regexp"

	"patchbay/internal/flow"
)

type (
	// hybridDoc are the sections of hybrid flows.
	hybridDoc struct {
		collect   dict[collectDoc, *collectDoc]
		personal  list[text, *text]
		require   list[requireDoc, *requireDoc]
		calculate dict[calculateDoc, *calculateDoc]
		decide    list[decideDoc, *decideDoc]
		review    reviewDoc
	}

	collectDoc struct {
		at
		from       tableRef
		where      dict[cel, *cel]
		columns    list[column, *column]
		expand     dict[text, *text]
		deadline   span
		substitute dict[cel, *cel]
		refuse     text
		reuse      span
	}

	requireDoc struct {
		at
		require text
		that    cel
		reason  text
	}

	calculateDoc struct {
		at
		function text
		contract fileName
		queue    text
		seed     literal
		deadline span
		reuse    span
		shadow   shadowDoc
		with     dict[cel, *cel]
	}

	shadowDoc struct {
		at
		function text
		contract fileName
	}

	decideDoc struct {
		at
		rule    text
		when    cel
		then    word
		reason  text
		factors cel
	}

	reviewDoc struct {
		at
		deadline  span
		late      word
		hours     hoursDoc
		fourEyes  cel
		conflicts cel
		others    flag
		show      dict[cel, *cel]
	}

	hoursDoc struct {
		at
		zone     text
		from     text
		to       text
		days     list[word, *word]
		holidays list[text, *text]
	}
)

// figureKeys are the paths of figures in the input of a calculator.
var figureKeys = keyRule{regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`), "the path of a figure, such as question.loan.amount"}

func (d *hybridDoc) hybridFields() []field {
	return []field{
		{key: "collect", into: &d.collect, keys: &identifiers, doc: "The sources of a decision, by the name of the step: each is read as soon as the steps are done that its where names, side by side with the others."},
		{key: "personal", into: &d.personal, example: []string{"application.msx_fullname"}, doc: "Columns of sources, as NAME.COLUMN, that no calculator is given."},
		{key: "require", into: &d.require, doc: "What has to hold of the figures before anything is computed. What does not hold, or cannot be known, refuses for the reason."},
		{key: "calculate", into: &d.calculate, keys: &identifiers, doc: "What calculators compute of the figures, by the name of the step, in the order of the file: each may use what those before it gave."},
		{key: "decide", into: &d.decide, doc: "The rules, in order: the first whose when holds decides. The last has no when, and does not approve."},
		{key: "review", into: &d.review, doc: "How a person decides what the rules refer."},
	}
}

func (d *collectDoc) fields() []field {
	return []field{
		{key: "from", into: &d.from, required: true, advice: "CONNECTION.TABLE", example: "core-banking.customer", doc: "connection.table, as in connections.yaml."},
		{key: "where", into: &d.where, keys: &columnKeys, example: object{"customer_id": "steps.application.row.msx_customernumber"}, doc: "Column: CEL over params and the steps of sources before. All must be equal."},
		{key: "select", into: &d.columns, required: true, advice: "[COLUMN, …]", example: []string{"income", "currency"}, doc: "The columns that are read, each by name. No other leaves the system."},
		{key: "expand", into: &d.expand, keys: &identifiers, example: object{"loans": "loans"}, doc: "Name in the row: path of child rows, which become a list."},
		{key: "deadline", into: &d.deadline, required: true, advice: "how long the system has, such as 10s", example: "10s", doc: "How long the source may take, with all attempts."},
		{key: "substitute", into: &d.substitute, keys: &columnKeys, example: object{"score": "0"}, doc: "Stands in the place of a row when none came within the deadline: every column of select, CEL over params and the steps of sources before. What is decided with it is never an approval."},
		{key: "refuse", into: &d.refuse, example: "The credit bureau does not answer. Please apply again later.", doc: "In words for the customer: without a row nothing can be decided, and the run is refused for this reason."},
		{key: "reuse", into: &d.reuse, example: "30d", doc: "How old an answer that another run paid for may be, of a table with a price. Without it each run pays for its own."},
	}
}

func (d *requireDoc) fields() []field {
	return []field{
		{key: "require", into: &d.require, required: true, advice: "a name that no other has", example: "income", doc: "Name of the requirement; the decision names it."},
		{key: "that", into: &d.that, required: true, advice: "a condition", example: "steps.application.row.msx_income > 0", doc: "CEL over params and the steps of sources; anything but true refuses."},
		{key: "reason", into: &d.reason, required: true, advice: "a sentence for the customer", example: "The income has to be above zero.", doc: "Why, in words for the customer."},
	}
}

func (d *calculateDoc) fields() []field {
	return []field{
		{key: "function", into: &d.function, required: true, advice: "NAME VERSION of a calculator", example: "risk.score v1", doc: "The calculator, by name and version: docs/risk.md."},
		{key: "contract", into: &d.contract, example: "acme.rent.txt", doc: "File beside the flow with the contract of a calculator of your own, as its Contract() prints it."},
		{key: "queue", into: &d.queue, example: "risk", doc: "The task queue of the workers that host it; default risk."},
		{key: "seed", into: &d.seed, example: 42, doc: "Where what looks random comes from: a whole number, or run for one that follows from the run. Without it the seed follows from the figures: equal figures give equal results."},
		{key: "deadline", into: &d.deadline, example: "30s", doc: "How long the computation may take, with all attempts and the wait for a worker; default 5m."},
		{key: "reuse", into: &d.reuse, example: "30d", doc: "How old an output of another run may be, for the same figures, version and seed. Without it each run computes its own."},
		{key: "shadow", into: &d.shadow, doc: "Another version, or another calculator, that computes from the same figures and is compared, and has no effect on what is decided."},
		{key: "with", into: &d.with, required: true, keys: &figureKeys, advice: "each figure of the calculator's input by its path: question.loan.amount: params.amount", example: object{"figures.savings_months": "steps.account.row.savings_months"}, doc: "Path in the calculator's input: CEL over params and the steps before. Nothing that is personal."},
	}
}

func (d *shadowDoc) fields() []field {
	return []field{
		{key: "function", into: &d.function, required: true, advice: "NAME VERSION of a calculator", example: "risk.score v2", doc: "The calculator in the shadow, on the same queue and with the same deadline."},
		{key: "contract", into: &d.contract, example: "acme.rent-v2.txt", doc: "File beside the flow with its contract, of a calculator of your own."},
	}
}

func (d *decideDoc) fields() []field {
	return []field{
		{key: "rule", into: &d.rule, required: true, advice: "a name that no other has", example: "score-too-low", doc: "Name of the rule; the decision names it."},
		{key: "when", into: &d.when, example: "steps.score.row.score.points < 520", doc: "CEL over params and steps; without it the rule always decides."},
		{key: "then", into: &d.then, required: true, enum: []string{string(flow.Approve), string(flow.Refer), string(flow.Decline)}, example: "decline", doc: "What is decided; refer leaves it to a person."},
		{key: "reason", into: &d.reason, example: "The instalment does not fit the income.", doc: "Why, in words for the customer."},
		{key: "factors", into: &d.factors, example: "steps.score.row.reasons", doc: "CEL list of texts, each a reason in words for the customer."},
	}
}

func (d *reviewDoc) fields() []field {
	return []field{
		{key: "deadline", into: &d.deadline, required: true, advice: "how long people have, such as 2d", example: "2d", doc: "A person decides within this."},
		{key: "late", into: &d.late, required: true, enum: []string{string(flow.Decline), string(flow.Expire)}, example: "expire", doc: "What becomes of it when nobody decided in time."},
		{key: "hours", into: &d.hours, doc: "When people work: a deadline that falls outside of the hours ends with the opening of the next working day."},
		{key: "four_eyes", into: &d.fourEyes, example: "params.amount > 50000", doc: "CEL over params and steps: whether an approval needs two people. What cannot be evaluated needs two."},
		{key: "conflicts", into: &d.conflicts, example: "[steps.account.row.adviser]", doc: "CEL list of names: who is one of them may not decide."},
		{key: "others", into: &d.others, doc: "Who started the run may not decide, either."},
		{key: "show", into: &d.show, keys: &columnKeys, example: object{"distress": "steps.stress.row.distress.value"}, doc: "What reviewers see first, by name: CEL over params and steps."},
	}
}

func (d *hoursDoc) fields() []field {
	return []field{
		{key: "timezone", into: &d.zone, required: true, advice: "Europe/Berlin", example: "Europe/Berlin", doc: "Name of the IANA database."},
		{key: "from", into: &d.from, required: true, advice: `"09:00"`, example: `"09:00"`, doc: "When people begin."},
		{key: "to", into: &d.to, required: true, advice: `"17:00"`, example: `"17:00"`, doc: "When they end, on the same day."},
		{key: "days", into: &d.days, enum: flow.Weekdays, example: []string{"mon", "fri"}, doc: "The days on which they work; default mon to fri."},
		{key: "holidays", into: &d.holidays, example: []string{"de"}, doc: "Days on which they do not: 2026-12-24, 12-25 of every year, or the name of a list."},
	}
}
