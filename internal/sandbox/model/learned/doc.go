// Package learned is the model that the sandbox's model server computes: which of
// four actions fits a customer best, by a multinomial logistic regression over six
// numbers.
//
// Its data is made here from a seed (Generate, committed as customers.csv), its
// weights are trained from that data (Train, committed as weights.json) by
// `go generate ./internal/sandbox/model/learned`; a test does both anew and compares.
// The server embeds the weights and nothing else.
//
// Invariants: the same numbers give the same scores, to the last digit that is shown;
// a number that is not known counts as the mean of the data, which says nothing for or
// against an action; scores of the actions on offer sum to one. It imports the
// standard library only.
package learned
