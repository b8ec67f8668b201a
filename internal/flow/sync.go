package flow

import "time"

type (
	// Sync is what a synchronization adds to its plan: the regions that share records, the
	// tables and columns that may cross a border, and who wins when two regions changed the
	// same value. What is not named here is never asked for (promise 5).
	Sync struct {
		Regions    []Region       `json:"regions"`              // by name
		Tables     []SyncTable    `json:"tables"`               // in referential order: parents first
		Restricted []string       `json:"restricted,omitempty"` // TABLE.COLUMN, for the proofs; the allow-list is what is enforced
		Conflict   []ConflictRule `json:"conflict"`             // the default first, which names no table
		// Skew is how far the clocks of the sources may differ. A stamp further ahead of our
		// own clock than this is brought back to it, and said.
		Skew      time.Duration `json:"skew"`
		Lag       time.Duration `json:"lag,omitempty"`       // what users are told to expect; 0: nothing
		Reconcile time.Duration `json:"reconcile,omitempty"` // how often regions are compared; 0: never
		MaxRow    int           `json:"max_row"`             // bytes of the allowed values of one record
	}

	// Region is one region and the connection of its own system. A process of one region
	// resolves no connection of another. Egress is how the others reach its border, as of
	// Peer: a reference.
	Region struct {
		Name       string `json:"name"`
		Connection string `json:"connection"`
		Egress     string `json:"egress,omitempty"`
	}

	// SyncTable is one table that all regions have. Key is what identifies a record
	// everywhere; the IDs that systems give differ from region to region.
	SyncTable struct {
		Name    string       `json:"name"`
		Key     []string     `json:"key"`
		Columns []SyncColumn `json:"columns"` // that may cross; the key does too, and is not among them
		// Clock is the column that says when a record was changed last; empty: what the
		// system tells with the change.
		Clock string `json:"clock,omitempty"`
	}

	// SyncColumn is one column that may cross.
	SyncColumn struct {
		Name string `json:"name"`
		Type Type   `json:"type"`
		// Refers names the table of the flow whose record the value identifies, in the
		// region by the system's own ID. The key of that record crosses in its place.
		Refers string `json:"refers,omitempty"`
		// Opened names who allowed free text to cross; empty: the column is none.
		Opened string `json:"opened,omitempty"`
		// Backfill sends the values that are there when the column is newly allowed.
		Backfill bool `json:"backfill,omitempty"`
	}

	// ConflictRule decides between values that two regions wrote without knowing of each
	// other. The most particular rule counts: of the column, of the table, the default.
	ConflictRule struct {
		Table  string `json:"table,omitempty"`
		Column string `json:"column,omitempty"`
		Rule   Rule   `json:"rule"`
		Region string `json:"region,omitempty"` // of RuleRegion
	}

	// Rule is a way to decide a conflict.
	Rule string

	// Version says which writing of a value it is. Of two that did not know of each other
	// the greater one wins; see package replica.
	Version struct {
		Stamp  int64  `json:"t"` // microseconds since 1970 by the source's clock, later than those of all it knew
		Region string `json:"r"` // where it was written
		// Seen counts, of each region, the writings of the value that this one knew, itself
		// included: it replaces another whose counts are all at most as great.
		Seen map[string]int64 `json:"s"`
	}

	// Delta is what crosses a border of one record. Values are JSON texts, exactly as
	// precise as the system gave them: "null" is a null, nil is nothing said.
	Delta struct {
		Key []string `json:"key"` // of SyncTable.Key, JSON texts
		// Was is the key that the record had first, by which all regions know it, and Moved
		// the writing that gave it another; both nil: it has its first. One of a key that was
		// in use before begins with an array of that value and a text of its own.
		Was   []string `json:"was,omitempty"`
		Moved *Version `json:"moved,omitempty"`
		// Cells has one entry for each of SyncTable.Columns, with the zero value where
		// nothing is said of it.
		Cells []SyncCell `json:"cells,omitempty"`
		// Gone is the writing by which the record was deleted. Cells whose version is
		// greater bring it back.
		Gone *Version `json:"gone,omitempty"`
	}

	// SyncCell is one value of a record and the writing it comes from.
	SyncCell struct {
		Value   []byte  `json:"v,omitempty"` // JSON text; nil: nothing is said
		Version Version `json:"ver"`
		// Over tells, as long as a writing is new, what it took the place of: the digests, of 32
		// bits each, of up to two values that the others may have had until then. 0: nobody says.
		Over uint64 `json:"-"`
	}

	// SyncOutcome is what became of a change on its way. Each has exactly one that is final.
	SyncOutcome string
)

// The ways to decide a conflict.
const (
	RuleLatest Rule = "latest" // the later writing
	RuleRegion Rule = "region" // what the named region wrote, else the later
	RuleHold   Rule = "hold"   // both are kept until a person decides
)

// What becomes of a change. Those of a change that was observed come first.
const (
	SyncExported  SyncOutcome = "exported"  // in a batch for the other regions
	SyncUnchanged SyncOutcome = "unchanged" // no allowed value differs from what is known
	SyncEcho      SyncOutcome = "echo"      // what we wrote ourselves
	SyncOversize  SyncOutcome = "oversize"  // the record is larger than it may be; it stays

	SyncApplied   SyncOutcome = "applied"   // the target has it
	SyncStale     SyncOutcome = "stale"     // something newer was known
	SyncLost      SyncOutcome = "lost"      // the rule decided for another value
	SyncHeld      SyncOutcome = "held"      // a person decides
	SyncWaiting   SyncOutcome = "waiting"   // for the record that it refers to
	SyncRejected  SyncOutcome = "rejected"  // by the target
	SyncTruncated SyncOutcome = "truncated" // the target kept another value than it was given
)

// Rule gives what decides conflicts of a column.
func (s *Sync) Rule(table, column string) ConflictRule {
	best, most := ConflictRule{Rule: RuleLatest}, -1
	for _, r := range s.Conflict {
		if r.Table != "" && r.Table != table || r.Column != "" && r.Column != column {
			continue
		}
		if n := len(r.Table) + len(r.Column); n > most {
			best, most = r, n
		}
	}
	return best
}

// Region gives the region of a name; nil: there is none.
func (s *Sync) Region(name string) *Region {
	for i := range s.Regions {
		if s.Regions[i].Name == name {
			return &s.Regions[i]
		}
	}
	return nil
}

// Table gives the table of a name; nil: there is none.
func (s *Sync) Table(name string) *SyncTable {
	for i := range s.Tables {
		if s.Tables[i].Name == name {
			return &s.Tables[i]
		}
	}
	return nil
}

// Peer is how the other regions reach what one region has for them: a URL of its
// database for the role that sees egress batches and nothing else. It is a reference
// (promise 9), resolved by the importers of the other regions alone.
type Peer struct {
	Region string
	Egress string
}

// Final reports whether nothing more becomes of the change by itself.
func (o SyncOutcome) Final() bool { return o != SyncWaiting && o != SyncHeld }
