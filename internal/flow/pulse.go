package flow

import "time"

type (
	// Pulse is an event flow as it stands: what came, what became of it, what waits.
	Pulse struct {
		Flow   string           `json:"flow"`
		Since  time.Time        `json:"since"`     // when the span that is told of begins
		Bucket time.Duration    `json:"bucket_ns"` // one interval of Ticks: a minute, unless time is sped up
		Stages map[string]int64 `json:"stages"`    // events of the span by stage: received, duplicate, and reasons with their clause
		Runs   map[Status]int64 `json:"runs"`      // of the span's windows, by how they ended
		Ticks  []Tick           `json:"ticks"`     // the oldest first; the last interval is not over

		Expected float64 `json:"expected"` // events of an interval, as the flow expects them; 0: it says nothing

		Open     int64      `json:"open"`     // windows that are open
		Due      int64      `json:"due"`      // of them, those whose time has come
		Held     int64      `json:"held"`     // of them, those that a throttle holds back
		Oldest   *time.Time `json:"oldest"`   // when the oldest was opened
		RunRate  float64    `json:"run_rate"` // windows a second that become runs, or may
		Drained  *time.Time `json:"drained"`  // when what waits is gone at that rate; nil: nothing waits, or it is not known
		Limited  string     `json:"limited"`  // what the forecast's rate is bound by, in words; empty: what it was lately
		Sources  []Feed     `json:"sources"`  // by name
		Spike    *Spiking   `json:"spike"`    // nil: it is not past what it expects
		Troubles int64      `json:"troubles"` // events that wait for a person: rejected or dead
	}

	// Tick is one interval of a flow.
	Tick struct {
		At       time.Time `json:"at"`
		Received int64     `json:"received"` // without repeats
		Ran      int64     `json:"ran"`      // windows that became runs
	}

	// Feed is one source of an event flow.
	Feed struct {
		Source  string     `json:"source"`   // connection.table
		Last    *time.Time `json:"last"`     // when its last event came
		SweptAt *time.Time `json:"swept_at"` // when change tracking was followed to its end
		SweepAt *time.Time `json:"sweep_at"` // when it is followed next; nil: never
		Problem string     `json:"problem"`  // of the last sweep, safe to show
	}

	// Spiking is a flow past what it expects.
	Spiking struct {
		Flow     string     `json:"flow"`
		Mode     SpikeMode  `json:"mode"`
		Since    time.Time  `json:"since"`
		Received int64      `json:"received"` // in the sliding day or month that is the worse
		Expected int64      `json:"expected"` // of it
		Drained  *time.Time `json:"drained"`
	}

	// Trouble is events of one cause that nothing was done about: they were rejected, or
	// are dead.
	Trouble struct {
		Cause  string      `json:"cause"` // by which it is decided on
		Flow   string      `json:"flow"`
		Source string      `json:"source"`
		Reason EventReason `json:"reason"` // rejected or dead
		Clause string      `json:"clause"` // what refused them, or the code of what failed
		Detail string      `json:"detail"` // in words, safe to show
		Count  int64       `json:"count"`
		First  time.Time   `json:"first"`
		Last   time.Time   `json:"last"`
		Sample Sample      `json:"sample"` // the newest of them
	}

	// Sample is one event, by what names it.
	Sample struct {
		Event  int64      `json:"event"`
		Key    string     `json:"key,omitempty"`
		Record string     `json:"record"`
		Change ChangeType `json:"change"`
		At     time.Time  `json:"at"`
	}

	// TroubleFilter chooses troubles. Empty fields choose all.
	TroubleFilter struct {
		Flow   string
		Causes []string
		Events []int64
	}

	// Rejudged is what became of events that were judged again.
	Rejudged struct {
		Events   int            `json:"events"`             // that were judged
		Left     int            `json:"left"`               // that nothing could be done about, or somebody else has
		Outcomes map[string]int `json:"outcomes,omitempty"` // of those judged, by reason; waiting: they passed, or their record is read first
	}
)
