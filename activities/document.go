package activities

import (
	"context"
	"fmt"

	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// Documents carries the bytes of documents; tasks and rows have their claims.
type Documents interface {
	// Fetch reads the document of a row in, and keeps it for a run. wrong says what was not
	// right with the name that it had; empty: nothing.
	Fetch(ctx context.Context, plan *flow.Plan, row flow.Row, runID string) (claim flow.Claim, wrong string, err error)
	// Stored reports whether the target has the document of a row that is to be written.
	Stored(ctx context.Context, plan *flow.Plan, row flow.Row) (bool, error)
}

// fetch reads the document of the row in that the task has read.
func (d *doing) fetch(ctx context.Context, rows []flow.Row) (run.TaskNews, error) {
	read := d.task.Read
	claim, wrong, err := d.Documents.Fetch(ctx, d.plan, rows[0], d.item.RunID)
	if err != nil {
		return run.TaskNews{}, fmt.Errorf("reading the document: %w", err)
	}
	rows[0][read.Document] = claim.Row()
	n := run.TaskNews{State: flow.TaskDone, Gave: rows, Note: described(claim) + " from " + read.Connection}
	if wrong != "" {
		n.Note += "; its name there was none of a file: " + wrong
	}
	return n, nil
}

// described is a document in words.
func described(c flow.Claim) string {
	return fmt.Sprintf("%s, %d bytes, SHA-256 %.12s…", c.Name, c.Size, c.SHA256)
}

// stored is what becomes of a task whose documents the target has already, from before it
// began; false where it has not, or the task began to send them. What it did not store it
// does not take back.
func (d *doing) stored(ctx context.Context, rows []flow.Row) (n run.TaskNews, all bool, err error) {
	begun, err := d.Runs.States(ctx, d.item.RunID, d.task.Name)
	if err != nil || len(begun) > 0 {
		return n, false, err
	}
	for _, row := range rows {
		there, err := d.Documents.Stored(ctx, d.plan, row)
		if err != nil || !there {
			return n, false, err
		}
	}
	return run.TaskNews{State: flow.TaskDone, Gave: given(rows), Note: d.told(rows) + " was in " + d.task.Write.Connection + " already"}, true, nil
}

// told is what the task writes, in words.
func (d *doing) told(rows []flow.Row) string {
	if len(rows) == 1 {
		if claim, is := flow.ClaimOf(rows[0][d.task.Write.Document]); is {
			return described(claim)
		}
	}
	return fmt.Sprintf("%d documents", len(rows))
}
