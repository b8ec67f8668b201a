package connector

import (
	"context"
	"net/netip"
	"time"
)

type (
	// Hook says how deliveries prove who sent them. Secrets are references.
	Hook struct {
		Scheme  string   // "standard", "hmac", "key", "header", "query", "client-state", "none"
		Name    string   // of the header or query parameter, where the scheme leaves it open
		Secrets []string // each is accepted
		Retired []string // no longer accepted, and said so: "hook.secret_retired"
		From    []string // addresses or networks that may deliver: others are "hook.source"; none: any
	}

	// Delivery is one HTTP request by which a system tells of events. Header and Query
	// are as net/http has them; Body is as it was sent: signatures are of these bytes.
	Delivery struct {
		Header map[string][]string
		Query  map[string][]string
		Body   []byte
		At     time.Time // when it came
		From   netip.Addr
	}

	// Event is what happened to one record.
	Event struct {
		// ID is equal for repeats of one event and for nothing else of the connection;
		// who repeats an ID with another content is refused (W12).
		ID     string
		Table  string // name of the connection's table; as the system calls it where the connection has none
		Record string // primary key of the record; empty where there is none
		Change string // "create", "update" or "delete"
		// Version orders the events of one record; 0: the system gives none, and then
		// At does.
		Version int64
		At      time.Time
		// After is the record after the change: all of it where Whole, else only what
		// the event says. Before is what the event says of the record as it was; nil
		// where it says nothing. Absent and null are different values.
		After, Before Row
		Whole         bool
		Sent          []string // columns that the request which caused it named; nil: not said
		Trimmed       bool     // the system left the record out: it has to be read back
		Origin        string   // the tag that whoever wrote it gave (ours: see Origin in package inbox); empty: none
	}

	// Receiver is a system that delivers events. It does no I/O but for the
	// resolution of references. Its faults have the codes hook.…: Unauthorized when
	// the sender is not proved, Invalid when what came cannot be read.
	Receiver interface {
		// Recognises reports whether a delivery looks like one of this system, for
		// flows with sources of several.
		Recognises(d Delivery) bool
		// Receive gives the events of a delivery in its order, at most 1,000.
		Receive(ctx context.Context, d Delivery) ([]Event, error)
	}

	// Hinter is a Receiver whose deliveries say only that there is something to read, not
	// what: Receive gives no events, and ChangeReader tells them. It does no I/O but for the
	// resolution of references.
	Hinter interface {
		Hint(ctx context.Context, d Delivery) (Hint, error)
	}

	// Hint is what such a delivery is about.
	Hint struct {
		Tables []string // whose changes are to be read now
		Renew  bool     // Renewer is to be asked now
		// Answer is what the sender wants back, as plain text with status 200; nothing else
		// is to be done then. Empty: the usual answer.
		Answer string
	}

	// Identifier names the column of a table whose values are Record of its events
	// and Deleted of its changes: what a record is read back by (KeyReader).
	Identifier interface {
		Identify(table string) (column string)
	}

	// Subscriber is a system that is told by its API where to deliver. Subscribe makes
	// the subscriptions of one URL equal to what is given, and changes nothing where
	// they are; Unsubscribe ends them all.
	Subscriber interface {
		Subscribe(ctx context.Context, url string, to []Subscription) error
		Unsubscribe(ctx context.Context, url string) error
	}

	// Renewer is a Subscriber whose subscriptions end by themselves: Renew lengthens those
	// of the connection of which little is left, wherever they lead.
	Renewer interface {
		Renew(ctx context.Context) error
	}

	// Subscription is what one URL is told of one table.
	Subscription struct {
		Table   string
		Changes []string // "create", "update", "delete"
		Select  []string // updates that name one of these columns; empty: any
		Columns []string // of the images
	}
)
