package flow

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

type (
	// Collect is what a task that reads for a decision does when its system gives no row
	// within the deadline: the columns of Substitute take its place, or the run is refused for
	// the reason Refuse. Reuse is how old an answer that another run paid for may be; 0: none is used.
	Collect struct {
		Substitute []Column      `json:"substitute,omitempty"`
		Refuse     string        `json:"refuse,omitempty"`
		Reuse      time.Duration `json:"reuse,omitempty"`
	}

	// Calculate is a task that a registered calculator does on a queue of its own. Map are the
	// figures, each under its path in the calculator's input ("question.loan.amount").
	Calculate struct {
		Function string `json:"function"`
		Version  string `json:"version"`
		Contract string `json:"contract"` // digest
		Queue    string `json:"queue"`
		// Seed is a decimal number, or SeedOfRun; empty: it follows from the figures, so that
		// equal figures give equal results.
		Seed string `json:"seed,omitempty"`
		// Reuse is how old an output of another run may be, of the same figures and seed; 0: none is used.
		Reuse time.Duration `json:"reuse,omitempty"`
		// Shadow sees the same figures and the same seed, and nothing sees what it gives but the comparison.
		Shadow *Shadow `json:"shadow,omitempty"`
	}

	// Decide is what a decision is made by. It is bound to the run by its digest.
	Decide struct {
		Require []Require    `json:"require,omitempty"` // in the order of the file
		Rules   []DecideRule `json:"rules"`             // the first whose When holds decides
	}

	// Require is what has to hold before anything is computed: That is CEL over params and
	// steps. What is not true, null and what cannot be evaluated included, refuses for Reason.
	Require struct {
		Name   string `json:"name"`
		That   string `json:"that"`
		Reason string `json:"reason"`
	}

	// DecideRule decides where When holds; "" always does. Reason, and each text of Factors, a CEL
	// list, are told to the customer.
	DecideRule struct {
		Name    string  `json:"name"`
		When    string  `json:"when,omitempty"`
		Then    Outcome `json:"then"` // Approve, Refer or Decline
		Reason  string  `json:"reason,omitempty"`
		Factors string  `json:"factors,omitempty"`
	}

	// Review is how a person decides what rules referred.
	Review struct {
		Deadline time.Duration `json:"deadline"`
		Late     Outcome       `json:"late"` // Decline or Expire, when nobody decided in time
		Hours    *Hours        `json:"hours,omitempty"`
		// FourEyes is CEL: whether an approval needs a second person. Conflicts is a CEL list of
		// names: who is one of them may not decide, and with Others nor may who started the run.
		// Show is what reviewers are shown besides.
		FourEyes  string   `json:"four_eyes,omitempty"`
		Conflicts string   `json:"conflicts,omitempty"`
		Others    bool     `json:"others,omitempty"`
		Show      []Column `json:"show,omitempty"`
	}

	// Hours are when people work: a deadline that falls outside of them ends with the first
	// hour of the next working day.
	Hours struct {
		Zone     string   `json:"zone"`
		From     string   `json:"from"`           // "09:00"
		To       string   `json:"to"`             // "17:00"
		Days     []string `json:"days,omitempty"` // mon … sun; empty: mon to fri
		Holidays []string `json:"holidays,omitempty"`
	}

	// Outcome is what was decided.
	Outcome string

	// Ruling is what the rules say.
	Ruling struct {
		Outcome Outcome  `json:"outcome"`
		Rule    string   `json:"rule"`    // that decided: its name, or "require NAME", "collect NAME", "calculate NAME"
		Reasons []string `json:"reasons"` // in words for customers
		Partial []string `json:"partial"` // sources in whose place a substitute stood
	}

	// Case is all that rules know of a run.
	Case struct {
		Params   Row         `json:"params"`
		Inputs   []Collected `json:"inputs"`
		Computed []Computed  `json:"computed"`
		Gaps     []Gap       `json:"gaps"`
	}

	// Gap is a task that gave nothing a decision can be made from, and why, in words for customers.
	Gap struct {
		Task string   `json:"task"`
		Kind TaskKind `json:"kind"`
		Code string   `json:"code"`
		Why  string   `json:"why"`
	}

	// Collected is what a task that read for a decision found.
	Collected struct {
		Name       string    `json:"name"`
		Source     string    `json:"source"` // the system's identity
		AsOf       time.Time `json:"as_of"`  // in UTC
		Substitute bool      `json:"substitute,omitempty"`
		Why        string    `json:"why,omitempty"` // the substitute stands there
		Rows       []Row     `json:"rows"`
	}

	// Computed is what a calculator made of its input.
	Computed struct {
		Name     string          `json:"name"` // of the task
		Function string          `json:"function"`
		Version  string          `json:"version"`
		Contract string          `json:"contract"`
		Model    string          `json:"model"`
		Seed     string          `json:"seed"`
		Input    json.RawMessage `json:"input"`
		Output   json.RawMessage `json:"output,omitempty"`
	}

	// Decision is what was decided about a run, once.
	Decision struct {
		RunID   string    `json:"run_id"`
		Outcome Outcome   `json:"outcome"`
		Rule    string    `json:"rule"`
		Reasons []string  `json:"reasons"`
		Partial []string  `json:"partial"`
		By      string    `json:"by"` // "rules", "deadline", or the people, with a comma
		At      time.Time `json:"at"`
	}

	// Referral is a run that waits, or waited, for a person, with all that one needs to decide.
	Referral struct {
		RunID    string    `json:"run_id"`
		Flow     string    `json:"flow"`
		Summary  string    `json:"summary"`
		State    string    `json:"state"` // open, decided
		OpenedAt time.Time `json:"opened_at"`
		DueAt    time.Time `json:"due_at"`
		Late     Outcome   `json:"late"`
		// Ruling is why a person has to decide. FourEyes: an approval needs two people.
		Ruling    Ruling    `json:"ruling"`
		FourEyes  bool      `json:"four_eyes"`
		Conflicts []string  `json:"conflicts"` // who may not decide
		May       []Outcome `json:"may"`       // what a person may decide now
		Show      Row       `json:"show"`
		Case
		Opinions []Opinion `json:"opinions"` // the first first
		Decision *Decision `json:"decision,omitempty"`
	}

	// Opinion is what one person said of a referral.
	Opinion struct {
		By       string    `json:"by"`
		Decision Outcome   `json:"decision"` // Approve or Decline
		Reason   string    `json:"reason"`
		At       time.Time `json:"at"`
	}

	// ReferralFilter chooses referrals, those that are due first.
	ReferralFilter struct {
		Flow  string
		State string // open, decided; empty: open
		Limit int    // 0: 50
	}
)

