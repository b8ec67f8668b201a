package connector

import "context"

type (
	// Loader writes sheets by key faster than Upserter does, where the system has a way.
	// A refusal is final. An error says of the whole sheet what one of Upsert says: it
	// is InDoubt also where some of the rows have an outcome and others none.
	Loader interface {
		Load(ctx context.Context, l Load) ([]Refusal, error)
	}

	// Load is a write of a sheet by key: each row is created or, where its key exists,
	// updated, all of them or, where rows are refused, the others. Mark stands for the
	// whole sheet, as one of Upsert does for a row: a Marker keeps it in the transaction
	// that writes the rows; nil: none is kept.
	Load struct {
		Table  string
		Key    []string
		Sheet  Sheet
		Mark   *Mark
		Held   func() error
		Origin string
	}

	// Refusal is a row of a sheet that the system does not take, and why.
	Refusal struct {
		Row int
		Err error // a *fault.Fault
	}
)
