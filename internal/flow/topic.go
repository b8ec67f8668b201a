package flow

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"patchbay/internal/fault"
)

type (
	// Topic is a kind of business event as one flow knows it: what it needs of an event that
	// it accepts, or says of one that it emits.
	Topic struct {
		Name   string   `json:"name"` // with its version: "shipped.v1"
		Key    []string `json:"key"`  // fields that say what the event is about; required ones
		Fields []Param  `json:"fields"`
		// Keep is how long an event waits for somebody who awaits it.
		Keep time.Duration `json:"keep,omitempty"`
	}

	// Await is a task that waits for an event of a topic.
	Await struct {
		Topic string `json:"topic"`
		// Where are equalities of fields of the event; the key of the topic is among them.
		Where []Match `json:"where"`
		// Otherwise is the row in the place of the event when none came in time; empty: the
		// task fails.
		Otherwise []Column `json:"otherwise,omitempty"`
	}

	// TopicEvent is a business event and what became of it.
	TopicEvent struct {
		Topic      string     `json:"topic"`
		ID         string     `json:"id"`  // the sender's: the same ID is the same event
		Key        string     `json:"key"` // see Topic.KeyOf
		From       string     `json:"from"`
		State      TopicState `json:"state"`
		Why        string     `json:"why,omitempty"` // in words, safe to show
		Run        string     `json:"run,omitempty"` // run_id of the one that took it
		Task       string     `json:"task,omitempty"`
		ReceivedAt time.Time  `json:"received_at"`
		ExpiresAt  time.Time  `json:"expires_at"`
		EndedAt    *time.Time `json:"ended_at,omitempty"`
		// Started are the runs that it started, by the flow, or why it started none.
		Started   []TopicStart `json:"started,omitempty"`
		Duplicate bool         `json:"duplicate,omitempty"` // of an answer: it was known
		// Redriven is how often it was offered again after it had expired or was dead.
		Redriven  int        `json:"redriven,omitempty"`
		DecidedAt *time.Time `json:"decided_at,omitempty"` // when it was put aside
		DecidedBy string     `json:"decided_by,omitempty"` // who did that, or offered it again last
		Note      string     `json:"note,omitempty"`       // why it was put aside
	}

	// TopicStart is a run that an event started, or what kept it from that.
	TopicStart struct {
		Flow    string   `json:"flow"`
		Run     string   `json:"run,omitempty"`
		Problem *Problem `json:"problem,omitempty"`
	}

	// TopicFilter chooses events; empty fields choose all.
	TopicFilter struct {
		Topic string
		Key   string
		State TopicState
		IDs   []string // the senders'
		// Undecided are those that a person has to decide on: that expired, that a flow could
		// not be started by, and that nobody has put aside.
		Undecided    bool
		Since, Until time.Time // received then or later, and before
		Oldest       bool      // the oldest first, else the newest
		Limit        int
	}

	// TopicTrouble is how many events of a topic a person has to decide on, of one state.
	TopicTrouble struct {
		Topic       string
		State       TopicState // expired or dead
		Count       int64
		Sample      TopicEvent // the newest
		First, Last time.Time
	}

	// TopicState is where a business event is.
	TopicState string

	// AwaitView is what a task of a run awaits, seen from outside.
	AwaitView struct {
		Topic string     `json:"topic"`
		Key   string     `json:"key"`
		Until time.Time  `json:"until"`
		Event string     `json:"event,omitempty"` // ID of the event that it took
		Came  *time.Time `json:"came,omitempty"`  // when that was received
		// Others are events of the same key that this task has not taken, with what became
		// of them: they came early, late or out of turn.
		Others []TopicEvent `json:"others,omitempty"`
	}
)

// The states of a business event. Kept is the one that is not final.
const (
	TopicKept    TopicState = "kept"    // nobody has taken it yet
	TopicTaken   TopicState = "taken"   // by the run that awaited it
	TopicExpired TopicState = "expired" // nobody came for it in time
	// An event that starts runs waits for those who await it like any other; where nobody
	// came it is delivered, or dead where a flow could not be started by it.
	TopicDelivered TopicState = "delivered"
	TopicDead      TopicState = "dead"
)

// The codes of the faults about business events.
const (
	TopicInvalidCode = "event.invalid"     // a field is not as the contract says
	AwaitLateCode    = "await.deadline"    // none came in time
	TopicUnknownCode = "event.not_found"   // no flow accepts the topic
	TopicClashCode   = "event.id_conflict" // the ID stands for another event
)

// TopicName is how topics are named: a name and a version.
var TopicName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*\.v[1-9][0-9]{0,3}$`)

// Validate gives those fields of data that the topic knows, complete as of Plan.Validate. Every
// field that is not as the contract says is named in one Invalid fault "event.invalid";
// fields that it does not know are left out.
func (t *Topic) Validate(data Row) (Row, error) {
	out, err := (&Plan{Params: t.Fields}).Validate(t.Known(data))
	var wrong *fault.Fault
	if !errors.As(err, &wrong) {
		return out, err
	}
	fields := make([]fault.Field, len(wrong.Fields))
	for i, f := range wrong.Fields {
		f.Path = "data" + strings.TrimPrefix(f.Path, "params")
		fields[i] = f
	}
	return nil, fault.Invalidf(TopicInvalidCode, "the event is not as %s says: %s", t.Name, wrong.Text).With(fields...)
}

// Known are the fields of data that the topic knows, as they are.
func (t *Topic) Known(data Row) Row {
	known := make(Row, len(t.Fields))
	for _, f := range t.Fields {
		if v, given := data[f.Name]; given {
			known[f.Name] = v
		}
	}
	return known
}

// KeyOf is the business key of values of a topic's key fields, as a text; false when one of
// them has no value. Several are joined by slashes.
func (t *Topic) KeyOf(values Row) (string, bool) {
	parts := make([]string, len(t.Key))
	for i, name := range t.Key {
		if values[name] == nil {
			return "", false
		}
		parts[i] = fmt.Sprint(values[name])
		if len(t.Key) > 1 {
			parts[i] = slashed.Replace(parts[i])
		}
	}
	key := strings.Join(parts, "/")
	return key, key != ""
}

var slashed = strings.NewReplacer("%", "%25", "/", "%2F")

// Tells reports whether a run of the plan tells of a topic.
func (p *Plan) Tells(topic string) bool {
	tells := topic != "" && p.Emit == topic
	if p.Saga != nil && topic != "" {
		p.Saga.Walk(func(t *Task) { tells = tells || t.Emit == topic })
	}
	return tells
}

// Emitted is the contract of a topic that the plan emits; nil when it does not.
func (p *Plan) Emitted(name string) *Topic { return find(p.Emits, name) }

// Accepted is the contract of a topic that the plan accepts; nil when it does not.
func (p *Plan) Accepted(name string) *Topic { return find(p.Accepts, name) }

func find(topics []Topic, name string) *Topic {
	for i := range topics {
		if topics[i].Name == name {
			return &topics[i]
		}
	}
	return nil
}
