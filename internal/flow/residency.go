package flow

import "time"

type (
	// ResidencyReport is what one deploy of a flow lets cross which border.
	ResidencyReport struct {
		Flow      string     `json:"flow"`
		Digest    string     `json:"plan_digest"`
		At        time.Time  `json:"at"`
		By        string     `json:"by"`
		Crossings []Crossing `json:"crossings"`
	}

	// Crossing is the columns that go from one table over one border.
	Crossing struct {
		From    string   `json:"from"`    // region; empty: of none
		To      string   `json:"to"`      // region; empty: of none
		Source  string   `json:"source"`  // connection.table
		Target  string   `json:"target"`  // connection.table, or the connection of a message or a model
		Columns []string `json:"columns"` // of the source, sorted
	}
)
