package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"patchbay/internal/advice"
	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
	"patchbay/internal/message"
	"patchbay/internal/ruling"
)

type (
	// mappers keeps the compiled expressions and templates of plans. Plans are
	// immutable and come from a cache, so a plan is known by its address.
	mappers struct {
		mu   sync.Mutex
		made map[*flow.Plan]compiled
	}

	// compiled is all of a plan that is made ready once.
	compiled struct {
		mapper *expr.Mapper // nil for a consolidation
		join   *join.Plan   // nil but for a consolidation
		advice *advice.Spec // nil unless the flow asks for advice
		// delivery writes what was advised.
		delivery *flow.Plan
		matcher  *expr.Matcher     // nil unless the flow reacts to events
		message  *message.Template // nil unless it sends
		saga     *saga             // nil but for a service or a hybrid
		rules    *ruling.Rules     // nil but for a hybrid
	}
)

// mostMappers bounds the cache; beyond it everything is compiled anew, once.
const mostMappers = 256

func (m *mappers) of(plan *flow.Plan) (compiled, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, ok := m.made[plan]; ok {
		return found, nil
	}
	c, err := compile(plan)
	if err != nil {
		return c, fmt.Errorf("compiling the expressions of %s: %w", plan.Flow, err)
	}
	if len(m.made) >= mostMappers || m.made == nil {
		m.made = map[*flow.Plan]compiled{}
	}
	m.made[plan] = c
	return c, nil
}

func compile(plan *flow.Plan) (c compiled, err error) {
	if plan.Decide != nil {
		if c.rules, err = ruling.New(plan); err != nil {
			return c, err
		}
	}
	if plan.Saga != nil {
		c.saga, err = newSaga(plan)
		return c, err
	}
	if plan.Advise != nil {
		if c.advice, err = advice.New(*plan.Advise); err != nil {
			return c, err
		}
		c.delivery = delivery(plan)
	}
	if plan.Gather != nil {
		c.join, err = join.NewPlan(plan)
		return c, err
	}
	if c.mapper, err = expr.NewMapper(plan); err != nil {
		return c, err
	}
	if plan.Reaction != nil {
		if c.matcher, err = expr.NewMatcher(plan); err != nil {
			return c, err
		}
	}
	if plan.Send != nil {
		var problems []message.Problem
		if c.message, problems = message.Compile(*plan.Send); c.message == nil {
			return c, fault.New(fault.Bug, "bug.plan", fmt.Sprintf("the template of %s does not compile: %s", plan.Flow, problems[0]), nil)
		}
	}
	return c, nil
}

// Map implements activities.Mapper. Rows of an event flow are the net changes that
// its run carries: they become one message, or a target row for each record.
func (m *mappers) Map(plan *flow.Plan, params flow.Row, rows []flow.Row) ([]flow.Row, error) {
	c, err := m.of(plan)
	switch {
	case err != nil:
		return nil, err
	case plan.Reaction == nil:
		return c.mapper.Map(params, rows)
	case plan.Send != nil:
		return c.write(params, rows)
	}
	records := make([]flow.Row, len(rows))
	for i, item := range rows {
		records[i], _ = item["row"].(map[string]any)
	}
	return c.mapper.Map(params, records)
}

// write makes the message of net changes. Where several go together they have one
// recipient.
func (c compiled) write(params flow.Row, items []flow.Row) ([]flow.Row, error) {
	changes := make([]flow.NetChange, len(items))
	for i, item := range items {
		var err error
		if changes[i], err = netChange(item); err != nil {
			return nil, err
		}
	}
	if len(changes) == 0 {
		return nil, fault.New(fault.Bug, "event.items", "a run of an event flow without its items", nil)
	}
	key, _ := params["key"].(string)
	window, _ := params["window"].(string)
	to, err := c.recipient(changes)
	if err != nil {
		return nil, fmt.Errorf("finding the recipient: %w", err)
	}
	row, err := c.message.Render(message.Data{Key: key, Window: window, Recipient: to, Items: message.Changes(changes)})
	if err != nil {
		return nil, err
	}
	return []flow.Row{row}, nil
}

// recipient is the one of the first record that names any: a note beside a case does not.
func (c compiled) recipient(changes []flow.NetChange) (to string, err error) {
	for _, n := range changes {
		if to, err = c.matcher.Recipient(n.Key, n.Row); err == nil {
			return to, nil
		}
	}
	return "", err
}

// netChange reads an item of a run back, numbers exact.
func netChange(item flow.Row) (flow.NetChange, error) {
	var n flow.NetChange
	body, err := json.Marshal(item)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		err = d.Decode(&n)
	}
	if err != nil {
		return n, fault.New(fault.Bug, "event.items", "an item of a run is no net change", err)
	}
	return n, nil
}
