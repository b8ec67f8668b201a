package flow

import (
	"net/netip"
	"time"

	"patchbay/internal/fault"
)

type (
	// Reaction is what an event flow adds to its plan: what it reacts to, how events
	// of one business key become one run, and how much of it is carried at a time.
	Reaction struct {
		On       []Trigger     `json:"on"`                 // the first that an event passes takes it
		Sweep    time.Duration `json:"sweep,omitempty"`    // how often change tracking looks for what no delivery told; 0: never
		Quiet    time.Duration `json:"quiet,omitempty"`    // a window ends when nothing came for so long; 0: at once
		MaxWait  time.Duration `json:"max_wait,omitempty"` // and so long after its first event at the latest
		Throttle *Throttle     `json:"throttle,omitempty"` // nil: none
		Expect   Expect        `json:"expect,omitzero"`
		Spike    []SpikeMode   `json:"spike,omitempty"`  // past what is expected, in this order
		Counts   bool          `json:"counts,omitempty"` // explain: counts: what is refused on its own images leaves a counter only
		Loop     bool          `json:"loop,omitempty"`   // loop: accepted: it may be part of a cycle of flows
	}

	// Trigger is one entry of on. Expressions are CEL over row, the record as it is
	// after the change (of a deleted one: as it was last known), and, in Transitions,
	// was: the record as it was before.
	Trigger struct {
		Connection  string       `json:"connection"`
		Table       string       `json:"table"`
		Change      []ChangeType `json:"change"`                // types that it reacts to; never empty
		Select      []string     `json:"select,omitempty"`      // an update counts only if one of these really changed; empty: any column
		Where       string       `json:"where,omitempty"`       // over row; empty: every row
		Transitions string       `json:"transitions,omitempty"` // over was and row, of an update; empty: any
		Key         string       `json:"key"`                   // over row: the business key, a text or a number
		// Columns are those of the table that the plan has a use for: asked of the
		// system, and remembered as last seen (promise 5).
		Columns []string `json:"columns,omitempty"`
	}

	// ChangeType is what happened to a record.
	ChangeType string

	// Throttle lets Rate runs pass in each Per, Burst at once, for each value of By, which is CEL over row: the record of the net change, before anything is read.
	Throttle struct {
		Rate  int           `json:"rate"`
		Per   time.Duration `json:"per"`
		Burst int           `json:"burst"`
		By    string        `json:"by,omitempty"` // CEL over row; empty: all of the flow together
	}

	// Expect is how many events a flow is expected to get; 0 is not said.
	Expect struct {
		PerDay   int64 `json:"per_day,omitempty"`
		PerMonth int64 `json:"per_month,omitempty"`
	}

	// SpikeMode is what happens to events past what is expected.
	SpikeMode string

	// Send makes a message of each run of an event flow. The text and HTML are
	// templates of html/template and text/template over Message; so is Subject.
	// Compile makes the plan's Write of it: one row with the columns of MessageColumns.
	Send struct {
		Recipient string `json:"recipient"` // CEL over row (what was read, or the record) and key: an address of the target's kind
		Template  string `json:"template"`  // name of the file, for diagnostics
		Subject   string `json:"subject,omitempty"`
		Text      string `json:"text,omitempty"` // empty: made of the HTML
		HTML      string `json:"html,omitempty"` // empty: the message is text only
	}

	// Quota is one limit as the provider of a system states it. All flows, workers
	// and processes share it. Kinds: requests, messages (Most in each Per),
	// execution (Most milliseconds of answering time in each Per), concurrent (Most at
	// a time).
	Quota struct {
		Kind    QuotaKind     `json:"kind"`
		Most    int64         `json:"most"`
		Per     time.Duration `json:"per,omitempty"`     // sliding; 0 for concurrent
		Reserve int           `json:"reserve,omitempty"` // per cent that only interactive flows may use
	}

	// QuotaKind is what a quota counts.
	QuotaKind string

	// Hook says how the deliveries of a system prove who sent them. Secrets are
	// references (promise 9).
	Hook struct {
		Scheme  string   `json:"scheme"`            // "standard", "hmac", "key", "header", "query", "client-state", "none"
		Name    string   `json:"name,omitempty"`    // of the header or query parameter, where the scheme leaves it open
		Secrets []string `json:"secrets,omitempty"` // each is accepted; a sender uses the first
		Retired []string `json:"retired,omitempty"` // no longer accepted, and said so
		From    []string `json:"from,omitempty"`    // addresses or networks that may deliver; none: any
	}

	// Delivery is one HTTP request by which a system tells of events. Body is as it was
	// sent: signatures are of these bytes.
	Delivery struct {
		Flow       string
		Connection string // of the flow's; empty: the one that recognises it
		Header     map[string][]string
		Query      map[string][]string
		Body       []byte
		At         time.Time
		From       netip.Addr // who sent it, behind the proxies of this installation
	}

	// Receipt is what became of a delivery, once it is committed (promise 1).
	Receipt struct {
		Accepted  int            `json:"accepted"`           // events that are new
		Duplicate int            `json:"duplicate"`          // that were known
		Outcomes  map[string]int `json:"outcomes,omitempty"` // how many are decided already, by reason
		// Answer is what the sender wants back in the place of a receipt, as plain text.
		Answer string `json:"-"`
	}

	// EventReason is why an event is where it is; each has exactly one that is final.
	EventReason string
)

