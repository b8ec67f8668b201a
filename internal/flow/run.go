package flow

import (
	"encoding/json"
	"time"
)

type (
	// Status is where a run stands, seen from outside.
	Status string

	// Press is one request to run a flow, already authenticated.
	Press struct {
		Flow      string
		Principal string         // who asks, for example "dev" or "key:erp-app"
		Key       string         // Idempotency-Key; empty: the press gets a random one
		Params    map[string]any // as decoded by strictjson: numbers are json.Number
		Class     Class
		// Workflow is the ID of the workflow that carries this press already, because
		// it came by the second door; empty: the relay starts one.
		Workflow string
	}

	// Class is the priority class of a press: lower goes first.
	Class int16

	// Run is the outside view of one run: the body of 200 and 202, of
	// `patchbay run --json`, and what the console shows. Completeness is filled
	// by consolidations only.
	Run struct {
		RunID        string          `json:"run_id"`
		Flow         string          `json:"flow"`
		Status       Status          `json:"status"`
		Result       *Result         `json:"result"` // null until there is an answer
		Effects      []Effect        `json:"effects"`
		Completeness json.RawMessage `json:"completeness"` // null unless a consolidation
		Problem      *Problem        `json:"problem,omitempty"`

		Progress []Step     `json:"progress"`
		Tasks    []TaskView `json:"tasks,omitempty"` // of a service, in the order in which they were begun
		// Told are the business events that a run of an event flow became, with what became of them.
		Told       []TopicEvent `json:"told,omitempty"`
		Params     Row          `json:"params,omitempty"`
		Principal  string       `json:"principal,omitempty"`
		Digest     string       `json:"plan_digest,omitempty"`
		WorkflowID string       `json:"workflow_id,omitempty"`
		AcceptedAt time.Time    `json:"accepted_at"`
		AnsweredAt *time.Time   `json:"answered_at,omitempty"`
		ClosedAt   *time.Time   `json:"closed_at,omitempty"`
		DeadlineAt time.Time    `json:"deadline_at"`
		Cancelling bool         `json:"cancelling,omitempty"` // sealed, certificate not final yet
		Waiting    string       `json:"waiting,omitempty"`    // what it waits for, in words; empty when it does not
		DueAt      *time.Time   `json:"due_at,omitempty"`     // put back: it is not tried again before
		Shared     string       `json:"shared,omitempty"`     // run_id of the identical run whose work answers this one
		InDoubt    int          `json:"in_doubt,omitempty"`   // effects in doubt, counted: a list has no effects
		Redriven   int          `json:"redriven,omitempty"`   // how often it died and was accepted again
		RedriveOf  string       `json:"redrive_of,omitempty"` // run_id of the dead letter that this run was made of
		Replayed   bool         `json:"-"`                    // the same key had been pressed before
	}

	// Result is the answer of a run: its rows, and of a hybrid run what was decided.
	Result struct {
		Rows     []Row    `json:"rows"`
		Count    int      `json:"count"`
		Decision Outcome  `json:"decision,omitempty"`
		Rule     string   `json:"rule,omitempty"`    // that decided
		Reasons  []string `json:"reasons,omitempty"` // in words for customers
		Partial  []string `json:"partial,omitempty"` // sources in whose place a substitute stood
		By       string   `json:"by,omitempty"`      // "rules", "deadline", or who decided
	}

	// Effect is one write to an outside system, as the ledger knows it.
	Effect struct {
		Step   string      `json:"step"`
		Target string      `json:"target"` // "dataverse.msx_specification AS54888, Weight"
		State  EffectState `json:"state"`
		Reason string      `json:"reason,omitempty"` // why it is in this state, in words that are safe to show
	}

	// EffectState is the state of an effect in the ledger.
	EffectState string

	// Problem is a failed run in words: what failed and whether trying again helps.
	Problem struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Retry  bool   `json:"retry"`
	}

	// Step is one transition of a run; a run has at most five.
	Step struct {
		Name string    `json:"name"` // accepted, reading, answered, writing, closed
		At   time.Time `json:"at"`
		Note string    `json:"note,omitempty"` // in words, safe to show: "12 rows from oracle-plm"
	}

	// Certificate answers a cancel: what had been done, what was never begun and
	// what nobody can know (promise 3). The same run always gets the same one.
	Certificate struct {
		RunID   string    `json:"run_id"`
		Status  Status    `json:"status"` // cancelled, or how the run had ended before
		At      time.Time `json:"at"`
		Done    []Effect  `json:"done"`
		Undone  []Effect  `json:"undone"` // intended, never sent
		InDoubt []Effect  `json:"in_doubt"`
		// Detached means that the run shared its work with identical requests: its
		// owner has left, and the work goes on for the others.
		Detached bool `json:"detached,omitempty"`
	}

	// Entry is one line of a journal: what happened to a business key.
	Entry struct {
		At     time.Time      `json:"at"`
		Flow   string         `json:"flow"`
		Run    string         `json:"run"`
		What   string         `json:"what"`
		Reason string         `json:"reason"`
		Detail map[string]any `json:"detail,omitempty"`
	}
)

// The states of a run. Parked waits for a person; the last three are final.
const (
	Accepted  Status = "accepted"
	Running   Status = "running"
	Parked    Status = "parked"
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// The priority classes. A batch never mixes them.
const (
	Interactive Class = 0 // somebody is waiting
	Background  Class = 1 // carried out when nothing interactive waits
)

// The states of an effect: intent → attempt → confirmed | in_doubt → settled.
const (
	Intent    EffectState = "intent"
	Attempt   EffectState = "attempt"
	Confirmed EffectState = "confirmed"
	Doubtful  EffectState = "in_doubt"
	Settled   EffectState = "settled" // was in doubt, decided since
	Refused   EffectState = "refused" // the target said no
)

// DeadlineCode is the code of a run that was not answered in the time its flow
// allows.
const DeadlineCode = "run.deadline"

// TerminatedCode is the code of a run whose workflow a person terminated in Temporal.
const TerminatedCode = "run.terminated"

// MissingCode is the code of a run whose caller asked for what the source does not
// have: the caller has been told, and nobody else can do anything about it.
const MissingCode = "source.not_found"

// Final reports whether a run in this state will never change again.
func (s Status) Final() bool { return s == Completed || s == Failed || s == Cancelled }
