package flow

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

type (
	// Pattern is one of the six ways a flow is started and carried out.
	Pattern string

	// Respond says when a press is answered.
	Respond string

	// Plan is a compiled flow: immutable, content-addressed, free of secrets.
	// Expressions are CEL source that flowfile has type-checked.
	Plan struct {
		Flow    string   `json:"flow"`
		Pattern Pattern  `json:"pattern"`
		Summary string   `json:"summary"`
		Why     string   `json:"why,omitempty"`
		Params  []Param  `json:"params,omitempty"`
		Read    *Read    `json:"read,omitempty"`
		Each    string   `json:"each,omitempty"` // CEL list over row; empty means one target row per source row
		Map     []Column `json:"map,omitempty"`  // in the order of the file
		Write   *Write   `json:"write,omitempty"`
		// Reaction and Send belong to event flows: what starts a run, and the message
		// that Write sends. Their runs have the parameters of EventParams.
		Reaction *Reaction `json:"reaction,omitempty"`
		Send     *Send     `json:"send,omitempty"`
		// Gather, Schedule and Advise belong to consolidations: what is read and how it is
		// joined, when that happens by itself, and what a model is asked about the result.
		Gather   *Gather   `json:"gather,omitempty"`
		Schedule *Schedule `json:"schedule,omitempty"`
		Advise   *Advise   `json:"advise,omitempty"`
		// Sync belongs to synchronizations: what regions share.
		Sync *Sync `json:"sync,omitempty"`
		// Saga belongs to the pattern service: its tasks. Accepts are the business events
		// that it awaits or that start it, and Starts is the one that starts a run: its
		// fields are the parameters.
		Saga    *Saga   `json:"saga,omitempty"`
		Accepts []Topic `json:"accepts,omitempty"`
		Starts  string  `json:"starts,omitempty"`
		// Decide and Review belong to the pattern hybrid, whose Saga collects, computes and writes.
		Decide *Decide `json:"decide,omitempty"`
		Review *Review `json:"review,omitempty"`
		// Emits are the business events that the flow tells of. Emit is the one that each
		// row of Map is told as, in the place of Write; a service tells by its tasks.
		Emits   []Topic `json:"emits,omitempty"`
		Emit    string  `json:"emit,omitempty"`
		Respond Respond `json:"respond,omitempty"`
		// Order names parameters: runs with equal values of all of them are carried
		// out one after the other, in the order they were accepted. Empty: no order.
		Order  []string `json:"order,omitempty"`
		Limits Limits   `json:"limits"`
		// Bindings pins every connection the plan names to the system it meant
		// when the plan was compiled (promise 6); the key is the connection.
		Bindings map[string]Binding `json:"bindings"`
	}

	// Param is one input of a flow that a caller gives.
	Param struct {
		Name     string   `json:"name"`
		Type     Type     `json:"type"`
		Title    string   `json:"title,omitempty"`
		Help     string   `json:"help,omitempty"`
		Example  any      `json:"example,omitempty"`
		Optional bool     `json:"optional,omitempty"`
		Default  any      `json:"default,omitempty"`
		Pattern  string   `json:"pattern,omitempty"` // RE2, anchored by its author
		Enum     []string `json:"enum,omitempty"`
		Min      *int64   `json:"min,omitempty"` // value of an int, length of a string
		Max      *int64   `json:"max,omitempty"`
		Personal bool     `json:"personal,omitempty"` // of a hybrid: no calculator is given it
	}

	// Type is the type of a parameter or a column.
	Type string

	// Read asks one connection for rows.
	Read struct {
		Connection string            `json:"connection"`
		Table      string            `json:"table"`
		Where      []Match           `json:"where,omitempty"`  // all must hold
		Select     []string          `json:"select,omitempty"` // the only columns asked for (promise 5)
		Expand     map[string]string `json:"expand,omitempty"` // name in the row → path of the children
		// Document is the column of Select whose bytes are read in; empty: none.
		Document string `json:"document,omitempty"`
		// OneRow is set when the where clause names at most one thing by its key:
		// no row is then a not-found answer, not an empty list.
		OneRow bool `json:"one_row,omitempty"`
	}

	// Match is one equality of a where clause: Column equals the value of Expr.
	Match struct {
		Column string `json:"column"`
		Expr   string `json:"expr"` // CEL over params
	}

	// Column is one target column and the CEL expression that fills it from row,
	// item and params.
	Column struct {
		Name string `json:"name"`
		Expr string `json:"expr"`
	}

	// Write puts mapped rows into one table by key.
	Write struct {
		Connection string   `json:"connection"`
		Table      string   `json:"table"`
		Key        []string `json:"key"` // target columns that identify a row
		// Repeat is set when the author accepts that a row may be written twice,
		// because the target declares no such key.
		Repeat bool `json:"repeat,omitempty"`
		// Existing rows alone are changed; none is made.
		Existing bool `json:"existing,omitempty"`
		// Document is the column whose bytes are stored, as a file of the name of column
		// FileName where the rest of the key says; empty: rows are written.
		Document string `json:"document,omitempty"`
		// Remove takes such files away, where they have that content.
		Remove bool `json:"remove,omitempty"`
	}

	// Limits bound a run. Zero means the pattern's default, which Compile fills in.
	Limits struct {
		Timeout        time.Duration `json:"timeout"`         // a press is answered within this
		Rows           int           `json:"rows"`            // a read beyond it fails the run
		Concurrent     int           `json:"concurrent"`      // runs of this flow at a time
		PerUser        int           `json:"per_user"`        // share of one user while others wait
		Queue          int           `json:"queue"`           // waiting presses before 429
		ShareIdentical time.Duration `json:"share_identical"` // identical requests within it share one run; 0 is never
	}

	// Binding pins one connection of a plan.
	Binding struct {
		System   string `json:"system"`   // connector: "oracle", "dataverse", …
		Identity string `json:"identity"` // connector, host and path of the system it named
	}

	// Skeleton is all of a plan that a workflow may know: what it branches on.
	// It travels in the workflow's input and stays below 4 KiB.
	Skeleton struct {
		Respond Respond       `json:"respond"`
		Reads   bool          `json:"reads"`
		Writes  bool          `json:"writes"`
		Source  string        `json:"source,omitempty"` // connection read from, for summaries
		Target  string        `json:"target,omitempty"` // connection written to, or business event told of, for summaries
		Timeout time.Duration `json:"timeout"`
		Tasks   []TaskShape   `json:"tasks,omitempty"` // of a service or a hybrid
	}
)

