package replica

import (
	"time"

	"patchbay/internal/flow"
)

type (
	// Held is a conflict: writings of one value that did not know of each other.
	Held struct {
		ID        int64
		Table     string
		Key       []string
		Column    string // empty: of the deletion of the record
		Rule      flow.ConflictRule
		Values    []flow.SyncCell // the one that the rule prefers first
		Local     int             // which of Values our target holds; -1: none
		OpenedAt  time.Time
		DecidedAt time.Time // zero: it is held
		DecidedBy string    // a person, or the rule
		Winner    flow.SyncCell
		Ref       string

		uid string
	}

	// HeldFilter says which conflicts are asked for; zero values ask for all.
	HeldFilter struct {
		Table string
		Open  bool // those that wait for a person
		Most  int  // 0: 100
		After int64
	}

	// Choice is a person's decision of a held conflict: one of its values, or another one.
	Choice struct {
		ID    int64
		Pick  int    // of Held.Values
		Value []byte // JSON text; not nil: in place of Pick
		By    string
	}

	// Bound is a column and the identity that the system gave it.
	Bound struct {
		Column, ID, Type string
		At               time.Time
	}

	// Paused is a table, or another region, that is left alone for a time.
	Paused struct {
		Table, Peer string // one of them is empty
		By, Why     string
		At          time.Time
	}

	// TableState is how a table of a flow is.
	TableState struct {
		Table    string
		Records  int64 // that are known, deleted ones included
		Cursor   string
		Loading  bool
		Observed time.Time // when something was observed last
		// Open counts the records that our target does not hold as it should, by what they
		// wait for: "" is to be written now.
		Open    map[flow.SyncOutcome]int64
		Oldest  time.Time // since when the oldest of "" is pending; zero: none
		Refused int64     // records of our system that cannot be shared
		Peers   map[string]PeerState
		Anew    *flow.SyncAnew
		// Restored: our database is as it was earlier, and the table has not recovered.
		Restored bool
	}

	// PeerState is how far we received a table of another region.
	PeerState struct {
		Upto int64
		At   time.Time // when something was received last
		// Stamp is the greatest stamp of what was received: how far behind we are of what
		// was written there.
		Stamp time.Time
		// Rows is how many records of that region came here and are still to be written to
		// our system, of many an estimate; Oldest is since when, zero: none.
		Rows   int64
		Oldest time.Time
	}

	// Account is all that is known of one record.
	Account struct {
		Table   string
		Key     []string
		Ref     string
		ID      string
		Deleted bool
		Outcome flow.SyncOutcome // applied: our target holds it
		Code    string
		Text    string
		Words   []string // the story of it, a sentence each, without values
		Values  []flow.SyncCell
		Held    []Held

		uid     string
		inRange bool // it is to be written, with others
	}

	// Part is the digest of a part of the records of a table: of what regions that know the
	// same have the same of.
	Part struct {
		N       int
		Rows    int64 // that are there
		Digest  int64 // of them; their order does not matter
		Entries []byte
	}

	// Entry is one record of a part. Name stands for it, and Digest for what is known of it,
	// 0 where it is deleted. Held: a person is to decide about it.
	Entry struct {
		Name   uint64
		Digest int64
		UID    string
		Held   bool
	}

	// Known is what our system should hold of a record.
	Known struct {
		Key     []string
		Values  []flow.SyncCell // by SyncTable.Columns
		Deleted bool
		Gone    time.Time // when it was deleted, where it was
		Open    bool      // our system does not hold it as it should, and that is known
		Refused bool      // our system's record cannot be shared
	}
)
