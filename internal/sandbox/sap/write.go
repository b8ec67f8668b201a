package sap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

const (
	// firstNumber is above every number that seeded rows have.
	firstNumber = 4_000_000
	// listPrice is what a piece costs that came without a price.
	listPrice = "10.00"
)

// body reads a JSON object.
func (w *work) body() (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(w.call.Body))
	dec.UseNumber()
	var out map[string]any
	if err := dec.Decode(&out); err != nil || out == nil {
		return nil, &problem{status: http.StatusBadRequest, code: "/IWBEP/CM_MGW_RT/176", text: "The Data Services Request could not be understood due to malformed syntax"}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &problem{status: http.StatusBadRequest, code: "/IWBEP/CM_MGW_RT/176", text: "Something follows the JSON object"}
	}
	return out, nil
}

// values reads the properties of a body. Those that the system fills are passed over,
// as SAP does; what is no property is returned.
func (w *work) values(e *entity, body map[string]any) (storage.Row, map[string]any, error) {
	row, rest := storage.Row{}, map[string]any{}
	for name, given := range body {
		p, ok := e.property(name)
		switch {
		case strings.HasPrefix(name, "__") || strings.HasPrefix(name, "@"):
			continue
		case !ok:
			rest[name] = given
			continue
		case p.ReadOnly:
			continue
		}
		v, err := w.s.given(p, given)
		if err != nil {
			return nil, nil, err
		}
		row[p.column()] = v
	}
	for name := range rest {
		if _, ok := e.navigation(name); !ok {
			return nil, nil, badProperty(name, e.Type)
		}
	}
	return row, rest, nil
}

// create makes a row, and those below it that came with it.
func (w *work) create(ctx context.Context, e *entity) (exchange.Answer, error) {
	body, err := w.body()
	if err != nil {
		return exchange.Answer{}, err
	}
	row, below, err := w.values(e, body)
	if err != nil {
		return exchange.Answer{}, err
	}
	if err := w.number(ctx, e, row); err != nil {
		return exchange.Answer{}, err
	}
	w.stamp(e, row, nil)
	v := &view{below: map[string]*view{}}
	children := map[*entity][]storage.Row{}
	for name, given := range below {
		n, _ := e.navigation(name)
		to := w.s.set(n.To)
		rows, err := w.children(to, n, row, given)
		if err != nil {
			return exchange.Answer{}, err
		}
		children[to] = rows
		v.below[name] = &view{}
	}
	if err := w.settle(ctx, e, row, children); err != nil {
		return exchange.Answer{}, err
	}
	if err := w.tx.Insert(ctx, e.Table, row); err != nil {
		return exchange.Answer{}, unique(err, e, e.Keys[0])
	}
	for to, rows := range children {
		if err := w.tx.Insert(ctx, to.Table, rows...); err != nil {
			return exchange.Answer{}, unique(err, to, to.Keys[0])
		}
	}
	return w.shownRow(ctx, e, row, v, http.StatusCreated)
}

// number gives a row the key that the system draws; a key that came counts only where
// the caller may give it.
func (w *work) number(ctx context.Context, e *entity, row storage.Row) error {
	if given, _ := row[e.Numbered].(string); e.GivenKeys && given != "" {
		found, err := storage.First(ctx, w.tx, e.Table, e.Table.Key(row), false)
		if err != nil {
			return fmt.Errorf("looking for the key: %w", err)
		}
		if found != nil {
			return business("R1/102", e.Numbered, "%s %s already exists", e.Label, given)
		}
		return nil
	}
	n, err := storage.Version(ctx, w.tx)
	if err != nil {
		return fmt.Errorf("drawing a number: %w", err)
	}
	row[e.Numbered] = strconv.FormatInt(firstNumber+n, 10)
	return nil
}

// children reads the rows below a new one and numbers them 10, 20, ….
func (w *work) children(e *entity, n navigation, parent storage.Row, given any) ([]storage.Row, error) {
	if of, ok := given.(map[string]any); ok {
		given = of["results"]
	}
	list, ok := given.([]any)
	if !ok || !n.Many {
		return nil, badProperty(n.Name, e.Type)
	}
	rows := make([]storage.Row, len(list))
	for i, item := range list {
		body, _ := item.(map[string]any)
		prices, _ := body["to_PricingElement"].([]any)
		if prices == nil {
			prices, _ = body["_PricingElement"].([]any)
		}
		body = maps.Clone(body)
		delete(body, "to_PricingElement")
		delete(body, "_PricingElement")
		row, rest, err := w.values(e, body)
		if err != nil || len(rest) > 0 {
			return nil, errors.Join(err, badNested(rest, e))
		}
		for j, own := range n.Own {
			row[n.Their[j]] = parent[own]
		}
		if row[e.Numbered] == nil || row[e.Numbered] == "" {
			row[e.Numbered] = strconv.Itoa(10 * (i + 1))
		}
		if e.Table == items {
			row["NetAmount"] = times(row["RequestedQuantity"], priceOf(prices))
			row["SDProcessStatus"], row["DeliveryStatus"] = "A", "A"
		}
		rows[i] = row
	}
	return rows, nil
}