// The types of change.
const (
	Created ChangeType = "create"
	Updated ChangeType = "update"
	Deleted ChangeType = "delete"
)

// The modes of a spike plan.
const (
	SpikeQueue  SpikeMode = "queue"  // nothing is dropped; it takes longer
	SpikeDigest SpikeMode = "digest" // one message for each recipient and interval
	SpikeShed   SpikeMode = "shed"   // kept, and not carried out
)

// What quotas count.
const (
	QuotaRequests   QuotaKind = "requests"
	QuotaExecution  QuotaKind = "execution"
	QuotaConcurrent QuotaKind = "concurrent"
	QuotaMessages   QuotaKind = "messages"
)

// The reasons of events. Waiting is the one that is not final.
const (
	EventWaiting   EventReason = "waiting"   // in a window, or its run is under way
	EventDelivered EventReason = "delivered" // the run that carried it completed
	EventFiltered  EventReason = "filtered"  // by a clause, which is named
	EventUnchanged EventReason = "unchanged" // no column that matters has another value, now or over its window
	EventMerged    EventReason = "merged"    // its window's run was carried by another event
	EventEcho      EventReason = "echo"      // of our own write
	EventStale     EventReason = "stale"     // older than what is known of the record
	EventShed      EventReason = "shed"      // past what the flow expects
	EventRejected  EventReason = "rejected"  // by the target, or it cannot be carried out
	EventDead      EventReason = "dead"      // its run, or the event itself, is a dead letter
)

// MessageColumns are the columns of the row that a plan with a Send writes.
var MessageColumns = []string{"id", "recipient", "subject", "text", "html"}

// EventParams are the parameters of a run of an event flow: the business key, the ID
// of the window, and the net changes that it carries, one for each key; several
// only in a digest. Each item is a NetChange.
func EventParams() []Param {
	return []Param{{Name: "key", Type: String}, {Name: "window", Type: String}, {Name: "items", Type: Any}}
}

// NetChange is one entry of the parameter items, as it is encoded: what a window
// comes to.
type NetChange struct {
	Key     string     `json:"key"`
	Row     Row        `json:"row"`     // the record as it is after the last event, as far as the images say
	Was     Row        `json:"was"`     // the columns that changed, as they were before the first event
	Changed []string   `json:"changed"` // columns whose value differs, in order
	Events  int        `json:"events"`  // that it was made of
	First   time.Time  `json:"first"`
	Last    time.Time  `json:"last"`
	Change  ChangeType `json:"change"` // created when the first event made the record, deleted when the last removed it
	Source  string     `json:"source"` // connection.table of the last event
	// Record is the one that this tells of. Others are the net changes of the other
	// records that the window's events were of, the newest last; Events, First and Last
	// count them too.
	Record string      `json:"record,omitempty"`
	Others []NetChange `json:"others,omitempty"`
	// Void: all that mattered was taken back, or the record was made and removed again.
	// Nobody has to be told.
	Void bool `json:"void,omitempty"`
	// Origin is the chain of causes, of its longest event; see Chain.
	Origin string `json:"origin,omitempty"`
}

type (
	// Occurrence is an event: what happened to one record, as a source tells it; see connector.Event
	// for what each field promises.
	Occurrence struct {
		ID         string
		Connection string
		Table      string
		Record     string
		Change     ChangeType
		Version    int64
		At         time.Time
		After      Row
		Before     Row
		Whole      bool
		Sent       []string
		Trimmed    bool
		Origin     string
		// Unreadable is why nobody will know what happened; nil: it says so, or can be read.
		Unreadable *fault.Fault
	}

	// Verdict is what the triggers of a plan say about an event. Reason is empty when
	// one of them takes it; else it is final, and Clause names what refused it:
	// "table", "change", "select", "where" or "transitions".
	Verdict struct {
		Trigger int    // that took it, or came furthest
		Key     string // business key; empty when it is not known
		Reason  EventReason
		Clause  string
		Detail  string   // of a rejected event: what is wrong, without values
		Changed []string // columns that are known to differ or not known not to, in order
	}
)
