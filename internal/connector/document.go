package connector

import (
	"context"
	"io"
	"time"
)

type (
	// DocumentReader is a system that gives files. A document that is not there is
	// NotFound; one that is not at the version asked for is a Conflict,
	// "connector.changed", and so is one that changes while it is read.
	DocumentReader interface {
		// Stat tells of a document without reading it.
		Stat(ctx context.Context, ref DocumentRef) (Document, error)
		// Open gives the bytes of a document from an offset on, as they come: never more
		// than a few hundred KB of it are held. The context bounds the whole reading, and
		// the reader has one of the connection's parallel requests until it is closed.
		Open(ctx context.Context, ref DocumentRef, from int64) (OpenDocument, error)
	}

	// DocumentWriter is a system that takes files, in one request or in many parts.
	DocumentWriter interface {
		// Store puts a document in its place. One that is there already with the same
		// content is left as it is (Unchanged), so that a repetition does no harm. One that
		// may not be replaced is a Conflict: "connector.exists" with New, "connector.changed"
		// with Version. InDoubt says that it may be there; Stored settles that.
		Store(ctx context.Context, w DocumentWrite) (StoredDocument, error)
		// Stored finds what Store made or would make: the document in the place, with
		// the reference where the system keeps it, and the same content. nil: there is none.
		// It sends nothing that changes anything; it may read the document back whole.
		Stored(ctx context.Context, w DocumentWrite) (*Document, error)
	}

	// DocumentRemover is a DocumentWriter that takes back what Store made.
	DocumentRemover interface {
		// Remove takes away the document in the place of a write, where it has the content
		// of it; another one stays, and none is no failure. InDoubt says that it may be gone.
		Remove(ctx context.Context, w DocumentWrite) error
	}

	// DocumentOnce is a DocumentWriter that keeps one document of a write, however often it
	// is sent and whenever it arrives.
	DocumentOnce interface {
		DocumentWriter
		Once()
	}

	// DocumentRef is one document, as Document.ID says it or a column of its row or event.
	DocumentRef struct {
		Table   string
		ID      string
		Version string // the one that it has to be at; empty: any
	}

	// DocumentPlace is where a document belongs: below a record of a table, which is a
	// folder, an order, an item. Parent has the key of it, as Table.Keys names it.
	DocumentPlace struct {
		Table  string
		Parent Row
		Name   string // with its ending; without path
	}

	// Document is what the system says of a document.
	Document struct {
		ID      string
		Name    string
		Type    string // media type; empty: not said
		Size    int64  // bytes; -1: not said
		Version string // opaque; another one with every change of the content, and perhaps else
		At      time.Time
		// Wrong is what was not right with the name that it had there, in the words of SafeName,
		// where Name is made of that; empty: nothing, or Name is as it is there.
		Wrong string
	}

	// OpenDocument is a document that is read. Body ends in io.EOF only when all of it
	// came and it is still the version that Document says; every other end is a fault, or
	// the context's error. A Body that breaks off is continued by itself a few times. The
	// caller closes it, and may open the same version again at the offset it came to.
	OpenDocument struct {
		Document

		Body io.ReadCloser
	}

	// DocumentWrite is a document that is to be stored.
	DocumentWrite struct {
		Place     DocumentPlace
		Content   Content
		Reference string // the caller's own name of this write, kept where the system has a place for it
		New       bool   // only where there is none of that name
		Version   string // only over this one; empty: over any
		// Values are further columns of the row that the document has, where the system
		// has such.
		Values Row
		// Held is Request.Held: asked before every request that changes something.
		Held func() error
	}

	// Content is bytes that can be read again, from any offset: a part that was lost is
	// sent again, and no connector holds more than one part.
	Content struct {
		Type   string // media type; empty: application/octet-stream
		Size   int64
		SHA256 string // hex; empty: not known yet. What Open gives is checked against it
		Open   func(ctx context.Context, from int64) (io.ReadCloser, error)

		moved func() // told of each part that leaves
	}

	// StoredDocument is the outcome of Store.
	StoredDocument struct {
		Document

		Unchanged bool // it was there, with the same content
	}
)