func badNested(rest map[string]any, e *entity) error {
	if len(rest) == 0 {
		return nil
	}
	return badProperty(slices.Min(slices.Collect(maps.Keys(rest))), e.Type)
}

func priceOf(prices []any) string {
	for _, p := range prices {
		of, _ := p.(map[string]any)
		switch rate := of["ConditionRateValue"].(type) {
		case string:
			return rate
		case json.Number:
			return rate.String()
		}
	}
	return listPrice
}

// times is a quantity at a price, with three places.
func times(quantity any, price string) json.Number {
	q, _ := quantity.(json.Number)
	a, okA := new(big.Rat).SetString(string(q))
	b, okB := new(big.Rat).SetString(price)
	if !okA || !okB {
		return "0.000"
	}
	return json.Number(a.Mul(a, b).FloatString(3))
}

// settle checks what business rules there are of a new row, and computes what follows
// from the rows below it.
func (w *work) settle(ctx context.Context, e *entity, row storage.Row, children map[*entity][]storage.Row) error {
	switch e.Table {
	case orders:
		sold, _ := row["SoldToParty"].(string)
		found, err := storage.First(ctx, w.tx, customers, customers.Key(storage.Row{"Customer": sold}), false)
		if err != nil {
			return fmt.Errorf("looking for the customer: %w", err)
		}
		if found == nil {
			return business("V1/555", "SoldToParty", "Sold-to party %s not maintained for sales area", sold)
		}
		if block, _ := found["OrderIsBlockedForCustomer"].(string); block != "" {
			return business("V1/301", "SoldToParty", "Customer %s is blocked for orders", sold)
		}
		if row["TransactionCurrency"] == nil {
			row["TransactionCurrency"] = "EUR"
		}
		total := new(big.Rat)
		for _, rows := range children {
			for _, child := range rows {
				child["TransactionCurrency"] = row["TransactionCurrency"]
				if n, ok := new(big.Rat).SetString(fmt.Sprint(child["NetAmount"])); ok {
					total.Add(total, n)
				}
			}
		}
		row["TotalNetAmount"] = json.Number(total.FloatString(3))
		row["OverallSDProcessStatus"], row["OverallDeliveryStatus"], row["OverallSDDocumentRejectionSts"], row["CreatedByUser"] = "A", "A", "A", w.userName()
	case partners:
		row["BusinessPartnerFullName"] = fullName(row)
	}
	return nil
}

func (w *work) userName() string {
	name := strings.ToUpper(w.call.User.ClientID)
	return name[:min(len(name), 12)]
}

func fullName(row storage.Row) string {
	part := func(name string) string { s, _ := row[name].(string); return s }
	if name := part("OrganizationBPName1"); name != "" {
		return strings.TrimSpace(name + " " + part("OrganizationBPName2"))
	}
	return strings.TrimSpace(part("FirstName") + " " + part("LastName"))
}

// stamp notes that a row is written now; before is the row as it was, nil for a new
// one. A version is never the one before.
func (w *work) stamp(e *entity, row, before storage.Row) {
	at := w.call.At.Truncate(time.Microsecond)
	if last, ok := before["LastChangeDateTime"].(time.Time); ok && !at.After(last) {
		at = last.Add(time.Microsecond)
	}
	for _, p := range e.Properties {
		switch {
		case p.Name == "CreationDate" && before == nil, p.Name == "LastChangeDate" && p.ReadOnly:
			row[p.column()] = at.Format(time.DateOnly)
		case p.Name == "LastChangeDateTime":
			row[p.column()] = at
		case p.Name == "LastChangeTime":
			row[p.column()] = at.Format(time.TimeOnly)
		case p.Name == "ETag":
			row[p.column()] = at.Format("20060102150405.000000")
		}
	}
}

