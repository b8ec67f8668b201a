package flow

import "time"

type (
	// PaidDay is what was paid to providers on a day.
	PaidDay struct {
		Day       string      `json:"day"`       // 2006-01-02
		Totals    []PaidTotal `json:"totals"`    // by connection, sorted
		Inquiries []Inquiry   `json:"inquiries"` // the newest first
		More      bool        `json:"more"`      // there are more inquiries than are given
	}

	// PaidTotal is what was paid on a connection.
	PaidTotal struct {
		Connection string `json:"connection"`
		Paid       Money  `json:"paid"`     // for answers, those of no use included
		InDoubt    Money  `json:"in_doubt"` // for what may have been answered; it counts as paid
		Inquiries  int    `json:"inquiries"`
		Reused     int    `json:"reused"`          // how often an answer was used by a run that did not pay
		Budget     *Money `json:"budget"`          // of a day; null: there is none
		Left       *Money `json:"left"`            // of it, now; null: there is none, or the day is another
		Until      string `json:"until,omitempty"` // when the next day's begins
	}

	// Inquiry is one question that a provider was asked for money.
	Inquiry struct {
		Reference  string     `json:"reference"` // by which the provider knows it
		Connection string     `json:"connection"`
		Flow       string     `json:"flow"`
		Run        string     `json:"run_id"` // that it was paid for
		Source     string     `json:"source,omitempty"`
		At         time.Time  `json:"at"`
		Price      Money      `json:"price"` // what it costs; a refused one costs nothing
		State      PaidState  `json:"state"`
		Reason     string     `json:"reason,omitempty"` // code of why there is no answer
		AsOf       *time.Time `json:"as_of,omitempty"`
		Reused     int        `json:"reused"`            // runs that used the answer and did not pay
		UsedBy     []string   `json:"used_by,omitempty"` // these, at most ten
	}

	// PaidState is what became of an inquiry.
	PaidState string
)

// The states of an inquiry.
const (
	PaidAsking   PaidState = "asking"   // under way, or its process ended; counts as paid
	PaidDoubt    PaidState = "doubt"    // sent, without an answer; counts as paid until it is asked again
	PaidAnswered PaidState = "answered" // paid
	PaidRefused  PaidState = "refused"  // not paid
	PaidSpoiled  PaidState = "spoiled"  // paid, and the answer is of no use
)
