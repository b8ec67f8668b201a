package model

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/model/learned"
	"patchbay/internal/sandbox/ordered"
)

// Evidence is the name of the input that holds the rows of a customer, as JSON.
const Evidence = "evidence"

type (
	// customer is one row of a question, on whatever wire it came.
	customer struct {
		numbers map[string]json.Number
		rows    []row
		offered []string // nil: every action
		most    int      // rows that an answer may cite
		hasRows bool     // whether there was an input of rows
	}

	row struct {
		ID  string         `json:"id"`
		Row map[string]any `json:"row"`
	}

	// verdict is what is answered.
	verdict struct {
		learned.Verdict
		reason   string
		evidence []string
		version  string
	}
)

const defaultMost = 3

// set takes one input by name.
func (c *customer) set(name string, value any) *problem {
	if name == Evidence {
		return c.setRows(value)
	}
	if !slices.Contains(learned.Features, name) {
		return bad("unexpected input %q; the model has %s and %s", name, strings.Join(learned.Features, ", "), Evidence)
	}
	switch v := value.(type) {
	case nil:
	case json.Number:
		c.numbers[name] = v
	default:
		return bad("input %q is no number", name)
	}
	return nil
}

// setRows reads the rows, as an object or as its text.
func (c *customer) setRows(value any) *problem {
	text, isText := value.(string)
	if !isText {
		b, err := json.Marshal(value)
		if err != nil {
			return bad("input %q cannot be read", Evidence)
		}
		text = string(b)
	}
	var given struct {
		Actions  []string `json:"actions"`
		Evidence []row    `json:"evidence"`
	}
	if err := decode([]byte(text), &given); err != nil {
		return bad("input %q is no JSON of the form {\"evidence\": [{\"id\": …, \"row\": {…}}]}", Evidence)
	}
	c.rows, c.hasRows = given.Evidence, true
	if given.Actions != nil {
		c.offered = given.Actions
	}
	return nil
}

func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

func newCustomer() *customer { return &customer{numbers: map[string]json.Number{}, most: defaultMost} }

// decide computes the answer. odd is what the model does wrong.
func (c *customer) decide(m learned.Model, odd string) verdict {
	features := make(map[string]float64, len(c.numbers))
	for name, text := range c.numbers {
		if v, err := text.Float64(); err == nil {
			features[name] = v
		}
	}
	v := verdict{Verdict: m.Decide(features, c.offered), version: m.Version}
	v.reason = c.reason(v.Verdict)
	v.evidence = c.cited(v.Because)
	switch odd {
	case faults.InventEvidence:
		v.evidence = append(v.evidence, "orders/invented-1")
	case faults.InventNumbers:
		v.reason += " At stake are 987654.32."
	case faults.Obey:
		c.obey(&v)
	}
	return v
}

// wording begins the reason of an action.
var wording = map[string]string{
	"collect_payment": "Payment comes first", "resolve_complaint": "The complaint comes first",
	"expedite_order": "What is missing comes first", "propose_offer": "Nothing stands in the way of an offer",
}

// reason names the numbers that weigh most, in the digits they were sent in.
func (c *customer) reason(v learned.Verdict) string {
	var because []string
	for _, name := range v.Because[:min(len(v.Because), 2)] {
		because = append(because, strings.ReplaceAll(name, "_", " ")+" "+c.numbers[name].String())
	}
	if because == nil {
		return wording[v.Action] + "."
	}
	return wording[v.Action] + ": " + strings.Join(because, ", ") + "."
}

// kinds are what the rows behind a feature are called.
var kinds = map[string][]string{
	"open_orders": {"order"}, "order_value": {"order"}, "overdue_amount": {"receivable", "invoice"}, "overdue_days": {"receivable", "invoice"},
	"complaints": {"document", "case"}, "stock_gaps": {"stock", "inventory", "onhand", "order"},
}

// cited are rows of the kinds that weigh most; where there are none, the first.
func (c *customer) cited(because []string) []string {
	var ids []string
	for _, name := range because[:min(len(because), 2)] {
		for _, r := range c.rows {
			source, _, _ := strings.Cut(r.ID, "/")
			fits := slices.ContainsFunc(kinds[name], func(k string) bool { return strings.Contains(source, k) })
			if fits && !slices.Contains(ids, r.ID) && len(ids) < c.most {
				ids = append(ids, r.ID)
			}
		}
	}
	if len(ids) == 0 && len(c.rows) > 0 {
		ids = []string{c.rows[0].ID}
	}
	return ids
}

// object is the verdict as JSON has it.
func (v verdict) object(odd string) *ordered.Object {
	if odd == faults.WrongSchema {
		return ordered.New("action", 1, "explanation", v.reason, "confidence", json.Number("0.99"))
	}
	evidence := v.evidence
	if evidence == nil {
		evidence = []string{}
	}
	return ordered.New("action", v.Action, "reason", v.reason, "evidence", evidence)
}

// text is the verdict as a model that writes gives it.
func (v verdict) text(odd string) string {
	text := string(v.object(odd).Bytes())
	switch odd {
	case faults.Prose:
		return "Sure! Here is what I would do:\n\n```json\n" + text + "\n```\nLet me know if you need anything else."
	case faults.RefuseToAnswer:
		return "I am sorry, but I cannot help with that."
	case faults.StopHalfway:
		return text[:len(text)/2]
	}
	return text
}
