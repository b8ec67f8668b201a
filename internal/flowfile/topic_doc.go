package flowfile

import "regexp"

type (
	// topicDoc is a contract about business events.
	topicDoc struct {
		at
		key    list[text, *text]
		keep   span
		schema schemaDoc
	}

	// schemaDoc is the part of JSON Schema in which contracts are written.
	schemaDoc struct {
		at
		typ        word
		required   list[text, *text]
		properties dict[propertyDoc, *propertyDoc]
	}

	propertyDoc struct {
		at
		typ         word
		format      word
		title       text
		description text
		pattern     pattern
		enum        list[text, *text]
		least, most whole // of an integer
		short, long whole // of a string
	}
)

var topicKeys = keyRule{regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*\.v[1-9][0-9]{0,3}$`), "a name of lower-case letters, digits and hyphens, and its version, such as shipped.v1"}

func (d *topicDoc) fields() []field {
	return []field{
		{key: "key", into: &d.key, required: true, advice: "[FIELD]", example: []string{"nr"}, doc: "The fields that say what an event is about: required ones, each a string, an integer or a date."},
		{key: "keep", into: &d.keep, example: "30d", doc: "How long an event that nobody awaits is kept; then it expires, with the reason. Default 30d, at most 366d."},
		{key: "schema", into: &d.schema, required: true, advice: "{ type: object, required: [FIELD], properties: { FIELD: { type: string } } }", doc: "What the event holds, as JSON Schema: an object whose properties have a type. Of one that is an object or an array what is inside is not looked at. Properties that are not named here are allowed, and not kept."},
	}
}

func (d *schemaDoc) fields() []field {
	return []field{
		{key: "type", into: &d.typ, required: true, enum: []string{"object"}, example: "object", doc: "object."},
		{key: "required", into: &d.required, example: []string{"nr", "status"}, doc: "The properties that every event has."},
		{key: "properties", into: &d.properties, keys: &identifiers, required: true, advice: "{ FIELD: { type: string } }", doc: "The fields, each by its name."},
	}
}

func (d *propertyDoc) fields() []field {
	return []field{
		{key: "type", into: &d.typ, required: true, enum: []string{"string", "integer", "number", "boolean", "object", "array"}, example: "string", doc: "Type of the value. A number is exact."},
		{key: "format", into: &d.format, enum: []string{"date", "date-time", "document"}, example: "date-time", doc: "Of a string: that it is a date, or a time by RFC 3339. Of an object: that it is a document that a step gave, which is kept as long as the event is."},
		{key: "title", into: &d.title, doc: "What people call the field."},
		{key: "description", into: &d.description, doc: "What the field says, in a sentence."},
		{key: "pattern", into: &d.pattern, example: "^[A-Z0-9]{4,20}$", doc: "RE2 expression that a string must match; anchor it with ^ and $."},
		{key: "enum", into: &d.enum, example: []string{"departed", "arrived"}, doc: "The only values that a string may have."},
		{key: "minimum", into: &d.least, min: -1 << 62, max: 1 << 62, doc: "Least value of an integer."},
		{key: "maximum", into: &d.most, min: -1 << 62, max: 1 << 62, doc: "Greatest value of an integer."},
		{key: "minLength", into: &d.short, min: 0, max: 1 << 20, doc: "Least length of a string."},
		{key: "maxLength", into: &d.long, min: 0, max: 1 << 20, doc: "Greatest length of a string."},
	}
}