// update changes the properties that a body names.
func (w *work) update(ctx context.Context, e *entity, within storage.Expr) (exchange.Answer, error) {
	row, err := w.row(ctx, e, within, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	if err := w.checkVersion(e, row); err != nil {
		return exchange.Answer{}, err
	}
	body, err := w.body()
	if err != nil {
		return exchange.Answer{}, err
	}
	change, rest, err := w.values(e, body)
	if err != nil || len(rest) > 0 {
		return exchange.Answer{}, errors.Join(err, badNested(rest, e))
	}
	if reason, _ := change["SalesDocumentRjcnReason"].(string); e.Table == items && reason != "" && row["DeliveryStatus"] == delivered {
		return exchange.Answer{}, business("V1/799", "SalesDocumentRjcnReason", "Item %s is delivered; it cannot be rejected", row["SalesOrderItem"])
	}
	for _, k := range e.Table.Primary {
		change[k] = row[k]
	}
	w.stamp(e, change, row)
	now := maps.Clone(row)
	maps.Copy(now, change)
	if e.Table == partners {
		change["BusinessPartnerFullName"] = fullName(now)
	}
	if err := w.tx.Update(ctx, e.Table, change); err != nil {
		return exchange.Answer{}, unique(err, e, "")
	}
	if err := w.touch(ctx, e, row); err != nil {
		return exchange.Answer{}, err
	}
	answer := exchange.Answer{Status: http.StatusNoContent, Header: http.Header{"Dataserviceversion": {"2.0"}}}
	if w.s.V4 {
		if !strings.Contains(w.call.Header.Get("Prefer"), "return=minimal") {
			return w.shownRow(ctx, e, now, &view{}, http.StatusOK)
		}
		answer.Header = http.Header{"Odata-Version": {"4.0"}}
	}
	if tag := w.s.tag(e, now); tag != "" {
		answer.Header.Set("ETag", tag)
	}
	return answer, nil
}

// checkVersion refuses a change of a row with a version to who does not name it.
func (w *work) checkVersion(e *entity, row storage.Row) error {
	tag := w.s.tag(e, row)
	if tag == "" {
		return nil
	}
	match := w.call.Header.Get("If-Match")
	switch {
	case match == "":
		return &problem{status: http.StatusPreconditionRequired, code: codeVersion, text: "The request must be conditional: the header If-Match is missing"}
	case match != "*" && match != tag:
		return &problem{status: http.StatusPreconditionFailed, code: "/IWBEP/CM_MGW_RT/412", text: "Precondition failed: the entity was changed in the meantime"}
	}
	return nil
}

// touch notes that the row above is changed, too: it alone has a version.
func (w *work) touch(ctx context.Context, e *entity, row storage.Row) error {
	if e.Parent == "" {
		return nil
	}
	parent := w.s.set(e.Parent)
	above, err := storage.First(ctx, w.tx, parent.Table, parent.Table.Key(row), true)
	if err != nil {
		return fmt.Errorf("reading the row above: %w", err)
	}
	if above == nil {
		return nil
	}
	change := storage.Row{}
	for _, k := range parent.Table.Primary {
		change[k] = above[k]
	}
	if e.Table == items {
		list, err := w.tx.Find(ctx, items, storage.Query{Where: storage.Compare{Column: "SalesOrder", Op: storage.Eq, Value: above["SalesOrder"]}})
		if err != nil {
			return fmt.Errorf("reading the items: %w", err)
		}
		change["OverallSDDocumentRejectionSts"] = rejectionOf(list)
	}
	w.stamp(parent, change, above)
	if err := w.tx.Update(ctx, parent.Table, change); err != nil {
		return fmt.Errorf("changing the row above: %w", err)
	}
	return nil
}

// rejectionOf is the status of an order of which items are rejected: none, some or all.
func rejectionOf(list []storage.Row) string {
	rejected := 0
	for _, row := range list {
		if reason, _ := row["SalesDocumentRjcnReason"].(string); reason != "" {
			rejected++
		}
	}
	switch {
	case rejected == 0:
		return "A"
	case rejected < len(list):
		return "B"
	}
	return "C"
}

// remove deletes a row with what is below it.
func (w *work) remove(ctx context.Context, e *entity, within storage.Expr) (exchange.Answer, error) {
	row, err := w.row(ctx, e, within, true)
	if err != nil {
		return exchange.Answer{}, err
	}
	if err := w.checkVersion(e, row); err != nil {
		return exchange.Answer{}, err
	}
	for _, n := range e.Navigations {
		if !n.Many {
			continue
		}
		all := storage.And{}
		for i, own := range n.Own {
			all = append(all, storage.Compare{Column: n.Their[i], Op: storage.Eq, Value: row[own]})
		}
		if _, err := w.tx.Delete(ctx, w.s.set(n.To).Table, all); err != nil {
			return exchange.Answer{}, fmt.Errorf("deleting %s: %w", n.Name, err)
		}
	}
	if _, err := w.tx.Delete(ctx, e.Table, within); err != nil {
		return exchange.Answer{}, fmt.Errorf("deleting a row: %w", err)
	}
	return exchange.Answer{Status: http.StatusNoContent, Header: http.Header{}}, w.touch(ctx, e, row)
}
