package replica

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// The codes of this package.
const (
	CodeFenced     = "replica.fenced"      // Unavailable: another attempt has taken over
	CodeTable      = "replica.table"       // NotFound: the flow has no such table
	CodeShape      = "replica.shape"       // Bug: another number of values or keys than the table has columns
	CodeRecord     = "replica.record"      // NotFound: nothing is known of the record
	CodeDecided    = "replica.decided"     // Conflict: nothing is held any more
	CodeChoice     = "replica.choice"      // Invalid: no such value is held
	CodeKeyMissing = "replica.key_missing" // a record without a key stays
	CodeKeyTwice   = "replica.key_twice"   // two records of one system have the same key: the second stays
	CodeKeyTaken   = "replica.key_taken"   // another record of the target has the key
	CodeOversize   = "replica.oversize"    // larger than it may be: it stays
	CodeParent     = "replica.parent"      // what it refers to is not there yet
	CodeUnobserved = "replica.unobserved"  // the target has an edit that nobody has observed yet
)

type (
	// Replica keeps the shared records of one region. It is safe for concurrent use.
	Replica struct {
		store    *store.Store
		outbox   Outbox
		together int // from how many on records that came together are kept in pages
	}

	// Outbox takes what crosses, in the transaction that observed it.
	Outbox interface {
		Put(ctx context.Context, tx pgx.Tx, flow string, t *flow.SyncTable, deltas []flow.Delta) error
	}

	// Place is a synchronization in our region.
	Place struct {
		Flow   string
		Region string
		Sync   *flow.Sync
	}

	// Observed is what our system said of one record. Values are JSON texts by
	// SyncTable.Columns; nil is a value that it did not tell. Lookups hold references, as
	// Refs gives them.
	Observed struct {
		// ID is the system's own, where it is another thing than the key; else empty.
		ID     string
		Key    []string // JSON texts by SyncTable.Key; of a delete with ID it may be nil
		Was    []string // the key before, where the system tells that this changed it
		Values [][]byte
		// Awaits are our system's IDs of the records that lookups name and that are not known
		// yet, by column; nil: there are none. Such values are told by Adopt.
		Awaits []string
		// At is when it was changed, by the source's clock. Zero: nobody knows, and so any
		// edit with a time counts as later.
		At time.Time
		// Version orders the states of the record in the system, where it has such numbers:
		// what is not newer than what was observed or written is nothing new. 0: it has none.
		Version int64
		Deleted bool
		// Ours is set where the system says that the change is a write of ours. It tells what
		// the target holds, and is never exported.
		Ours bool
		// Fill says, by column, of which values all that is there is read, whoever changed
		// it when: where nothing is known of what our system holds, they count although the
		// Version is no newer. nil: of none.
		Fill []bool
		// Reread is a row that was read beside the changes, which tell what is newer. Of a
		// record that is known it says what Fill says, unless that is all.
		Reread bool
		// Found is set, with Ours, where a comparison found what our system holds, and nobody
		// told of it: it is no writing, and is written over, or removed.
		Found bool
		// Recover is set of all that is read of a table that was restored until it has recovered.
		Recover bool
	}

	// Progress is how far a source was read; all parts are the caller's own. They
	// replace what was kept.
	Progress struct {
		Cursor string
		Load   []byte // JSON of the initial load; nil: there is none, or it is done
		Scope  []byte // JSON of what is read; nil: as it was kept
		// Recovered ends the recovery of the table: all that our system has was read.
		Recovered bool
	}

	// Reading is one attempt at following a table of our system. It is used by one goroutine.
	Reading struct {
		Table    string
		Progress Progress  // as it was kept
		Observed time.Time // when something was observed last; zero: never
		Recovery Recovery
		fence    int64
	}

	// Counts is what became of some changes.
	Counts struct {
		Changes  int64
		Outcomes map[flow.SyncOutcome]int64
		// Pending is how many records have something to be written to our target now.
		Pending int64
		// Skewed counts the changes whose stamps were brought back to our clock; Ahead is
		// how far the worst was ahead of it.
		Skewed int64
		Ahead  time.Duration
		// Behind is how far the worst change was behind what its author knew, by the source's
		// clock and by more than clocks may differ.
		Behind time.Duration
	}

	// Writing is one attempt at writing what is pending of a table to our target. It is
	// used by one goroutine.
	Writing struct {
		Table string
		lease time.Duration
		fence int64
		last  int64  // the fence of who wrote before
		after string // the last that was given
	}

	// Order is what is to be written of one record. Values are by SyncTable.Columns.
	Order struct {
		Key []string
		// Was is the key that the target's record has, when it is to be changed.
		Was []string
		ID  string // of the target's record, where known
		// Set are the values to write; nil: the column stays as it is.
		Set [][]byte
		// Base are the values we believe the target holds; nil: we do not know.
		Base [][]byte
		// Create: the target has no such record. Delete: it shall have none.
		Create, Delete bool
		// Check: there is nothing to write, unless the target holds something else than
		// Base, or than nothing where Create is set: then that is not observed yet.
		Check    bool
		Attempts int
		Since    time.Time // when it became pending

		uid   string
		rev   int64
		seen  int64
		alike bool            // it is as it became pending: what its rev became, it became
		span  int             // its rev is that of a range of so many; 0: of none
		cells []flow.SyncCell // what Set comes from
		moved *flow.Version
		held  bool // some of its values wait for a person
	}

	// Settled is what became of an order. Outcome is applied, waiting, rejected or
	// truncated; Code and Text say why it is not applied, and are safe to show.
	Settled struct {
		Order   Order
		Outcome flow.SyncOutcome
		ID      string // that the target gave to the record; empty: as it was
		// Version orders the states of the record in the target, as of Observed; 0: unknown.
		Version int64
		Code    string
		Text    string
		// Retry is when a waiting order is due again; zero: soon.
		Retry time.Duration
		// Kept are the values that the target kept in place of those of Set, by column: of
		// truncated, and of applied where the target writes values in another way. Truncated
		// without Kept: the target left the record as it was.
		Kept [][]byte
	}
)

// New gives a Replica on a store; what it observes goes to the outbox.
func New(s *store.Store, outbox Outbox) *Replica {
	return &Replica{store: s, outbox: outbox, together: Together}
}
