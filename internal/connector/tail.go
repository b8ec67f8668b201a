package connector

import (
	"context"
	"time"
)

type (
	// Tailer follows what commits in some tables, in the order of commit, and keeps what
	// was not confirmed.
	Tailer interface {
		// Tail makes the feed where it is missing, makes it equal to what is given where it
		// differs, and follows it after a position; "" is where it begins. A position that
		// the system no longer has is a Conflict, "connector.cursor_expired": the caller
		// reads everything again (DropFeed, then Tail from "").
		Tail(ctx context.Context, feed Feed, after string) (Stream, error)
		// DropFeed removes the feed; one that is not there is no error.
		DropFeed(ctx context.Context, name string) error
	}

	// Feed is a set of tables with the columns that are told of, and no others: what the
	// system sends is restricted to them (promise 5).
	Feed struct {
		Name   string // a-z, 0-9 and _, at most 40 characters
		Tables []FeedTable
		// Known, where it is not nil, is asked about each transaction that says where it comes
		// from, with the Version of its last change, that of its end, and how many changes it
		// has: those of one that is known are not given. It may be left unasked.
		Known func(ctx context.Context, origin string, last, end int64, changes int) bool
	}

	// FeedTable is one table of a feed. Key and Columns are told of changes; Key alone of
	// deletes.
	FeedTable struct {
		Table   string
		Key     []string
		Columns []string
		// IDs says what columns have to be beyond their names, by name, as Identities tells
		// it: checked at the moment of the read, so that no renaming comes between. A column
		// that is another one by now is left out, of the feed and of rows; one of the key is
		// Rejected, "connector.identity". Columns without an entry go by their names.
		IDs map[string]string
	}

	// Stream is an open feed, for one goroutine.
	Stream interface {
		// Next gives what was committed next, whole transactions of at most about most
		// changes (a larger one comes in parts, and a part's position is not confirmed
		// before its last). It waits at most so long for the first, and then gives none,
		// with the position that was reached.
		Next(ctx context.Context, most int, wait time.Duration) (Tailed, error)
		// Confirm tells the system what is not needed any more. It is called after the
		// caller's own commit only.
		Confirm(ctx context.Context, position string) error
		Close(ctx context.Context) error
	}

	// Tailed is part of a stream. Before(position) of a transaction that comes later is
	// never true; see Stream and Ahead.
	Tailed struct {
		Changes  []Tail
		Position string // after all of it; opaque, ordered by the connector's Reached
		// Behind is how long ago, by the system, the last of it was committed; 0: nothing waits.
		Behind time.Duration
	}

	// Tail is one committed change. Row has the feed's columns and key, absent ones where
	// the system did not send them (Missing names those that have to be read by key).
	// A truncate of a table is a Tail with Op "truncate" and nothing else.
	Tail struct {
		Table   string
		Op      string // "create", "update", "delete", "truncate"
		Row     Row    // after; of a delete the key alone
		Was     Row    // the key before, when an update changed it
		Missing []string
		At      time.Time // of the commit, by the system's clock
		ID      string    // equal for repeats of one change and for nothing else
		Version int64     // orders the changes of one record; 0: the order in which they come does
		Origin  string    // the origin that whoever wrote it gave; see Upsert
		// Unreadable is why the record cannot be told of, now or later, which keeps nobody from
		// those after it: a fault; Row has the key alone.
		Unreadable error
	}

	// Chunker reads a table by ranges of its key: a load that is resumed where it ended,
	// beside a Stream.
	Chunker interface {
		// ReadChunk gives at most limit rows whose key is after the given one (nil: from the
		// first), in the order of the key, and the positions of the feed right before and
		// right after the rows were read. Last is the key to go on after; nil: there are no
		// more.
		ReadChunk(ctx context.Context, t FeedTable, after Row, limit int) (Chunk, error)
		// Reached reports whether a stream at one position has told of all that was
		// committed up to another.
		Reached(position, mark string) bool
	}

	// FeedReader reads rows of a feed's table by key, in the values that its stream gives:
	// Columns and At are as of Chunker, one entry a key as of Versioned. It is how Missing
	// is filled.
	FeedReader interface {
		ReadFeed(ctx context.Context, t FeedTable, keys []Row) ([]VersionedRow, error)
	}

	// Chunk is a range of a table.
	Chunk struct {
		Rows []Row
		At   []time.Time // when each was changed last, where the system says so; else nil
		// Unreadable says of which rows no more than the key can be told, and why; as of Tail.
		Unreadable map[int]error
		Low, High  string
		Version    int64 // as of Tail: a later change of any of the rows has a greater one; 0: none
		Last       Row
	}

	// Versioned is a system whose rows have versions, so that a write takes effect only
	// while nobody else has written.
	Versioned interface {
		// ReadVersions gives rows by key, each with its version; of one that is not there
		// both are zero. Columns are as of KeyReader.
		ReadVersions(ctx context.Context, table string, key []string, keys []Row, columns []string) ([]VersionedRow, error)
		// UpsertAt writes each row only while it has the version of its place; "" is a row
		// that must not be there. One that has another is a Conflict, "connector.version".
		UpsertAt(ctx context.Context, u Upsert, versions []string) ([]Result, error)
		// DeleteAt removes rows in the same way; one that is gone already is no failure.
		DeleteAt(ctx context.Context, d Delete, versions []string) ([]Result, error)
	}

	// Comparer is a Versioned that compares the values of a row where it writes it: nobody
	// has to read it before.
	Comparer interface {
		// UpsertOver writes each row only while the system's has all values of its place in was;
		// nil is a row that must not be there. One of which that is not so, or cannot be told, is
		// left as it is: a Conflict, "connector.version".
		UpsertOver(ctx context.Context, u Upsert, was []Row) ([]Result, error)
	}

	// VersionedRow is a row as it is now. At is when it was changed last, where the system
	// says so.
	VersionedRow struct {
		Row     Row
		Version string
		At      time.Time
	}

	// Delete removes rows by key. The other fields are as of Upsert.
	Delete struct {
		Table  string
		Key    []string
		Keys   []Row
		Held   func() error
		Origin string
	}

	// Identities tells what the columns of a table are beyond their names: a column that
	// was renamed keeps its ID, one that took its name has another.
	Identities interface {
		Identities(ctx context.Context, table string) ([]Identity, error)
	}

	// Identity is one column. ID is opaque.
	Identity struct {
		Column string
		ID     string
		Type   string // as of Described
	}
)
