package flow

import "time"

type (
	// Letter is a dead letter: a run that failed for good, and what became of it
	// since. What its caller had asked for in vain (source.not_found) is none.
	Letter struct {
		RunID      string      `json:"run_id"`
		Flow       string      `json:"flow"`
		State      LetterState `json:"state"`
		Reason     string      `json:"reason"` // the final reason of the run
		Problem    Problem     `json:"problem"`
		Params     Row         `json:"params"`
		Principal  string      `json:"principal"`
		Digest     string      `json:"plan_digest"` // of the plan that it is bound to
		Changed    bool        `json:"changed"`     // the flow has another plan in force by now
		AcceptedAt time.Time   `json:"accepted_at"`
		AnsweredAt *time.Time  `json:"answered_at,omitempty"` // a redrive as it was writes this answer
		DiedAt     time.Time   `json:"died_at"`
		Times      int         `json:"times"` // how often it has died
		Effects    Tally       `json:"effects"`

		DecidedAt *time.Time `json:"decided_at,omitempty"`
		DecidedBy string     `json:"decided_by,omitempty"`
		Note      string     `json:"note,omitempty"` // why it was dismissed
		Into      string     `json:"into,omitempty"` // run_id that a redrive goes on as: its own, or that of a new run
	}

	// LetterState is what became of a dead letter.
	LetterState string

	// Tally counts the writes of a run by what is known of them.
	Tally struct {
		Done    int `json:"done"`     // the target holds them: they are never repeated
		Refused int `json:"refused"`  // a redrive sends them again
		InDoubt int `json:"in_doubt"` // a redrive looks whether they are there, and sends them only when they are not
		Undone  int `json:"undone"`   // intended, never sent
	}

	// LetterFilter chooses dead letters. Empty fields choose all.
	LetterFilter struct {
		Flow   string
		Reason string      // the final reason, or the code of the problem
		State  LetterState // empty: Dead
		Since  time.Time   // died then or later
		Until  time.Time   // died before; zero: now
		Oldest bool        // the oldest first, else the newest
		Cursor string      // of the page before; empty: the first
		Limit  int         // 0: the default of whoever answers
	}

	// Redrive asks for a dead letter to be accepted again. As it was: the same run,
	// under the plan it is bound to, its writes known to the ledger as before. With Set
	// or Current a new run is made of it, under the plan in force.
	Redrive struct {
		RunID   string
		By      string
		Set     map[string]any // parameters that take the place of its own; nil gives one up
		Current bool           // a new run in any case
		Bulk    bool           // one of many: behind what people wait for
		Plan    bool           // say what would be done and do nothing
	}

	// Redriven is what became of a redrive, or what would.
	Redriven struct {
		RunID   string `json:"run_id"`
		Into    string `json:"into,omitempty"` // the run that goes on; empty in a plan when it would be a new one
		New     bool   `json:"new"`            // it is, or would be, a new run
		Digest  string `json:"plan_digest"`    // of the plan that it is bound to
		Changed bool   `json:"changed"`        // the flow has another plan in force
		Effects Tally  `json:"effects"`        // of the dead letter, as the redrive found them
	}
)

// The states of a dead letter.
const (
	LetterDead      LetterState = "dead"
	LetterRedriven  LetterState = "redriven"
	LetterDismissed LetterState = "dismissed"
)