// The patterns.
const (
	Instant         Pattern = "instant"
	Event           Pattern = "event"
	Consolidation   Pattern = "consolidation"
	Service         Pattern = "service"
	Synchronization Pattern = "synchronization"
	Hybrid          Pattern = "hybrid"
)

// When a press is answered.
const (
	AfterRead  Respond = "after-read"
	AfterWrite Respond = "after-write"
)

// The types of parameters and columns. A decimal is exact: a json.Number or a
// string on the wire, never a float64.
const (
	String    Type = "string"
	Int       Type = "int"
	Decimal   Type = "decimal"
	Bool      Type = "bool"
	Date      Type = "date"      // 2006-01-02
	Timestamp Type = "timestamp" // RFC 3339
	Any       Type = "any"
	// Document is a file, of which a row has the Claim only.
	Document Type = "document"
)

// Row is one record: column → value. Values are nil, bool, string,
// json.Number, []any and map[string]any. A key that is missing is absent; a key
// with nil is null.
type Row = map[string]any

// Digest is the hex SHA-256 of the plan's canonical JSON.
func (p *Plan) Digest() string {
	b, err := json.Marshal(p) // map keys are sorted: the encoding is canonical
	if err != nil {
		panic("flow: a plan that cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Skeleton is the part of the plan that a workflow may branch on.
func (p *Plan) Skeleton() Skeleton {
	s := Skeleton{Respond: p.Respond, Reads: p.Read != nil, Writes: p.Write != nil, Timeout: p.Limits.Timeout}
	if p.Read != nil {
		s.Source = p.Read.Connection
	}
	switch {
	case p.Write != nil:
		s.Target = p.Write.Connection
	case p.Emit != "":
		s.Target = p.Emit
	}
	if p.Saga != nil {
		s.Tasks = p.Saga.Shape()
	}
	return s
}
