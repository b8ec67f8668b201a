package flow

import "time"

type (
	// Gather is what a consolidation adds to its plan: the sources it reads whole or
	// since a watermark, and how their rows are joined by one key. Plan.Map makes one
	// target row a key, by CEL over key (a text), over each source by its name (one row,
	// or the list of its rows in the order of their identity) and over asof.NAME, when
	// the rows of a source were read.
	Gather struct {
		Sources []Source `json:"sources"` // in the order of the file
		// Base names the source whose keys are the target's rows; what other sources have
		// of other keys is unmatched. Empty: the keys of all of them.
		Base  string `json:"base,omitempty"`
		Guard Guard  `json:"guard"`
	}

	// Source is one table of one system. Where matches constants: its expressions know
	// no variable. Key and Identity are CEL over row; a bare column is the common case.
	Source struct {
		Name       string        `json:"name"`
		Connection string        `json:"connection"`
		Table      string        `json:"table"`
		Where      []Match       `json:"where,omitempty"`
		Select     []string      `json:"select"`            // the only columns asked for (promise 5)
		Types      []Type        `json:"types"`             // of Select, Any where they are not known
		Key        string        `json:"key"`               // what rows of all sources are joined by
		Identity   []string      `json:"identity"`          // columns that tell one row of the source from another
		One        bool          `json:"one,omitempty"`     // a key has at most one row: its variable is that row, or null
		Changed    *Watermark    `json:"changed,omitempty"` // nil: everything is read every time
		OnMissing  OnMissing     `json:"on_missing"`
		Stale      time.Duration `json:"stale,omitempty"` // last_good: not older than this; 0: however old
		Page       int           `json:"page,omitempty"`  // rows of one page; 0: the connector's own best
		Lost       Drift         `json:"lost"`            // a selected column is not there any more
		Gained     Drift         `json:"gained"`          // a column came that nobody knows
	}

	// Watermark reads what changed: rows whose Column is at or after the latest seen,
	// less Overlap. Full is how often everything is read all the same, because no
	// watermark tells of a row that was deleted; 0 is never.
	Watermark struct {
		Column  string        `json:"column"`
		Overlap time.Duration `json:"overlap"`
		Full    time.Duration `json:"full,omitempty"`
	}

	// Guard holds the write of a run whose figures are not believable.
	Guard struct {
		Zero  bool `json:"zero,omitempty"`  // a source or a target without any rows is believable
		Share int  `json:"share,omitempty"` // per cent that rows may differ from the median of the last runs; 0: any
	}

	// OnMissing says what happens when a source is down.
	OnMissing string

	// Drift says what happens when a source's columns are others than they were.
	Drift string

	// Completeness says of every row that was read what became of it. Read = Staged +
	// Rejected, Staged = Used + Unmatched + Duplicate of each source; Keys = Written +
	// Unchanged + Rejected of the target.
	Completeness struct {
		Sources map[string]SourceCount `json:"sources"`
		Target  TargetCount            `json:"target"`
		// Fields tells of each target column which sources it was made of and when the
		// oldest of them was read.
		Fields map[string]Provenance `json:"fields,omitempty"`
		Held   string                `json:"held,omitempty"` // why nothing was written; empty: it was
	}

	// SourceCount is the rows of one source. Those that were staged by an earlier run
	// and are still true count as Read and Staged too; Fresh were read by this one.
	SourceCount struct {
		Read      int64       `json:"read"`
		Staged    int64       `json:"staged"`
		Used      int64       `json:"used"`
		Unmatched int64       `json:"unmatched"`
		Duplicate int64       `json:"duplicate"`
		Rejected  int64       `json:"rejected"`
		Fresh     int64       `json:"fresh"`
		Pages     int64       `json:"pages"`
		Bytes     int64       `json:"bytes"`
		State     SourceState `json:"state"`
		AsOf      time.Time   `json:"as_of,omitzero"` // when reading what is used began
		Note      string      `json:"note,omitempty"` // why it is not fresh, in words
	}

	// TargetCount is the rows of the target. Gone are keys that it holds because of an
	// earlier run and that no source has any more: they are left as they are.
	TargetCount struct {
		Keys      int64 `json:"keys"`
		Written   int64 `json:"written"`
		Unchanged int64 `json:"unchanged"`
		Rejected  int64 `json:"rejected"`
		Gone      int64 `json:"gone"`
	}

	// Provenance is where a value comes from. Missing are those of Sources that there was
	// nothing of: the column was not written then.
	Provenance struct {
		Sources []string  `json:"sources"`
		AsOf    time.Time `json:"as_of,omitzero"`
		Missing []string  `json:"missing,omitempty"`
	}

	// SourceState says how current the rows of a source are.
	SourceState string

	// RejectedRow is a row that was read, or made, and not used. Key is the joined key,
	// empty where the row has none; Identity tells the row in its source.
	RejectedRow struct {
		Source   string `json:"source"` // empty: the target's row
		Key      string `json:"key"`
		Identity string `json:"identity,omitempty"`
		Code     string `json:"code"`
		Reason   string `json:"reason"` // in words, without values
	}
)

// What happens when a source is down.
const (
	Hold     OnMissing = "hold"      // nothing is written
	LastGood OnMissing = "last_good" // what was read last is used, and said to be old
	Partial  OnMissing = "partial"   // the others are used; columns that need this one are not written
)

// What happens when columns are others than they were.
const (
	DriftStop    Drift = "stop"    // the source counts as down
	DriftIgnore  Drift = "ignore"  // a lost column is absent, a gained one is not asked for
	DriftApprove Drift = "approve" // as stop, until a person has approved
)

// How current the rows of a source are.
const (
	Fresh   SourceState = "fresh"
	Stale   SourceState = "stale"   // of an earlier run
	Missing SourceState = "missing" // there are none
)

// The parameters that a person may give a run of a consolidation.
const (
	ParamFull   = "full"          // bool: read everything, whatever the watermark says
	ParamAccept = "accept_volume" // bool: the figures are right, whatever the guard says
)
