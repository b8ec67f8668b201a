package flow

import "time"

type (
	// Applied is a plan in force: what a new press of its flow gets.
	Applied struct {
		Plan      *Plan     `json:"plan"`
		Digest    string    `json:"digest"`
		AppliedAt time.Time `json:"applied_at"`
	}

	// RunFilter chooses runs, newest first. Empty fields choose all.
	RunFilter struct {
		Flow      string
		Status    Status
		Principal string    // only the runs this principal asked for
		Before    string    // cursor of the page before; empty: the newest
		Since     time.Time // only runs accepted then or later; zero: all
		Until     time.Time // only runs accepted then or before; zero: now
		Key       string    // only runs with this business key
		Limit     int       // 0: the default of whoever answers
	}

	// Wait is open runs of one flow that wait for the same.
	Wait struct {
		Flow   string
		Status Status
		Queued bool       // nothing carries them: they wait for their turn, or until they are due
		Shared bool       // for the answer of an identical run
		Why    string     // as Run.Waiting
		DueAt  *time.Time // when the first of them is due; nil: now
		Count  int
		Since  time.Time // when the oldest of them was accepted
	}
)
