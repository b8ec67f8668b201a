// Package review owns the table advice: the action plans that models and rules have
// proposed for customers, and what people decided about those they have to see.
//
// The activity that advises keeps plans (Keep), writes those that are due (Due) and says
// what became of them (Wrote); the console and the API list them and decide (Decide). It
// may import store, flow, fault and pgx, and knows nothing of models.
//
// Invariants: a plan is kept before anything of it is written, and the same run and key
// give the same plan however often it is asked for; of a key the newest plan counts,
// older ones that wait are superseded; a plan that a person has to see is written only
// after one has approved of it; a decision is made once.
package review
