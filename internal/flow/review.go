package flow

import (
	"encoding/json"
	"time"
)

type (
	// ActionPlan is a plan that a model or a flow's rules have proposed for one customer,
	// and what became of it.
	ActionPlan struct {
		ID        int64           `json:"id"`
		Flow      string          `json:"flow"`
		RunID     string          `json:"run_id"`
		Key       string          `json:"key"`
		State     string          `json:"state"`              // due, review, approved, rejected, superseded, written, refused
		Plan      json.RawMessage `json:"plan"`               // action, reason, evidence, who made it: see package advice
		Proposed  json.RawMessage `json:"proposed,omitempty"` // as it was before a person changed it
		Row       json.RawMessage `json:"row"`                // of the target
		Why       string          `json:"why,omitempty"`      // a person has to see it, or the target refused it
		Stale     []string        `json:"stale,omitempty"`    // sources that it could not use
		MadeAt    time.Time       `json:"made_at"`
		DecidedAt *time.Time      `json:"decided_at,omitempty"`
		DecidedBy string          `json:"decided_by,omitempty"`
		Note      string          `json:"note,omitempty"`
		WrittenAt *time.Time      `json:"written_at,omitempty"`
	}

	// PlanFilter chooses plans, newest first. Empty fields choose all.
	PlanFilter struct {
		Flow, RunID, Key, State string
		Before                  int64 // the ID after which the page begins; 0: the newest
		Limit                   int   // 0: 50
	}

	// PlanDecision is what a person decided about a plan. Action, where it is given, is
	// what the person chose instead.
	PlanDecision struct {
		Approve bool   `json:"approve"`
		Action  string `json:"action,omitempty"`
		Reason  string `json:"reason"`
		By      string `json:"-"`
	}

	// AdviceTally counts the plans of a run.
	AdviceTally struct {
		Made, Written, Rules, Review, Withheld int64
	}
)