// What may be decided. Refer is no end: a person decides then. Refuse says that nothing can be
// decided from what is there, Expire that nobody decided in time.
const (
	Approve Outcome = "approve"
	Refer   Outcome = "refer"
	Decline Outcome = "decline"
	Refuse  Outcome = "refuse"
	Expire  Outcome = "expire"
)

// The steps of a hybrid flow that the file does not name.
const (
	RequireStep  = "require"
	DecideStep   = "decide"
	ReviewStep   = "review"
	DecisionStep = "decision" // what its expressions know the final decision by
)

// SeedOfRun is the seed that follows from the run and the task.
const SeedOfRun = "run"

// Rules are what the decision of a plan is made by, as a plan of their own. Who may not decide
// belongs to them: where that is not known, nothing is referred.
func (p *Plan) Rules() *Plan {
	rules := &Plan{Flow: p.Flow, Pattern: p.Pattern, Params: p.Params, Decide: p.Decide}
	if p.Review != nil && p.Review.Conflicts != "" {
		rules.Review = &Review{Conflicts: p.Review.Conflicts}
	}
	return rules
}

// RulesDigest is the digest of Rules.
func (p *Plan) RulesDigest() string { return p.Rules().Digest() }

// Barred reports whether a principal is declared not to decide. Names are given with the kind
// of a principal before them ("key:") or without, and without regard to capitals.
func (r *Referral) Barred(principal string) bool {
	_, bare, _ := strings.Cut(principal, ":")
	return slices.ContainsFunc(r.Conflicts, func(name string) bool {
		name = strings.TrimSpace(name)
		return strings.EqualFold(name, principal) || bare != "" && strings.EqualFold(name, bare)
	})
}

// Weekdays are the days of Hours.
var Weekdays = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
