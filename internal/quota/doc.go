// Package quota owns the table quota: what of a provider's stated limits
// (flow.Quota) is used, by all flows, workers and processes together.
//
// App makes a Meter of each connection that states quotas; the transports ask it
// before a request leaves, and starters ask what is left before windows become runs.
// It may import store, group, flow, fault and pgx.
//
// Invariants: in no window of a stated length is more used than stated, however it is
// laid over time: a token counts from when it is taken until the length of the window
// after it can have been used last. The row of a connection is changed by whoever has
// its lock, by the clock of the database. Tokens are taken a little ahead, so that a
// request costs no round trip, are good for a quarter of a second at most, and what is
// not used is given back. Places of requests that run at a time are leases, which
// lapse: who is killed gives them back.
package quota
