package flowfile

type (
	// serviceDoc are the sections of services.
	serviceDoc struct {
		steps   list[taskDoc, *taskDoc]
		answer  dict[cel, *cel]
		accepts dict[topicDoc, *topicDoc]
		emits   dict[topicDoc, *topicDoc]
		tell    text
	}

	// taskDoc is one step; legs have steps without legs of their own.
	taskDoc struct {
		stepDoc
		legs dict[legDoc, *legDoc]
	}

	legDoc = list[stepDoc, *stepDoc]

	stepDoc struct {
		at
		step      text
		call      text
		await     text
		emit      text
		when      cel
		each      cel
		where     dict[cel, *cel]
		columns   list[column, *column]
		key       list[column, *column]
		with      dict[cel, *cel]
		returns   list[column, *column]
		undo      dict[cel, *cel]
		otherwise dict[cel, *cel]
		repeat    word
		deadline  span
	}
)

func (d *serviceDoc) serviceFields() []field {
	return []field{
		{key: "steps", into: &d.steps, doc: "What a service does, one step after the other. What they wrote is undone in reverse when one fails or a person cancels."},
		{key: "accepts", into: &d.accepts, keys: &topicKeys, doc: "The business events that a service awaits, or that start it, each by its name and version, with what it needs of them. An event that is not so is refused where it comes in."},
		{key: "emits", into: &d.emits, keys: &topicKeys, doc: "The business events that a flow tells of, each by its name and version, with what it says of them."},
		{key: "emit", into: &d.tell, example: "order-approved.v1", doc: "The business event, one of emits, that an instant or event flow tells of in the place of a write: each row of map is one, whose fields map makes. It is kept in the transaction that ends the run."},
		{key: "answer", into: &d.answer, keys: &columnKeys, example: object{"sales_order": "steps.sales_order.row.SalesOrder"}, doc: "The answer of a service, a column an entry: CEL over params and steps. Without it the answer is what the last step gave."},
	}
}

func (d *taskDoc) fields() []field {
	return append(d.stepDoc.fields(), field{key: "legs", into: &d.legs, keys: &identifiers,
		doc: "Steps that go side by side, by the name of each leg. A leg that fails takes back its own steps and leaves the others alone."})
}

func (d *stepDoc) fields() []field {
	return []field{
		{key: "step", into: &d.step, required: true, advice: "a name that no other step of the flow has", example: "sales_order", doc: "Name of the step: what it gave is steps.NAME.row, steps.NAME.rows and steps.NAME.count for those after it."},
		{key: "call", into: &d.call, example: "sap.A_SalesOrder", doc: "connection.table, which is read (select) or written (key and with); or the name of another flow, which is run with the parameters of with."},
		{key: "await", into: &d.await, example: "shipped.v1", doc: "The business event, one of accepts, that the step waits for. It takes one event, once; one that came before is there for it. Its fields are what the step gives."},
		{key: "emit", into: &d.emit, example: "shipped.v1", doc: "The business event, one of emits, that the step tells of, with the fields of with: once, in the transaction that ends the step."},
		{key: "when", into: &d.when, example: "params.amount > 0", doc: "CEL over params and steps: the step is skipped where it is false."},
		{key: "each", into: &d.each, example: "steps.lines.rows", doc: "CEL list over params and steps: one row is written for each item of it."},
		{key: "where", into: &d.where, keys: &columnKeys, example: object{"ordernumber": "params.order"}, doc: "Column: CEL over params and steps. Of a step that reads, or awaits an event: all must be equal. Of an event the fields of its business key are among them."},
		{key: "select", into: &d.columns, example: []string{"ordernumber", "totalamount"}, doc: "The columns that are read, each by name."},
		{key: "key", into: &d.key, example: []string{"PurchaseOrderByCustomer"}, doc: "Columns that identify a row that is written, so that a repeated write changes nothing."},
		{key: "with", into: &d.with, keys: &columnKeys, example: object{"SoldToParty": "steps.order.row.customer"}, doc: "What is written, the fields of the event, or the parameters of the flow that is run: CEL over params, steps and item."},
		{key: "returns", into: &d.returns, example: []string{"SalesOrder"}, doc: "Columns that the target fills: they are read back under the key and are part of what the step gives."},
		{key: "undo", into: &d.undo, keys: &columnKeys, example: object{"SalesDocumentRjcnReason": `"61"`}, doc: "What takes the step back: columns that are written under the same key when a later step fails; CEL over params, steps and row, which is what the step wrote. Without it what the step wrote stays."},
		{key: "otherwise", into: &d.otherwise, keys: &columnKeys, example: object{"status": `"unknown"`}, doc: "Of a step that awaits an event: the fields in its place when none came within deadline; CEL over params and steps. Without it the run fails, and what was done is taken back."},
		{key: "repeat", into: &d.repeat, enum: []string{"accepted"}, doc: "accepted: the table declares no such key, and a row that is written twice does no harm."},
		{key: "deadline", into: &d.deadline, example: "2h", doc: "How long the step may take with all attempts; default 76h. Of one that awaits an event: how long it waits, and it has to say so."},
	}
}
