// Package connector is the contract every system connector keeps, the registry
// that builds them, the one HTTP transport they share and the conformance suite
// they all pass.
//
// A connector speaks one vendor's wire protocol and knows nothing of flows,
// stores, Temporal or the sandbox: pointing a connection at another system is a
// change of URL and credentials. What it can do is the set of small interfaces
// it implements; callers ask for the capability with a type assertion.
//
// Whoever builds a connector (app) owns it and may share it between goroutines.
// Sub-packages import this package and fault, nothing else of Patchbay.
//
// Invariants: every error is a *fault.Fault or a context error (one classifier,
// Transport.Do); secrets are resolved per use and never kept, logged or put into
// an error (promise 9); only the columns of a Query are asked for (promise 5); a
// write whose answer was lost is InDoubt, never Unavailable (promise 2).
package connector

import (
	"context"
	"time"
)

type (
	// Row is one record: column → value. Values are nil, bool, string,
	// json.Number, []any and map[string]any; absent and nil differ.
	Row = map[string]any

	// Config is one connection, as an engineer wrote it. Text may hold references
	// (${env:NAME}, ${file:PATH}), which the connector resolves at each use.
	Config struct {
		Name    string
		System  string
		URL     string
		Auth    Auth
		Limits  Limits
		Options map[string]string
		Tables  map[string]Table
		Hook    Hook // how its deliveries are proved; the zero value accepts none
		// Speed divides what the connector waits on its own account; 1 is real time.
		Speed float64
	}

	// Auth says how to sign in.
	Auth struct {
		Kind                                    string // "none", "basic", "oauth2" (client credentials)
		TokenURL, ClientID, ClientSecret, Scope string
		Username, Password                      string
	}

	// Limits bound what this process asks of the system. Zero means the default.
	Limits struct {
		PerSecond  float64
		Burst      int
		Concurrent int           // default 16
		Timeout    time.Duration // of one request, default 30 s
		MaxBytes   int64         // of one answer, default 16 MiB
	}

	// Table is one resource of the system.
	Table struct {
		Name    string
		Path    string
		Keys    [][]string
		Columns []string          // known columns; nil when the schema is unknown
		Types   map[string]string // of the known columns, as flows have them: "decimal", "date", …
		// Refers names, of a column whose value is the system's own ID of another record,
		// the table of that record.
		Refers map[string]string
		Expand map[string]string // expand path → the system's own form
	}

	// Query is one bounded read.
	Query struct {
		Table  string
		Where  []Match // all must hold
		Select []string
		Expand map[string]string // name in the row → path of the children
		Limit  int               // rows of one page; 0 is the system's own best
		// Since, where it is not nil, leaves out rows that were changed before it. A
		// connector without such a filter refuses it: Invalid, "connector.no_since".
		Since *Since
		// Reference, where it is not empty, is by what the system knows a repeated question, so
		// that one whose answer was lost is not charged twice. Only rest has it.
		Reference string
	}

	// Since is a watermark: rows whose Column is at or after Value count. Value is as
	// rows have it: an RFC 3339 text of a timestamp, a json.Number.
	Since struct {
		Column string
		Value  any
	}

	// Match is one equality.
	Match struct {
		Column string
		Value  any
	}

	// Page is one page of rows. Next is empty on the last page; it is opaque and
	// may be stored.
	Page struct {
		Rows []Row
		Next string
	}

	// Upsert is a write of rows by key: each row is created or, where its key
	// exists, updated. Rows hold the key columns too.
	Upsert struct {
		Table string
		Key   []string
		Rows  []Row  // distinct by key
		Marks []Mark // one a row, for a Marker; else none
		// Held is asked right before every request of the write leaves: its error is why
		// no further one does, and what becomes of the rows that were not sent. Nil: the
		// sender may always send.
		Held func() error
		// Origin goes with the write, where the system has a place for it, and comes
		// back as Origin of the events that it causes. Empty: what the connection is
		// set to.
		Origin string
		// Existing rows alone are changed: of one that is not there, or not any more,
		// nothing is made, which is no failure.
		Existing bool
	}

	// Mark says whose write one row is.
	Mark struct {
		Cause string // what caused it, and the step of it
		Step  string
		Key   string // of the row among the writes of the step
		Fence int64  // of the attempt; a later one has a greater one
	}

	// Result is the outcome of one row of a write; Err is nil or a *fault.Fault. Version, of
	// a write by version that took effect, orders the states of the row as those of Tail and
	// Changes do: a change before the write has none greater, one after it has. 0: not known. Kept is what the system
	// holds now of a row that it took otherwise than it was given, "connector.truncated"; nil:
	// it left the row as it was.
	Result struct {
		Err     error
		Version int64
		Kept    Row
	}

	// PageReader reads rows page by page; token is empty for the first page, then
	// the Next of the page before.
	PageReader interface {
		ReadPage(ctx context.Context, q Query, token string) (Page, error)
	}

	// Upserter writes rows by key. The results are in the order of the rows. An
	// error means that no row has an outcome of its own: InDoubt when the request
	// may have taken effect, any other class when it did not.
	Upserter interface {
		Upsert(ctx context.Context, u Upsert) ([]Result, error)
	}

	// Conditional is an Upserter that may say so of writes to a table by a key, Existing
	// or not: they are decided by what the target holds when they take effect (by key, by
	// version), so that sending one again after an absent read-back does no harm. Of any
	// other write such an answer means something only when the connection's settle_after
	// has passed.
	Conditional interface {
		Conditional(table string, key []string, existing bool) bool
	}

	// Marker is an Upserter whose system keeps the marks of the rows in the very
	// transaction that writes them. A row whose mark is there already is not written
	// again and is no failure; one whose mark was asked for by a later fence is
	// Unavailable, and is not written.
	Marker interface {
		// Applied tells which of the writes took effect, whatever became of the rows
		// since. A "no" is final for every attempt with an older fence than the mark's.
		Applied(ctx context.Context, marks []Mark) ([]bool, error)
	}

	// KeyReader reads rows back by key, which settles a write in doubt. The
	// answer has one entry a key, nil where no such row exists.
	KeyReader interface {
		ReadByKey(ctx context.Context, table string, key []string, keys []Row, columns []string) ([]Row, error)
	}

	// Refuser is a KeyReader to which a row that the system has taken, and refused later, is
	// none. Refused is why, as a fault; nil of every other row.
	Refuser interface {
		Refused(ctx context.Context, table string, key []string, row Row) error
	}

	// KeyFolder says which keys are one to the system, for example texts that
	// differ only in case: equal results are one row. A system without it compares
	// exactly. It does no I/O.
	KeyFolder interface {
		FoldKey(key []string, row Row) string
	}

	// Caller calls one named operation of the system.
	Caller interface {
		Call(ctx context.Context, operation string, in Row) (Row, error)
	}

	// ChangeReader reads what changed since a cursor; an empty cursor starts with
	// everything there is. A cursor that the system no longer knows is a Conflict
	// with code "connector.cursor_expired".
	ChangeReader interface {
		ReadChanges(ctx context.Context, table string, columns []string, cursor string) (Changes, error)
	}

	// Changes is one page of changes. Deleted holds the primary keys of rows that
	// are gone. Cursor continues after this page; More says whether to ask at once.
	// Versions, where the system has them, order the states of each row, as
	// Event.Version does. At is when each was changed last, where the system says so.
	Changes struct {
		Rows     []Row
		Versions []int64
		At       []time.Time
		Deleted  []string
		Cursor   string
		More     bool
	}

	// Expeditor gives itself for calls that somebody waits for: they may use what of the
	// provider's quotas is reserved for them. All else is shared with it.
	Expeditor interface {
		Urgent() any
	}

	// Prober checks that the system answers and the credentials are good, without
	// touching data.
	Prober interface {
		Probe(ctx context.Context) error
	}
)
