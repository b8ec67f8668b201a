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
		Until     time.Time // only runs accepted then or before; zero: now
		Limit     int       // 0: the default of whoever answers
	}
)
