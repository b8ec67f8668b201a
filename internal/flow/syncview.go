package flow

import "time"

type (
	// SyncStanding is how a synchronization stands, seen from one region. Nothing of it is a
	// value of a record.
	SyncStanding struct {
		Flow    string        `json:"flow"`
		Region  string        `json:"region"`  // ours; empty: this Patchbay belongs to none, and carries nothing
		Regions []string      `json:"regions"` // all, by name
		Lag     time.Duration `json:"lag_ns"`  // what users are told to expect; 0: nothing
		Tables  []SyncTabling `json:"tables"`
		Links   []SyncLink    `json:"links"` // from us to each other region, and from each to us
		Held    int64         `json:"held"`  // conflicts that wait for a person
		// HeldSince is when the oldest of them was opened; zero: none waits.
		HeldSince time.Time     `json:"held_since,omitzero"`
		Pauses    []SyncPause   `json:"pauses"`
		Trouble   []SyncTrouble `json:"trouble"`
		// Reconciled is the last comparison of each table with our system and each other region.
		Reconciled []SyncCompared `json:"reconciled"`
		Alerts     []Alert        `json:"alerts"` // of this flow that are open, the oldest first
	}

	// SyncTabling is one table.
	SyncTabling struct {
		Table    string                `json:"table"`
		Columns  []string              `json:"columns"` // that may cross, the key among them
		Records  int64                 `json:"records"`
		Loading  bool                  `json:"loading,omitempty"` // what was there before is still being read
		Observed time.Time             `json:"observed,omitzero"` // when our system was known to have told all
		Open     map[SyncOutcome]int64 `json:"open"`              // records that our system does not hold as it should, by why
		Refused  int64                 `json:"refused"`           // records of our system that cannot be shared
		Anew     *SyncAnew             `json:"anew,omitempty"`    // the last time that it had to be read from the beginning again; nil: it never had
	}

	// SyncAnew is why a table was read from the beginning again: its system had lost our
	// place in its changes, or emptied it.
	SyncAnew struct {
		At   time.Time `json:"at"`
		Code string    `json:"code"`
		Text string    `json:"text"` // safe to show
	}

	// SyncLink is what is under way of one table from one region to another.
	SyncLink struct {
		From  string    `json:"from"`
		To    string    `json:"to"`
		Table string    `json:"table"`
		Rows  int64     `json:"rows"`           // that the other region has not taken, or that our system does not hold yet
		Bytes int64     `json:"bytes"`          // of them; 0: not known here
		Since time.Time `json:"since,omitzero"` // when the oldest of them was changed; zero: nothing is under way
		Seen  time.Time `json:"seen,omitzero"`  // when something was taken last
		// Lag is how far the other side is behind: how long the oldest change has been under
		// way, or for how long nobody has looked whether there is one.
		Lag    time.Duration `json:"lag_ns"`
		Late   bool          `json:"late,omitempty"` // further behind than users are told to expect
		Paused bool          `json:"paused,omitempty"`
	}

	// SyncPause is a table, or another region, that a person has stopped.
	SyncPause struct {
		Table string    `json:"table,omitempty"`
		Peer  string    `json:"peer,omitempty"`
		By    string    `json:"by"`
		Why   string    `json:"why"`
		At    time.Time `json:"at"`
	}

	// SyncTrouble is what one table suffers from on its way out of our region, or in from
	// another. The others go on.
	SyncTrouble struct {
		Part  string    `json:"part"` // "export", "import", "compare"
		Peer  string    `json:"peer,omitempty"`
		Table string    `json:"table"`
		Code  string    `json:"code"`
		Text  string    `json:"text"`
		Since time.Time `json:"since"`
		Last  time.Time `json:"last"`
	}

	// SyncCompared is a comparison of what we know of a table with our own system, or, where
	// Peer is named, with what another region knows.
	SyncCompared struct {
		Peer     string    `json:"peer"`
		Table    string    `json:"table"`
		At       time.Time `json:"at"`
		Records  int64     `json:"records"`   // that were compared
		InFlight int64     `json:"in_flight"` // under way from one to the other
		Held     int64     `json:"held"`      // a person decides
		Pending  int64     `json:"pending"`   // refused or cut by our system, waiting there, or stopped by somebody
		Drift    int64     `json:"drift"`     // what nothing explains: the sum of the next three
		Changed  int64     `json:"changed"`   // there with other values
		Missing  int64     `json:"missing"`   // not there
		Added    int64     `json:"added"`     // there, and unknown to us
		Repaired int64     `json:"repaired"`  // written, or told, again
	}

	// SyncConflict is a value that two regions wrote without knowing of each other.
	SyncConflict struct {
		ID      int64       `json:"id"`
		Flow    string      `json:"flow"`
		Table   string      `json:"table"`
		Key     string      `json:"key"`              // of the record, for people
		Column  string      `json:"column,omitempty"` // empty: whether the record exists
		Rule    string      `json:"rule"`             // in words
		Values  []SyncClaim `json:"values"`           // the one that the rule prefers first
		Opened  time.Time   `json:"opened"`
		Decided *time.Time  `json:"decided,omitempty"`
		By      string      `json:"by,omitempty"`
	}

	// SyncClaim is one of the values of a conflict.
	SyncClaim struct {
		Region string    `json:"region"`
		At     time.Time `json:"at"`
		Value  any       `json:"value"`
		Here   bool      `json:"here,omitempty"` // our system holds it
		Won    bool      `json:"won,omitempty"`
	}

	// SyncFilter chooses conflicts; zero values choose all.
	SyncFilter struct {
		Flow   string
		Table  string
		Open   bool
		Before int64
		Limit  int
	}

	// SyncDecision is what a person decides of a held conflict: one of its values by its
	// place, or another one.
	SyncDecision struct {
		Pick  *int `json:"pick,omitempty" doc:"Place of the value in values, from 0"`
		Value any  `json:"value,omitempty" doc:"Another value, where pick is absent"`
	}
)
