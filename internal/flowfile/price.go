package flowfile

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"patchbay/internal/flow"
)

// budgetDoc is what may be spent on a connection.
type budgetDoc struct {
	at
	perDay text
	zone   text
}

func (d *budgetDoc) fields() []field {
	return []field{
		{key: "per_day", into: &d.perDay, required: true, example: "500.00 EUR", doc: "Of one day. What is in doubt counts as spent."},
		{key: "zone", into: &d.zone, example: "Europe/Berlin", doc: "The IANA zone whose days they are; default UTC."},
	}
}

// money reads an amount.
func (r *reader) money(t text, name string) flow.Money {
	if t.value == "" {
		return flow.Money{}
	}
	m, ok := flow.ParseMoney(t.value)
	if !ok {
		r.add(t.at, CodeType, fmt.Sprintf("%s is %q where an amount of money is due", name, clip(t.value)), "write an amount of at most four decimal places and a currency, such as 2.50 EUR")
	}
	return m
}

func (r *reader) budget(d *budgetDoc) *flow.Budget {
	if !d.given() {
		return nil
	}
	b := flow.Budget{PerDay: r.money(d.perDay, "per_day"), Zone: d.zone.value}
	if _, err := time.LoadLocation(b.Zone); err != nil || b.Zone == "Local" {
		r.add(d.zone.at, CodeRange, fmt.Sprintf("there is no time zone %q", clip(b.Zone)), "write an IANA name such as Europe/Berlin")
	}
	return &b
}

// priced reads the price of a table, and checks that what is asked there again can be known as such.
func (r *reader) priced(c *flow.Connection, e entry[tableDoc]) {
	d := e.value
	t := c.Tables[e.key]
	if t.Price = r.money(d.price, "price"); t.Price == (flow.Money{}) {
		return
	}
	c.Tables[e.key] = t
	switch {
	case c.System != "rest":
		r.add(d.price.at, CodeUnknownField, "only a table of the system rest has a price", "leave it out")
	case cmp.Or(c.Options[e.key+".reference_header"], c.Options["reference_header"]) == "":
		r.add(d.price.at, CodeRequired, fmt.Sprintf("the table %s has a price, and no option reference_header: a question whose answer was lost would be paid twice", e.key),
			"add options: { "+e.key+".reference_header: NAME }, the header by which the provider knows a repeated question")
	}
	about := answersFor(*c, e.key)
	if _, has := t.Columns[about]; c.System == "rest" && (about == "" || len(t.Columns) > 0 && !has) {
		r.add(d.price.at, CodeRequired, fmt.Sprintf("the table %s has a price, and no option answers_for that names a column of it: an answer about somebody else would be used", e.key),
			"add options: { "+e.key+".answers_for: COLUMN }, the column of the answer that has to be the one that was asked for")
	}
	if c.Budget != nil && c.Budget.PerDay.Currency != "" && c.Budget.PerDay.Currency != t.Price.Currency {
		r.add(d.price.at, CodeRange, fmt.Sprintf("the price of %s is in another currency than the budget", e.key), "write both in one")
	}
}

// answersFor is the column by which an answer says whom it is about; "" where none is named.
func answersFor(c flow.Connection, table string) string {
	return cmp.Or(c.Options[table+".answers_for"], c.Options["answers_for"])
}

// asksAbout checks that a source with a price is asked about somebody.
func (h *hybrid) asksAbout(d *collectDoc, name string) {
	c := h.connections[d.from.connection]
	about := answersFor(c, d.from.table)
	if c.Tables[d.from.table].Price == (flow.Money{}) || about == "" {
		return
	}
	if !slices.ContainsFunc(d.where.entries, func(w entry[cel]) bool { return w.key == about }) {
		h.add(d.at, CodeRequired, fmt.Sprintf("collect.%s.where leaves out %s, so an answer of %s about anybody would do", name, about, d.from.connection), "add "+about+": with an expression")
	}
}
