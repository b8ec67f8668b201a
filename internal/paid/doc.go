// Package paid owns the tables paid_inquiry, paid_use, paid_day, computed and computed_use: what was
// asked of providers for money, for which run, and what may be used again.
//
// An activity asks by Paid.Ask, with a function that really asks the provider; it is not called
// where an answer is there. Calculations are looked for by Computed.Find and kept by Keep.
//
// Invariants: the reference by which a provider knows a repeated question, and the charge to the
// day's budget, are committed before the question is sent; so a crash, a lost answer or a lost commit
// leads to the same question under the same reference, which is free. What is in doubt counts as paid.
// Of one question one is under way at a time, in all processes together. No budget is exceeded. Keys
// are HMACs: no personal data is in them; answers are erased when nobody may use them any more, and
// what was paid is kept.
//
// It may import store, flow, fault and pgx.
package paid
