package flow

import "time"

type (
	// Reject is a dead letter of a consolidation: a row that was not used.
	Reject struct {
		ID    int64     `json:"id"`
		Flow  string    `json:"flow"`
		RunID string    `json:"run_id"`
		At    time.Time `json:"at"`
		RejectedRow
		ResolvedAt *time.Time `json:"resolved_at,omitempty"` // its row was taken after all, rejected anew, or is gone
	}

	// RejectFilter chooses rejects. Empty fields choose all.
	RejectFilter struct {
		Flow, RunID, Source string
		Key                 string // joined
		Target              bool   // of the target alone, where Source is empty
		Resolved            bool   // those that are over too
		Before              int64  // the ID after which the page begins; 0: the newest
		Limit               int    // 0: 100
	}

	// SourceStanding is what is known of a source of a flow.
	SourceStanding struct {
		Flow      string     `json:"flow"`
		Source    string     `json:"source"`
		RunID     string     `json:"run_id"` // that read it
		AsOf      time.Time  `json:"as_of"`
		FullAt    time.Time  `json:"full_at"`
		Watermark string     `json:"watermark,omitempty"` // that the next read begins from, as JSON
		Rows      int64      `json:"rows"`
		Rejected  int64      `json:"rejected"`
		FailingAt *time.Time `json:"failing_at,omitempty"` // since when a run under way gets no answer
	}

	// ColumnDrift is a change of a source's columns.
	ColumnDrift struct {
		Flow       string     `json:"flow"`
		Source     string     `json:"source"`
		Column     string     `json:"column"`
		Kind       string     `json:"kind"` // lost, gained
		RunID      string     `json:"run_id"`
		SeenAt     time.Time  `json:"seen_at"`
		ApprovedAt *time.Time `json:"approved_at,omitempty"`
		ApprovedBy string     `json:"approved_by,omitempty"`
	}
)
