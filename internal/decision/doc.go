// Package decision owns the tables decision and opinion: what was decided about runs of hybrid
// flows, the referrals that wait for a person, and the capsules.
//
// The activities that decide propose what rules said (Rule) and ask how a referral stands
// (Standing); the API lists referrals and takes what people say (Opine). It may import store,
// flow, fault, capsule and pgx, and knows neither rules nor calculators.
//
// Invariants: a run has one decision, kept with its capsule in one transaction, and who comes
// second finds the first; a run whose cancel was asked, or that has ended, is decided no more; a
// person speaks once, and nobody who is in conflict; what stands on a substitute is not approved.
package decision
