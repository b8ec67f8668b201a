// Package scorecard owns the probability of default: a scorecard of whole points, the score of
// an applicant, and the reasons for it.
//
// The risk activities call it; it may import portable, figures, strictjson and fault, and is
// pure. The card in card.json is what `go run ./internal/risk/train` prints, byte for byte;
// docs/risk.md says how it was made, of which data, and how well it tells.
//
// Invariants: a score is the base and one whole number of points for each characteristic, and the
// probability follows from the score alone: what a characteristic moved is known exactly, and
// moves add up to the difference from an average applicant. A figure that is missing, unknown or
// out of its range is a named error (package figures), never a score.
package scorecard
