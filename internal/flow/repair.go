package flow

import "time"

type (
	// Repair is what a step of a service wrote and nothing took back: a person has to put it
	// right.
	Repair struct {
		RunID   string    `json:"run_id"`
		Flow    string    `json:"flow"`
		Step    string    `json:"step"`
		Target  string    `json:"target"`             // connection.table
		Keys    []string  `json:"keys"`               // of what stands, in words
		InDoubt bool      `json:"in_doubt,omitempty"` // of one of them nobody knows whether it is there
		Problem Problem   `json:"problem"`            // why nothing took it back
		Since   time.Time `json:"since"`
		// Goes: the run was ended from outside, and a redrive as it was goes on with it.
		Goes    bool        `json:"redrivable,omitempty"`
		Settled *Settlement `json:"settled,omitempty"`
	}

	// Settlement is that a person has put right what could not be taken back.
	Settlement struct {
		By   string    `json:"by"`
		At   time.Time `json:"at"`
		Note string    `json:"note"` // what was done
	}

	// RepairFilter chooses repairs; empty fields choose all.
	RepairFilter struct {
		Flow    string
		RunID   string
		Settled bool // those that are settled, the newest first; else those that wait, the oldest first
		Limit   int  // 0: as many as there are, up to 500
	}
)
