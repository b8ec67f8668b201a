package expr

import (
	"maps"
	"slices"
	"sync"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Matcher applies the triggers of one event flow to events, and the expressions
	// that a net change is sent by. Whoever accepts events, the relay and flow tests
	// use the same Matcher, so a test proves what happens.
	//
	// It is a pure function of its inputs and keeps none of them. Build it once a plan.
	Matcher struct {
		triggers  []trigger
		of        map[source][]int // triggers of a table, in the order of the plan
		throttle  *Program
		recipient *Program
		vars      sync.Pool
	}

	source struct{ connection, table string }

	trigger struct {
		change      []flow.ChangeType
		columns     []string // that it selects; nil: any
		where       *Program
		transitions *Program
		key         *Program
	}

	// images are an event with what is known of its record. own: no more than the
	// event itself says.
	images struct {
		event    *flow.Occurrence
		was, row flow.Row
		own      bool
		vars     map[string]any
	}

	// step is how far an event came with a trigger.
	step int
)

// The steps of a trigger, in the order in which they are asked.
const (
	atTable step = iota
	atChange
	atSelect
	atWhere
	atTransitions
	atKey
	taken
)

var clauses = [...]string{"table", "change", "select", "where", "transitions", "key", ""}

// NewMatcher compiles the expressions of an event flow. An expression that does not
// compile is a Bug: flowfile has compiled it before.
func NewMatcher(p *flow.Plan) (*Matcher, error) {
	m := &Matcher{of: map[source][]int{}}
	m.vars.New = func() any { return make(map[string]any, 3) }
	if p.Reaction == nil {
		return nil, fault.New(fault.Bug, "bug.plan", "the plan of "+p.Flow+" reacts to nothing", nil)
	}
	env, err := New(Var{Name: "row"}, Var{Name: "was"}, Var{Name: "key", Type: Scalar(flow.String)})
	if err != nil {
		return nil, err
	}
	compile := func(source string) *Program {
		if source == "" || err != nil {
			return nil
		}
		var prog *Program
		prog, err = mustCompile(env, p.Flow, source)
		return prog
	}
	for i := range p.Reaction.On {
		t := &p.Reaction.On[i]
		m.triggers = append(m.triggers, trigger{
			change: t.Change, columns: t.Select, where: compile(t.Where), transitions: compile(t.Transitions), key: compile(t.Key),
		})
		s := source{t.Connection, t.Table}
		m.of[s] = append(m.of[s], i)
	}
	if p.Reaction.Throttle != nil {
		m.throttle = compile(p.Reaction.Throttle.By)
	}
	if p.Send != nil {
		m.recipient = compile(p.Send.Recipient)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Judge decides on an event. row is the record after the change as far as it is known,
// of a deleted one as it was last known; was is the record before, nil when nothing is
// known of it. The first trigger of its table that the event passes takes it; else the
// verdict is that of the trigger with which it came furthest.
//
// An update counts where a column that the trigger selects (without select: any) was
// part of the request, if the event says what was, and is not known to have the same
// value as before. A column that the expressions need and that is not there, a
// condition that is no boolean and a key that is no text or number are rejected; a
// transition from a value that is not known is none.
func (m *Matcher) Judge(e flow.Occurrence, was, row flow.Row) flow.Verdict {
	in := images{event: &e, was: was, row: row}
	v, _ := m.judge(&in)
	return v
}

// Screen decides by what an event itself says. ok: it is refused, whatever else is
// known of its record; the verdict has no key. Else the caller has to Judge.
func (m *Matcher) Screen(e flow.Occurrence) (v flow.Verdict, ok bool) {
	in := images{event: &e, was: e.Before, row: e.After, own: true}
	if e.Change == flow.Deleted && e.Before != nil {
		in.row = e.Before
	}
	if v, ok = m.judge(&in); !ok {
		return flow.Verdict{}, false
	}
	return v, true
}

// judge asks the triggers in order. sure: it is refused and not rejected.
func (m *Matcher) judge(in *images) (v flow.Verdict, sure bool) {
	v = flow.Verdict{Trigger: -1, Reason: flow.EventRejected, Clause: clauses[atTable], Detail: "the flow has no trigger on this table"}
	furthest := atTable
	defer m.free(in)
	for _, i := range m.of[source{in.event.Connection, in.event.Table}] {
		t := &m.triggers[i]
		next, reached, known := m.ask(t, in)
		if in.own && (!known || reached == taken || next.Reason == flow.EventRejected) {
			return v, false
		}
		next.Trigger, next.Clause = i, clauses[reached]
		if reached == taken {
			return next, false
		}
		if reached > furthest {
			v, furthest, sure = next, reached, next.Reason != flow.EventRejected
		}
	}
	if !in.own && v.Trigger >= 0 && v.Key == "" {
		v.Key, _ = m.keyOf(&m.triggers[v.Trigger], in) // so that it is found by its key
	}
	return v, sure
}

// ask walks the steps of one trigger. known is false where what the event says is not
// enough to decide.
func (m *Matcher) ask(t *trigger, in *images) (v flow.Verdict, reached step, known bool) {
	e := in.event
	filtered := flow.Verdict{Reason: flow.EventFiltered}
	if !slices.Contains(t.change, e.Change) {
		return filtered, atChange, true
	}
	if e.Change == flow.Updated {
		if reason := t.unmoved(in); reason != "" {
			return flow.Verdict{Reason: reason}, atSelect, true
		}
	}
	if t.where != nil {
		if in.own && !in.knows(t.where, "row", in.row, e.Whole && e.Change != flow.Deleted) {
			return v, atWhere, false
		}
		if yes, err := m.holds(t.where, in); err != nil {
			return rejected(err), atWhere, true
		} else if !yes {
			return filtered, atWhere, true
		}
	}
	if t.transitions != nil && e.Change == flow.Updated {
		if in.own && !(in.knows(t.transitions, "row", in.row, e.Whole) && in.knows(t.transitions, "was", in.was, false)) {
			return v, atTransitions, false
		}
		yes, err := m.transits(t, in)
		if err != nil {
			return rejected(err), atTransitions, true
		} else if !yes {
			return filtered, atTransitions, true
		}
	}
	if in.own {
		return v, taken, true
	}
	key, err := m.keyOf(t, in)
	if err != nil {
		return rejected(err), atKey, true
	}
	v = flow.Verdict{Key: key}
	if e.Change == flow.Updated {
		v.Changed = t.changed(in)
	}
	return v, taken, true
}

func rejected(err error) flow.Verdict {
	return flow.Verdict{Reason: flow.EventRejected, Detail: fault.Of(err).Text}
}

// unmoved is why an update does not count, or empty.
func (t *trigger) unmoved(in *images) flow.EventReason {
	e := in.event
	concerned := false
	moved := func(c string) bool {
		concerned = true
		return !flow.SameColumn(in.was, in.row, c)
	}
	switch {
	case t.columns != nil:
		for _, c := range t.columns {
			if (e.Sent == nil || slices.Contains(e.Sent, c)) && moved(c) {
				return ""
			}
		}
		if !concerned {
			return flow.EventFiltered
		}
	case e.Sent != nil:
		if slices.ContainsFunc(e.Sent, moved) {
			return ""
		}
	default:
		for c := range in.row {
			if moved(c) {
				return ""
			}
		}
		if !concerned || in.own && !e.Whole {
			return "" // what is not known is not known not to differ
		}
	}
	return flow.EventUnchanged
}

// changed are the columns by which an update counts.
func (t *trigger) changed(in *images) []string {
	columns, e := t.columns, in.event
	switch {
	case columns != nil:
	case e.Sent != nil:
		columns = e.Sent
	default:
		columns = slices.Collect(maps.Keys(in.row))
	}
	out := make([]string, 0, len(columns))
	for _, c := range columns {
		if (e.Sent == nil || slices.Contains(e.Sent, c)) && !flow.SameColumn(in.was, in.row, c) {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// knows reports whether a record has all that an expression takes of it, so that to
// know more would change nothing.
func (in *images) knows(p *Program, variable string, record flow.Row, whole bool) bool {
	if whole {
		return true
	}
	u := p.uses[variable]
	return !u.whole && !slices.ContainsFunc(u.columns, func(c string) bool { _, ok := record[c]; return !ok })
}

// transits asks for a transition. One from a column that is not known is none.
func (m *Matcher) transits(t *trigger, in *images) (bool, error) {
	if in.was == nil {
		return false, nil
	}
	yes, err := m.holds(t.transitions, in)
	if err != nil && fault.Of(err).Code == CodeMissing && !in.knows(t.transitions, "was", in.was, false) {
		return false, nil
	}
	return yes, err
}

// holds evaluates a condition. Null, like false, does not hold.
func (m *Matcher) holds(p *Program, in *images) (bool, error) {
	v, err := p.Eval(m.use(in))
	if err != nil {
		return false, err
	}
	switch v := v.(type) {
	case bool:
		return v, nil
	case nil, absent:
		return false, nil
	}
	return false, fault.New(fault.Rejected, CodeType, "the condition gives no boolean", nil)
}

// keyOf gives the business key of an event.
func (m *Matcher) keyOf(t *trigger, in *images) (string, error) {
	v, err := t.key.Eval(m.use(in))
	if err != nil {
		return "", err
	}
	return KeyText(v, "the key")
}

// ThrottleKey is what runs of a net change are throttled by; empty when the flow has
// one throttle for all.
func (m *Matcher) ThrottleKey(row flow.Row) (string, error) {
	if m.throttle == nil {
		return "", nil
	}
	v, err := m.throttle.Eval(map[string]any{"row": row, "key": "", "was": flow.Row(nil)})
	if err != nil {
		return "", err
	}
	return KeyText(v, "throttle.per")
}

// Recipient is who the message of a business key goes to; row is what was read for
// it, or the record of its last event.
func (m *Matcher) Recipient(key string, row flow.Row) (string, error) {
	if m.recipient == nil {
		return "", fault.New(fault.Bug, "bug.plan", "the flow sends nothing", nil)
	}
	v, err := m.recipient.Eval(map[string]any{"row": row, "key": key, "was": flow.Row(nil)})
	if err != nil {
		return "", err
	}
	return KeyText(v, "the recipient")
}

// use gives the variables of an event, taken from a pool: most events need none.
func (m *Matcher) use(in *images) map[string]any {
	if in.vars == nil {
		in.vars = m.vars.Get().(map[string]any)
		in.vars["row"], in.vars["was"] = in.row, in.was
	}
	return in.vars
}

func (m *Matcher) free(in *images) {
	if in.vars != nil {
		clear(in.vars)
		m.vars.Put(in.vars)
	}
}
