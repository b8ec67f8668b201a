package flow

import "time"

type (
	// Advise is what a consolidation adds to its plan: for each customer a model proposes
	// one of the declared actions, from rows that it is shown, and rules do so where it
	// fails. What the model answers is outside data: nothing of it is written that is not
	// proved against those rows. Expressions are CEL over facts, the object of all Facts by
	// name, unless a field says otherwise.
	Advise struct {
		Connection   string `json:"connection"`        // of the model
		Model        string `json:"model"`             // its name there
		Version      string `json:"version,omitempty"` // empty: what is served
		Instructions string `json:"instructions"`      // for a model that reads text

		Sources []AdviseSource `json:"sources"`
		Facts   []AdviseFact   `json:"facts,omitempty"`
		Actions []AdviseAction `json:"actions"`
		// Rules make the plan where the model does not: the first whose condition holds and
		// whose action is possible. One whose condition is not known, because of a stale
		// source, withholds the plan. The last one has no condition.
		Rules []AdviseRule `json:"rules"`

		Limits   AdviseLimits  `json:"limits"`
		Attempts int           `json:"attempts"`           // of the model, for one customer; 0 is never asked
		Timeout  time.Duration `json:"timeout"`            // of one attempt
		Patience time.Duration `json:"patience,omitempty"` // a wait the model asks for beyond it counts as a failure
		Review   AdviseReview  `json:"review"`
		Write    AdviseWrite   `json:"write"`
	}

	// AdviseSource is one kind of evidence: the rows of a source of the consolidation that
	// belong to the customer. A row's evidence ID is "NAME/" and its ID columns, joined by "/".
	AdviseSource struct {
		Name    string   `json:"name"`
		ID      []string `json:"id"`
		Columns []string `json:"columns"`          // the only ones the model is shown (promise 5); the ID columns are not implied
		Newest  string   `json:"newest,omitempty"` // column by which the rows shown are chosen, greatest first; empty: by ID
		Most    int      `json:"most"`             // rows shown; facts are of all
	}

	// AdviseFact is a number or text that Patchbay computes from the rows of one source.
	// The model is shown it, may repeat it, and conditions are written over it.
	AdviseFact struct {
		Name   string   `json:"name"`
		Do     AdviseDo `json:"do"`
		Source string   `json:"source"`
		Column string   `json:"column,omitempty"` // empty for count
		Where  string   `json:"where,omitempty"`  // CEL over row: which rows; empty: all
		Type   Type     `json:"type"`             // Int for count; else of the column: Int, Decimal, String, Date, Timestamp
		By     string   `json:"by,omitempty"`     // for newest: the column whose greatest value chooses the row
	}

	// AdviseDo is how a fact is computed. Of no rows a count is 0, a sum 0 and all else null.
	AdviseDo string

	// AdviseAction is one thing that may be proposed.
	AdviseAction struct {
		Name  string `json:"name"`
		Title string `json:"title"`
		// When must hold for the action to be offered and to be accepted; empty: always.
		When string `json:"when,omitempty"`
		// Needs are sources without which the action is withheld; those of the facts in
		// When are implied.
		Needs  []string `json:"needs,omitempty"`
		Review bool     `json:"review,omitempty"` // a person decides each time
	}

	// AdviseRule proposes an action without a model. Reason is CEL that gives text; its
	// evidence are the rows behind the facts of When and Reason.
	AdviseRule struct {
		When   string `json:"when,omitempty"`
		Action string `json:"action"`
		Reason string `json:"reason"`
	}

	// AdviseLimits bound what is sent and what is accepted.
	AdviseLimits struct {
		Reason   int `json:"reason"`   // characters of the reason
		Evidence int `json:"evidence"` // IDs of one plan
		Request  int `json:"request"`  // bytes of the rows of one customer; more are left out, the last first
	}

	// AdviseReview says which plans wait for a person before they are written.
	AdviseReview string

	// AdviseWrite puts the plans into one table by key. Map is CEL over key (the
	// customer's, text), facts, and plan: action, title, state (proposed, withheld), reason,
	// evidence (list of IDs), source (model, rules), model, version, digest, failure, note,
	// stale (list of sources). A column that uses a fact of a stale source is not written.
	AdviseWrite struct {
		Connection string   `json:"connection"`
		Table      string   `json:"table"`
		Key        []string `json:"key"`
		Map        []Column `json:"map"`
	}
)

// How facts are computed.
const (
	AdviseCount  AdviseDo = "count"
	AdviseSum    AdviseDo = "sum"    // exact
	AdviseLeast  AdviseDo = "min"    // of numbers, dates, texts
	AdviseMost   AdviseDo = "max"    //
	AdviseNewest AdviseDo = "newest" // the column's value in the row with the greatest By
)

// Which plans wait for a person. An action with Review always does.
const (
	ReviewNever    AdviseReview = "never"
	ReviewRejected AdviseReview = "rejected" // those of rules, where the model's answers were refused
	ReviewFailed   AdviseReview = "failed"   // those of rules, why ever
	ReviewAlways   AdviseReview = "always"
)

// The states of a plan, and who made it.
const (
	AdviceProposed = "proposed"
	AdviceWithheld = "withheld" // its action needs a stale source; it has no action, and its note says why
	AdviceOfModel  = "model"
	AdviceOfRules  = "rules"
)

// What Compile fills in where the file says nothing.
const (
	DefaultAdviseAttempts = 2
	DefaultAdviseTimeout  = 20 * time.Second
	DefaultAdvisePatience = 5 * time.Second
	DefaultAdviseReason   = 300
	DefaultAdviseEvidence = 8
	DefaultAdviseRequest  = 32 << 10
	DefaultAdviseRows     = 20
)
