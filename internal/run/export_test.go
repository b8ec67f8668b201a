package run

// Candidates is the query of a claim.
const Candidates = candidates
